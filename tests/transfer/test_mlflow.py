"""In from MLflow and out to MLflow: its own client must not see a difference."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.logged_models import LoggedModelStatus
from mlops_nb.core.records import LifecycleStage, Metric
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.artifacts import LocalArtifacts
from mlops_nb.store.base import RunQuery
from mlops_nb.store.sql.postgresql import PostgresDatabase
from mlops_nb.store.sql.store import SqlStore
from mlops_nb.transfer.exporters.mlflow_database import LARGEST, export_mlflow_database
from mlops_nb.transfer.importers.mlflow import open_mlflow
from mlops_nb.transfer.imports import Imported, bring_in
from tests.postgres import PostgresServer, needs_postgres
from tests.transfer import mlflow_schema
from tests.transfer.mlflow_client import says
from tests.transfer.stores import content, files, rows

TOKEN = "the-servers-token"


def imported(source: Path | str, store: SqlStore, **options: Any) -> Imported:
    with open_mlflow(str(source)) as found:
        return bring_in(found, store, **options)


@pytest.mark.parametrize("kind", ["mlflow_database", "mlflow_folder"])
def test_mlflows_client_sees_the_same_through_our_server_and_in_an_export(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, start_jupyter: Callable[..., Any]
) -> None:
    source: Path = request.getfixturevalue(kind)
    uri = f"sqlite:///{source}" if kind == "mlflow_database" else source.as_uri()
    before = says(uri, source.parent)
    project = tmp_path / "project"
    store = SqlStore.in_file(project / ".mlops" / "store.db")
    done = imported(source, store)
    export_mlflow_database(store, tmp_path / "out.db")
    store.close()
    assert (done.new_runs, done.logged_models, done.registered_models, done.model_versions, done.problems) == (3, 1, 2, 2, [])
    server = start_jupyter(project)
    here = says(server.mount, tmp_path / "here", "--versions", MLFLOW_TRACKING_TOKEN=TOKEN)
    there = says(f"sqlite:///{tmp_path / 'out.db'}", tmp_path / "there", "--versions")
    assert here.pop("version") == there.pop("version") == ["a b ü.txt"]
    before.pop("version")
    if kind == "mlflow_folder":  # reading its folder, MLflow overlooks the step of a point that a model has too
        for run in before["runs"].values():
            run["history"] = {
                key: [[3, *point[1:]] for point in points] if key == "acc" else points for key, points in run["history"].items()
            }
    assert _differences(here, before) == []
    assert _differences(there, _as_databases_keep_it(before)) == []


def _differences(one: Any, other: Any, at: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in _differences(one[key], other[key], f"{at}/{key}")]
    return [] if one == other else [f"{at}: {one!r} is not {other!r}"]


def _as_databases_keep_it(said: dict[str, Any]) -> dict[str, Any]:
    """Return what a client says when infinities are the largest floats."""
    for run in said["runs"].values():
        run["metrics"] = {key: _finite(value) for key, value in run["metrics"].items()}
        run["history"] = {key: [[*where, _finite(value)] for *where, value in points] for key, points in run["history"].items()}
    return said


def _finite(value: str) -> str:
    return {"inf": repr(LARGEST), "-inf": repr(-LARGEST)}.get(value, value)


@pytest.mark.parametrize("kind", ["mlflow_database", "mlflow_folder"])
def test_importing_three_times_is_importing_once(kind: str, request: pytest.FixtureRequest, store: SqlStore, tmp_path: Path) -> None:
    source: Path = request.getfixturevalue(kind)
    imported(source, store)
    first, first_files = rows(store), files(tmp_path / "own" / "artifacts")
    for _ in range(2):
        done = imported(source, store)
        assert (done.runs, done.new_runs, done.new_points, done.new_files) == (3, 0, 0, 0)
    assert rows(store) == first
    assert files(tmp_path / "own" / "artifacts") == first_files


@needs_postgres
def test_postgresql_takes_in_and_gives_out_what_sqlite_does(
    mlflow_database: Path, store: SqlStore, tmp_path: Path, postgres: PostgresServer
) -> None:
    imported(mlflow_database, store)
    other = SqlStore(PostgresDatabase(postgres.new_database()), LocalArtifacts(tmp_path / "artifacts"))
    imported(mlflow_database, other)
    once = rows(other)
    assert content(other) == content(store)
    assert imported(mlflow_database, other).new_points == 0
    assert rows(other) == once
    other.close()


def test_importing_again_brings_what_is_new_and_leaves_what_only_we_have(mlflow_database: Path, store: SqlStore, tmp_path: Path) -> None:
    source = tmp_path / "mlflow.db"
    with sqlite3.connect(mlflow_database) as genuine, sqlite3.connect(source) as copy:
        genuine.backup(copy)
    imported(source, store, files=False)
    run = _by_name(store, "first")
    store.log_batch(run.run_id, tags={"ours": "1"})
    store.update_run(run.run_id, lifecycle_stage=LifecycleStage.DELETED)
    with sqlite3.connect(source) as copy:
        copy.execute("INSERT INTO metrics VALUES ('loss', 0.25, 1, ?, 3, 0)", (run.run_id,))
        copy.execute("UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", (run.run_id,))
        copy.execute("UPDATE tags SET value = 'changed' WHERE run_uuid = ? AND key = 'a'", (run.run_id,))
    done = imported(source, store, files=False)
    now = store.get_run(run.run_id)
    assert (done.new_points, done.new_runs) == (1, 0)
    assert Metric(key="loss", value=0.25, timestamp=1, step=3) in store.metric_history(run.run_id, "loss").items
    assert (now.status, now.tags["a"], now.tags["ours"], now.lifecycle_stage) == (RunStatus.FAILED, "changed", "1", LifecycleStage.DELETED)
    assert now.revision > run.revision


def test_default_is_as_old_as_there_what_has_no_description_has_none_and_traces_are_counted(
    mlflow_database: Path, store: SqlStore, tmp_path: Path
) -> None:
    with sqlite3.connect(mlflow_database) as genuine, sqlite3.connect(tmp_path / "copy.db") as copy:
        genuine.backup(copy)
        copy.execute("INSERT INTO trace_info (request_id, experiment_id, timestamp_ms, status) VALUES ('tr-1', 1, 5, 'OK')")
        ((created,),) = copy.execute("SELECT creation_time FROM experiments WHERE experiment_id = 0")
    done = imported(tmp_path / "copy.db", store, files=False)
    assert done.traces_left == 1 and "1 traces stay behind" in done.told()
    assert store.get_experiment("0").creation_time == created > 0
    export_mlflow_database(store, tmp_path / "out.db", files=False)
    for database in ("copy.db", "out.db"):
        with sqlite3.connect(tmp_path / database) as c:
            for table, count in (("registered_models", 1), ("model_versions", 1)):
                assert c.execute(f"SELECT count(*) FROM {table} WHERE description IS NULL").fetchone() == (count,)  # noqa: S608


def _by_name(store: SqlStore, name: str) -> Any:
    (run,) = store.search_runs(RunQuery(filter=f"attributes.run_name = '{name}'")).items
    return run


def test_what_goes_out_to_mlflow_comes_back_the_same(store: SqlStore, tmp_path: Path) -> None:
    experiment = store.create_experiment("odd", tags={"a": "b"})
    run = store.create_run(experiment, name="r", user="me", start_time=5, tags={"t": "v"})
    values = [0.1 + 0.2, 5e-324, -0.5, 1e300, float("nan")]
    store.log_batch(run.run_id, metrics=[Metric(key="m", value=value, timestamp=i, step=i) for i, value in enumerate(values)])
    store.log_batch(run.run_id, metrics=[Metric(key="many", value=i / 7, timestamp=i, step=i) for i in range(5000)], params={"p": "1"})
    store.update_run(run.run_id, status=RunStatus.FINISHED, end_time=9)
    model = store.logged_models.create(experiment, name="net", source_run_id=run.run_id, params={"p": "1"}, tags={"t": "2"})
    store.logged_models.finalize(model.model_id, LoggedModelStatus.READY)
    export_mlflow_database(store, tmp_path / "out.db")
    other = SqlStore.in_file(tmp_path / "other" / "store.db", durability="normal")
    imported(tmp_path / "out.db", other)
    assert content(other) == content(store)
    other.close()


def test_an_experiment_can_be_chosen_and_a_wrong_name_is_answered_with_a_near_one(mlflow_database: Path, store: SqlStore) -> None:
    with pytest.raises(NotFound, match="genuine"):
        imported(mlflow_database, store, names=["genuin"])
    done = imported(mlflow_database, store, names=["genuine"])
    assert (done.experiments, done.runs, done.registered_models) == (1, 3, 0)
    assert store.get_experiment_by_name("old") is None


def test_a_database_of_an_early_mlflow_is_read_for_what_it_has(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "early.db"
    with sqlite3.connect(path) as early:
        early.executescript(
            """
            CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT);
            CREATE TABLE runs (run_uuid TEXT, name TEXT, user_id TEXT, status TEXT, start_time BIGINT, end_time BIGINT,
              lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
            CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT);
            CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
            CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
            INSERT INTO experiments VALUES (3, 'early', 'gone/3', 'active');
            INSERT INTO runs VALUES ('ab12', '', 'me', 'FINISHED', 1, 2, 'active', 'gone/3/ab12/artifacts', 3);
            INSERT INTO metrics VALUES ('m', 1.5, 7, 'ab12');
            INSERT INTO params VALUES ('p', '1', 'ab12');
            """
        )
    done = imported(path, store)
    run = store.get_run("ab12")
    assert (done.new_points, run.name, run.params) == (1, "ab12", {"p": "1"})
    assert store.metric_history("ab12", "m").items == [Metric(key="m", value=1.5, timestamp=7, step=0)]


def test_a_folder_that_was_moved_still_gives_its_files(mlflow_folder: Path, store: SqlStore, tmp_path: Path) -> None:
    shutil.copytree(mlflow_folder, tmp_path / "moved")
    hidden = mlflow_folder.rename(mlflow_folder.with_name("hidden"))
    try:
        done = imported(tmp_path / "moved", store)
    finally:
        hidden.rename(mlflow_folder)
    assert (done.new_files, done.problems) == (3, [])


def test_files_behind_a_server_are_named_and_read_where_the_server_keeps_them(store: SqlStore, tmp_path: Path) -> None:
    run = store.create_run("0", name="r")
    (tmp_path / "kept" / "0" / run.run_id / "artifacts").mkdir(parents=True)
    (tmp_path / "kept" / "0" / run.run_id / "artifacts" / "a.txt").write_text("a")
    export_mlflow_database(store, tmp_path / "out.db", files=False)
    with sqlite3.connect(tmp_path / "out.db") as database:
        database.execute("UPDATE runs SET artifact_uri = ?", (f"mlflow-artifacts:/0/{run.run_id}/artifacts",))
    done = imported(tmp_path / "out.db", store)
    assert len(done.problems) == 1 and "--source-artifacts" in done.problems[0]
    with open_mlflow(str(tmp_path / "out.db"), artifacts=str(tmp_path / "kept")) as source:
        done = bring_in(source, store)
    assert (done.problems, b"".join(store.read_artifact(run.run_id, "a.txt"))) == ([], b"a")


@pytest.mark.parametrize("what", ["missing", "a server", "a folder of something else", "a database of something else", "a text"])
def test_what_is_no_store_of_mlflows_is_refused_with_a_remedy(what: str, store: SqlStore, tmp_path: Path) -> None:
    source = str(tmp_path / "source")
    if what == "a server":
        source = "http://127.0.0.1:5000"
    elif what == "a folder of something else":
        (tmp_path / "source").mkdir()
    elif what == "a database of something else":
        with sqlite3.connect(source) as database:
            database.execute("CREATE TABLE runs (x)")
    elif what == "a text":
        (tmp_path / "source").write_text("text " * 1000)
    before = rows(store)
    with pytest.raises(Exception, match=r"source|5000") as caught:
        imported(source, store)
    assert caught.value.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "TEMPORARILY_UNAVAILABLE")  # type: ignore[attr-defined]
    assert rows(store) == before


def test_an_export_replaces_only_an_export(mlflow_database: Path, store: SqlStore, tmp_path: Path) -> None:
    content_before = mlflow_database.read_bytes()
    with pytest.raises(InvalidInput, match="no export"):
        export_mlflow_database(store, mlflow_database)
    assert mlflow_database.read_bytes() == content_before
    export_mlflow_database(store, tmp_path / "out.db")
    store.create_run("0")
    assert export_mlflow_database(store, tmp_path / "out.db").runs == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.db", "out.db.artifacts", "own"]


def test_the_tables_of_an_export_are_those_of_the_installed_mlflow() -> None:
    mlflow = pytest.importorskip("mlflow")
    if not mlflow.__version__.startswith("3.17."):
        pytest.skip(f"The tables are those of MLflow 3.17, not {mlflow.__version__}.")
    # MLflow's migrations write the constraints of a table in any order.
    assert _lines(mlflow_schema.statements()) == _lines(mlflow_schema.RESOURCE.read_text(encoding="utf-8"))


def _lines(text: str) -> list[str]:
    return sorted(line.strip(" ,") for line in text.splitlines())
