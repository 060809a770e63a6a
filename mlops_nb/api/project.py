"""The project that a server serves, with its store opened on first use."""

from __future__ import annotations

import functools
import threading

from mlops_nb.config import Project
from mlops_nb.errors import StoreError, StoreUnreachable
from mlops_nb.store.base import ServedStore


class ServedProject:
    """A project and its store. Opening is tried anew at each use until it succeeds.

    Threads: all methods may be called from any thread. Ownership: it closes the store that it opened.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._lock = threading.Lock()
        self._store: ServedStore | None = None
        self._closed = False

    @property
    def name(self) -> str:
        return self.project.name

    @property
    def root(self) -> str:
        return str(self.project.root)

    @property
    def store_uri(self) -> str:
        return self.project.store_uri

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

        with self._lock:
            if self._closed:
                raise StoreUnreachable("The server is stopping.")
            if self._store is None:
                try:
                    if create:
                        self.project.create()
                    opened = open_store(self.store_uri, create=create)
                    assert opened is None or isinstance(opened, ServedStore)
                    self._store = opened
                except OSError as error:
                    reason = error.strerror or type(error).__name__
                    raise StoreError(f"The store in {self.project.state_dir} cannot be opened: {reason}.") from error
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
