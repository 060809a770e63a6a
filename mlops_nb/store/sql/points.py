"""Writing metric points: the hot path of every log call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.records import Metric
from mlops_nb.store.sql import blocks
from mlops_nb.store.sql.bits import all_to_bits, comparable, from_bits
from mlops_nb.store.sql.hot import Hot

Row = tuple[int, int, int, int, int, int | None]
"""A row of `metric_points`: run, key, step, timestamp, bits, cell."""

_INSERT = Hot("INSERT INTO metric_points (run, key, step, timestamp, bits, cell) VALUES (?, ?, ?, ?, ?, ?)")
_INSERT_ONCE = Hot("INSERT INTO metric_points (run, key, step, timestamp, bits, cell) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING")
# One statement of arrays: a thousand single ones keep PostgreSQL busy thirty times as long.
_ARRAYS = (
    "INSERT INTO metric_points (run, key, step, timestamp, bits, cell) "
    "SELECT * FROM unnest(?::bigint[], ?::int[], ?::bigint[], ?::bigint[], ?::bigint[], ?::int[])"
)
_INSERT_ARRAYS = Hot(_ARRAYS)
_INSERT_ARRAYS_ONCE = Hot(f"{_ARRAYS} ON CONFLICT DO NOTHING")
_NEWEST = Hot("SELECT step, timestamp, bits, cell, points, loose FROM latest_metrics WHERE run = ? AND key = ?")
_FIRST = Hot("INSERT INTO latest_metrics (step, timestamp, value, bits, cell, points, loose, run, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
_MOVE = Hot(
    "UPDATE latest_metrics SET step = ?, timestamp = ?, value = ?, bits = ?, cell = ?, points = ?, loose = ? WHERE run = ? AND key = ?"
)
_FIRST_ARRAYS = Hot(
    "INSERT INTO latest_metrics (step, timestamp, value, bits, cell, points, loose, run, key) "
    "SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::float8[], ?::bigint[], ?::int[], ?::bigint[], ?::int[], ?::bigint[], ?::int[])"
)
_MOVE_ARRAYS = Hot(
    "UPDATE latest_metrics AS m SET step = n.step, timestamp = n.timestamp, value = n.value, bits = n.bits, cell = n.cell, "
    "points = n.points, loose = n.loose "
    "FROM unnest(?::bigint[], ?::bigint[], ?::float8[], ?::bigint[], ?::int[], ?::bigint[], ?::int[], ?::bigint[], ?::int[]) "
    "AS n (step, timestamp, value, bits, cell, points, loose, run, key) WHERE m.run = n.run AND m.key = n.key"
)
_NEWEST_ARRAY = Hot("SELECT key, step, timestamp, bits, cell, points, loose FROM latest_metrics WHERE run = ? AND key = ANY(?::int[])")
_KEY = Hot("SELECT id FROM metric_keys WHERE name = ?")
_NEW_KEY = Hot("INSERT INTO metric_keys (name) VALUES (?) ON CONFLICT DO NOTHING")
_KEYS_ARRAY = Hot("SELECT name, id FROM metric_keys WHERE name = ANY(?::text[])")
_NEW_KEYS_ARRAY = Hot("INSERT INTO metric_keys (name) SELECT * FROM unnest(?::text[]) ON CONFLICT DO NOTHING")


def put(c: sa.Connection, run: int, points: Sequence[Metric]) -> None:
    """Insert points of a run, each once, and move the latest ones on: by step, then timestamp, then value."""
    if not points:
        return
    ids = key_ids(c, {point.key for point in points})
    groups: dict[int, list[Row]] = {key: [] for key in ids.values()}
    for point, bits in zip(points, all_to_bits([point.value for point in points]), strict=True):
        key = ids[point.key]
        groups[key].append((run, key, point.step, point.timestamp, bits, point.cell))
    fresh: list[Row] = []
    moved: list[tuple[Any, ...]] = []
    first: list[tuple[Any, ...]] = []
    stored = _stored(c, run, list(groups))
    for key, group in groups.items():
        known = stored.get(key)
        newest, count, loose = _state(run, key, known)
        if _follow(newest, group):
            fresh += group
            newest, added, late = group[-1], len(group), 0
        else:
            added, late = _insert_each(c, group)
            newest = max(group if newest is None else (newest, *group), key=_rank)
        value = comparable(from_bits(newest[4]))
        row = (newest[2], newest[3], value, newest[4], newest[5], count + added, loose + added - late, run, key)
        (moved if known else first).append(row)
    _write(c, fresh, _INSERT, _INSERT_ARRAYS)
    _write(c, first, _FIRST, _FIRST_ARRAYS)
    _write(c, moved, _MOVE, _MOVE_ARRAYS)
    for row in (*first, *moved):
        if row[6] >= blocks.SEAL_AT:
            blocks.seal(c, run, row[8], row[6])


def _write(c: sa.Connection, rows: Sequence[tuple[Any, ...]], each: Hot, arrays: Hot) -> None:
    """Run a statement for each row, on PostgreSQL as one with the columns as arrays."""
    if len(rows) > 1 and c.dialect.name == "postgresql":
        arrays.run(c, *(list(column) for column in zip(*rows, strict=True)))
    else:
        each.many(c, rows)


def _stored(c: sa.Connection, run: int, keys: Sequence[int]) -> dict[int, Sequence[Any]]:
    """Return what is stored of the newest points of series, by key; on PostgreSQL each question is a way to the server."""
    if len(keys) > 1 and c.dialect.name == "postgresql":
        return {row[0]: row[1:] for row in _NEWEST_ARRAY.rows(c, run, list(keys))}
    return {key: row for key in keys for row in _NEWEST.rows(c, run, key)}


def _state(run: int, key: int, known: Sequence[Any] | None) -> tuple[Row | None, int, int]:
    """Return the newest point of a series, how many it has, and how many of these are in no block."""
    if not known:
        return None, 0, 0
    step, timestamp, bits, cell, count, loose = known
    return (run, key, step, timestamp, bits, cell), count, loose


def _follow(newest: Row | None, group: Iterable[Row]) -> bool:
    """Return whether each point comes after the one before it, the first after the newest that is stored: then all are new."""
    at_step, at_time = (-(1 << 64), 0) if newest is None else newest[2:4]
    for row in group:
        step = row[2]
        if step <= at_step and (step < at_step or row[3] <= at_time):
            return False
        at_step, at_time = step, row[3]
    return True


def _insert_each(c: sa.Connection, group: Sequence[Row]) -> tuple[int, int]:
    """Insert points that may be there already or come late; return how many were new, and how many of these joined a block."""
    end = blocks.last_end(c, *group[0][:2])
    added = _insert_once(c, [row for row in group if end is None or row[2:5] > end])
    late = 0
    for row in group:
        if end is not None and row[2:5] <= end and _INSERT_ONCE.run(c, *row):
            late += blocks.join(c, row[0], row[1], row[2:5])
            added += 1
    return added, late


def _insert_once(c: sa.Connection, rows: Sequence[Row]) -> int:
    """Insert points that may be there already; return how many were not."""
    if c.dialect.name == "postgresql" and len(rows) > 1:
        return _INSERT_ARRAYS_ONCE.run(c, *(list(column) for column in zip(*rows, strict=True)))
    return sum(_INSERT_ONCE.run(c, *row) for row in rows)


def _rank(row: Row) -> tuple[int, int, float]:
    value = comparable(from_bits(row[4]))
    return row[2], row[3], float("-inf") if value is None else value


def key_ids(c: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of metric names; a new name gets one."""
    wanted = list(names)
    ids: dict[str, int] = {}
    if len(wanted) > 1 and c.dialect.name == "postgresql":
        ids.update(_KEYS_ARRAY.rows(c, wanted))
        if new := [name for name in wanted if name not in ids]:
            _NEW_KEYS_ARRAY.run(c, new)
            ids.update(_KEYS_ARRAY.rows(c, new))
        return ids
    for name in wanted:
        found = _KEY.rows(c, name)
        if not found:
            _NEW_KEY.run(c, name)
            found = _KEY.rows(c, name)
        ids[name] = found[0][0]
    return ids
