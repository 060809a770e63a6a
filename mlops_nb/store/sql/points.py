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
_INSERT_ARRAYS = Hot(
    "INSERT INTO metric_points (run, key, step, timestamp, bits, cell) "
    "SELECT * FROM unnest(?::bigint[], ?::int[], ?::bigint[], ?::bigint[], ?::bigint[], ?::int[])"
)
_NEWEST = Hot("SELECT step, timestamp, bits, cell, points, loose FROM latest_metrics WHERE run = ? AND key = ?")
_FIRST = Hot("INSERT INTO latest_metrics (step, timestamp, value, bits, cell, points, loose, run, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
_MOVE = Hot(
    "UPDATE latest_metrics SET step = ?, timestamp = ?, value = ?, bits = ?, cell = ?, points = ?, loose = ? WHERE run = ? AND key = ?"
)
_KEY = Hot("SELECT id FROM metric_keys WHERE name = ?")
_NEW_KEY = Hot("INSERT INTO metric_keys (name) VALUES (?) ON CONFLICT DO NOTHING")


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
    for key, group in groups.items():
        known = _NEWEST.rows(c, run, key)
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
    if c.dialect.name == "postgresql" and len(fresh) > 1:
        _INSERT_ARRAYS.run(c, *(list(column) for column in zip(*fresh, strict=True)))
    else:
        _INSERT.many(c, fresh)
    _FIRST.many(c, first)
    _MOVE.many(c, moved)
    for row in (*first, *moved):
        if row[6] >= blocks.SEAL_AT:
            blocks.seal(c, run, row[8], row[6])


def _state(run: int, key: int, known: Sequence[Any]) -> tuple[Row | None, int, int]:
    """Return the newest point of a series, how many it has, and how many of these are in no block."""
    if not known:
        return None, 0, 0
    step, timestamp, bits, cell, count, loose = known[0]
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


def _insert_each(c: sa.Connection, group: Iterable[Row]) -> tuple[int, int]:
    """Insert points that may be there already or come late; return how many were new, and how many of these joined a block."""
    added = late = 0
    for row in group:
        if _INSERT_ONCE.run(c, *row):
            added += 1
            late += blocks.join(c, row[0], row[1], row[2:5])
    return added, late


def _rank(row: Row) -> tuple[int, int, float]:
    value = comparable(from_bits(row[4]))
    return row[2], row[3], float("-inf") if value is None else value


def key_ids(c: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of metric names; a new name gets one."""
    ids: dict[str, int] = {}
    for name in names:
        found = _KEY.rows(c, name)
        if not found:
            _NEW_KEY.run(c, name)
            found = _KEY.rows(c, name)
        ids[name] = found[0][0]
    return ids
