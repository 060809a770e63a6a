"""Two data sets side by side: which columns differ, how, and in how many rows.

Works on profiles and sketches alone; the data itself is not needed.
"""

from __future__ import annotations

import operator
from array import array
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from html import escape
from typing import Any

from mlops_nb.core.data_profile import ColumnProfile, DataProfile, Sketch, keys_of
from mlops_nb.core.formatting import format_number, one_line
from mlops_nb.core.records import Record

_SHOWN_LEVELS = 3
_SHOWN_COLUMNS = 20
_MARK = 4


class ColumnVerdict(StrEnum):
    """What became of a column. RETYPED: its type is another one, and perhaps its values."""

    SAME = "same"
    CHANGED = "changed"
    RETYPED = "retyped"
    ADDED = "added"
    REMOVED = "removed"


class ColumnChange(Record, frozen=True, kw_only=True):
    """A column in both data sets.

    Attributes:
        name: As the data sets have it; what is not a plain column has its role before it, as in `target:y`.
        verdict: What became of it.
        before: What it was in the base; None if it was not there.
        now: What it is; None if it is gone.
        rows: In how many of the rows that both have it differs; None where nobody can tell.
        at_most: Whether `rows` is only an upper bound: the sketch has blocks of rows.
        new_levels: Values that the base does not have, as far as the values are few enough to be known.
        lost_levels: Values that are gone.
    """

    name: str
    verdict: ColumnVerdict
    before: ColumnProfile | None = None
    now: ColumnProfile | None = None
    rows: int | None = None
    at_most: bool = False
    new_levels: list[str] = []
    lost_levels: list[str] = []

    def __str__(self) -> str:
        name = f"`{one_line(self.name)}`"
        if self.verdict is ColumnVerdict.ADDED:
            return f"column {name} added"
        if self.verdict is ColumnVerdict.REMOVED:
            return f"column {name} removed"
        parts = []
        if self.before is not None and self.now is not None:
            if self.before.dtype != self.now.dtype:
                parts.append(f"{name} dtype {self.before.dtype} → {self.now.dtype}")
            if self.rows:
                bound = "at most " if self.at_most else ""
                parts.append(f"{name} changed in {bound}{self.rows:,} row{'s' if self.rows != 1 else ''}")
            elif self.verdict is ColumnVerdict.CHANGED and self.rows is None:
                parts.append(f"{name} changed")
            if self.before.nulls != self.now.nulls:
                parts.append(f"missing in {name} {self.before.nulls:,} → {self.now.nulls:,}")
        for levels, what in ((self.new_levels, "new"), (self.lost_levels, "lost")):
            if levels:
                shown = ", ".join(f"`{one_line(level)}`" for level in levels[:_SHOWN_LEVELS])
                more = f" and {len(levels) - _SHOWN_LEVELS} more" if len(levels) > _SHOWN_LEVELS else ""
                parts.append(f"{what} level{'s' if len(levels) > 1 else ''} in {name}: {shown}{more}")
        return "; ".join(parts) or f"{name} changed"


