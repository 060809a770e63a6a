"""Purging on both databases: what goes, what stays, and why."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind
from mlops_nb.core.datasets import Dataset, DatasetInput, ModelOutput
from mlops_nb.core.events import CellRan, RunStarted
from mlops_nb.core.logged_models import LoggedModelStatus
from mlops_nb.core.records import CellExecution, LifecycleStage, Metric
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.traces import TraceInfo, TraceState
from mlops_nb.errors import InvalidInput, NotFound, StoreUnreachable
from mlops_nb.store.artifacts import LocalArtifacts
from mlops_nb.store.purge import PurgeQuery
from mlops_nb.store.sql.postgresql import PostgresDatabase
from mlops_nb.store.sql.schema import metadata, metric_keys, store_state
from mlops_nb.store.sql.sqlite import SqliteDatabase
from mlops_nb.store.sql.store import SqlStore
from tests.postgres import PostgresServer, needs_postgres
from tests.transfer.stores import files

DAY = 24 * 3600 * 1000


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    if request.param == "sqlite":
        store = SqlStore.in_file(tmp_path / "store.db", artifact_root=str(tmp_path / "artifacts"), durability="normal")
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        store = SqlStore(PostgresDatabase(server.new_database()), LocalArtifacts(tmp_path / "artifacts"))
    yield store
    store.close()


def make_run(store: SqlStore, experiment: str, *, status: RunStatus = RunStatus.FINISHED, deleted: bool = True) -> str:
    run = store.create_run(experiment, tags={"t": "v"})
    store.log_batch(run.run_id, metrics=[Metric(key="m", value=float(i), timestamp=i, step=i) for i in range(3000)], params={"p": "1"})
    store.write_artifact(run.run_id, "a.txt", io.BytesIO(b"a"))
    if status is not RunStatus.RUNNING:
        store.update_run(run.run_id, status=status)
    if deleted:
        store.update_run(run.run_id, lifecycle_stage=LifecycleStage.DELETED)
    return run.run_id


def left(store: SqlStore) -> dict[str, int]:
    """Return the numbers of rows of the tables that have any, names of metrics and the state of the store aside."""
    with store.database.read() as c:
        counts = {t.name: c.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in metadata.tables.values()}
    return {name: count for name, count in counts.items() if count and name not in (metric_keys.name, store_state.name)}


def test_of_a_purged_experiment_nothing_is_left(store: SqlStore, tmp_path: Path) -> None:
    before = left(store)
    experiment = store.create_experiment("x", tags={"a": "b"})
    run_id = make_run(store, experiment, deleted=False)
    model = store.logged_models.create(experiment, name="net", source_run_id=run_id, params={"p": "1"}, tags={"t": "1"})
    store.logged_models.finalize(model.model_id, LoggedModelStatus.READY)
    store.log_inputs(run_id, [DatasetInput(dataset=Dataset(name="d", digest="1", source_type="x", source="{}"))], [model.model_id])
    store.log_outputs(run_id, [ModelOutput(model_id=model.model_id, step=1)])
    store.log_batch(run_id, metrics=[Metric(key="acc", value=1.0, timestamp=1, model_id=model.model_id)])
    owner = ArtifactOwner(kind=OwnerKind.MODEL, experiment_id=experiment, owner_id=model.model_id, uri=model.artifact_location)
    store.files.write(owner, "weights.bin", io.BytesIO(b"w"))
    trace = store.traces.put(TraceInfo(trace_id="tr-1", experiment_id=experiment, request_time=1, state=TraceState.OK, metadata={"k": "v"}))
    store.traces.link_to_run(run_id, ["tr-1"])
    place = trace.tags["mlflow.artifactLocation"]
    store.files.write(
        ArtifactOwner(kind=OwnerKind.TRACE, experiment_id=experiment, owner_id="tr-1", uri=place), "t.json", io.BytesIO(b"{}")
    )
    cell = CellRan(seq=2, ts=1, cell=CellExecution(index=0, source="1", source_hash="x", started=1))
    store.ingest("cd" * 16, "source", [RunStarted(seq=1, ts=1, experiment="x", name="by events"), cell])
    store.update_run("cd" * 16, status=RunStatus.KILLED)
    assert len(files(tmp_path / "artifacts")) == 3
    store.update_experiment(experiment, lifecycle_stage=LifecycleStage.DELETED)
    done = store.purge(PurgeQuery())
    assert (sorted(done.runs), done.experiments, done.models) == (sorted([run_id, "cd" * 16]), [experiment], [model.model_id])
    assert (done.traces, done.files, done.kept, done.problems) == (1, 4, [], [])
    assert left(store) == before
    assert files(tmp_path / "artifacts") == {}


def test_active_and_running_runs_stay_and_their_experiment_with_them(store: SqlStore) -> None:
    experiment = store.create_experiment("x")
    running = make_run(store, experiment, status=RunStatus.RUNNING, deleted=False)
    gone = make_run(store, experiment)
    store.update_experiment(experiment, lifecycle_stage=LifecycleStage.DELETED)
    active = make_run(store, "0", deleted=False)
    done = store.purge(PurgeQuery())
    assert (done.runs, done.experiments) == ([gone], [])
    assert [sentence.split()[0] for sentence in done.kept] == ["Experiment", "Run"]
    for run_id in (running, active):
        assert len(store.metric_history(run_id, "m").items) == 3000


def test_age_counts_from_the_deletion(store: SqlStore) -> None:
    old, new = make_run(store, "0"), make_run(store, "0")
    with store.database.write() as c:
        c.execute(sa.text("UPDATE runs SET deleted_time = deleted_time - :day WHERE run_id = :old").bindparams(day=2 * DAY, old=old))
    assert store.purge(PurgeQuery(older_than_ms=3 * DAY)).runs == []
    assert store.purge(PurgeQuery(older_than_ms=DAY)).runs == [old]
    store.update_run(new, lifecycle_stage=LifecycleStage.ACTIVE)
    assert store.purge(PurgeQuery()).runs == []


def test_ids_limit_it_to_what_they_name(store: SqlStore) -> None:
    experiment = store.create_experiment("x")
    first, second, third = make_run(store, "0"), make_run(store, "0"), make_run(store, experiment, deleted=False)
    store.update_experiment(experiment, lifecycle_stage=LifecycleStage.DELETED)
    assert store.purge(PurgeQuery(run_ids=[first])).runs == [first]
    assert store.purge(PurgeQuery(experiment_ids=[experiment])).runs == [third]
    assert store.get_run(second).lifecycle_stage is LifecycleStage.DELETED


@pytest.mark.parametrize("what", ["missing", "active", "running", "young", "an active experiment"])
def test_an_id_of_what_may_not_go_is_an_error_and_nothing_goes(store: SqlStore, what: str) -> None:
    gone = make_run(store, "0")
    with store.database.write() as c:
        c.execute(sa.text("UPDATE runs SET deleted_time = deleted_time - :day").bindparams(day=2 * DAY))
    bad = {
        "missing": lambda: "0" * 32,
        "active": lambda: make_run(store, "0", deleted=False),
        "running": lambda: make_run(store, "0", status=RunStatus.RUNNING),
        "young": lambda: make_run(store, "0"),
        "an active experiment": lambda: "0",
    }[what]()
    query: dict[str, Any] = {"run_ids": [gone, bad]} if what != "an active experiment" else {"run_ids": [gone], "experiment_ids": [bad]}
    with pytest.raises((InvalidInput, NotFound), match=f"(?i){bad}"):
        store.purge(PurgeQuery(**query, older_than_ms=DAY if what == "young" else 0))
    assert store.get_run(gone).params == {"p": "1"}


def test_a_run_that_showed_a_purged_model_changes(store: SqlStore) -> None:
    run_id = make_run(store, "0", deleted=False)
    model = store.logged_models.create("0", name="net", source_run_id=run_id)
    store.log_outputs(run_id, [ModelOutput(model_id=model.model_id)])
    before = store.get_run(run_id)
    store.logged_models.delete(model.model_id)
    assert store.purge(PurgeQuery()).models == [model.model_id]
    after = store.get_run(run_id)
    assert after.outputs == [] and after.revision > before.revision


def test_a_tag_of_a_trace_does_not_choose_which_files_go(store: SqlStore, tmp_path: Path) -> None:
    experiment = store.create_experiment("x")
    victim = store.create_run(store.create_experiment("below", artifact_location=(tmp_path / "artifacts").as_uri() + "/below"))
    store.write_artifact(victim.run_id, "traces/tr-1/artifacts/mine.txt", io.BytesIO(b"mine"))
    trace = store.traces.put(TraceInfo(trace_id="tr-1", experiment_id=experiment, request_time=1, state=TraceState.OK))
    own = ArtifactOwner(kind=OwnerKind.TRACE, experiment_id=experiment, owner_id="tr-1", uri=trace.tags["mlflow.artifactLocation"])
    store.files.write(own, "traces.json", io.BytesIO(b"{}"))
    store.traces.set_tag("tr-1", "mlflow.artifactLocation", f"{victim.artifact_uri}/traces/tr-1/artifacts")
    store.update_experiment(experiment, lifecycle_stage=LifecycleStage.DELETED)
    done = store.purge(PurgeQuery())
    assert (done.traces, done.files, done.kept, done.problems) == (1, 1, [], [])
    assert list(files(tmp_path / "artifacts")) == [f"below/{victim.run_id}/artifacts/traces/tr-1/artifacts/mine.txt"]


def test_files_that_are_elsewhere_stay_and_are_told_of_once(store: SqlStore) -> None:
    run_id = store.create_run(store.create_experiment("cloud", artifact_location="s3://theirs/x")).run_id
    store.update_run(run_id, status=RunStatus.FINISHED)
    store.update_run(run_id, lifecycle_stage=LifecycleStage.DELETED)
    done = store.purge(PurgeQuery())
    assert (done.runs, done.problems, len(done.kept)) == ([run_id], [], 1)
    assert "s3://theirs/x" in done.kept[0]
    assert (store.purge(PurgeQuery()).kept, left(store)) == ([], {"experiments": 2})


class OutOfReach(LocalArtifacts):
    """A folder that cannot be reached for a while."""

    is_reached = False

    def delete(self, parts: tuple[str, ...]) -> None:
        if not self.is_reached:
            raise StoreUnreachable("The files are out of reach.")
        super().delete(parts)


def test_files_that_could_not_be_removed_go_with_the_next(tmp_path: Path) -> None:
    artifacts = OutOfReach(tmp_path / "artifacts")
    store = SqlStore(SqliteDatabase(tmp_path / "store.db"), artifacts)
    run_id = make_run(store, "0")
    done = store.purge(PurgeQuery())
    assert (done.runs, done.files, len(done.problems)) == ([run_id], 0, 1)
    assert run_id in done.problems[0] and len(files(tmp_path / "artifacts")) == 1
    artifacts.is_reached = True
    done = store.purge(PurgeQuery())
    assert (done.files, done.problems, files(tmp_path / "artifacts"), left(store)) == (1, [], {}, {"experiments": 1})
    store.close()


def test_files_of_a_run_that_was_imported_again_stay(tmp_path: Path) -> None:
    artifacts = OutOfReach(tmp_path / "artifacts")
    store = SqlStore(SqliteDatabase(tmp_path / "store.db"), artifacts)
    run = store.get_run(make_run(store, "0"))
    store.purge(PurgeQuery())
    store.importing.put_run(run)
    artifacts.is_reached = True
    assert store.purge(PurgeQuery(run_ids=[])).files == 0
    assert b"".join(store.read_artifact(run.run_id, "a.txt")) == b"a"
    store.close()
