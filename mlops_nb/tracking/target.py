"""Where this process records to, and how to reach it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from mlops_nb import config
from mlops_nb.errors import InvalidInput, StoreUnreachable
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store, store_path
from mlops_nb.tracking import servers

logger = logging.getLogger("mlops_nb")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A store and the folder of the journals for it.

    `store_uri` names the store, not the way to it: an embedded store may be reached through a server.
    """

    store_uri: str
    state_dir: Path
    project: config.Project

    @property
    def journal_dir(self) -> Path:
        return self.state_dir / "journal"

    @property
    def is_empty(self) -> bool:
        """Whether nothing has ever been recorded: an embedded store that does not exist, and no journal for it."""
        if not self.store_uri.startswith("sqlite:"):
            return False
        return not store_path(self.store_uri).exists() and not any(self.journal_dir.glob("*.jsonl"))


def resolve(uri: str | None = None) -> Target:
    """Decide where to record: argument, environment, project file, the server that started this kernel, embedded store.

    Raises:
        InvalidInput: If the argument names no store that we know.
    """
    project = config.find_project()
    chosen = config.tracking_uri(uri)
    if chosen is not None and _is_usable(chosen, is_argument=uri is not None):
        return Target(store_uri=_absolute(chosen), state_dir=project.state_dir, project=project)
    server = servers.starter_of_this_kernel()
    if server is not None:
        return Target(store_uri=server.store_uri, state_dir=Path(server.state_dir), project=project)
    return Target(store_uri=project.store_uri, state_dir=project.state_dir, project=project)


def _absolute(uri: str) -> str:
    """Return the URI with an absolute path: another process reads it in another folder."""
    if not uri.startswith("sqlite:"):
        return uri
    query = urlsplit(uri).query
    return f"sqlite:///{quote(str(store_path(uri).absolute()))}" + (f"?{query}" if query else "")


def _is_usable(uri: str, *, is_argument: bool) -> bool:
    is_mlflows = not is_argument and config.is_mlflows(uri)
    if uri.startswith(("http://", "https://")) or (uri.startswith("sqlite:///") and not is_mlflows):
        return True
    message = f"The tracking URI '{uri}' names no store that mlops_nb can open."
    if is_argument:
        raise InvalidInput(message, hint="Use http(s)://host:port/mlops or sqlite:////path/store.db.")
    logger.warning("%s Recording to the project's own store instead.", message)
    return False


def connect(target: Target, *, create: bool = True) -> TrackingStore | None:
    """Open the store of a target: through the server that has it open where there is one, else directly.

    Returns:
        The store; None if it is an embedded one that does not exist and `create` is false.
    Raises:
        StoreError: If it cannot be reached.
    """
    if not target.store_uri.startswith("sqlite:"):
        return open_store(target.store_uri, token=config.tracking_token())
    server = servers.having_open(target.store_uri)
    if server is not None and server.pid != os.getpid():
        store = open_store(server.url, token=server.token)
        assert store is not None
        try:
            store.status()
            return store
        except StoreUnreachable:
            logger.info("The server at %s does not answer; using the store's file.", server.url)
            store.close()
    if create and target.store_uri == target.project.store_uri:
        target.project.create()
    return open_store(target.store_uri, create=create)
