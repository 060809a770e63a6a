"""Tells who listens that runners or their jobs have changed, whichever process changed them: a Jupyter event."""

from __future__ import annotations

import asyncio
import contextlib
from logging import Logger
from typing import Any

from mlops_nb.errors import MlopsError
from mlops_nb_server.service import Service

SCHEMA_ID = "https://mlops-nb.readthedocs.io/events/runners_changed/v1"
SCHEMA: dict[str, Any] = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Runners changed",
    "description": "A runner was launched, changed or ended, or a job of one goes on; ask the runners operation for what is there.",
    "personal-data": False,
    "type": "object",
    "properties": {"changes": {"type": "integer", "description": "Grows with each change."}},
    "required": ["changes"],
}
_EVERY = 0.5


class RunnerWatcher:
    """Looks at the ledger twice a second while somebody listens, and tells the first listener at once where it stands.

    Errors of the store are told once, and again when they change.
    """

    def __init__(self, service: Service, events: Any, log: Logger) -> None:
        self._service = service
        self._events = events
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._changes: int | None = None
        self._problem = ""

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
            if self._is_heard():
                await self._look()
            else:
                self._changes = None
            await asyncio.sleep(_EVERY)

    def _is_heard(self) -> bool:
        # The event logger has no public way to ask; where its inside is different, somebody may listen.
        listeners = getattr(self._events, "_modified_listeners", None)
        return listeners is None or bool(listeners.get(SCHEMA_ID))

    async def _look(self) -> None:
        try:
            changes = await self._service.run(self._read)
        except MlopsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.warning("The runners cannot be watched: %s", error)
            return
        self._problem = ""
        if changes != self._changes:
            self._events.emit(schema_id=SCHEMA_ID, data={"changes": changes})
        self._changes = changes

    def _read(self) -> int:
        return self._service.project.store().runners.changes()
