"""What every tracking store must do. A store's test inherits `StoreContract` and gives the fixture `store`."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable

import msgspec
import pytest

from mlops_nb.core import filters
from mlops_nb.core.datasets import CONTEXT_TAG, Dataset, DatasetInput
from mlops_nb.core.events import (
    AnyEvent,
    ArtifactAdded,
    CellRan,
    DatasetLogged,
    MetricLogged,
    ModelLogged,
    ParamLogged,
    RunEnded,
    RunStarted,
    TagSet,
)
from mlops_nb.core.logged_models import LoggedModelStatus, new_model_id
from mlops_nb.core.names import new_run_id
from mlops_nb.core.records import CellExecution, CellOutcome, LifecycleStage, Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import AlreadyExists, FilterError, IllegalTransition, InvalidInput, NotFound
from mlops_nb.store.base import RunQuery, TrackingStore

AWKWARD = [0.0, -0.0, 1e308, -1e-308, 5e-324, math.pi, 0.1, math.inf, -math.inf, math.nan]
HOSTILE = "<script>alert(1)</script> \"quoted\" 'single' 🚀 \\ % _"


def started(name: str = "run", experiment: str = "exp", **tags: str) -> RunStarted:
    return RunStarted(seq=1, ts=1_000, experiment=experiment, name=name, user="me", tags=tags)


def bits(values: list[float]) -> list[str]:
    return [value.hex() for value in values]


class StoreContract:
    # -- experiments

    def test_the_default_experiment_is_there_from_the_start(self, store: TrackingStore) -> None:
        assert store.get_experiment("0").name == "Default"
        assert [e.experiment_id for e in store.list_experiments().items] == ["0"]

    def test_an_experiment_is_found_by_id_and_by_name(self, store: TrackingStore) -> None:
        experiment_id = store.create_experiment(HOSTILE, tags={"team": "a"})
        assert store.get_experiment(experiment_id).name == HOSTILE
        found = store.get_experiment_by_name(HOSTILE)
        assert found is not None and found.experiment_id == experiment_id and found.tags == {"team": "a"}
        assert store.get_experiment_by_name("none") is None

    @pytest.mark.parametrize("unknown", ["77", "x", "", "../0", "99999999999999999999"])
    def test_an_unknown_experiment_is_not_found(self, store: TrackingStore, unknown: str) -> None:
        with pytest.raises((NotFound, InvalidInput)):
            store.get_experiment(unknown)

    def test_a_name_is_taken_even_by_a_deleted_experiment(self, store: TrackingStore) -> None:
        experiment_id = store.create_experiment("churn")
        store.update_experiment(experiment_id, lifecycle_stage=LifecycleStage.DELETED)
        with pytest.raises(AlreadyExists):
            store.create_experiment("churn")

    def test_deleting_an_experiment_deletes_its_runs_and_restoring_brings_them_back(self, store: TrackingStore) -> None:
        experiment_id = store.create_experiment("churn")
        run = store.create_run(experiment_id)
        store.update_experiment(experiment_id, lifecycle_stage=LifecycleStage.DELETED)
        assert store.get_run(run.run_id).lifecycle_stage is LifecycleStage.DELETED
        assert experiment_id not in [e.experiment_id for e in store.list_experiments().items]
        with pytest.raises(InvalidInput):
            store.create_run(experiment_id)
        store.update_experiment(experiment_id, lifecycle_stage=LifecycleStage.ACTIVE)
        assert store.get_run(run.run_id).lifecycle_stage is LifecycleStage.ACTIVE

    def test_an_experiment_is_renamed_tagged_and_counted(self, store: TrackingStore) -> None:
        experiment_id = store.create_experiment("old")
        store.create_run(experiment_id)
        store.update_experiment(experiment_id, name="new")
        store.set_experiment_tag(experiment_id, "k", "v")
        experiment = store.get_experiment(experiment_id)
        assert (experiment.name, experiment.tags, experiment.run_count) == ("new", {"k": "v"}, 1)
        store.set_experiment_tag(experiment_id, "k", None)
        assert store.get_experiment(experiment_id).tags == {}

    def test_experiments_are_paged(self, store: TrackingStore) -> None:
        for i in range(5):
            store.create_experiment(f"e{i}")
        seen: list[str] = []
        token = None
        while True:
            page = store.list_experiments(max_results=2, page_token=token)
            assert len(page.items) <= 2
            seen += [e.name for e in page.items]
            token = page.token
            if token is None:
                break
        assert sorted(seen) == ["Default", *(f"e{i}" for i in range(5))]

    # -- runs

    def test_a_run_begins_running_with_a_name(self, store: TrackingStore) -> None:
        run = store.create_run("0", user="me", tags={"t": "v"})
        assert run.status is RunStatus.RUNNING and run.name and run.user == "me"
        assert run.tags == {"t": "v", "mlflow.runName": run.name}
        assert store.get_run(run.run_id) == run

    @pytest.mark.parametrize("unknown", ["0" * 32, "nope", "../../etc"])
    def test_an_unknown_run_is_not_found(self, store: TrackingStore, unknown: str) -> None:
        with pytest.raises((NotFound, InvalidInput)):
            store.get_run(unknown)

    def test_hostile_text_is_kept_as_it_is(self, store: TrackingStore) -> None:
        run = store.create_run("0", name=HOSTILE, tags={"note": HOSTILE})
        store.log_batch(run.run_id, params={"p": HOSTILE + "\n\t"})
        found = store.get_run(run.run_id)
        assert found.name == HOSTILE and found.tags["note"] == HOSTILE and found.params == {"p": HOSTILE + "\n\t"}

    def test_a_run_ends_with_reason_and_can_be_resumed(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        ended = store.update_run(run.run_id, status=RunStatus.FAILED, end_time=5, reason="ValueError: no")
        assert (ended.status, ended.end_time, ended.reason) == (RunStatus.FAILED, 5, "ValueError: no")
        resumed = store.update_run(run.run_id, status=RunStatus.RUNNING)
        assert (resumed.status, resumed.end_time, resumed.reason) == (RunStatus.RUNNING, None, None)

    def test_an_ended_run_cannot_be_lost(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.update_run(run.run_id, status=RunStatus.FINISHED)
        with pytest.raises(IllegalTransition):
            store.update_run(run.run_id, status=RunStatus.LOST)

    def test_every_change_of_a_run_has_a_greater_revision(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        revisions = [run.revision]
        for change in (
            lambda: store.log_batch(run.run_id, tags={"a": "b"}),
            lambda: store.log_batch(run.run_id, metrics=[Metric(key="m", value=1.0, timestamp=1)]),
            lambda: store.update_run(run.run_id, name="new"),
            lambda: store.write_artifact(run.run_id, "a.txt", io.BytesIO(b"x")),
        ):
            change()
            revisions.append(store.get_run(run.run_id).revision)
        assert revisions == sorted(set(revisions))
        assert store.status().revision == revisions[-1]
        assert [r.run_id for r in store.changed_runs(revisions[-2])] == [run.run_id]
        assert store.changed_runs(revisions[-1]) == []

    # -- logging

    def test_points_are_kept_bit_for_bit_in_order(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.log_batch(run.run_id, metrics=[Metric(key="m", value=v, timestamp=10 + i, step=i) for i, v in enumerate(AWKWARD)])
        points = store.metric_history(run.run_id, "m").items
        assert bits([p.value for p in points]) == bits(AWKWARD)
        assert [(p.step, p.timestamp) for p in points] == [(i, 10 + i) for i in range(len(AWKWARD))]

    def test_the_latest_point_is_by_step_then_time_then_value(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        for step, timestamp, value in [(5, 1, 1.0), (4, 9, 2.0), (5, 0, 3.0), (5, 1, 0.5), (5, 1, 4.0)]:
            store.log_batch(run.run_id, metrics=[Metric(key="m", value=value, timestamp=timestamp, step=step)])
        assert store.get_run(run.run_id).metrics["m"].value == 4.0

    def test_the_same_point_is_stored_once(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        point = Metric(key="m", value=math.nan, timestamp=1, step=1)
        store.log_batch(run.run_id, metrics=[point, point])
        store.log_batch(run.run_id, metrics=[point])
        assert len(store.metric_history(run.run_id, "m").items) == 1

    def test_a_param_is_written_once_and_a_clash_changes_nothing(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.log_batch(run.run_id, params={"lr": "0.1"})
        store.log_batch(run.run_id, params={"lr": "0.1"})
        with pytest.raises(InvalidInput, match="lr"):
            store.log_batch(run.run_id, params={"new": "1", "lr": "0.2"}, metrics=[Metric(key="m", value=1.0, timestamp=1)])
        found = store.get_run(run.run_id)
        assert found.params == {"lr": "0.1"} and found.metrics == {}

    @pytest.mark.parametrize("key", ["", "/abs", "../up", "a/../b", "a" * 251, "semi;colon", "new\nline"])
    def test_a_name_that_is_not_allowed_is_refused(self, store: TrackingStore, key: str) -> None:
        run = store.create_run("0")
        with pytest.raises(InvalidInput):
            store.log_batch(run.run_id, metrics=[Metric(key=key, value=1.0, timestamp=1)])

    def test_nothing_is_logged_to_a_deleted_run(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.update_run(run.run_id, lifecycle_stage=LifecycleStage.DELETED)
        with pytest.raises(InvalidInput):
            store.log_batch(run.run_id, params={"a": "b"})

    def test_history_is_paged(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.log_batch(run.run_id, metrics=[Metric(key="m", value=float(i), timestamp=i, step=i) for i in range(10)])
        first = store.metric_history(run.run_id, "m", max_results=6)
        second = store.metric_history(run.run_id, "m", max_results=6, page_token=first.token)
        assert [p.step for p in (*first.items, *second.items)] == list(range(10)) and second.token is None

    def test_a_thinned_series_keeps_ends_and_spikes(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        values = [0.0] * 5000
        values[3217], values[44] = 1000.0, -1000.0
        store.log_batch(run.run_id, metrics=[Metric(key="m", value=v, timestamp=i, step=i) for i, v in enumerate(values)])
        (series,) = store.series(run.run_id, ["m"], max_points=100)
        assert series.total == 5000 and len(series.points) <= 100
        assert {(3217, 1000.0), (44, -1000.0)} <= {(step, value) for step, _, value in series.points}
        assert (series.points[0][0], series.points[-1][0]) == (0, 4999)

    # -- searching

    @pytest.fixture
    def zoo(self, store: TrackingStore) -> list[Run]:
        experiment = store.create_experiment("zoo")
        made = []
        for i, (name, auc, lr, stage) in enumerate(
            [("ant", 0.5, "0.1", "prod"), ("Bee", math.nan, "0.2", "Prod"), ("cat_1", math.inf, "0.1", None), ("dog%", None, None, "dev")]
        ):
            run = store.create_run(experiment, name=name, start_time=1000 + i, tags={"stage": stage} if stage else {})
            metrics = [] if auc is None else [Metric(key="auc", value=auc, timestamp=1)]
            store.log_batch(run.run_id, metrics=metrics, params={"lr": lr} if lr else {})
            made.append(store.get_run(run.run_id))
        store.update_run(made[0].run_id, status=RunStatus.FINISHED, end_time=2000)
        return [store.get_run(run.run_id) for run in made]

    @pytest.mark.parametrize(
        "text",
        [
            "metrics.auc > 0.4",
            "metrics.auc != 0.5",
            "metrics.auc <= 0.5",
            "metrics.auc is null",
            "not metrics.auc is null",
            "not metrics.auc > 0.4",
            "params.lr = '0.1' and tags.stage = 'prod'",
            "params.lr != '0.1'",
            "tags.stage like 'p%'",
            "tags.stage ilike 'p%'",
            "tags.stage is null or run_name = 'ant'",
            "run_name like 'cat_1'",
            "run_name like '%\\%'",
            "status in ('FINISHED', 'FAILED')",
            "status not in ('FINISHED')",
            "attributes.end_time > 1",
            "not attributes.end_time > 1",
            "attributes.end_time is null",
            "start_time >= 1002",
            "not (metrics.auc > 0.4 or params.lr = '0.2') and user_id = ''",
        ],
    )
    def test_a_filter_means_what_it_means_in_python(self, store: TrackingStore, zoo: list[Run], text: str) -> None:
        expected = {run.name for run in zoo if filters.matches(filters.parse(text), run)}
        found = {run.name for run in store.search_runs(RunQuery(filter=text)).items}
        assert found == expected

    @pytest.mark.parametrize(
        ("order", "names"),
        [
            ([], ["dog%", "cat_1", "Bee", "ant"]),
            (["metrics.auc desc"], ["cat_1", "ant", "dog%", "Bee"]),
            (["metrics.auc"], ["ant", "cat_1", "dog%", "Bee"]),
            (["params.lr asc", "run_name asc"], ["ant", "cat_1", "Bee", "dog%"]),
            (["start_time asc"], ["ant", "Bee", "cat_1", "dog%"]),
        ],
    )
    def test_runs_are_ordered_with_missing_values_last(
        self, store: TrackingStore, zoo: list[Run], order: list[str], names: list[str]
    ) -> None:
        assert [run.name for run in store.search_runs(RunQuery(order_by=order)).items] == names

    def test_free_text_finds_names_ids_and_tags(self, store: TrackingStore, zoo: list[Run]) -> None:
        def find(text: str) -> list[str]:
            return [run.name for run in store.search_runs(RunQuery(text=text)).items]

        assert find("bee") == ["Bee"] and find("PROD") == ["Bee", "ant"] and find("%") == ["dog%"] and find("_") == ["cat_1"]
        assert find(zoo[2].run_id[:10]) == ["cat_1"] and find("nothing") == []

    def test_a_filter_that_does_not_parse_names_the_position(self, store: TrackingStore) -> None:
        with pytest.raises(FilterError) as caught:
            store.search_runs(RunQuery(filter="metrics.auc > > 1"))
        assert caught.value.position == 14

    def test_pages_hold_each_run_once(self, store: TrackingStore) -> None:
        made = {store.create_run("0", start_time=7).run_id for _ in range(7)}
        seen: list[str] = []
        token = None
        while True:
            page = store.search_runs(RunQuery(max_results=3, page_token=token))
            seen += [run.run_id for run in page.items]
            token = page.token
            if token is None:
                break
        assert len(seen) == 7 and set(seen) == made

    def test_deleted_runs_are_found_only_when_asked_for(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.update_run(run.run_id, lifecycle_stage=LifecycleStage.DELETED)
        assert store.search_runs(RunQuery()).items == []
        assert len(store.search_runs(RunQuery(lifecycle_stage=LifecycleStage.DELETED)).items) == 1
        assert len(store.search_runs(RunQuery(lifecycle_stage=None)).items) == 1

    # -- events

    def events(self) -> list[AnyEvent]:
        cell = CellExecution(index=0, cell_id="c1", source="x = 1", source_hash="00", started=1, outcome=CellOutcome.RUNNING)
        return [
            started("first", note="hello"),
            ParamLogged(seq=2, ts=2, key="lr", value="0.1"),
            CellRan(seq=3, ts=3, cell=cell),
            *(MetricLogged(seq=4 + i, ts=4, key="loss", value=1.0 / (i + 1), step=i, cell=0) for i in range(10)),
            MetricLogged(seq=14, ts=5, key="odd", value="NaN", step=0),
            MetricLogged(seq=15, ts=5, key="odd", value="-Infinity", step=1),
            TagSet(seq=16, ts=6, key="note"),
            ArtifactAdded(seq=17, ts=6, path="a.txt"),
            RunEnded(seq=18, ts=1007, status=RunStatus.FAILED, reason="ValueError: x"),
        ]

    def test_events_make_a_whole_run(self, store: TrackingStore) -> None:
        run_id = new_run_id()
        assert store.ingest(run_id, "source", self.events()) == 18
        run = store.get_run(run_id)
        assert (run.name, run.user, run.start_time, run.end_time) == ("first", "me", 1000, 1007)
        assert (run.status, run.reason) == (RunStatus.FAILED, "ValueError: x")
        assert run.params == {"lr": "0.1"} and "note" not in run.tags
        assert run.metrics["loss"].value == 0.1 and run.metrics["loss"].cell == 0
        assert math.isinf(run.metrics["odd"].value)
        assert store.get_experiment(run.experiment_id).name == "exp"
        assert [c.cell_id for c in store.cells(run_id)] == ["c1"]

    def test_a_batch_sent_again_in_any_cut_changes_nothing(self, store: TrackingStore) -> None:
        run_id, events = new_run_id(), self.events()
        for first, last in [(0, 5), (0, 9), (3, 9), (0, 18), (17, 18), (0, 1)]:
            store.ingest(run_id, "source", events[first:last])
        assert len(store.metric_history(run_id, "loss").items) == 10
        assert store.get_run(run_id).status is RunStatus.FAILED

    def test_sources_are_counted_apart(self, store: TrackingStore) -> None:
        run_id = new_run_id()
        store.ingest(run_id, "one", [started()])
        store.ingest(run_id, "two", [MetricLogged(seq=1, ts=1, key="m", value=1.0, step=0)])
        store.ingest(run_id, "two", [MetricLogged(seq=1, ts=1, key="m", value=2.0, step=1)])
        assert [p.value for p in store.metric_history(run_id, "m").items] == [1.0]

    def test_whoever_writes_one_run_cannot_make_the_events_of_another_count_as_applied(self, store: TrackingStore) -> None:
        mine, theirs = new_run_id(), new_run_id()
        begun = RunStarted(seq=1, ts=1, experiment="Default", name="n")
        points = [MetricLogged(seq=seq, ts=seq, key="loss", value=float(seq), step=seq) for seq in range(2, 6)]
        assert store.ingest(theirs, "journal", [begun, points[0]]) == 2
        assert store.ingest(mine, "journal", [begun, msgspec.structs.replace(points[0], seq=1_000)]) == 1_000
        assert store.ingest(theirs, "journal", points) == 5  # neither lost nor twice
        assert [point.step for point in store.metric_history(theirs, "loss").items] == [2, 3, 4, 5]
        assert store.ingest(mine, "journal", points) == 1_000

    def test_events_for_an_unknown_run_are_refused(self, store: TrackingStore) -> None:
        with pytest.raises(NotFound):
            store.ingest(new_run_id(), "s", [MetricLogged(seq=2, ts=1, key="m", value=1.0, step=0)])

    def test_a_param_that_clashes_in_events_keeps_the_first_value(self, store: TrackingStore) -> None:
        run_id = new_run_id()
        store.ingest(run_id, "s", [started(), ParamLogged(seq=2, ts=1, key="p", value="1"), ParamLogged(seq=3, ts=1, key="p", value="2")])
        store.ingest(run_id, "s", [ParamLogged(seq=4, ts=1, key="p", value="3")])
        assert store.get_run(run_id).params == {"p": "1"}

    def test_a_cell_that_ends_replaces_its_beginning_and_keeps_its_outputs(self, store: TrackingStore) -> None:
        run_id = new_run_id()
        cell = CellExecution(index=0, source="x", source_hash="00", started=1, outcome=CellOutcome.RUNNING)
        done = CellExecution(index=0, source="x", source_hash="00", started=1, duration_ms=2.5, outcome=CellOutcome.ERROR, error="E")
        shown = CellExecution(index=0, source="x", source_hash="00", started=1, outputs="hello")
        store.ingest(run_id, "s", [started(), CellRan(seq=2, cell=cell), CellRan(seq=3, cell=shown), CellRan(seq=4, cell=done)])
        (row,) = store.cells(run_id)
        assert (row.outcome, row.error, row.duration_ms) == (CellOutcome.ERROR, "E", 2.5)

    def test_work_in_a_deleted_experiment_brings_it_back(self, store: TrackingStore) -> None:
        experiment_id = store.create_experiment("exp")
        store.update_experiment(experiment_id, lifecycle_stage=LifecycleStage.DELETED)
        store.ingest(new_run_id(), "s", [started()])
        assert store.get_experiment(experiment_id).lifecycle_stage is LifecycleStage.ACTIVE

    # -- leases

    def test_a_run_without_sign_of_life_is_lost_and_a_sign_heals_it(self, store: TrackingStore) -> None:
        run_id = new_run_id()
        store.ingest(run_id, "s", [started()])
        assert store.expire_leases(older_than_seconds=60) == []
        assert store.expire_leases(older_than_seconds=-1) == [run_id]
        assert store.get_run(run_id).status is RunStatus.LOST
        store.heartbeat([run_id, "unknown"])
        assert store.get_run(run_id).status is RunStatus.RUNNING
        store.expire_leases(older_than_seconds=-1)
        store.ingest(run_id, "s", [MetricLogged(seq=2, ts=1, key="m", value=1.0, step=0)])
        assert store.get_run(run_id).status is RunStatus.RUNNING
        store.expire_leases(older_than_seconds=-1)
        store.ingest(run_id, "s", [RunEnded(seq=3, ts=9, status=RunStatus.FINISHED)])
        found = store.get_run(run_id)
        assert (found.status, found.reason) == (RunStatus.FINISHED, None)

    def test_a_run_that_ended_or_has_no_lease_is_never_lost(self, store: TrackingStore) -> None:
        run_id = new_run_id()
        store.ingest(run_id, "s", [started(), RunEnded(seq=2, ts=2, status=RunStatus.FINISHED)])
        store.create_run("0")
        assert store.expire_leases(older_than_seconds=-1) == []

    # -- artifacts

    def test_artifacts_are_written_listed_read_replaced_and_deleted(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        for path, content in [("a.txt", b"one"), ("d/b.bin", bytes(range(256))), ("d/e/ü 🚀#?.json", b"{}"), ("empty", b"")]:
            assert store.write_artifact(run.run_id, path, io.BytesIO(content)).file_size == len(content)
        assert [a.path for a in store.list_artifacts(run.run_id)] == ["a.txt", "d", "empty"]
        assert [a.path for a in store.list_artifacts(run.run_id, "d")] == ["d/b.bin", "d/e"]
        assert [a.path for a in store.list_artifacts(run.run_id, recursive=True)] == ["a.txt", "d/b.bin", "d/e/ü 🚀#?.json", "empty"]
        assert b"".join(store.read_artifact(run.run_id, "d/b.bin")) == bytes(range(256))
        assert b"".join(store.read_artifact(run.run_id, "d/e/ü 🚀#?.json")) == b"{}"
        assert b"".join(store.read_artifact(run.run_id, "empty")) == b""
        store.write_artifact(run.run_id, "a.txt", io.BytesIO(b"two"))
        assert b"".join(store.read_artifact(run.run_id, "a.txt")) == b"two"
        store.delete_artifact(run.run_id, "d")
        store.delete_artifact(run.run_id, "never-there")
        assert [a.path for a in store.list_artifacts(run.run_id, recursive=True)] == ["a.txt", "empty"]
        assert store.list_artifacts(run.run_id, "nothing") == []

    def test_a_missing_artifact_is_not_found(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        store.write_artifact(run.run_id, "d/a", io.BytesIO(b"x"))
        for path in ("none", "d", "d/a/b"):
            with pytest.raises(NotFound):
                b"".join(store.read_artifact(run.run_id, path))

    @pytest.mark.parametrize(
        "path", ["../x", "/etc/passwd", "a/../../x", "a//b", "a\\..\\b", "a\0b", "C:/x", "a/" + "n" * 300, ".", "a/./b"]
    )
    def test_a_path_that_leads_out_is_refused(self, store: TrackingStore, path: str) -> None:
        run = store.create_run("0")
        with pytest.raises((InvalidInput, NotFound)):
            store.write_artifact(run.run_id, path, io.BytesIO(b"x"))
        with pytest.raises((InvalidInput, NotFound)):
            b"".join(store.read_artifact(run.run_id, path))

    # -- together

    def test_many_threads_write_at_once_without_loss(self, store: TrackingStore) -> None:
        run = store.create_run("0")
        errors: list[BaseException] = []

        def work(number: int) -> Callable[[], None]:
            def log() -> None:
                try:
                    for step in range(10):
                        store.log_batch(run.run_id, metrics=[Metric(key=f"m{number}", value=float(step), timestamp=step, step=step)])
                except BaseException as error:  # the main thread reports it
                    errors.append(error)

            return log

        threads = [threading.Thread(target=work(n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert {key: metric.step for key, metric in store.get_run(run.run_id).metrics.items()} == {f"m{n}": 9 for n in range(8)}

    def test_what_a_cell_gave_is_told_with_the_cell(self, store: TrackingStore) -> None:
        run_id, model_id = new_run_id(), new_model_id()
        dataset = DatasetInput(dataset=Dataset(name="iris", digest="d1", source_type="local", source="{}"), tags={CONTEXT_TAG: "training"})
        cell = CellExecution(index=3, source="", source_hash="0", started=1, reads=["df"], writes=["é"], peak_memory=1 << 40)
        model = ModelLogged(seq=5, ts=1, model_id=model_id, name="clf", status=LoggedModelStatus.PENDING, step=2, params={"C": "1"}, cell=3)
        events: list[AnyEvent] = [
            started(),
            CellRan(seq=2, ts=1, cell=cell),
            ParamLogged(seq=3, ts=1, key="lr", value="1", cell=3),
            DatasetLogged(seq=4, ts=1, input=dataset, cell=3),
            model,
            ArtifactAdded(seq=6, ts=1, path="a.txt", cell=3),
            ParamLogged(seq=7, ts=1, key="free", value="1"),
        ]
        for _ in range(2):  # sending it again changes nothing
            store.ingest(run_id, "s", events)
        store.write_model_file(model_id, "MLmodel", io.BytesIO(b"flavors: {}"))
        ready = msgspec.structs.replace(model, seq=8, status=LoggedModelStatus.READY)
        store.ingest(run_id, "s", [ready, CellRan(seq=9, ts=2, cell=msgspec.structs.replace(cell, reads=[], writes=[], peak_memory=None))])
        (told,) = store.cells(run_id)
        assert (told.reads, told.writes, told.peak_memory) == (["df"], ["é"], 1 << 40)
        given = {(product.kind.value, product.name) for product in told.products}
        assert given == {("param", "lr"), ("dataset", "iris"), ("model", model_id), ("artifact", "a.txt")}
        run = store.get_run(run_id)
        assert [(output.model_id, output.step) for output in run.outputs] == [(model_id, 2)]
        assert [(one.dataset.name, one.context) for one in run.inputs.datasets] == [("iris", "training")]

    def test_a_run_cannot_tell_of_the_model_of_another(self, store: TrackingStore) -> None:
        model = ModelLogged(seq=2, ts=1, model_id=new_model_id(), name="clf", status=LoggedModelStatus.READY)
        store.ingest(new_run_id(), "s", [started(), model])
        with pytest.raises(InvalidInput):
            store.ingest(new_run_id(), "t", [started(), model])
        for name in ("m-1", "../../etc", "m-" + "g" * 32):
            with pytest.raises(InvalidInput):
                store.ingest(new_run_id(), f"u{name}", [started(), msgspec.structs.replace(model, model_id=name)])
        with pytest.raises(NotFound):
            store.write_model_file(new_model_id(), "MLmodel", io.BytesIO(b""))
        with pytest.raises(InvalidInput):
            store.write_model_file(model.model_id, "../x", io.BytesIO(b""))
