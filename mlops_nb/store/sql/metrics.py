"""Reading metric points, as history or thinned for charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.records import Metric, Series
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import MAX_PAGE, MetricColumns, Page
from mlops_nb.store.sql import blocks, paging
from mlops_nb.store.sql.bits import all_from_bits, comparable, from_bits
from mlops_nb.store.sql.blocks import Block, Key
from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.schema import latest_metrics, metric_keys, metric_points

_p = metric_points.c
_l = latest_metrics.c
_AFTER = Hot(
    "SELECT step, timestamp, bits, cell FROM metric_points WHERE run = ? AND key = (SELECT id FROM metric_keys WHERE name = ?) "
    "AND (step, timestamp, bits) > (?, ?, ?) ORDER BY step, timestamp, bits"
)
_AFTER_SOME = Hot(
    "SELECT step, timestamp, bits, cell FROM metric_points WHERE run = ? AND key = (SELECT id FROM metric_keys WHERE name = ?) "
    "AND (step, timestamp, bits) > (?, ?, ?) ORDER BY step, timestamp, bits LIMIT ?"
)


def known_ids(c: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of those metric names that have one."""
    wanted = list(names)
    mine = metric_keys.c.name == wanted[0] if len(wanted) == 1 else metric_keys.c.name.in_(wanted)
    return {r[1]: r[0] for r in c.execute(sa.select(metric_keys.c.id, metric_keys.c.name).where(mine))}


def history(c: sa.Connection, run: int, key: str, max_results: int | None, token: str | None) -> Page[Metric]:
    """Return a page of the points of one metric; the token says after which point the next one begins."""
    rows, following = _page(c, run, key, None if max_results is None else paging.limit_of(max_results, MAX_PAGE), token)
    items = [
        Metric(key=key, value=value, timestamp=timestamp, step=step, cell=cell)
        for (step, timestamp, _, cell), value in zip(rows, all_from_bits([row[2] for row in rows]), strict=True)
    ]
    return Page(items=items, token=following)


def columns(c: sa.Connection, run: int, key: str, max_results: int, token: str | None) -> tuple[MetricColumns, str | None]:
    """Return a page of the points of one metric as columns, and the token of the next."""
    rows, following = _page(c, run, key, paging.limit_of(max_results, MAX_PAGE), token)
    if not rows:
        return MetricColumns((), (), ()), None
    steps, timestamps, bits, _ = zip(*rows, strict=True)
    return MetricColumns(steps, timestamps, all_from_bits(bits)), following


def _page(c: sa.Connection, run: int, key: str, limit: int | None, token: str | None) -> tuple[list[Any], str | None]:
    after = _from_token(token) or blocks.BEFORE_ALL
    if limit is None:
        return _AFTER.rows(c, run, key, *after), None
    rows = _AFTER_SOME.rows(c, run, key, *after, limit + 1)
    return rows[:limit], paging.to_token(list(rows[limit - 1][:3])) if len(rows) > limit else None


def _points(run: int, key: int) -> sa.Select[Any]:
    return sa.select(_p.step, _p.timestamp, _p.bits).where(_p.run == run, _p.key == key).order_by(_p.step, _p.timestamp, _p.bits)


def _from_token(token: str | None) -> Key | None:
    if not token:
        return None
    values = paging.from_token(token)
    if len(values) != 3 or not all(isinstance(value, int) for value in values):
        raise InvalidInput(f"Invalid page token {token!r}.", hint="Use next_page_token of the last answer as it is.")
    return values[0], values[1], values[2]


def series(
    c: sa.Connection, run: int, keys: Sequence[str] | None, max_points: int, start_step: int | None = None, end_step: int | None = None
) -> list[Series]:
    """Return the metrics of a run, each thinned to at most `max_points` points."""
    query = sa.select(metric_keys.c.id, metric_keys.c.name, _l.points).join(latest_metrics, _l.key == metric_keys.c.id)
    query = query.where(_l.run == run).order_by(metric_keys.c.name)
    if keys is not None:
        query = query.where(metric_keys.c.name.in_(list(keys)))
    found = []
    for key, name, total in c.execute(query).all():
        points = _thinned(c, run, key, total, max_points, start_step, end_step)
        found.append(Series(key=name, total=total, points=[(step, timestamp, from_bits(bits)) for step, timestamp, bits in points]))
    return found


def _thinned(c: sa.Connection, run: int, key: int, total: int, max_points: int, start: int | None, end: int | None) -> list[Key]:
    """Return the points of a series between two steps, both included, thinned; a long series is read from its blocks."""
    whole = start is None and end is None
    if total <= max(max_points, blocks.SEAL_AT):
        points = [_key(row) for row in c.execute(_points(run, key)) if _within(row[0], start, end)]
        return points if len(points) <= max_points else thin(points, max_points)
    stretches = blocks.read(c, run, key, start, end)
    if not whole and sum(b.points for b in stretches) <= 16 * blocks.BLOCK:
        query = _points(run, key)
        query = query if start is None else query.where(_p.step >= start)
        query = query if end is None else query.where(_p.step <= end)
        points = [_key(row) for row in c.execute(query)]
        return points if len(points) <= max_points else thin(points, max_points)
    loose = [point for point in blocks.loose_points(c, run, key) if _within(point[0], start, end)]
    return thin_blocks(stretches, loose, max_points)


def _key(row: Any) -> Key:
    return row[0], row[1], row[2]


def _within(step: int, start: int | None, end: int | None) -> bool:
    return (start is None or step >= start) and (end is None or step <= end)


def thin(points: Sequence[Key], max_points: int) -> list[Key]:
    """Keep the first, lowest, highest and last point of each bucket, so that no spike is lost.

    Args:
        points: In order.
        max_points: At most this many are kept, but at least 4.
    """
    size = -(-len(points) // max(1, max_points // 4))
    kept: list[Key] = []
    for at in range(0, len(points), size):
        kept += _extremes(points[at : at + size])
    return kept


def thin_blocks(stretches: Sequence[Block], loose: Sequence[Key], max_points: int) -> list[Key]:
    """Thin a series that is given by its blocks and the points after them; each bucket is a number of neighbouring blocks."""
    buckets = max(1, max_points // 4)
    total = sum(block.points for block in stretches) + len(loose)
    tail = max(1, round(buckets * len(loose) / total)) if loose else 0
    size = -(-len(stretches) // max(1, buckets - tail))
    kept: list[Key] = []
    for group in _groups(stretches, size):
        candidates = {group[0].first, group[-1].last}
        candidates |= {block.low for block in group if block.low} | {block.high for block in group if block.high}
        kept += _extremes(sorted(candidates))
    return kept + (thin(loose, 4 * tail) if loose else [])


def _groups(items: Sequence[Block], size: int) -> Iterator[Sequence[Block]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _extremes(bucket: Sequence[Key]) -> list[Key]:
    values = [comparable(value) for value in all_from_bits([point[2] for point in bucket])]
    ranked = [(value, i) for i, value in enumerate(values) if value is not None]
    chosen = {0, len(bucket) - 1}
    if ranked:
        chosen |= {min(ranked)[1], max(ranked)[1]}
    return [bucket[i] for i in sorted(chosen)]
