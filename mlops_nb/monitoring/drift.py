"""Whether counts differ from a reference: by how much (PSI), and whether that can be chance (Kolmogorov-Smirnov, chi-square).

A large PSI of few rows is noise and a significant difference of many rows may be tiny: drift is what is both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from mlops_nb.core.formatting import one_line
from mlops_nb.monitoring.bins import ColumnBins

MIN_ROWS = 100
"""With fewer rows, of the reference or of what is held against it, nothing is said."""

SHIFTED, DRIFTED = 0.1, 0.25
ALPHA = 0.01
_MOST_GROUPS = 10
_ROWS_OF_A_GROUP = 20
_LEAST_EXPECTED = 5.0


class Verdict(StrEnum):
    """How a column compares: `SHIFTED` is PSI from 0.1, `DRIFTED` from 0.25, both significant at 1 % over all columns."""

    OK = "ok"
    SHIFTED = "shifted"
    DRIFTED = "drift"
    FEW_ROWS = "too few rows"
    NOT_WATCHED = "not watched"


_WORST_FIRST = (Verdict.DRIFTED, Verdict.SHIFTED, Verdict.OK, Verdict.FEW_ROWS, Verdict.NOT_WATCHED)


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A column held against its reference.

    Attributes:
        name: Of the column.
        verdict: What came of it.
        rows: How many were held against it.
        psi: Population stability index; None where too few rows were seen, as the next four.
        test: `KS` for numbers, `chi²` for levels.
        statistic: Of the test.
        p: The chance of such a difference without drift, corrected for the number of columns (Bonferroni).
        missing: Shares (0 to 1) of missing values in the reference and in what was seen.
        unseen: The share of what was seen that the reference does not have: other levels, or numbers outside of its ends.
    """

    name: str
    verdict: Verdict
    rows: int
    psi: float | None = None
    test: str = ""
    statistic: float | None = None
    p: float | None = None
    missing: tuple[float, float] = (0.0, 0.0)
    unseen: float = 0.0

    def __str__(self) -> str:
        name = one_line(self.name)
        if self.psi is None:
            return f"{name}: {self.verdict} ({self.rows:,})" if self.verdict is Verdict.FEW_ROWS else f"{name}: {self.verdict}"
        parts = [f"PSI {self.psi:.2f}", f"{self.test} {self.statistic:.2f}", f"p {'< 0.001' if (self.p or 0) < 0.001 else f'{self.p:.3f}'}"]
        if abs(self.missing[1] - self.missing[0]) >= 0.01:
            parts.append(f"missing {self.missing[0]:.0%} → {self.missing[1]:.0%}")
        if self.unseen >= 0.01:
            parts.append(f"{self.unseen:.0%} as never before")
        return f"{name}: {self.verdict} · {' · '.join(parts)} · {self.rows:,} rows"


def compare(reference: Sequence[ColumnBins], seen: Sequence[Sequence[int]], *, min_rows: int = MIN_ROWS) -> list[ColumnDrift]:
    """Hold counts against a reference, column by column; what drifted most comes first.

    Args:
        reference: The columns.
        seen: For each of them the counts as `bins.count` gives them.
        min_rows: With fewer rows nothing is said.
    """
    tests = sum(column.is_watched for column in reference)
    found = [_compare(column, counts, tests, min_rows) for column, counts in zip(reference, seen, strict=True)]
    return sorted(found, key=lambda one: (_WORST_FIRST.index(one.verdict), -(one.psi or 0.0)))


def overall(columns: Sequence[ColumnDrift]) -> Verdict:
    """Return the verdict on all columns: the worst of any."""
    found = {column.verdict for column in columns}
    return next((one for one in _WORST_FIRST if one in found), Verdict.NOT_WATCHED)


