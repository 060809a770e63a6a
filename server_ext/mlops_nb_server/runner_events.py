"""Tells who listens that runners or their jobs have changed, whichever process changed them: a Jupyter event."""

from __future__ import annotations

import asyncio
from typing import Any

from mlops_nb_server.watching import Watcher

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


class RunnerWatcher(Watcher):
    """Looks at the ledger twice a second while somebody listens."""

    schema_id = SCHEMA_ID
    key = "changes"
    what = "The runners"

    async def pause(self, changed: bool | None) -> None:
        await asyncio.sleep(_EVERY)

    def read(self) -> int:
        return self.service.project.store().runners.changes()
