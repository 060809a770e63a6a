"""Blocks: stretches of a long series with their ends and extremes, so that a chart of ten million points reads thousands of rows.

A block holds `BLOCK` points that follow each other by (step, timestamp, bits), or some more where points came late. The
points after the last block are loose; `seal` makes blocks of them when there are enough. A point that comes late, before
the end of the last block, joins the block where it falls; a block that has grown to `SEAL_AT` points becomes two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mlops_nb.store.sql.bits import all_from_bits, comparable, from_bits
from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.schema import latest_metrics, metric_blocks, metric_points

BLOCK = 1024
SEAL_AT = 2 * BLOCK

Key = tuple[int, int, int]
"""Where a point stands in its series: (step, timestamp, bits)."""

BEFORE_ALL = (-(1 << 63), -(1 << 63), -(1 << 63))
_FOLLOWING = Hot(
    "SELECT step, timestamp, bits FROM metric_points WHERE run = ? AND key = ? AND (step, timestamp, bits) > (?, ?, ?) "
    "ORDER BY step, timestamp, bits LIMIT ?"
)
_SPANNED = Hot(
    "SELECT step, timestamp, bits FROM metric_points WHERE run = ? AND key = ? AND (step, timestamp, bits) >= (?, ?, ?) "
    "AND (step, timestamp, bits) <= (?, ?, ?) ORDER BY step, timestamp, bits"
)
_END = Hot(
    "SELECT last_step, last_timestamp, last_bits FROM metric_blocks WHERE run = ? AND key = ? "
    "ORDER BY first_step DESC, first_timestamp DESC, first_bits DESC LIMIT 1"
)
_LOOSE = Hot("UPDATE latest_metrics SET loose = ? WHERE run = ? AND key = ?")

_p = metric_points.c
_b = metric_blocks.c
_FIRST = sa.tuple_(_b.first_step, _b.first_timestamp, _b.first_bits)
_POINT = sa.tuple_(_p.step, _p.timestamp, _p.bits)


class Block(NamedTuple):
    """A row of `metric_blocks`; `low` and `high` are None in a block of nothing but NaN."""

    first: Key
    last: Key
    points: int
    low: Key | None
    high: Key | None


def seal(c: sa.Connection, run: int, key: int, loose: int) -> None:
    """Make blocks of the loose points of a series as long as there are `SEAL_AT` of them."""
    if loose < SEAL_AT:
        return
    end = last_end(c, run, key)
    rows: list[dict[str, Any]] = []
    while loose >= SEAL_AT:
        points: list[Key] = _FOLLOWING.rows(c, run, key, *(end or BEFORE_ALL), BLOCK)
        rows.append({"run": run, "key": key, **_row(_summary(points))})
        end = points[-1]
        loose -= len(points)
    c.execute(metric_blocks.insert(), rows)
    _LOOSE.run(c, loose, run, key)


def seal_all(c: sa.Connection) -> None:
    """Make the blocks of every series that lacks them."""
    wanted = sa.select(latest_metrics.c.run, latest_metrics.c.key, latest_metrics.c.loose).where(latest_metrics.c.loose >= SEAL_AT)
    for run, key, loose in c.execute(wanted).all():
        seal(c, run, key, loose)


def last_end(c: sa.Connection, run: int, key: int) -> Key | None:
    """Return where the last block of a series ends, or None where it has no blocks."""
    found = _END.rows(c, run, key)
    return tuple(found[0]) if found else None


def join(c: sa.Connection, run: int, key: int, point: Key) -> bool:
    """Take a late point into the block where it falls; False: it is loose, because it comes after every block."""
    end = last_end(c, run, key)
    if end is None or point > end:
        return False
    mine = metric_blocks.select().where(_b.run == run, _b.key == key)
    order = (_b.first_step, _b.first_timestamp, _b.first_bits)
    before = mine.where(sa.tuple_(*point) >= _FIRST).order_by(*(column.desc() for column in order)).limit(1)
    row = c.execute(before).first() or c.execute(mine.order_by(*order).limit(1)).one()
    block = _block(row)
    here = sa.and_(_b.run == run, _b.key == key, *(column == value for column, value in zip(order, block.first, strict=True)))
    block = Block(
        first=min(block.first, point),
        last=max(block.last, point),
        points=block.points + 1,
        low=_extreme(block.low, point, lower=True),
        high=_extreme(block.high, point, lower=False),
    )
    if block.points < SEAL_AT:
        c.execute(metric_blocks.update().where(here).values(**_row(block)))
    else:
        points: list[Key] = _SPANNED.rows(c, run, key, *block.first, *block.last)
        halves = points[: len(points) // 2], points[len(points) // 2 :]
        c.execute(metric_blocks.delete().where(here))
        c.execute(metric_blocks.insert(), [{"run": run, "key": key, **_row(_summary(half))} for half in halves])
    return True


def read(c: sa.Connection, run: int, key: int, start: int | None = None, end: int | None = None) -> list[Block]:
    """Return the blocks of a series between two steps, both included, in order; one that reaches beyond is cut there."""
    query = metric_blocks.select().where(_b.run == run, _b.key == key).order_by(_b.first_step, _b.first_timestamp, _b.first_bits)
    query = query if start is None else query.where(_b.last_step >= start)
    query = query if end is None else query.where(_b.first_step <= end)
    found = (_cut(c, run, key, _block(row), start, end) for row in c.execute(query).all())
    return [block for block in found if block]


def _cut(c: sa.Connection, run: int, key: int, block: Block, start: int | None, end: int | None) -> Block | None:
    """Return the block of those of its points that lie between two steps, or None where there are none."""
    low = start if start is not None and start > block.first[0] else None
    high = end if end is not None and end < block.last[0] else None
    if low is None and high is None:
        return block
    query = _after(run, key, None).where(sa.between(_POINT, sa.tuple_(*block.first), sa.tuple_(*block.last)))
    query = query if low is None else query.where(_p.step >= low)
    query = query if high is None else query.where(_p.step <= high)
    points = [tuple(row) for row in c.execute(query)]
    return _summary(points) if points else None


def loose_points(c: sa.Connection, run: int, key: int) -> list[Key]:
    """Return the points after the last block, in order."""
    return [tuple(row) for row in c.execute(_after(run, key, last_end(c, run, key)))]


def _after(run: int, key: int, end: Key | None) -> sa.Select[Any]:
    query = sa.select(_p.step, _p.timestamp, _p.bits).where(_p.run == run, _p.key == key).order_by(_p.step, _p.timestamp, _p.bits)
    return query if end is None else query.where(sa.tuple_(*end) < _POINT)


def _summary(points: Sequence[Key]) -> Block:
    ranked = [(value, i) for i, value in enumerate(all_from_bits([point[2] for point in points])) if value == value]  # NaN is no extreme
    return Block(
        first=points[0],
        last=points[-1],
        points=len(points),
        low=points[min(ranked)[1]] if ranked else None,
        high=points[max(ranked)[1]] if ranked else None,
    )


def _value(point: Key) -> float:
    return from_bits(point[2])


def _extreme(old: Key | None, point: Key, *, lower: bool) -> Key | None:
    if comparable(_value(point)) is None:
        return old
    if old is None:
        return point
    return point if (_value(point) < _value(old)) is lower and _value(point) != _value(old) else old


def _block(row: Any) -> Block:
    return Block(
        first=(row.first_step, row.first_timestamp, row.first_bits),
        last=(row.last_step, row.last_timestamp, row.last_bits),
        points=row.points,
        low=None if row.low_bits is None else (row.low_step, row.low_timestamp, row.low_bits),
        high=None if row.high_bits is None else (row.high_step, row.high_timestamp, row.high_bits),
    )


def _row(block: Block) -> dict[str, Any]:
    values: dict[str, Any] = {"points": block.points}
    for name, key in (("first", block.first), ("last", block.last), ("low", block.low), ("high", block.high)):
        for part, value in zip(("step", "timestamp", "bits"), key or (None, None, None), strict=True):
            values[f"{name}_{part}"] = value
    return values
