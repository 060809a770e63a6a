"""Series of metrics, however their points come: history, latest point and counters are right, charts keep what stands out."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_nb.core.records import Metric
from mlops_nb.store.sql import blocks, sampling
from mlops_nb.store.sql.bits import from_bits, to_bits
from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.schema import metric_blocks, runs
from mlops_nb.store.sql.store import SqlStore
from tests.durability.oracle import rank

_BLOCK = 8
_KEYS = ("a", "b")
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1

Place = tuple[int, int, int]
"""(step, timestamp, bits)"""

_values = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.0, 1.0, 5e-324]),
    st.floats(width=16),
    st.integers(1, 3).map(lambda payload: struct.unpack("<d", struct.pack("<q", 0x7FF8 << 48 | payload))[0]),  # other NaN
)
_steps = st.one_of(st.integers(-5, 60), st.integers(0, 3), st.sampled_from([_LOWEST, _HIGHEST]))
_scattered = st.lists(st.tuples(_steps, st.integers(0, 3), _values), max_size=30)


def _ramp(start: int, count: int, by: int, value: float) -> list[tuple[int, int, float]]:
    return [(start + by * i, 1, value * (i * 7919 % 101)) for i in range(count)]


_ramps = st.builds(_ramp, st.integers(-20, 200), st.integers(1, 300), st.sampled_from([-3, -1, 1, 2]), st.sampled_from([0.0, 1.0, -1.0]))
_batches = st.lists(st.tuples(st.sampled_from(_KEYS), st.one_of(_ramps, _scattered)), min_size=1, max_size=8)
_long_ramps = st.builds(_ramp, st.just(0), st.integers(150, 300), st.sampled_from([-1, 1, 2]), st.sampled_from([1.0, -1.0]))
_long_batches = st.builds(lambda ramp, more: [("a", ramp), *more], _long_ramps, _batches)
_starts = st.one_of(st.none(), st.integers(-300, 100))
_ends = st.one_of(st.none(), st.integers(-30, 500))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """A store whose blocks are so small that a few points make many of them."""
    patch = pytest.MonkeyPatch()
    patch.setattr(blocks, "BLOCK", _BLOCK)
    patch.setattr(blocks, "SEAL_AT", 2 * _BLOCK)
    patch.setattr(sampling, "BLOCK", _BLOCK)
    store = SqlStore.in_file(tmp_path_factory.mktemp("blocks") / "store.db", durability="normal")
    yield store
    store.close()
    patch.undo()


def _log(store: SqlStore, batches: Sequence[tuple[str, Sequence[tuple[int, int, float]]]]) -> tuple[str, dict[str, list[Place]]]:
    """Log batches to a new run; return its id and the places that its metrics should have, in order."""
    run_id = store.create_run("0").run_id
    known: dict[str, set[Place]] = {}
    for key, points in batches:
        store.log_batch(run_id, metrics=[Metric(key=key, step=step, timestamp=at, value=value) for step, at, value in points])
        known.setdefault(key, set()).update((step, at, to_bits(value)) for step, at, value in points)
    return run_id, {key: sorted(places) for key, places in known.items() if places}


def _rows(store: SqlStore, query: Any) -> list[Any]:
    with store.database.read() as c:
        return list((c.exec_driver_sql(query) if isinstance(query, str) else c.execute(query)).all())


_thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@_thorough
@given(_batches)
def test_every_point_is_kept_once_and_counted(store: SqlStore, batches: list[tuple[str, list[tuple[int, int, float]]]]) -> None:
    run_id, known = _log(store, batches)
    run = store.get_run(run_id)
    assert run.metrics.keys() == known.keys()
    for key, places in known.items():
        history = store.metric_history(run_id, key, max_results=None).items
        assert [(p.step, p.timestamp, to_bits(p.value)) for p in history] == places
        newest = run.metrics[key]
        assert rank((newest.step, newest.timestamp, to_bits(newest.value))) == max(map(rank, places))
    number = _rows(store, sa.select(runs.c.id).where(runs.c.run_id == run_id))[0][0]
    assert miscounts(lambda query: _rows(store, query), first=number) == []
    names = dict(_rows(store, "SELECT id, name FROM metric_keys"))
    for row in _rows(store, metric_blocks.select().where(metric_blocks.c.run == number)):
        within = [place for place in known[names[row.key]] if _first(row) <= place <= _last(row)]
        assert (_first(row), _last(row), row.points) == (within[0], within[-1], len(within))
        assert row.points < 2 * _BLOCK
        numbers = [from_bits(place[2]) for place in within if not math.isnan(from_bits(place[2]))]
        assert (row.low_bits is None) == (row.high_bits is None) == (not numbers)
        if numbers:
            assert (from_bits(row.low_bits), from_bits(row.high_bits)) == (min(numbers), max(numbers))
            assert (row.low_step, row.low_timestamp, row.low_bits) in within
            assert (row.high_step, row.high_timestamp, row.high_bits) in within


def _first(row: Any) -> Place:
    return row.first_step, row.first_timestamp, row.first_bits


def _last(row: Any) -> Place:
    return row.last_step, row.last_timestamp, row.last_bits


def _check_chart(chart: Sequence[tuple[int, int, float]], places: Sequence[Place], start: int | None, end: int | None, most: int) -> None:
    """Check that a chart keeps the ends and the extremes of what lies within its steps, and shows nothing else."""
    within = [place for place in places if (start is None or place[0] >= start) and (end is None or place[0] <= end)]
    shown = [(step, at, to_bits(value)) for step, at, value in chart]
    assert shown == sorted(set(shown))
    assert set(shown) <= set(within)
    assert len(shown) <= most
    if not within:
        return
    assert (shown[0][0], shown[-1][0]) == (within[0][0], within[-1][0])
    numbers = [value for place in within if not math.isnan(value := from_bits(place[2]))]
    values = [from_bits(bits) for _, _, bits in shown]
    if numbers:
        assert min(numbers) in values and max(numbers) in values


@_thorough
@given(_long_batches, st.sampled_from([4, 8, 20, 40]), _starts, _ends)
def test_a_chart_of_one_run_keeps_ends_and_extremes_of_any_window(
    store: SqlStore, batches: list[tuple[str, list[tuple[int, int, float]]]], most: int, start: int | None, end: int | None
) -> None:
    run_id, known = _log(store, batches)
    for series in store.series(run_id, max_points=most, start_step=start, end_step=end):
        assert series.total == len(known[series.key])
        _check_chart(series.points, known[series.key], start, end, max(most, 8))


@_thorough
@given(_long_batches, st.sampled_from([4, 8, 20, 40]), _starts, _ends)
def test_a_chart_of_many_runs_keeps_ends_and_extremes_of_any_window(
    store: SqlStore, batches: list[tuple[str, list[tuple[int, int, float]]]], most: int, start: int | None, end: int | None
) -> None:
    run_id, known = _log(store, batches)
    for key, places in known.items():
        chart = store.sampled_metric([run_id], key, max_points=most, start_step=start, end_step=end)
        _check_chart(chart.get(run_id, []), places, start, end, max(2 * most, _BLOCK))
