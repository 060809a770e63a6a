"""Data sets and models that runs read and made, on SQLite and on PostgreSQL; over REST they are in `test_rest_store`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.datasets import DatasetSummary, ModelOutput, RunInputs
from mlops_nb.core.records import Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.wire import run_from_json, run_to_json
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery, ServedStore
from mlops_nb.store.open import open_store
from tests.contract.inputs_contract import InputsContract, given
from tests.postgres import PostgresServer, needs_postgres


class ServedInputsContract(InputsContract):
    def test_models_that_a_run_read_and_made_come_back(self, store: ServedStore) -> None:
        read, made, later = (store.logged_models.create("0", name=name).model_id for name in ("read", "made", "later"))
        run = store.create_run("0")
        store.log_inputs(run.run_id, models=[read])
        store.log_outputs(run.run_id, [ModelOutput(model_id=made, step=3), ModelOutput(model_id=later, step=7)])
        store.log_outputs(run.run_id, [ModelOutput(model_id=made, step=4)])
        found = store.get_run(run.run_id)
        assert found.inputs.models == [read]
        assert found.outputs == [ModelOutput(model_id=made, step=4), ModelOutput(model_id=later, step=7)]
        assert [run.outputs for run in store.search_runs(RunQuery()).items] == [found.outputs]

    def test_the_data_sets_of_experiments_are_listed_with_what_they_were_for(self, store: ServedStore) -> None:
        experiment = store.create_experiment("e")
        for context in ("training", "evaluation", "training"):
            store.log_inputs(store.create_run(experiment).run_id, [given(context=context)])
        store.log_inputs(store.create_run(experiment).run_id, [given("plain", context="")])
        store.log_inputs(store.create_run("0").run_id, [given("elsewhere")])
        assert store.dataset_summaries([experiment]) == [
            DatasetSummary(experiment_id=experiment, name="iris", digest="abc", context="evaluation"),
            DatasetSummary(experiment_id=experiment, name="iris", digest="abc", context="training"),
            DatasetSummary(experiment_id=experiment, name="plain", digest="abc"),
        ]

    def test_models_of_old_clients_are_listed_in_a_tag(self, store: ServedStore) -> None:
        run = store.create_run("0")
        for path in ("first", "second"):
            store.log_model_history(run.run_id, {"artifact_path": path})
        tag = store.get_run(run.run_id).tags["mlflow.log-model.history"]
        assert [entry["artifact_path"] for entry in json.loads(tag)] == ["first", "second"]
        store.log_batch(run.run_id, tags={"mlflow.log-model.history": "mine"})
        with pytest.raises(InvalidInput, match="not a JSON array"):
            store.log_model_history(run.run_id, {"artifact_path": "third"})


class TestInputsOnSqlite(ServedInputsContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = open_store(f"sqlite:///{tmp_path}/store.db?durability=normal")
        assert store is not None
        yield store
        store.close()


@needs_postgres
class TestInputsOnPostgres(ServedInputsContract):
    @pytest.fixture
    def store(self, postgres: PostgresServer, tmp_path: Path) -> Iterator[Any]:
        store = open_store(postgres.new_database(), artifact_root=str(tmp_path))
        assert store is not None
        yield store
        store.close()


def test_a_run_looks_the_same_in_json_and_back() -> None:
    run = Run(
        run_id="r",
        experiment_id="0",
        name="n",
        status=RunStatus.RUNNING,
        start_time=1,
        inputs=RunInputs(datasets=[given()], models=["m-1"]),
        outputs=[ModelOutput(model_id="m-2", step=1)],
    )
    assert run_from_json(run_to_json(run)) == run
