"""The fluent API beyond what MLflow's scripts use: other runs by id, places, tables, what is missing, and no store."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlops_nb
from mlops_nb.core.records import LifecycleStage
from mlops_nb.errors import InvalidInput, NotFound, StoreVersionError
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import Runs
from mlops_nb.tracking.session import Session


@pytest.fixture(autouse=True)
def session(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("MLOPS_NB_TRACKING_URI", "")
    monkeypatch.setattr(sessions, "current", Session())
    yield sessions.current
    for run in reversed(list(sessions.current.runs)):
        run.stop()
    sessions.current.close()


def files_of(run_id: str) -> dict[str, bytes]:
    store = sessions.current.fresh_store()
    paths = [artifact.path for artifact in store.list_artifacts(run_id, recursive=True) if not artifact.is_dir]
    return {path: b"".join(store.read_artifact(run_id, path)) for path in paths if not path.startswith("environment/")}


def test_an_open_run_and_a_stored_run_have_mlflows_views() -> None:
    with mlops_nb.start_run("viewed", params={"p": 1}, tags={"t": "x"}) as run:
        run.log(m=0.5)
        assert (run.info.run_id, run.info.run_name, run.info.status) == (run.run_id, "viewed", "RUNNING")
        assert (run.data.params, run.data.metrics, run.data.tags["t"]) == ({"p": "1"}, {"m": 0.5}, "x")
        assert run.info.experiment_id == "0" and run.info.artifact_uri
    found = mlops_nb.get_run("viewed")
    assert (found.info.status, found.data.metrics, found.info.run_name) == ("FINISHED", {"m": 0.5}, "viewed")
    assert found.info.end_time is not None and found.info.lifecycle_stage == "active"


def test_what_is_asked_of_an_open_run_raises_nothing_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_TRACKING_URI", "http://127.0.0.1:9/mlops")
    began = time.monotonic()
    experiment = mlops_nb.set_experiment("offline")
    assert (experiment.name, experiment.experiment_id) == ("offline", "")
    run = mlops_nb.start_run(experiment_id=experiment.experiment_id)
    assert run.experiment == "offline"
    mlops_nb.log_table({"a": [1]}, "t.json")
    mlops_nb.log_metric("m", 1.0, run_id="f" * 32)
    assert run.info.experiment_id == "" and mlops_nb.get_artifact_uri() == ""
    run.stop(timeout=0.1)
    assert time.monotonic() - began < 25


def test_logging_to_another_run_by_id_leaves_its_state_alone() -> None:
    with mlops_nb.start_run("one") as one:
        one.log(m=1.0)
    with mlops_nb.start_run("two") as two:
        mlops_nb.log_metric("m", 2.0, step=5, run_id=one.run_id)
        mlops_nb.log_metrics({"n": 3.0}, step=1, run_id=one.run_id)
        mlops_nb.log_text("late", "late.txt", run_id=one.run_id)
        mlops_nb.log_params({"p": 1}, run_id=one.run_id)
        mlops_nb.log_metric("m", 7.0, run_id=two.run_id)
    found = mlops_nb.get_run(one.run_id)
    assert (found.status, found.params, found.metrics["m"].value, found.metrics["n"].step) == ("FINISHED", {"p": "1"}, 2.0, 1)
    assert files_of(one.run_id) == {"late.txt": b"late"}
    assert {k: m.value for k, m in mlops_nb.get_run(two.run_id).metrics.items() if not k.startswith("system/")} == {"m": 7.0}
    with pytest.raises(InvalidInput, match="no id of a run"):
        mlops_nb.log_metric("m", 1.0, run_id="../../etc/passwd")


def test_a_table_grows_also_when_the_run_goes_on_later() -> None:
    import pandas as pd

    with mlops_nb.start_run("tables") as run:
        mlops_nb.log_table({"a": 1, "b": "x"}, "t.json")
        mlops_nb.log_table(pd.DataFrame({"a": [0.1, float("nan")], "c": pd.to_datetime(["2026-01-02", None])}), "t.json")
    sessions.current.last = None
    with mlops_nb.start_run(resume=run.run_id):
        mlops_nb.log_table({"b": ["y"]}, "t.json")
        with pytest.raises(InvalidInput, match=r"\.json"):
            mlops_nb.log_table({"a": [1]}, "t.txt")
        with pytest.raises(InvalidInput, match="1 to 2 values"):
            mlops_nb.log_table({"a": [1], "b": [1, 2]}, "t.json")
        with pytest.raises(InvalidInput, match="no table"):
            mlops_nb.log_table([1], "t.json")
    table = json.loads(files_of(run.run_id)["t.json"])
    assert table["columns"] == ["a", "b", "c"]
    assert [row[:2] for row in table["data"]] == [[1, "x"], [0.1, None], [None, None], [None, "y"]]
    assert table["data"][1][2].startswith("2026-01-02") and table["data"][2][2] is None
    assert json.loads(mlops_nb.get_run(run.run_id).tags["mlflow.loggedArtifacts"]) == [{"path": "t.json", "type": "table"}]


def test_images_in_tables_are_files() -> None:
    from PIL import Image

    with mlops_nb.start_run() as run:
        mlops_nb.log_table({"x": [1, 2], "picture": [Image.new("RGB", (4, 4)), Image.new("RGB", (5, 5))]}, "gallery.json")
    files = files_of(run.run_id)
    row = json.loads(files["gallery.json"])["data"][1]
    assert row[1]["type"] == "image" and files[row[1]["filepath"]].startswith(b"\x89PNG") and row[1]["compressed_filepath"] in files


@pytest.mark.parametrize("case", ["text", "object", "volume", "range", "both", "neither", "key"])
def test_what_is_no_image_is_refused_with_the_reason(case: str) -> None:
    import numpy as np

    fine = np.zeros((2, 2))
    with mlops_nb.start_run() as run, pytest.raises(InvalidInput):
        if case == "both":
            mlops_nb.log_image(fine, "a.png", key="k")
        elif case == "neither":
            mlops_nb.log_image(fine)
        elif case == "key":
            mlops_nb.log_image(fine, key="a?b")
        else:
            wrong = {"text": "x", "object": np.array([["a"]]), "volume": np.zeros((2, 2, 2, 2)), "range": np.full((2, 2), 300)}
            mlops_nb.log_image(wrong[case], "a.png")
    assert files_of(run.run_id) == {}


def test_runs_are_a_list_and_a_table() -> None:
    for lr in (0.1, 0.2):
        with mlops_nb.start_run(params={"lr": lr}) as run:
            run.log(acc=lr)
    runs = mlops_nb.search_runs(order_by=["metrics.acc DESC"])
    assert isinstance(runs, Runs) and runs[0].params["lr"] == "0.2" and [run.params["lr"] for run in runs[:1]] == ["0.2"]
    assert list(runs["metrics.acc"]) == [0.2, 0.1] and runs.shape[0] == 2 and runs.iloc[0]["params.lr"] == "0.2"
    with pytest.raises(AttributeError):
        _ = runs.nothing_like_it
    assert len(mlops_nb.search_runs("acc > 0.15")) == 1
    assert list(mlops_nb.search_runs(filter_string="metrics.acc > 0.15")["params.lr"]) == ["0.2"]
    assert mlops_nb.search_runs(experiment_names=["no such"]).empty
    with pytest.raises(InvalidInput, match="output format"):
        mlops_nb.search_runs(output_format="xml")
    with pytest.raises(InvalidInput, match="view type"):
        mlops_nb.search_runs(run_view_type=9)
    mlops_nb.delete_run("@last")
    assert len(mlops_nb.search_runs(run_view_type=2)) == 1 and len(mlops_nb.search_runs(run_view_type=3)) == 2


def test_searching_where_nothing_was_recorded_makes_no_store(project: Path) -> None:
    assert mlops_nb.search_runs() == [] and mlops_nb.search_runs(filter_string="metrics.a > 1").empty
    assert mlops_nb.search_experiments() == [] and mlops_nb.get_experiment_by_name("x") is None
    assert mlops_nb.last_active_run() is None
    assert not (project / ".mlops").exists()


def test_experiments_are_made_found_deleted_and_brought_back() -> None:
    first = mlops_nb.create_experiment("first", tags={"team": "a"})
    second = mlops_nb.set_experiment("second")
    assert mlops_nb.start_run().info.experiment_id == second.experiment_id
    mlops_nb.end_run()
    assert [e.name for e in mlops_nb.search_experiments(order_by=["name DESC"])] == ["second", "first", "Default"]
    assert [e.name for e in mlops_nb.search_experiments(filter_string="name LIKE 'f%' and tags.team = 'a'")] == ["first"]
    mlops_nb.delete_experiment(first)
    assert mlops_nb.get_experiment(first).lifecycle_stage is LifecycleStage.DELETED
    assert [e.name for e in mlops_nb.search_experiments(view_type=2)] == ["first"]
    with pytest.raises(InvalidInput, match="restore_experiment"):
        mlops_nb.set_experiment("first")
    mlops_nb.restore_experiment(first)
    assert mlops_nb.set_experiment(experiment_id=first).name == "first"
    for wrong in ({}, {"experiment_name": "a", "experiment_id": "1"}):
        with pytest.raises(InvalidInput, match="either"):
            mlops_nb.set_experiment(**wrong)
    with pytest.raises(NotFound):
        mlops_nb.start_run(experiment_id="12345")


def test_the_tracking_uri_is_mapped_or_refused(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    project_store = mlops_nb.get_tracking_uri()
    mlops_nb.set_tracking_uri("sqlite:///elsewhere.db")
    with mlops_nb.start_run("there"):
        pass
    assert (project / "elsewhere.db").exists() and mlops_nb.get_run("@last").name == "there"
    with caplog.at_level(logging.WARNING):
        mlops_nb.set_tracking_uri("file:./mlruns")
    assert "mlops-nb import mlflow" in caplog.text
    with mlops_nb.start_run("in the folder"):
        pass
    assert (project / "mlruns" / "mlops_nb.db").exists() and [run.name for run in mlops_nb.search_runs()] == ["in the folder"]
    mlops_nb.set_tracking_uri(project / "other folder")
    assert mlops_nb.get_tracking_uri().endswith("/other%20folder/mlops_nb.db")
    mlops_nb.set_tracking_uri("")
    assert mlops_nb.get_tracking_uri() == mlops_nb.get_registry_uri() == project_store
    for refused in ("databricks", "databricks://profile", "postgresql://host/db", "gs://bucket"):
        with pytest.raises(InvalidInput, match="names no store"):
            mlops_nb.set_tracking_uri(refused)
    with caplog.at_level(logging.WARNING):
        mlops_nb.set_registry_uri("sqlite:///registry.db")
    assert "registered where the runs are" in caplog.text


def test_mlflows_own_database_is_refused_by_name(project: Path) -> None:
    import sqlite3

    with sqlite3.connect(project / "mlflow.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('1bd49d398cd2')")
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    mlops_nb.set_tracking_uri("sqlite:///mlflow.db")
    with pytest.raises(StoreVersionError, match="another program's database"):
        mlops_nb.search_runs()


@pytest.mark.parametrize(
    ("name", "part"), [("MlflowClient", "search_runs"), ("log_metrik", "Did you mean 'log_metric'"), ("pyfunc", "log_model")]
)
def test_a_name_that_is_not_here_says_what_to_use(name: str, part: str) -> None:
    with pytest.raises(AttributeError, match=part):
        getattr(mlops_nb, name)


def test_every_public_name_is_there_and_documented() -> None:
    for name in mlops_nb.__all__:
        assert name.startswith("__") or getattr(mlops_nb, name).__doc__, name


def test_importing_is_quick() -> None:
    code = "import time; b = time.process_time(); import mlops_nb; print((time.process_time() - b) * 1000)"
    costs = sorted(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(5))
    print({"test": "import", "n": 5, "median_ms": round(costs[2], 1)})
    assert costs[0] < 40
