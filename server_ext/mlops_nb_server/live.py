"""Tells who listens that the store has changed, whichever process changed it: a Jupyter event with the new revision."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from mlops_nb_server.watching import Watcher

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


class StoreWatcher(Watcher):
    """Looks at the store's revision several times a second.

    After a write of this server it looks as soon as 0.15 s have passed, less often where nothing has changed for a while, and not
    at all while nobody listens.
    """

    schema_id = SCHEMA_ID
    key = "revision"
    what = "The store"
    _changed_at = 0.0

    async def pause(self, changed: bool | None) -> None:
        if changed:
            self._changed_at = time.monotonic()
        await asyncio.sleep(_BUSY)
        if changed is None:
            await asyncio.sleep(_UNHEARD - _BUSY)
        elif time.monotonic() - self._changed_at > _QUIET_AFTER:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.service.written.wait(), _QUIET - _BUSY)
        self.service.written.clear()

    def read(self) -> int:
        return self.service.project.store().revision()