class DataComparison(Record, frozen=True, kw_only=True):
    """Two data sets side by side, the base first.

    Attributes:
        names: What they are called.
        digests: Their digests.
        same: Whether they are the same data.
        rows: How many rows each has; None where nobody has counted.
        added: Rows that only the second has; `removed` those that only the base has. None where nobody can tell.
        reordered: Whether both have the same rows, in another order.
        columns: What became of each column, the changed ones first.
        notes: What else differs: sizes, files, versions, or why nothing more can be said.
    """

    names: tuple[str, str]
    digests: tuple[str, str]
    same: bool
    rows: tuple[int | None, int | None] = (None, None)
    added: int | None = None
    removed: int | None = None
    reordered: bool = False
    columns: list[ColumnChange] = []
    notes: list[str] = []

    @property
    def changed(self) -> list[ColumnChange]:
        """The columns that are not the same."""
        return [column for column in self.columns if column.verdict is not ColumnVerdict.SAME]

    @property
    def verdict(self) -> str:
        """All of it in one line."""
        if self.same:
            return f"same data ({self.digests[0][:_MARK]}…)"
        facts = [*self._row_facts(), *map(str, self.changed[:_SHOWN_COLUMNS])]
        if len(self.changed) > _SHOWN_COLUMNS:
            facts.append(f"{len(self.changed) - _SHOWN_COLUMNS} more columns changed")
        return "; ".join([*facts, *self.notes]) or "the data differs"

    def _row_facts(self) -> list[str]:
        before, now = self.rows
        if self.reordered:
            return ["the same rows in another order"]
        if before is None or now is None or before == now:
            return []
        sign = "+" if now > before else "\u2212"
        return [f"{sign}{abs(now - before):,} row{'s' if abs(now - before) != 1 else ''}"]

    def table(self) -> list[dict[str, Any]]:
        """Return one row a column, for a table: `pandas.DataFrame(comparison.table())`."""
        return [
            {
                "column": column.name,
                "verdict": column.verdict.value,
                "rows_changed": column.rows,
                "dtype_before": column.before.dtype if column.before else None,
                "dtype": column.now.dtype if column.now else None,
                "missing_before": column.before.nulls if column.before else None,
                "missing": column.now.nulls if column.now else None,
                "range_before": _range(column.before),
                "range": _range(column.now),
                "new_levels": ", ".join(column.new_levels),
                "lost_levels": ", ".join(column.lost_levels),
            }
            for column in self.columns
        ]

    def __str__(self) -> str:
        return f"{' → '.join(dict.fromkeys(map(one_line, self.names)))}: {self.verdict}"

    def _repr_html_(self) -> str:
        title = f"<div><b>{escape(' → '.join(dict.fromkeys(self.names)))}</b>: {escape(self.verdict)}</div>"
        shown = [row for row in self.table() if row["verdict"] != ColumnVerdict.SAME.value][:_SHOWN_COLUMNS]
        if not shown:
            return title
        head = ("column", "verdict", "rows changed", "dtype", "missing", "range", "levels")
        body = []
        for row in shown:
            levels = "; ".join(filter(None, [f"new: {row['new_levels']}"[: 200 if row["new_levels"] else 0], row["lost_levels"][:200]]))
            cells = (
                row["column"],
                row["verdict"],
                "" if row["rows_changed"] is None else f"{row['rows_changed']:,}",
                _step(row["dtype_before"], row["dtype"]),
                _step(row["missing_before"], row["missing"]),
                _step(row["range_before"], row["range"]),
                levels,
            )
            body.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
        return f"{title}<table><thead><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr></thead><tbody>{''.join(body)}</tbody></table>"


class Known(Record, frozen=True, kw_only=True):
    """All that is known of a data set."""

    name: str
    digest: str
    profile: DataProfile | None = None
    sketch: Sketch | None = None


def compare_known(base: Known, other: Known) -> DataComparison:
    """Compare a data set with a base, by what is known of both."""
    names, digests = (base.name, other.name), (base.digest, other.digest)
    a, b = base.profile, other.profile
    rows = (a.rows if a else None, b.rows if b else None)
    if base.digest == other.digest:
        return DataComparison(names=names, digests=digests, same=True, rows=rows, added=0, removed=0)
    if a is None or b is None:
        return DataComparison(names=names, digests=digests, same=False, rows=rows, notes=["logged by another program: only digests differ"])
    if not a.columns or not b.columns:
        return DataComparison(names=names, digests=digests, same=False, rows=rows, notes=_file_notes(a, b, digests))
    pair = _Aligned(base.sketch, other.sketch)
    before, now = (dict(zip(keys_of(p.columns), enumerate(p.columns), strict=True)) for p in (a, b))
    changes = [_column(key, before.get(key), now.get(key), pair) for key in dict.fromkeys([*before, *now])]
    changes.sort(key=lambda change: change.verdict is ColumnVerdict.SAME)
    if pair.reordered and all(c.verdict in (ColumnVerdict.SAME, ColumnVerdict.CHANGED) for c in changes):
        changes = []
    else:
        pair.reordered = False
    added, removed = pair.added, pair.removed
    return DataComparison(
        names=names, digests=digests, same=False, rows=rows, added=added, removed=removed, reordered=pair.reordered, columns=changes
    )


