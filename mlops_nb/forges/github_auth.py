"""How we say to GitHub who we are: a token as it is, or an App's key exchanged for a token of its installation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mlops_nb.errors import InvalidInput, MissingDependencyError
from mlops_nb.forges.base import ForgeNotFound
from mlops_nb.forges.client import part
from mlops_nb.forges.tokens import AppKey, Secret, Token

if TYPE_CHECKING:
    from mlops_nb.forges.client import ForgeClient

API_VERSION: Final = "2022-11-28"
_JWT_SECONDS = 540  # GitHub takes ten minutes at most
_RENEW_SECONDS = 300


class GitHubAuth:
    """Gives the headers of each request; an App's token is renewed before it runs out after an hour."""

    def __init__(self, token: Token | AppKey | None, repository: str) -> None:
        self._token = token
        self._repository = repository
        self._client: ForgeClient | None = None
        self._installation: Secret | None = None
        self._until = 0.0
        self._jwt: str | None = None

    def attach(self, client: ForgeClient) -> None:
        """Name the client through which an App's key is exchanged."""
        self._client = client

    @property
    def has_token(self) -> bool:
        return self._token is not None

    @property
    def is_app(self) -> bool:
        """Whether comments are an App's, as with the workflow's own token."""
        return isinstance(self._token, AppKey) or (self._token is not None and self._token.kind == "github-app")

    @property
    def source(self) -> str | None:
        return self._token.source if self._token else None

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the next request."""
        common = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION}
        secret = self._jwt or self.reveal()
        return {**common, "Authorization": f"Bearer {secret}"} if secret else common

    def reveal(self) -> str | None:
        """Return the token in force, or None."""
        if self._token is None:
            return None
        if isinstance(self._token, Token):
            return self._token.secret.reveal()
        return self._exchanged(self._token).reveal()

    def _exchanged(self, app: AppKey) -> Secret:
        """Return a token of the App's installation on the repository.

        Source: "Authenticating as a GitHub App installation" in docs.github.com.
        """
        assert self._client is not None
        now = self._client.clock()
        if self._installation is not None and now < self._until - _RENEW_SECONDS:
            return self._installation
        owner, _, name = self._repository.partition("/")
        place = f"/repos/{part(owner)}/{part(name)}" if name else f"/orgs/{part(owner)}"  # runners may be an organisation's
        self._jwt = _signed(app, now)
        try:
            found = self._client.get(f"{place}/installation", what=f"find the App {app.app_id} on {self._repository}")
            body = {"repositories": [name]} if name else {}
            path = f"/app/installations/{part(found['id'])}/access_tokens"
            made = self._client.post(path, body, what=f"give the App {app.app_id} a token", repeatable=True)
        except ForgeNotFound as error:
            error.hint = f"Install the App on {self._repository}, in its settings."
            raise
        finally:
            self._jwt = None
        self._installation = Secret(made["token"])
        self._until = datetime.fromisoformat(made["expires_at"].replace("Z", "+00:00")).timestamp()
        return self._installation


def _signed(app: AppKey, now: float) -> str:
    try:
        import jwt
    except ImportError:
        raise MissingDependencyError("PyJWT", extra="github-app", purpose="A GitHub App's private key") from None
    claims = {"iat": int(now) - 60, "exp": int(now) + _JWT_SECONDS, "iss": app.app_id}
    try:
        return jwt.encode(claims, app.private_key.reveal(), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError, NotImplementedError):
        raise InvalidInput(
            f"{app.source} holds no private key that can be used.", hint="Download one in the App's settings: a file ending in .pem."
        ) from None
