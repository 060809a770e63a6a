"""Requests of the last minute, counted by the second: as many as come, in the same small memory."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

SECONDS = 60
_FLOOR, _STEPS = 1e-5, 16.0
"""The shortest time that is told apart (s), and how many steps a doubling has: times are right within 2.2 %."""


class _Second:
    __slots__ = ("errors", "number", "refused", "requests", "times", "versions")

    def __init__(self, number: int) -> None:
        self.number = number
        self.requests = self.errors = self.refused = 0
        self.times: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()


class TrafficMeter:
    """Counts requests. Threads: one.

    Args:
        clock: The time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ring: list[_Second | None] = [None] * SECONDS

    def add(self, seconds: float, status: int, version: str) -> None:
        """Count an answer: how long it took (s), its HTTP status, which version answered."""
        number = int(self._clock())
        second = self._ring[number % SECONDS]
        if second is None or second.number != number:
            second = self._ring[number % SECONDS] = _Second(number)
        second.requests += 1
        if status >= 500:
            second.errors += 1
        elif status >= 400:
            second.refused += 1
        second.times[_step_of(seconds)] += 1
        second.versions[version] += 1

    def _recent(self) -> list[_Second]:
        now = int(self._clock())
        return [one for one in self._ring if one is not None and now - one.number < SECONDS]

    def totals(self) -> tuple[int, int, int]:
        """Return the requests of the last minute, those of them that failed (5xx), and those that were refused (4xx)."""
        recent = self._recent()
        return sum(one.requests for one in recent), sum(one.errors for one in recent), sum(one.refused for one in recent)

    def quantiles(self, *shares: float) -> list[float | None]:
        """Return how long this share of the requests of the last minute took at most (ms); None without requests."""
        times: Counter[int] = Counter()
        for one in self._recent():
            times.update(one.times)
        total = times.total()
        if not total:
            return [None] * len(shares)
        found: list[float | None] = []
        for share in shares:
            wanted, passed = share * total, 0
            for step in sorted(times):
                passed += times[step]
                if passed >= wanted:
                    found.append(round(_seconds_of(step) * 1e3, 3))
                    break
        return found

    def versions(self) -> dict[str, int]:
        """Return how many requests of the last minute each version answered."""
        total: Counter[str] = Counter()
        for one in self._recent():
            total.update(one.versions)
        return dict(total)

    def course(self) -> list[int]:
        """Return the requests of each of the last 60 seconds, the oldest first."""
        now = int(self._clock())
        counts = [0] * SECONDS
        for one in self._recent():
            counts[SECONDS - 1 - (now - one.number)] = one.requests
        return counts


def _step_of(seconds: float) -> int:
    return round(_STEPS * math.log2(max(seconds, _FLOOR) / _FLOOR))


def _seconds_of(step: int) -> float:
    return float(_FLOOR * 2 ** (step / _STEPS))
