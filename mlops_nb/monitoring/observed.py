"""What was seen of requests and predictions: counts in the reference's bins, by time, so that what is old can be forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from mlops_nb.monitoring.bins import Reference

WINDOW = 3600.0
_SLICES = 12
_SLICE = WINDOW / _SLICES


class Counts(msgspec.Struct, kw_only=True):
    """Counts by column, and what predictions look like.

    Attributes:
        rows: Rows that were looked at.
        passed: Rows that came meanwhile and were not looked at.
        inputs: For each column of the reference its counts, as `bins.count` gives them; `outputs` as well.
        sure: The sum of the largest class probability over rows whose prediction is probabilities of classes.
        sure_rows: How many such rows.
    """

    rows: int = 0
    passed: int = 0
    inputs: list[list[int]] = []
    outputs: list[list[int]] = []
    sure: float = 0.0
    sure_rows: int = 0

    def fits(self, reference: Reference) -> bool:
        """Return whether these can be counts by a reference."""
        pairs = [(self.inputs, reference.inputs), (self.outputs, reference.outputs)]
        return min(self.rows, self.passed, self.sure_rows) >= 0 and all(
            not counts
            or (
                all(len(one) == max(2, len(column.counts) + 1) for one, column in zip(counts, columns, strict=False))
                and len(counts) == len(columns)
            )
            for counts, columns in pairs
        )

    def add(self, other: Counts) -> None:
        """Take in others of the same bins."""
        self.rows += other.rows
        self.passed += other.passed
        self.sure += other.sure
        self.sure_rows += other.sure_rows
        self.inputs, self.outputs = _sum(self.inputs, other.inputs), _sum(self.outputs, other.outputs)


def _sum(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> list[list[int]]:
    if not one or not other:
        return [list(counts) for counts in one or other]
    return [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(one, other, strict=True)]


class Observed:
    """Counts of the last hour, and of all the time since the reference was set. Threads: one."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._total = Counts()
        self._slices: dict[int, Counts] = {}
        self.since = clock()
        self.revision = 0

    def add(self, counts: Counts) -> None:
        """Take in what was counted just now."""
        self.revision += 1
        number = int(self._clock() / _SLICE)
        self._slices.setdefault(number, Counts()).add(counts)
        for old in [one for one in self._slices if one <= number - _SLICES]:
            del self._slices[old]
        self._total.add(counts)

    def forget(self) -> None:
        """Begin anew: the reference is another one."""
        self._total, self._slices, self.since = Counts(), {}, self._clock()
        self.revision += 1

    def recent(self, enough: int) -> tuple[Counts, bool]:
        """Return the counts of the last hour, and True; where those are too few rows all since the beginning, and False."""
        now = int(self._clock() / _SLICE)
        recent = Counts()
        for number, counts in self._slices.items():
            if number > now - _SLICES:
                recent.add(counts)
        return (recent, True) if recent.rows >= enough or recent.rows == self._total.rows else (self._total, False)
