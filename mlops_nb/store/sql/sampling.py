"""One metric of many runs for a chart: points at even distances, and the extremes, so that no spike is lost.

Of a long series neither all points nor only the ends of its blocks are read: the index leads straight to the points at
even distances, and the blocks know the extremes between them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.store.sql.bits import all_from_bits
from mlops_nb.store.sql.blocks import BLOCK, Key
from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.metrics import thin

_RUNS = (
    "SELECT r.run_id, m.run, m.key, m.points FROM runs AS r JOIN latest_metrics AS m ON m.run = r.id "
    "WHERE r.run_id {among} AND m.key = (SELECT id FROM metric_keys WHERE name = ?)"
)
_SERIES = Hot(_RUNS.format(among="IN (SELECT value FROM json_each(?))"), postgresql=_RUNS.format(among="= ANY(?)"))
_OF = "FROM metric_points WHERE run = ? AND key = ? AND step >= ? AND step <= ?"
# Two statements: of one that asks for both SQLite reads the whole series.
_MIN = Hot(f"SELECT min(step) {_OF}")
_MAX = Hot(f"SELECT max(step) {_OF}")
_POINTS = Hot(f"SELECT step, timestamp, bits {_OF} ORDER BY step, timestamp, bits LIMIT ?")
_NEXT = "(SELECT min(step) FROM metric_points AS m WHERE m.run = ? AND m.key = ? AND m.step >= t.value)"
_AT = (
    f"SELECT p.step, p.timestamp, p.bits FROM (SELECT DISTINCT {_NEXT} AS step FROM {{wanted}}) AS s "  # noqa: S608
    "{join} metric_points AS p ON p.run = ? AND p.key = ? AND p.step = s.step"
)
_SAMPLES = Hot(
    _AT.format(wanted="json_each(?) AS t", join="CROSS JOIN"), postgresql=_AT.format(wanted="unnest(?::bigint[]) AS t(value)", join="JOIN")
)
_BLOCKS = Hot(
    "SELECT low_step, low_timestamp, low_bits, high_step, high_timestamp, high_bits, last_step, last_timestamp, last_bits, first_step "
    "FROM metric_blocks WHERE run = ? AND key = ? AND last_step >= ? AND first_step <= ? "
    "ORDER BY first_step, first_timestamp, first_bits"
)
_LOOSE = Hot(
    "SELECT step, timestamp, bits FROM metric_points WHERE run = ? AND key = ? AND (step, timestamp, bits) > (?, ?, ?) AND step <= ? "
    "ORDER BY step, timestamp, bits"
)
_MOST_IN_BLOCK = 16 * BLOCK
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


def sampled(
    c: sa.Connection, run_ids: Sequence[str], name: str, max_points: int, start: int | None, end: int | None
) -> dict[str, list[tuple[int, int, float]]]:
    """Return about `max_points` points of a metric of each run between two steps, both included, in order."""
    ids = list(run_ids)
    between = (_LOWEST if start is None else start, _HIGHEST if end is None else end)
    found: dict[str, list[tuple[int, int, float]]] = {}
    for run_id, run, key, total in _SERIES.rows(c, ids if c.dialect.name == "postgresql" else json.dumps(ids), name):
        points = _sample(c, run, key, total, max_points, *between)
        found[run_id] = [(p[0], p[1], value) for p, value in zip(points, all_from_bits([p[2] for p in points]), strict=True)]
    return found


def _sample(c: sa.Connection, run: int, key: int, total: int, max_points: int, start: int, end: int) -> Sequence[Key]:
    few = max(max_points, BLOCK)
    if total <= few or start != _LOWEST or end != _HIGHEST:
        rows = _POINTS.rows(c, run, key, start, end, few + 1)
        if len(rows) <= few:
            return rows if len(rows) <= max_points else thin(rows, max_points)
    first, last = _MIN.rows(c, run, key, start, end)[0][0], _MAX.rows(c, run, key, start, end)[0][0]
    extremes = _extremes(c, run, key, start, end, max_points // 2)
    count = max(2, max_points - len(extremes))
    steps = sorted({first + (last - first) * i // (count - 1) for i in range(count)})
    wanted: Any = steps if c.dialect.name == "postgresql" else json.dumps(steps)
    samples = [tuple(row) for row in _SAMPLES.rows(c, run, key, wanted, run, key) if row[0] <= end]
    points = sorted({*samples, *extremes})
    # Where clients give no steps, thousands of points have one step.
    return points if len(points) <= 2 * max_points else thin(points, max_points)


def _extremes(c: sa.Connection, run: int, key: int, start: int, end: int, most: int) -> list[Key]:
    """Return the extremes of the blocks and of the points after them, thinned."""
    blocks = _BLOCKS.rows(c, run, key, start, end)
    extremes = {place for row in blocks for place in (tuple(row[:3]), tuple(row[3:6])) if place[0] is not None}
    after = blocks[-1][6:9] if blocks else (start, _LOWEST, _LOWEST)
    loose = _LOOSE.rows(c, run, key, *after, end) if not blocks or blocks[-1][6] < end else []
    for row in blocks[:1] + blocks[1:][-1:]:
        if row[9] < start or row[6] > end:  # its extremes may lie beyond
            extremes.update(_notable(_POINTS.rows(c, run, key, max(row[9], start), min(row[6], end), _MOST_IN_BLOCK)))
    points = sorted(place for place in extremes if start <= place[0] <= end)
    points += _notable(loose)
    return points if len(points) <= most else thin(points, most)


def _notable(points: Sequence[Key]) -> list[Key]:
    """Return the first, the lowest, the highest and the last of some points."""
    values = all_from_bits([point[2] for point in points])
    numbers = [value for value in values if value == value]  # NaN equals nothing
    chosen = {0, len(points) - 1} if points else set()
    if numbers:
        chosen |= {values.index(min(numbers)), values.index(max(numbers))}
    return [(step, timestamp, bits) for step, timestamp, bits in (points[at] for at in sorted(chosen))]
