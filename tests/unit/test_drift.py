"""Drift: what has changed is found, what is chance is not, and too few rows say nothing."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mlops_nb.errors import InvalidInput
from mlops_nb.monitoring.bins import ColumnBins, Reference, bins_of, count
from mlops_nb.monitoring.drift import MIN_ROWS, ColumnDrift, Verdict, compare, ks, overall
from mlops_nb.monitoring.observed import Counts, Observed
from mlops_nb.monitoring.traffic import TrafficMeter
from mlops_nb.serving import references


def table(rows: int, seed: int = 0, **shifts: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "income": rng.lognormal(10, 1.5, rows),
            "plan": rng.choice(["free", "pro", "team"], rows, p=[0.7, 0.2, 0.1]),
            "is_new": rng.random(rows) < 0.3,
        }
    )
    for name, shift in shifts.items():
        frame[name] = frame[name] + shift
    return frame


def drift_of(reference: pd.DataFrame, seen: pd.DataFrame) -> dict[str, ColumnDrift]:
    columns = bins_of(reference)
    return {one.name: one for one in compare(columns, [count(seen[column.name], column) for column in columns])}


def test_the_same_distribution_raises_no_alarm_whatever_the_number_of_rows() -> None:
    alarms = 0
    for seed in range(40):
        for rows in (MIN_ROWS, 400, 3000):
            found = drift_of(table(1000, seed), table(rows, 1000 + seed))
            alarms += overall(list(found.values())) is not Verdict.OK
    assert alarms <= 1  # of 120, at 1 % over all columns


def test_a_shift_is_found_in_the_column_that_has_it_and_comes_first() -> None:
    found = drift_of(table(2000), table(500, 1, age=25))
    assert next(iter(found)) == "age" and found["age"].verdict is Verdict.DRIFTED and found["age"].unseen > 0.05
    assert {name for name, one in found.items() if one.verdict is not Verdict.OK} == {"age"}
    assert "age: drift · PSI" in str(found["age"]) and "500 rows" in str(found["age"])


def test_new_levels_other_shares_missing_values_and_constants_count_as_drift() -> None:
    seen = table(500, 1)
    seen["plan"] = np.where(np.arange(500) % 3 == 0, "enterprise", seen["plan"])
    seen["is_new"] = True
    seen["income"] = seen["income"].where(np.arange(500) % 2 == 0)
    found = drift_of(table(2000), seen)
    assert [found[name].verdict for name in ("plan", "is_new", "income")] == [Verdict.DRIFTED] * 3
    assert found["plan"].unseen == pytest.approx(1 / 3, abs=0.01) and found["income"].missing == (0.0, 0.5)
    constant = drift_of(pd.DataFrame({"x": [3.0] * 300}), pd.DataFrame({"x": [4.0] * 300}))
    assert constant["x"].verdict is Verdict.DRIFTED and constant["x"].unseen == 1.0
    assert drift_of(pd.DataFrame({"x": [3.0] * 300}), pd.DataFrame({"x": [3.0] * 300}))["x"].verdict is Verdict.OK


def test_too_few_rows_say_nothing() -> None:
    few = drift_of(table(2000), table(MIN_ROWS - 1, 1, age=60))
    assert {one.verdict for one in few.values()} == {Verdict.FEW_ROWS} and overall(list(few.values())) is Verdict.FEW_ROWS
    assert {one.verdict for one in drift_of(table(50), table(500, 1, age=60)).values()} == {Verdict.FEW_ROWS}


def test_the_statistic_is_that_of_scipy_as_far_as_bins_can_tell() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.2, 0.6):
        one, other = rng.normal(size=1500), rng.normal(shift, size=700)
        (column,) = bins_of(one)
        statistic, p = ks(column.counts, count(other, column)[:-1])
        exact = stats.ks_2samp(one, other)
        assert statistic <= exact.statistic + 1e-12 and statistic == pytest.approx(exact.statistic, abs=0.05)
        assert p >= exact.pvalue * 0.99 - 1e-9


def test_values_of_any_kind_are_counted_and_none_of_them_is_kept() -> None:
    secret = "Jane Doe, 4 Privet Drive"
    names = pd.DataFrame({"name": [f"{secret} {i}" for i in range(200)], "x": np.arange(200.0)})
    reference = Reference(source="r", inputs=bins_of(names))
    assert secret not in msgspec.json.encode(reference).decode()
    text, number = reference.inputs
    assert not text.is_watched and number.is_watched
    for hostile in ([math.nan, math.inf, -math.inf, 1e308], [None, "7", "seven", 10**400, [1]], [True, False], []):
        counts = count(hostile, number)
        assert sum(counts) == len(hostile) and len(counts) == len(number.counts) + 1
    levels = ColumnBins(name="plan", levels=["a"], counts=[5, 0])
    assert count(["a", "b", None, float("nan"), 3, "\ud800", "x" * 10**6], levels) == [1, 4, 2]


@pytest.mark.parametrize(
    "column",
    [
        ColumnBins(name="x", edges=[1.0, 0.0], counts=[1, 1, 1]),
        ColumnBins(name="x", edges=[0.0, float("nan")], counts=[1, 1, 1]),
        ColumnBins(name="x", edges=[0.0], counts=[1]),
        ColumnBins(name="x", edges=[0.0], counts=[1, -1]),
        ColumnBins(name="x", edges=[float(i) for i in range(100)], counts=[1] * 101),
        ColumnBins(name="x", levels=["a"], edges=[0.0], counts=[1, 1]),
    ],
)
def test_a_reference_that_cannot_be_counted_by_is_refused(column: ColumnBins) -> None:
    with pytest.raises(ValueError, match=r"it |its |a count"):
        Reference(source="r", inputs=[column]).check()


def test_what_was_seen_an_hour_ago_counts_only_where_the_last_hour_has_too_few_rows() -> None:
    now = [10_000.0]
    observed = Observed(lambda: now[0])
    observed.add(Counts(rows=500, inputs=[[500, 0, 0]]))
    now[0] += 7200
    observed.add(Counts(rows=50, inputs=[[0, 50, 0]]))
    recent, is_recent = observed.recent(100)
    assert (recent.rows, recent.inputs, is_recent) == (550, [[500, 50, 0]], False)
    observed.add(Counts(rows=60, inputs=[[0, 60, 0]]))
    recent, is_recent = observed.recent(100)
    assert (recent.rows, recent.inputs, is_recent) == (110, [[0, 110, 0]], True)
    observed.forget()
    assert observed.recent(100)[0].rows == 0


def test_traffic_of_the_last_minute_is_whole_however_much_comes() -> None:
    now = [100.0]
    meter = TrafficMeter(lambda: now[0])
    for i in range(20_000):
        now[0] = 100 + i / 1000
        meter.add(0.004 if i % 100 else 0.2, 500 if i % 1000 == 0 else 422 if i % 1000 == 1 else 200, "live" if i % 4 else "canary")
    assert meter.totals() == (20_000, 20, 20)
    p50, p95, p99 = meter.quantiles(0.5, 0.95, 0.995)
    assert p50 == pytest.approx(4, rel=0.03) and p95 == pytest.approx(4, rel=0.03) and p99 == pytest.approx(200, rel=0.03)
    assert meter.versions() == {"live": 15_000, "canary": 5_000} and sum(meter.course()) == 20_000
    now[0] += 61
    assert meter.totals() == (0, 0, 0) and meter.quantiles(0.5) == [None]


def test_a_reference_of_few_rows_is_refused_because_its_bins_would_be_the_rows() -> None:
    few = pd.DataFrame({"who": ["ada", "bob", "eve"], "age": [41.0, 52.0, 63.0]})
    with pytest.raises(InvalidInput, match="at least 100 rows; these are 3"):
        references.of_rows(few, None, names=None, source="X")
