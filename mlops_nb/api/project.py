"""What a server serves: a project's store or a team's, opened on first use."""

from __future__ import annotations

import functools
import threading
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec

from mlops_nb.config import Project
from mlops_nb.errors import StoreError, StoreUnreachable
from mlops_nb.runners.hosting import RunnerHost
from mlops_nb.serving.endpoints import Endpoints
from mlops_nb.store.base import ServedStore


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Which store a server serves.

    Attributes:
        store_uri: Of a database; may hold a password.
        artifact_root: Where the files of its runs are, or None for the store's own place.
        project: The project whose own store it is, if it is one's; its folder is made with the store.
    """

    store_uri: str
    artifact_root: str | None = None
    project: Project | None = None

    @classmethod
    def of(cls, project: Project) -> Served:
        """Return what serves the store in a project's folder."""
        return cls(store_uri=project.store_uri, project=project)


class ServedProject:
    """A project and its store. Opening is tried anew at each use until it succeeds.

    Threads: all methods may be called from any thread. Ownership: it closes the store that it opened.

    Attributes:
        endpoints: The model servers of the project; None where this server runs none.
        runner_host: What launches and ends the project's machines; None where this server does not.
    """

    def __init__(self, served: Served | Project) -> None:
        self._served = Served.of(served) if isinstance(served, Project) else served
        self._lock = threading.Lock()
        self._store: ServedStore | None = None
        self._closed = False
        # Set by a server that runs models.
        self.endpoints: Endpoints | None = None
        # Set by a server that launches machines.
        self.runner_host: RunnerHost | None = None

    @property
    def project(self) -> Project:
        """The project on this machine whose store it is; a team's store belongs to none."""
        assert self._served.project is not None, "This server serves a database, not a project's folder."
        return self._served.project

    @property
    def name(self) -> str:
        """What users call it: the project, or the database."""
        project = self._served.project
        return project.name if project else PurePosixPath(unquote(urlsplit(self._served.store_uri).path)).stem or "team"

    @property
    def root(self) -> str:
        """The project's folder; "" for a team's store."""
        project = self._served.project
        return str(project.root) if project else ""

    @property
    def store_uri(self) -> str:
        """The URI of the store as it may be shown: without a password."""
        return without_password(self._served.store_uri)

    @property
    def opened(self) -> ServedStore | None:
        """The store if it is open, without opening it."""
        return self._store

    def store(self, *, create: bool = False) -> ServedStore:
        """Return the store.

        Args:
            create: Make the store where there is none; otherwise an empty one stands in and nothing is written.

        Raises:
            StoreError: If there is one that cannot be opened, or none can be made.
        """
        return self._store or self._open(create) or _empty_store()

    def _open(self, create: bool) -> ServedStore | None:
        # SQLAlchemy costs a tenth of a second to import: the server's start does not pay for it.
        from mlops_nb.store.open import open_store

        served = self._served
        with self._lock:
            if self._closed:
                raise StoreUnreachable("The server is stopping.")
            if self._store is None:
                try:
                    if create and served.project is not None:
                        served.project.create()
                    opened = open_store(served.store_uri, create=create, artifact_root=served.artifact_root)
                    assert opened is None or isinstance(opened, ServedStore)
                    self._store = opened
                except OSError as error:
                    reason = error.strerror or type(error).__name__
                    raise StoreError(f"The store {self.store_uri} cannot be opened: {reason}.") from error
            return self._store

    def close(self) -> None:
        """Close the store; nothing opens it again."""
        with self._lock:
            self._closed = True
            store, self._store = self._store, None
        if store is not None:
            store.close()


@functools.cache
def _empty_store() -> ServedStore:
    """Return what answers before anything was tracked: no runs, and no file made by asking. Nothing writes to it."""
    from mlops_nb.store.open import open_empty_store

    return open_empty_store()


def without_password(uri: str) -> str:
    """Return a URI as it may be shown."""
    parts = urlsplit(uri)
    if not parts.netloc and "password" not in parts.query:
        return uri
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return parts._replace(netloc=f"{name}:***{at}{host}" if password else parts.netloc, query="").geturl()
