"""The clock that how long something took is told by: nobody can set it, and it goes on while the machine sleeps."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # on macOS the monotonic clock stands still in sleep


def now() -> int:
    """Return its time (ns), which means nothing but in a difference."""
    return time.clock_gettime_ns(_CLOCK)


def milliseconds_since(then: int) -> int:
    """Return how long ago `now` was `then`."""
    return (now() - then) // 1_000_000
