"""What the handlers share: where operations run, and who may come in."""

from __future__ import annotations

import functools
import hmac
from collections.abc import Mapping
from typing import Any

from jupyter_server.auth import User
from jupyter_server.auth.identity import IdentityProvider

from mlops_nb.api.service import OperationService
from mlops_nb.config import Project, user_name

LOCAL_TOKEN = "mlops_nb_local_token"


class Service(OperationService):
    """One per server."""

    def __init__(self, project: Project, settings: Mapping[str, Any], identity: IdentityProvider) -> None:
        super().__init__(project)
        self._settings = settings
        self._identity = identity

    def user_of(self, authorization: str) -> User | None:
        """Return the user that an Authorization header names by the server's token or the local one, else None.

        A header that is neither may still mean something to the server's identity provider.
        """
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() not in ("bearer", "token"):
            return None
        known = (self._identity.token, self._settings.get(LOCAL_TOKEN))
        # Both are compared in constant time and always, so that the time tells nothing of either.
        fits = [_same(given.strip(), token) for token in known if token]
        return token_user() if any(fits) else None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


@functools.cache
def token_user() -> User:
    """Return the user whom a token stands for: whoever runs the server."""
    name = user_name() or "token"
    return User(username=name, name=name, display_name=name)


@functools.cache
def machine_user() -> User:
    """Return the user whom the agents of runners stand for."""
    return User(username="runner", name="runner", display_name="runner")
