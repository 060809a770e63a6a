"""Tells who listens that the store has changed, whichever process changed it: a Jupyter event with the new revision."""

from __future__ import annotations

import asyncio
import contextlib
import time
from logging import Logger
from typing import Any

from mlops_nb.errors import MlopsError
from mlops_nb_server.service import Service

SCHEMA_ID = "https://mlops-nb.readthedocs.io/events/store_changed/v1"
SCHEMA: dict[str, Any] = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Tracking store changed",
    "description": "Runs of the project's tracking store have changed; ask the changes operation for what is new.",
    "personal-data": False,
    "type": "object",
    "properties": {"revision": {"type": "integer", "description": "The highest revision of any run."}},
    "required": ["revision"],
}
_BUSY = 0.15
_QUIET = 0.45
_QUIET_AFTER = 30.0
_UNHEARD = 1.0


class StoreWatcher:
    """Looks at the store's revision several times a second and emits an event when it has changed.

    The first listener is told at once where the store stands. After a write of this server it looks as soon as 0.15 s
    have passed, less often where nothing has changed for a while, and not at all while nobody listens.
    Errors of the store are logged once, and again when they change.
    """

    def __init__(self, service: Service, events: Any, log: Logger) -> None:
        self._service = service
        self._events = events
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._revision: int | None = None
        self._problem: str | None = None
        self._changed_at = 0.0

    def start(self) -> None:
        """Begin to watch, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """End watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self) -> None:
        while True:
            heard = self._is_heard()
            if not heard:
                self._revision = None  # whoever comes is told where the store stands: they may have missed something
            watching = heard and await self._look()
            await asyncio.sleep(_BUSY)
            quiet = time.monotonic() - self._changed_at > _QUIET_AFTER
            if not watching:
                await asyncio.sleep(_UNHEARD - _BUSY)
            elif quiet:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._service.written.wait(), _QUIET - _BUSY)
            self._service.written.clear()

    def _is_heard(self) -> bool:
        # The event logger has no public way to ask; where its inside is different, somebody may listen.
        listeners = getattr(self._events, "_modified_listeners", None)
        return listeners is None or bool(listeners.get(SCHEMA_ID))

    async def _look(self) -> bool:
        """Emit the event if the revision has changed; return whether the store answered."""
        try:
            revision = await self._service.run(self._read)
        except MlopsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.warning("The store cannot be watched: %s", error)
            return False
        self._problem = None
        if revision != self._revision:
            self._changed_at = time.monotonic()
            self._events.emit(schema_id=SCHEMA_ID, data={"revision": revision})
        self._revision = revision
        return True

    def _read(self) -> int:
        return self._service.project.store().revision()
