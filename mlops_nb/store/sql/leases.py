"""Leases against a clock that is set: a run must not look dead because the hour has changed."""

from __future__ import annotations

import time

_JUMP_SECONDS = 10.0


class LeaseClock:
    """Notices that the clock of the day was set, or that the machine slept: it then differs from the clock that nobody sets."""

    def __init__(self) -> None:
        self._difference: float | None = None

    def has_jumped(self) -> bool:
        """Return whether it has since it was asked last. A clock that is brought right little by little does not jump."""
        difference = time.time() - time.monotonic()
        before, self._difference = self._difference, difference
        return before is not None and abs(difference - before) > _JUMP_SECONDS
