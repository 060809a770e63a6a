"""Metric points: written in batches, read as history or thinned for charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from mlops_nb.core.records import Metric, Series
from mlops_nb.store.base import MAX_PAGE, Page
from mlops_nb.store.sql import paging
from mlops_nb.store.sql.bits import comparable, from_bits, to_bits
from mlops_nb.store.sql.schema import latest_metrics, metric_keys, metric_points
from mlops_nb.store.sql.upsert import insert


def put(c: sa.Connection, row: int, points: Sequence[Metric]) -> None:
    """Insert points of a run, each once, and move the latest ones on: by step, then timestamp, then value."""
    if not points:
        return
    ids = _key_ids(c, {point.key for point in points})
    rows = []
    latest: dict[str, Metric] = {}
    for point in points:
        rows.append({"run": row, "key": ids[point.key], "step": point.step, "timestamp": point.timestamp, "bits": to_bits(point.value)})
        known = latest.get(point.key)
        if known is None or _rank(point) >= _rank(known):
            latest[point.key] = point
    c.execute(insert(c, metric_points).on_conflict_do_nothing(), rows)
    statement = insert(c, latest_metrics)
    new, old = statement.excluded, latest_metrics.c
    is_newer = sa.or_(
        sa.tuple_(new.step, new.timestamp) > sa.tuple_(old.step, old.timestamp),
        sa.and_(new.step == old.step, new.timestamp == old.timestamp, sa.or_(old.value.is_(None), new.value >= old.value)),
    )
    moved = {name: getattr(new, name) for name in ("step", "timestamp", "value", "bits", "cell")}
    c.execute(
        statement.on_conflict_do_update(index_elements=["run", "key"], set_=moved, where=is_newer),
        [
            {
                "run": row,
                "key": ids[point.key],
                "step": point.step,
                "timestamp": point.timestamp,
                "value": comparable(point.value),
                "bits": to_bits(point.value),
                "cell": point.cell,
            }
            for point in latest.values()
        ],
    )


def _rank(point: Metric) -> tuple[int, int, float]:
    value = comparable(point.value)
    return point.step, point.timestamp, float("-inf") if value is None else value


def _key_ids(c: sa.Connection, names: set[str]) -> dict[str, int]:
    known = _known_ids(c, names)
    missing = sorted(names - known.keys())
    if missing:
        c.execute(insert(c, metric_keys).on_conflict_do_nothing(), [{"name": name} for name in missing])
        known |= _known_ids(c, missing)
    return known


def _known_ids(c: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    return {r[1]: r[0] for r in c.execute(sa.select(metric_keys.c.id, metric_keys.c.name).where(metric_keys.c.name.in_(list(names))))}


def history(c: sa.Connection, row: int, key: str, max_results: int | None, token: str | None) -> Page[Metric]:
    """Return a page of the points of one metric."""
    key_id = _known_ids(c, [key]).get(key)
    if key_id is None:
        return Page(items=[])
    p = metric_points.c
    query = sa.select(p.step, p.timestamp, p.bits).where(p.run == row, p.key == key_id).order_by(p.step, p.timestamp, p.bits)
    limit, offset = (None, 0) if max_results is None else paging.bounds(max_results, token, MAX_PAGE)
    if limit is not None:
        query = query.limit(limit + 1).offset(offset)
    points = [Metric(key=key, value=from_bits(bits), timestamp=timestamp, step=step) for step, timestamp, bits in c.execute(query)]
    if limit is None:
        return Page(items=points)
    return Page(items=points[:limit], token=paging.next_token(len(points), limit, offset))


def series(c: sa.Connection, row: int, keys: Sequence[str] | None, max_points: int) -> list[Series]:
    """Return the metrics of a run, each thinned to at most `max_points` points."""
    query = sa.select(metric_keys.c.id, metric_keys.c.name).join(latest_metrics, latest_metrics.c.key == metric_keys.c.id)
    query = query.where(latest_metrics.c.run == row).order_by(metric_keys.c.name)
    if keys is not None:
        query = query.where(metric_keys.c.name.in_(list(keys)))
    return [_thinned(c, row, key_id, name, max_points) for key_id, name in c.execute(query).all()]


def _thinned(c: sa.Connection, row: int, key_id: int, name: str, max_points: int) -> Series:
    p = metric_points.c
    where = (p.run == row, p.key == key_id)
    total = int(c.execute(sa.select(sa.func.count()).select_from(metric_points).where(*where)).scalar_one())
    query = sa.select(p.step, p.timestamp, p.bits).where(*where).order_by(p.step, p.timestamp, p.bits)
    rows = c.execution_options(yield_per=10_000).execute(query)
    points = ((step, timestamp, from_bits(bits)) for step, timestamp, bits in rows)
    return Series(key=name, total=total, points=list(points) if total <= max_points else thin(points, total, max_points))


def thin(points: Iterable[tuple[int, int, float]], total: int, max_points: int) -> list[tuple[int, int, float]]:
    """Keep the first, lowest, highest and last point of each bucket, so that no spike is lost.

    Args:
        points: In order; read once.
        total: How many there are.
        max_points: At most this many are kept, but at least 4.
    """
    buckets = max(1, max_points // 4)
    size = -(-total // buckets)
    kept: list[tuple[int, int, float]] = []
    bucket: list[tuple[int, int, float]] = []
    for point in points:
        bucket.append(point)
        if len(bucket) == size:
            kept += _extremes(bucket)
            bucket = []
    return kept + (_extremes(bucket) if bucket else [])


def _extremes(bucket: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    ranked = [i for i, point in enumerate(bucket) if comparable(point[2]) is not None]
    chosen = {0, len(bucket) - 1}
    if ranked:
        chosen |= {min(ranked, key=lambda i: bucket[i][2]), max(ranked, key=lambda i: bucket[i][2])}
    return [bucket[i] for i in sorted(chosen)]