def _compare(column: ColumnBins, counts: Sequence[int], tests: int, min_rows: int) -> ColumnDrift:
    rows = sum(counts)
    if not column.is_watched:
        return ColumnDrift(name=column.name, verdict=Verdict.NOT_WATCHED, rows=rows)
    if min(rows, column.rows) < min_rows:
        return ColumnDrift(name=column.name, verdict=Verdict.FEW_ROWS, rows=rows)
    before, now = [*column.counts, column.nulls], list(counts)
    index = psi(before, now, is_ordered=bool(column.edges))
    if column.edges:
        test, statistic, p = "KS", *ks(column.counts, counts[:-1])
        if column.nulls or counts[-1]:  # a change of what is missing is drift too
            _, p_missing = chi_square([sum(column.counts), column.nulls], [sum(counts[:-1]), counts[-1]])
            p = min(1.0, 2 * min(p, p_missing))
        unseen = (counts[0] + counts[-2]) / rows
    else:
        test, statistic, p = "chi²", *chi_square(before, now)
        unseen = counts[-2] / rows
    p = min(1.0, p * tests)
    strong = Verdict.DRIFTED if index >= DRIFTED else Verdict.SHIFTED if index >= SHIFTED else Verdict.OK
    return ColumnDrift(
        name=column.name,
        verdict=strong if p < ALPHA else Verdict.OK,
        rows=rows,
        psi=round(index, 4),
        test=test,
        statistic=round(statistic, 4),
        p=p,
        missing=(round(column.nulls / column.rows, 4), round(counts[-1] / rows, 4)),
        unseen=round(unseen, 4),
    )


def psi(before: Sequence[int], now: Sequence[int], *, is_ordered: bool) -> float:
    """Return the population stability index of two lists of counts; the last count is of missing values.

    Neighbouring bins are joined until each has enough rows of the reference, since PSI grows with the number of bins
    alone; each gets half a row more, so that an empty bin is not infinitely far away.
    """
    *values, nulls = zip(before, now, strict=True)
    groups = max(2, min(_MOST_GROUPS, min(sum(before), sum(now)) // _ROWS_OF_A_GROUP))
    joined: list[tuple[int, int]] = _joined(values, groups) if is_ordered else list(values)
    if any(nulls):
        joined.append(nulls)
    total_before, total_now = (sum(pair[i] for pair in joined) + len(joined) / 2 for i in (0, 1))
    index = 0.0
    for a, b in joined:
        p, q = (a + 0.5) / total_before, (b + 0.5) / total_now
        index += (q - p) * math.log(q / p)
    return index


def _joined(values: Sequence[tuple[int, int]], groups: int) -> list[tuple[int, int]]:
    """Join neighbours; what is outside of all that the reference has stays apart."""
    below, *inner, above = values
    least = sum(pair[0] for pair in inner) / groups * 0.999
    joined: list[tuple[int, int]] = []
    a = b = 0
    for one, other in inner:
        a, b = a + one, b + other
        if a >= least:
            joined.append((a, b))
            a = b = 0
    if joined and (a or b):
        joined[-1] = (joined[-1][0] + a, joined[-1][1] + b)
    return [below, *joined, above]


def ks(before: Sequence[int], now: Sequence[int]) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov statistic of two lists of counts in the same bins, and its p-value.

    It is looked at the edges of the bins alone, so that it is at most the statistic of the values themselves: the p-value
    is rather too large than too small.
    """
    from scipy.special import kolmogorov

    n, m = sum(before), sum(now)
    if not n or not m:
        return 0.0, 1.0
    distance = 0.0
    a = b = 0
    for one, other in zip(before, now, strict=True):
        a, b = a + one, b + other
        distance = max(distance, abs(a / n - b / m))
    return distance, float(kolmogorov(math.sqrt(n * m / (n + m)) * distance))


def chi_square(before: Sequence[int], now: Sequence[int]) -> tuple[float, float]:
    """Return the chi-square statistic of two lists of counts, and its p-value; rare levels are counted as one."""
    from scipy.special import chdtrc

    n, m = sum(before), sum(now)
    if not n or not m:
        return 0.0, 1.0
    least = _LEAST_EXPECTED * (n + m) / min(n, m)
    pairs = [pair for pair in zip(before, now, strict=True) if sum(pair) >= least]
    rare = [pair for pair in zip(before, now, strict=True) if 0 < sum(pair) < least]
    if rare:
        pairs.append((sum(a for a, _ in rare), sum(b for _, b in rare)))
    if len(pairs) < 2:
        return 0.0, 1.0
    statistic = 0.0
    for a, b in pairs:
        for given, size in ((a, n), (b, m)):
            expected = (a + b) * size / (n + m)
            statistic += (given - expected) ** 2 / expected
    return statistic, float(chdtrc(len(pairs) - 1, statistic))