def _column(key: str, before: tuple[int, ColumnProfile] | None, now: tuple[int, ColumnProfile] | None, pair: _Aligned) -> ColumnChange:
    if before is None or now is None:
        verdict = ColumnVerdict.ADDED if before is None else ColumnVerdict.REMOVED
        return ColumnChange(name=key, verdict=verdict, before=before and before[1], now=now and now[1])
    (i, a), (j, b) = before, now
    if a.fingerprint == b.fingerprint and a.dtype == b.dtype:
        return ColumnChange(name=key, verdict=ColumnVerdict.SAME, before=a, now=b, rows=0)
    rows = None if a.dtype != b.dtype else pair.differing(i, j)
    known = a.levels is not None and b.levels is not None
    verdict = ColumnVerdict.RETYPED if a.dtype != b.dtype else ColumnVerdict.CHANGED
    if verdict is ColumnVerdict.CHANGED and rows == 0 and pair.lengths_differ:
        verdict = ColumnVerdict.SAME  # in the rows that both have
    return ColumnChange(
        name=key,
        verdict=verdict,
        before=a,
        now=b,
        rows=rows,
        at_most=pair.is_coarse and bool(rows),
        new_levels=sorted(set(b.levels or ()) - set(a.levels or ())) if known else [],
        lost_levels=sorted(set(a.levels or ()) - set(b.levels or ())) if known else [],
    )


class _Aligned:
    """Two sketches laid beside each other so that as many rows as possible meet: at the head, or at the tail."""

    def __init__(self, a: Sketch | None, b: Sketch | None) -> None:
        self._a, self._b = a, b
        self._at = (0, 0)
        self._common = 0
        self.added: int | None = None
        self.removed: int | None = None
        self.reordered = False
        self.is_comparable = a is not None and b is not None and a.block == b.block
        self.is_coarse = self.is_comparable and a is not None and a.block > 1
        self.lengths_differ = a is not None and b is not None and a.rows != b.rows
        if a is None or b is None or not self.is_comparable:
            return
        self._common = min(a.rows, b.rows) if not self.is_coarse else min(len(c) for c in (*a.of_column, *b.of_column))
        if not self.is_coarse:
            # A column more or another type changes every row's hash: then no row is known to be gone or new.
            counts, others = Counter(a.of_rows), Counter(b.of_rows)
            shared = sum((counts & others).values())
            if shared or not self._common:
                self.added, self.removed = b.rows - shared, a.rows - shared
                self.reordered = self.added == self.removed == 0 and a.of_rows != b.of_rows
            tail = (a.rows - self._common, b.rows - self._common)
            if self.lengths_differ and self._differing_rows(tail) < self._differing_rows((0, 0)):
                self._at = tail

    def _differing_rows(self, at: tuple[int, int]) -> int:
        assert self._a is not None and self._b is not None
        return _count_different(self._a.of_rows, self._b.of_rows, at, self._common)

    def differing(self, i: int, j: int) -> int | None:
        """Return in how many common rows two columns differ, by their positions; for blocks an upper bound."""
        a, b = self._a, self._b
        if a is None or b is None or not self.is_comparable:
            return None
        if not self.is_coarse:
            return _count_different(a.of_column[i], b.of_column[j], self._at, self._common)
        differing = [k for k in range(self._common) if a.of_column[i][k] != b.of_column[j][k]]
        smaller = min(a.rows, b.rows)
        return sum(max(0, min(smaller, (k + 1) * a.block) - k * a.block) for k in differing)


def _count_different(a: array[int], b: array[int], at: tuple[int, int], count: int) -> int:
    first, second = memoryview(a)[at[0] : at[0] + count], memoryview(b)[at[1] : at[1] + count]
    return 0 if first == second else sum(map(operator.ne, first, second))


def _file_notes(a: DataProfile, b: DataProfile, digests: tuple[str, str]) -> list[str]:
    notes = [f"content {digests[0][:8]}… → {digests[1][:8]}…"]
    if a.files != b.files:
        notes.append(f"files {format_number(a.files)} → {format_number(b.files)}")
    if a.size != b.size:
        notes.append(f"bytes {format_number(a.size)} → {format_number(b.size)}")
    for tool in sorted({*a.versions, *b.versions}):
        notes.append(f"{tool} {_short(a.versions.get(tool))} → {_short(b.versions.get(tool))}")
    if any(digest.startswith("unread") for digest in digests):
        notes.append("not all of the content could be read: they may be the same")
    return notes


def _short(version: str | None) -> str:
    if version is None:
        return "–"
    algorithm, colon, rest = version.partition(":")
    return f"{algorithm}:{rest[:8]}…" if colon and len(rest) > 12 else version


def _range(column: ColumnProfile | None) -> str | None:
    if column is None or column.low is None:
        return None
    low, high = (format_number(v) if isinstance(v, (int, float)) else str(v) for v in (column.low, column.high))
    return f"{low} … {high}"


def _step(before: object, now: object) -> str:
    shown: Sequence[str] = ["–" if value is None else str(value) for value in (before, now)]
    return shown[0] if shown[0] == shown[1] else " → ".join(shown)
