"""Logged models, on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.logged_models import DatasetRef, LoggedModelQuery, LoggedModelStatus, ModelOrder
from mlops_nb.core.records import LifecycleStage, Metric
from mlops_nb.errors import FilterError, InvalidInput, NotFound
from mlops_nb.store.base import ServedStore
from mlops_nb.store.open import open_store
from tests.postgres import PostgresServer, needs_postgres


def point(key: str, value: float, model: str, dataset: str | None = None, step: int = 0) -> Metric:
    digest = None if dataset is None else "g"
    return Metric(key=key, value=value, timestamp=step, step=step, model_id=model, dataset_name=dataset, dataset_digest=digest)


def names(store: ServedStore, **query: Any) -> list[str]:
    return [model.name for model in store.logged_models.search(LoggedModelQuery(experiment_ids=["0"], **query)).items]


class LoggedModelsContract:
    def test_a_model_begins_pending_with_an_id_a_name_and_a_place_for_its_files(self, store: ServedStore) -> None:
        model = store.logged_models.create("0", model_type="agent", params={"p": "1"}, tags={"t": "ü"})
        assert re.fullmatch(r"m-[0-9a-f]{32}", model.model_id) and model.name
        assert (model.status, model.experiment_id, model.model_type) == (LoggedModelStatus.PENDING, "0", "agent")
        assert model.artifact_location == f"mlflow-artifacts:/0/models/{model.model_id}/artifacts"
        assert (model.params, model.tags, model.metrics) == ({"p": "1"}, {"t": "ü"}, [])
        assert store.logged_models.get(model.model_id) == model

    @pytest.mark.parametrize("name", ["a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", "n" * 501])
    def test_a_name_that_cannot_stand_in_a_uri_is_refused(self, store: ServedStore, name: str) -> None:
        with pytest.raises(InvalidInput, match="model name"):
            store.logged_models.create("0", name=name)

    def test_an_unknown_or_deleted_experiment_takes_no_model(self, store: ServedStore) -> None:
        with pytest.raises(NotFound):
            store.logged_models.create("99")
        gone = store.create_experiment("gone")
        store.update_experiment(gone, lifecycle_stage=LifecycleStage.DELETED)
        with pytest.raises(InvalidInput, match="deleted"):
            store.logged_models.create(gone)

    def test_an_upload_ends_ready_or_failed(self, store: ServedStore) -> None:
        model = store.logged_models.create("0")
        assert store.logged_models.finalize(model.model_id, LoggedModelStatus.FAILED).status is LoggedModelStatus.FAILED
        ready = store.logged_models.finalize(model.model_id, LoggedModelStatus.READY)
        assert ready.status is LoggedModelStatus.READY and ready.last_update_time >= model.last_update_time

    def test_params_are_added_and_never_changed(self, store: ServedStore) -> None:
        model_id = store.logged_models.create("0", params={"a": "1"}).model_id
        store.logged_models.log_params(model_id, {"a": "1", "b": "2"})
        with pytest.raises(InvalidInput, match="Changing param values"):
            store.logged_models.log_params(model_id, {"c": "3", "b": "x"})
        assert store.logged_models.get(model_id).params == {"a": "1", "b": "2"}

    def test_tags_are_set_replaced_and_removed(self, store: ServedStore) -> None:
        model_id = store.logged_models.create("0", tags={"a": "1"}).model_id
        assert store.logged_models.set_tags(model_id, {"a": "2", "b": "3"}).tags == {"a": "2", "b": "3"}
        store.logged_models.delete_tag(model_id, "a")
        assert store.logged_models.get(model_id).tags == {"b": "3"}
        with pytest.raises(NotFound, match="'a'"):
            store.logged_models.delete_tag(model_id, "a")

    def test_a_deleted_model_is_gone_unless_asked_for(self, store: ServedStore) -> None:
        model_id = store.logged_models.create("0", name="gone").model_id
        store.logged_models.delete(model_id)
        store.logged_models.delete(model_id)
        assert store.logged_models.get(model_id, allow_deleted=True).lifecycle_stage is LifecycleStage.DELETED
        assert names(store) == []
        for change in (
            lambda: store.logged_models.get(model_id),
            lambda: store.logged_models.finalize(model_id, LoggedModelStatus.READY),
            lambda: store.logged_models.set_tags(model_id, {"a": "b"}),
            lambda: store.logged_models.log_params(model_id, {"a": "b"}),
        ):
            with pytest.raises(NotFound, match=model_id):
                change()

    def test_metrics_of_a_run_for_a_model_belong_to_both(self, store: ServedStore) -> None:
        model_id = store.logged_models.create("0").model_id
        run = store.create_run("0")
        values = [0.1, math.nan, -math.inf, 5e-324]
        for step, value in enumerate(values):
            for _ in range(2):
                store.log_batch(run.run_id, metrics=[point("acc", value, model_id, "iris", step)])
        store.log_batch(run.run_id, metrics=[point("acc", 0.7, model_id)])
        found = store.logged_models.get(model_id).metrics
        on_iris = [metric for metric in found if metric.dataset_name == "iris"]
        assert [metric.value.hex() for metric in on_iris] == [value.hex() for value in values]
        assert {(metric.run_id, metric.dataset_digest) for metric in on_iris} == {(run.run_id, "g")}
        assert [(metric.value, metric.dataset_name) for metric in found if metric not in on_iris] == [(0.7, None)]
        assert len(store.metric_history(run.run_id, "acc").items) == 5

    def test_models_are_found_by_what_they_have(self, store: ServedStore) -> None:
        run = store.create_run("0")
        good = store.logged_models.create("0", name="good", params={"lr": "0.1"}, tags={"team": "x"}, source_run_id=run.run_id)
        bad = store.logged_models.create("0", name="bad")
        store.logged_models.create(store.create_experiment("other"), name="elsewhere")
        store.logged_models.finalize(good.model_id, LoggedModelStatus.READY)
        store.log_batch(run.run_id, metrics=[point("acc", 0.9, good.model_id, "iris"), point("acc", 0.2, bad.model_id, "wine")])
        for text in (
            "name = 'good'",
            "params.lr = '0.1'",
            "tags.team LIKE 'X' OR tags.team = 'x'",
            "metrics.acc > 0.5",
            "attributes.status = 'READY'",
            f"source_run_id = '{run.run_id}'",
            f"model_id = '{good.model_id}' AND creation_timestamp > 0",
        ):
            assert names(store, filter=text) == ["good"], text
        assert names(store, datasets=[DatasetRef("wine")]) == ["bad"]
        assert names(store, filter="metrics.acc > 0.5", datasets=[DatasetRef("wine")]) == []
        assert names(store, filter="metrics.acc > 0.5", datasets=[DatasetRef("wine"), DatasetRef("iris", "g")]) == ["good"]
        assert names(store, datasets=[DatasetRef("iris", "other")]) == []

    def test_models_come_newest_first_or_in_the_order_asked_for(self, store: ServedStore) -> None:
        run = store.create_run("0")
        for name, value in (("one", 0.5), ("two", 0.9), ("three", 0.1)):
            model_id = store.logged_models.create("0", name=name).model_id
            store.log_batch(run.run_id, metrics=[point("acc", value, model_id, "iris")])
        assert sorted(names(store)) == ["one", "three", "two"]
        assert names(store, order_by=[ModelOrder(field="name")]) == ["one", "three", "two"]
        assert names(store, order_by=[ModelOrder(field="metrics.acc", ascending=False)]) == ["two", "one", "three"]
        by_iris = ModelOrder(field="metrics.acc", dataset=DatasetRef("iris"))
        assert names(store, order_by=[by_iris]) == ["three", "one", "two"]

    def test_models_are_paged(self, store: ServedStore) -> None:
        for i in range(5):
            store.logged_models.create("0", name=f"m{i}")
        seen: list[str] = []
        token = None
        while True:
            query = LoggedModelQuery(experiment_ids=["0"], max_results=2, page_token=token, order_by=[ModelOrder(field="name")])
            page = store.logged_models.search(query)
            seen += [model.name for model in page.items]
            token = page.token
            if token is None:
                break
        assert seen == [f"m{i}" for i in range(5)]

    def test_a_filter_or_order_that_does_not_parse_is_refused(self, store: ServedStore) -> None:
        with pytest.raises(FilterError):
            names(store, filter="metrics.acc >")
        with pytest.raises(FilterError):
            names(store, order_by=[ModelOrder(field="bogus")])


class TestLoggedModelsOnSqlite(LoggedModelsContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = open_store(f"sqlite:///{tmp_path}/store.db?durability=normal")
        assert store is not None
        yield store
        store.close()


@needs_postgres
class TestLoggedModelsOnPostgres(LoggedModelsContract):
    @pytest.fixture
    def store(self, postgres: PostgresServer, tmp_path: Path) -> Iterator[Any]:
        store = open_store(postgres.new_database(), artifact_root=str(tmp_path))
        assert store is not None
        yield store
        store.close()
