"""What the handlers share: the project, the routes, the threads that operations run in, and who may come in."""

from __future__ import annotations

import asyncio
import functools
import hmac
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from jupyter_server.auth import User
from jupyter_server.auth.identity import IdentityProvider
from tornado.ioloop import IOLoop

from mlops_nb.api.project import ServedProject
from mlops_nb.api.router import Router
from mlops_nb.api.table import OPERATIONS
from mlops_nb.config import Project, user_name

T = TypeVar("T")

LOCAL_TOKEN = "mlops_nb_local_token"
_THREADS = 8


class Service:
    """One per server.

    Attributes:
        project: The project with its store; `project.store(create=...)` opens it.
        router: The routes of all operations.
        written: Set after a writing operation, for whoever watches the store.
    """

    def __init__(self, project: Project, settings: Mapping[str, Any], identity: IdentityProvider) -> None:
        self.project = ServedProject(project)
        self.router = Router(OPERATIONS)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="mlops-api")
        self.written = asyncio.Event()
        self._settings = settings
        self._identity = identity

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run something that may wait for the disk in a thread, so that the event loop never does."""
        return await IOLoop.current().run_in_executor(self._threads, function, *arguments)

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

    def close(self) -> None:
        """Let operations that run end, then close the store."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.project.close()


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


@functools.cache
def token_user() -> User:
    """Return the user whom a token stands for: whoever runs the server."""
    name = user_name() or "token"
    return User(username=name, name=name, display_name=name)
