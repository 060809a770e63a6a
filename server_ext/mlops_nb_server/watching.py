"""What watchers of the store have in common: a number that grows with each change, and an event that says it."""

from __future__ import annotations

import asyncio
import contextlib
from logging import Logger
from typing import Any, ClassVar

from mlops_nb.errors import MlopsError
from mlops_nb_server.service import Service


class Watcher:
    """Reads a number again and again while somebody listens, and emits an event when it has changed.

    The first listener is told at once where it stands. Errors of the store are logged once, and again when they change.
    """

    schema_id: ClassVar[str]
    key: ClassVar[str]
    """The event's field that has the number."""
    what: ClassVar[str]
    """What is watched, for the log."""

    def __init__(self, service: Service, events: Any, log: Logger) -> None:
        self.service = service
        self._events = events
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._last: int | None = None
        self._problem: str | None = None

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
            await self.pause(await self._look() if self._is_heard() else None)

    async def pause(self, changed: bool | None) -> None:
        """Wait until it is time for the next look; `changed` is what the last one saw, None: nobody listens, or no answer."""
        raise NotImplementedError

    def read(self) -> int:
        """Return the number; called in a thread of the service's pool."""
        raise NotImplementedError

    def _is_heard(self) -> bool:
        # The event logger has no public way to ask; where its inside is different, somebody may listen.
        listeners = getattr(self._events, "_modified_listeners", None)
        heard = listeners is None or bool(listeners.get(self.schema_id))
        if not heard:
            self._last = None  # whoever comes is told where it stands: they may have missed something
        return heard

    async def _look(self) -> bool | None:
        """Emit the event if the number has changed, and return whether it has; None: the store did not answer."""
        try:
            now = await self.service.run(self.read)
        except MlopsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._log.warning("%s cannot be watched: %s", self.what, error)
            return None
        self._problem = None
        changed = now != self._last
        if changed:
            self._events.emit(schema_id=self.schema_id, data={self.key: now})
        self._last = now
        return changed
