"""GitHub Apps at the loopback GitHub: a signed token is exchanged for one of the installation."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

import jwt

from tests.forges.filling import filled
from tests.forges.github_git import REPO, GitData
from tests.forges.github_state import ALL_PERMISSIONS, Account, message, not_found, user
from tests.forges.server import Reply, Request, route


class Apps(GitData):
    """`app_keys` holds the public key in PEM form of each App by its number; all are installed on the repository."""

    app_keys: dict[str, str]
    tokens: dict[str, Account]
    installation_seconds = 3600.0

    def _app(self, request: Request) -> str:
        signed = request.headers.get("Authorization", "").removeprefix("Bearer ")
        app = str(jwt.decode(signed, options={"verify_signature": False})["iss"])
        try:
            claims = jwt.decode(signed, self.app_keys[app], algorithms=["RS256"])
        except (jwt.PyJWTError, KeyError):
            raise message("A JSON web token could not be decoded", 401) from None
        if claims["exp"] > time.time() + 600:
            raise message("'Expiration time' claim ('exp') is too far in the future", 401)
        return app

    @route("GET", REPO + "/installation")
    @route("GET", "/orgs/{org}/installation")
    def get_installation(self, request: Request) -> Reply:
        app = self._app(request)
        return Reply(filled("github", "installation", id=int(app) * 10, app_id=int(app), account=user("acme")))

    @route("POST", "/app/installations/{installation_id}/access_tokens")
    def create_installation_token(self, request: Request) -> Reply:
        app = self._app(request)
        if request.params["installation_id"] != f"{app}0":
            return not_found()
        token = f"ghs_{secrets.token_hex(18)}"
        self.tokens[token] = Account(f"app-{app}[bot]", {**ALL_PERMISSIONS, "organization_self_hosted_runners": "write"})
        until = datetime.fromtimestamp(time.time() + self.installation_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(filled("github", "installation-token", token=token, expires_at=until), 201)
