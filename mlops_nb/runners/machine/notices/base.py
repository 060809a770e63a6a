"""What a cloud says when it takes a machine back, as the loop understands it."""

from __future__ import annotations

from typing import Protocol

from mlops_nb.core.records import Record


class Notice(Record, frozen=True, kw_only=True):
    """An announcement of the cloud.

    Attributes:
        text: For people and for the log.
        seconds: Until the machine is gone.
        final: It will be taken back. Otherwise it may be, some time: no more work is begun, the present job goes on.
    """

    text: str
    seconds: float
    final: bool = True


class Notices(Protocol):
    """Where a cloud announces that it takes the machine back. One thread asks."""

    def check(self) -> Notice | None:
        """Return what is announced now; None: nothing, or the machine's metadata could not be read."""
