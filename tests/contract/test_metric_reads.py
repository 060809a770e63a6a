"""Metrics read in bulk: all points as a stream, and many runs thinned for charts."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.records import Metric
from mlops_nb.errors import NotFound
from mlops_nb.store.base import ServedStore
from mlops_nb.store.open import open_store
from mlops_nb.store.sql.hot import Hot
from tests.postgres import PostgresServer, needs_postgres

_BULK = "/api/2.0/mlflow/metrics/get-history-bulk"
_INTERVAL = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"


def fill(store: ServedStore, values: list[tuple[int, float]], key: str = "loss") -> str:
    run_id = store.create_run("0").run_id
    points = [Metric(key=key, value=value, timestamp=number, step=step) for number, (step, value) in enumerate(values)]
    for at in range(0, len(points), 5_000):
        store.log_batch(run_id, metrics=points[at : at + 5_000])
    return run_id


class MetricReadsContract:
    questions = 3 * 710  # of a file they cost next to nothing

    def test_all_points_come_in_order_however_many(self, store: ServedStore) -> None:
        values = [(step // 3, math.sin(step)) for step in range(45_000)]
        values[7] = (2, math.nan)
        run_id = fill(store, values)
        pieces = list(store.metric_points(run_id, "loss"))
        read = [point for piece in pieces for point in zip(*piece, strict=True)]
        assert len(pieces) > 1
        assert [(step, value.hex()) for step, _, value in read] == [(step, value.hex()) for step, value in values]
        assert [timestamp for _, timestamp, _ in read] == list(range(45_000))

    def test_a_batch_of_many_metrics_asks_few_questions_and_keeps_each_series(
        self, store: ServedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = store.create_run("0").run_id
        asked: list[Hot] = []
        rows = Hot.rows

        def counted(self: Hot, *arguments: Any) -> list[Any]:
            asked.append(self)
            return rows(self, *arguments)

        monkeypatch.setattr(Hot, "rows", counted)
        names = [f"m{number}" for number in range(300)]
        for step, value in ((1, 0.5), (2, math.nan), (3, math.inf)):
            store.log_batch(run_id, metrics=[Metric(key=name, value=value, timestamp=step, step=step) for name in names])
        assert len(asked) <= self.questions
        monkeypatch.undo()
        for step, value in ((3, math.inf), (0, -0.0)):
            store.log_batch(run_id, metrics=[Metric(key=name, value=value, timestamp=step, step=step) for name in names])
        store.log_batch(run_id, metrics=[Metric(key=name, value=1.0, timestamp=9, step=9) for name in (*names[:2], "new")])
        run = store.get_run(run_id)
        assert {name: run.metrics[name].value for name in ("m0", "m1", "m2", "new")} == {"m0": 1.0, "m1": 1.0, "m2": math.inf, "new": 1.0}
        for name, ends in (("m7", []), ("m1", [(9, "0x1.0000000000000p+0")])):
            points = [(point.step, point.value.hex()) for point in store.metric_history(run_id, name).items]
            assert points == [(0, "-0x0.0p+0"), (1, "0x1.0000000000000p-1"), (2, "nan"), (3, "inf"), *ends]
        assert {series.total for series in store.series(run_id, ["m7", "m8"])} == {4}

    def test_an_unknown_metric_has_no_points_and_an_unknown_run_is_not_found(self, store: ServedStore) -> None:
        assert list(store.metric_points(store.create_run("0").run_id, "none")) == []
        with pytest.raises(NotFound):
            list(store.metric_points("0" * 32, "none"))

    @pytest.mark.parametrize("stride", [1, 7])
    def test_a_sample_has_the_ends_and_every_spike_at_even_distances(self, store: ServedStore, stride: int) -> None:
        values = [(step * stride, math.sin(step / 500)) for step in range(10_000)]
        values[3_333], values[9_990] = (3_333 * stride, 99.0), (9_990 * stride, -99.0)
        run_id = fill(store, values)
        points = store.sampled_metric([run_id, "gone"], "loss", max_points=320)[run_id]
        assert points == sorted(points) and 200 <= len(points) <= 340
        assert (points[0][0], points[-1][0]) == (0, 9_999 * stride)
        assert {99.0, -99.0} <= {value for _, _, value in points}
        gaps = [after[0] - before[0] for before, after in itertools.pairwise(points)]
        assert max(gaps) <= 2 * 10_000 * stride / 200

    def test_a_sample_between_two_steps_has_only_these(self, store: ServedStore) -> None:
        values = [(step, float(step)) for step in range(10_000)]
        values[1_007], values[8_990] = (1_007, -5.0), (8_990, 1e9)
        run_id = fill(store, values)
        sample = lambda start, end, most: store.sampled_metric([run_id], "loss", max_points=most, start_step=start, end_step=end)[run_id]  # noqa: E731
        assert [step for step, _, _ in sample(5_000, 5_010, 100)] == list(range(5_000, 5_011))
        wide = [step for step, _, _ in sample(1_000, 8_999, 100)]
        assert (wide[0], wide[-1]) == (1_000, 8_999) and 50 <= len(wide) <= 110
        assert {-5.0, 1e9} <= {value for _, _, value in sample(1_000, 8_999, 100)}
        assert sample(20_000, 30_000, 100) == []
        assert sample(9_995, 30_000, 100)[-1][0] == 9_999

    def test_points_that_all_have_one_step_are_thinned_too(self, store: ServedStore) -> None:
        run_id = fill(store, [(0, 5.0 if number == 777 else 1.0) for number in range(6_000)])
        points = store.sampled_metric([run_id], "loss", max_points=100)[run_id]
        assert len(points) <= 200 and 5.0 in {value for _, _, value in points}

    def test_a_short_series_is_whole(self, store: ServedStore) -> None:
        run_id = fill(store, [(step, math.nan if step == 3 else 1.0) for step in range(10)])
        other = fill(store, [(0, 1.0)], key="other")
        found = store.sampled_metric([run_id, other], "loss", max_points=320)
        assert list(found) == [run_id] and len(found[run_id]) == 10 and math.isnan(found[run_id][3][2])


class TestMetricReadsOnSqlite(MetricReadsContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = open_store(f"sqlite:///{tmp_path}/store.db?durability=normal")
        assert store is not None
        yield store
        store.close()


@needs_postgres
class TestMetricReadsOnPostgres(MetricReadsContract):
    questions = 3 * 7

    @pytest.fixture
    def store(self, postgres: PostgresServer, tmp_path: Path) -> Iterator[Any]:
        store = open_store(postgres.new_database(), artifact_root=str(tmp_path))
        assert store is not None
        yield store
        store.close()


def log(jupyter: Any, points: list[dict[str, Any]]) -> str:
    run_id = str(jupyter.request("POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"])
    for at in range(0, len(points), 1000):
        body = {"run_id": run_id, "metrics": points[at : at + 1000]}
        assert jupyter.request("POST", "/api/2.0/mlflow/runs/log-batch", json=body).status_code == 200
    return run_id


def points_of(values: list[Any]) -> list[dict[str, Any]]:
    return [{"key": "loss ü", "value": value, "timestamp": 1000 + step, "step": step} for step, value in enumerate(values)]


def test_a_history_is_streamed_whole_and_exact(jupyter: Any) -> None:
    logged = points_of([0.1 * step for step in range(25_000)])
    for at, value in ((10, "NaN"), (20_001, "Infinity"), (20_002, "-Infinity")):
        logged[at]["value"] = value
    run_id = log(jupyter, logged)
    answer = jupyter.request("GET", "/api/2.0/mlflow/metrics/get-history", params={"run_id": run_id, "metric_key": "loss ü"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"metrics": logged}


def test_a_history_is_paged_when_a_page_size_is_given(jupyter: Any) -> None:
    logged = points_of([float(step) for step in range(5)])
    query = {"run_id": log(jupyter, logged), "metric_key": "loss ü", "max_results": 3}
    first = jupyter.request("GET", "/api/2.0/mlflow/metrics/get-history", params=query).json()
    second = jupyter.request("GET", "/api/2.0/mlflow/metrics/get-history", params={**query, "page_token": first["next_page_token"]}).json()
    assert first["metrics"] + second["metrics"] == logged and "next_page_token" not in second


def test_a_history_of_nothing_is_empty_and_of_no_run_an_error(jupyter: Any) -> None:
    get = "/api/2.0/mlflow/metrics/get-history"
    assert jupyter.request("GET", get, params={"run_id": log(jupyter, []), "metric_key": "none"}).json() == {}
    missing = jupyter.request("GET", get, params={"run_id": "0" * 32, "metric_key": "none"})
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_many_runs_are_thinned_for_one_chart(jupyter: Any) -> None:
    run_ids = [log(jupyter, points_of([float(step) for step in range(3000)])), log(jupyter, points_of([1.0, "NaN"]))]
    query = {"run_ids": [*run_ids, "gone"], "metric_key": "loss ü", "max_results": 100}
    metrics = jupyter.request("GET", _INTERVAL, params=query).json()["metrics"]
    assert jupyter.request("GET", _INTERVAL.replace("/ajax-api", "/api"), params=query).json()["metrics"] == metrics
    long = [metric for metric in metrics if metric["run_id"] == run_ids[0]]
    assert (long[0]["step"], long[-1]["step"]) == (0, 2999) and 50 <= len(long) <= 110
    assert metrics[-2:] == [{**point, "run_id": run_ids[1]} for point in points_of([1.0, "NaN"])]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"metric_key": "m"}, "'run_ids'"),
        ({"run_ids": "r"}, "'metric_key'"),
        ({"run_ids": ["r"] * 101, "metric_key": "m"}, "at most 100 run_ids. Received 101"),
        ({"run_ids": "r", "metric_key": "m", "max_results": 0}, "between 1 and 2500"),
        ({"run_ids": "r", "metric_key": "m", "max_results": 2501}, "between 1 and 2500"),
        ({"run_ids": "r", "metric_key": "m", "start_step": 1}, "both must be specified"),
        ({"run_ids": "r", "metric_key": "m", "start_step": 2, "end_step": 1}, "end_step must be greater than start_step"),
    ],
)
def test_a_chart_that_cannot_be_is_refused_in_mlflows_words(jupyter: Any, query: dict[str, Any], words: str) -> None:
    answer = jupyter.request("GET", _INTERVAL, params=query)
    assert answer.status_code == 400 and words in answer.json()["message"]


def test_the_first_points_of_many_runs_come_together(jupyter: Any) -> None:
    logged = points_of([1.5, "Infinity", 2.5])
    run_ids = sorted(log(jupyter, logged) for _ in range(2))
    expected = [{**point, "run_id": run_id} for run_id in run_ids for point in logged]
    query = {"run_id": [*run_ids, "gone"], "metric_key": "loss ü"}
    assert jupyter.request("GET", _BULK, params=query).json() == {"metrics": expected}
    assert jupyter.request("GET", _BULK, params={**query, "max_results": 4}).json() == {"metrics": expected[:4]}
    assert jupyter.request("GET", _BULK, params={**query, "max_results": 0}).json() == {"metrics": []}
    many = jupyter.request("GET", _BULK, params={"run_id": ["r"] * 101, "metric_key": "m"})
    assert many.status_code == 400 and "more than 100 run_ids" in many.json()["message"]
    assert json.loads(jupyter.request("GET", _BULK, params={"metric_key": "m"}).text)["error_code"] == "INVALID_PARAMETER_VALUE"
