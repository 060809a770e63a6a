"""Noticing that runs change, without polling more than one number."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from mlops_nb.errors import MlopsError
from mlops_nb.store.base import TrackingStore

logger = logging.getLogger("mlops_nb")

PERIOD = 1.0
_PATIENCE = 30


class Follower:
    """Calls back, in a thread of its own, when the store's revision has changed; it ends when nobody wants to know any more.

    The thread is a daemon and holds the view only weakly: a view that is forgotten is followed no longer.

    Args:
        store: The store.
        changed: A method of the view.
        wanted: A method of the view that says whether to go on.
    """

    def __init__(self, store: TrackingStore, changed: Callable[[], None], wanted: Callable[[], bool]) -> None:
        self._store = store
        self._changed: Any = weakref.WeakMethod(changed)
        self._wanted: Any = weakref.WeakMethod(wanted)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen = -1

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._over.is_set()

    def look(self) -> None:
        """Note how the store is now. Called before a view reads, so that nothing that comes meanwhile is missed.

        Raises:
            StoreError: If it cannot be asked.
        """
        self._seen = self._store.revision()

    def start(self) -> None:
        """Begin to follow; nothing if it does already."""
        if not self.is_running:
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._work, args=(self._over,), name="mlops_nb-view", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Follow no longer."""
        self._over.set()

    def _work(self, over: threading.Event) -> None:
        failures = 0
        while not over.wait(PERIOD):
            wanted, changed = self._wanted(), self._changed()
            if wanted is None or changed is None or not wanted():
                return
            try:
                revision = self._store.revision()
                if revision != self._seen:
                    self._seen = revision
                    changed()
                failures = 0
            except MlopsError as error:  # a server that is away comes back, or the view stays as it is
                failures += 1
                if failures > _PATIENCE:
                    logger.warning("A view of runs is no longer followed: %s", error)
                    return
            del wanted, changed
