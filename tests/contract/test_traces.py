"""Traces and assessments, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlops_nb.core.records import LifecycleStage
from mlops_nb.core.traces import (
    META_SOURCE_RUN,
    TAG_LINKED_PROMPTS,
    Assessment,
    TraceInfo,
    TraceQuery,
    TraceState,
    duration_of_text,
    text_of_duration,
    text_of_time,
    time_of_text,
)
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import ServedStore
from mlops_nb.store.open import open_store
from tests.postgres import PostgresServer, needs_postgres


def trace(number: int, **changes: Any) -> TraceInfo:
    usual = TraceInfo(
        trace_id=f"tr-{number:032x}",
        experiment_id="0",
        request_time=1_000 * number,
        duration_ms=12,
        state=TraceState.OK,
        request_preview='{"q": "ü"}',
        response_preview="2",
        metadata={"mlflow.user": "me"},
        tags={"mlflow.traceName": f"f{number}"},
    )
    return msgspec.structs.replace(usual, **changes)


def found(store: ServedStore, text: str = "", **query: Any) -> list[int]:
    page = store.traces.search(TraceQuery(experiment_ids=["0"], filter=text, **query))
    return [int(each.trace_id[3:], 16) for each in page.items]


def judged(number: int, **body: Any) -> Assessment:
    return Assessment(assessment_id=f"a-{number}", body={"assessment_name": "good", "valid": True, **body})


class TracesContract:
    def test_a_trace_comes_back_with_the_place_of_its_spans(self, store: ServedStore) -> None:
        put = store.traces.put(trace(1))
        place = f"mlflow-artifacts:/0/traces/{put.trace_id}/artifacts"
        assert put == trace(1, tags={"mlflow.traceName": "f1", "mlflow.artifactLocation": place})
        assert store.traces.get(put.trace_id) == put

    def test_a_trace_that_comes_again_is_replaced_and_added_to(self, store: ServedStore) -> None:
        store.traces.put(trace(1, state=TraceState.IN_PROGRESS, duration_ms=None, tags={"a": "1"}))
        store.traces.put(trace(1, state=TraceState.ERROR, tags={"b": "2"}))
        again = store.traces.get(trace(1).trace_id)
        assert (again.state, again.duration_ms) == (TraceState.ERROR, 12)
        assert again.tags.items() >= {"a": "1", "b": "2"}.items()

    @pytest.mark.parametrize("trace_id", ["", "../x", "a/b", "t" * 65, "tr 1"])
    def test_an_id_that_cannot_name_a_folder_is_refused(self, store: ServedStore, trace_id: str) -> None:
        with pytest.raises(InvalidInput, match="trace ID"):
            store.traces.put(trace(1, trace_id=trace_id))

    def test_a_trace_needs_an_active_experiment_and_stays_in_it(self, store: ServedStore) -> None:
        other = store.create_experiment("other")
        store.traces.put(trace(1))
        with pytest.raises(InvalidInput, match="belongs to experiment 0"):
            store.traces.put(trace(1, experiment_id=other))
        store.update_experiment(other, lifecycle_stage=LifecycleStage.DELETED)
        with pytest.raises(InvalidInput, match="deleted"):
            store.traces.put(trace(2, experiment_id=other))
        with pytest.raises(NotFound):
            store.traces.put(trace(2, experiment_id="99"))

    def test_traces_are_found_ordered_and_paged(self, store: ServedStore) -> None:
        for number in range(1, 6):
            store.traces.put(trace(number, state=TraceState.ERROR if number == 3 else TraceState.OK, duration_ms=10 * number))
        store.traces.put(trace(9, experiment_id=store.create_experiment("other")))
        assert found(store) == [5, 4, 3, 2, 1]
        assert found(store, order_by=["timestamp_ms ASC"]) == [1, 2, 3, 4, 5]
        assert found(store, "status = 'ERROR'") == [3]
        assert found(store, "tags.`mlflow.traceName` = 'f2' AND metadata.`mlflow.user` = 'me'") == [2]
        assert found(store, "execution_time_ms > 35") == [5, 4]
        first = store.traces.search(TraceQuery(experiment_ids=["0"], max_results=3))
        second = store.traces.search(TraceQuery(experiment_ids=["0"], max_results=3, page_token=first.token))
        assert [len(first.items), len(second.items), second.token] == [3, 2, None]
        assert [each.trace_id for each in store.traces.get_many([trace(2).trace_id, "tr-none", trace(1).trace_id])] == [
            trace(2).trace_id,
            trace(1).trace_id,
        ]

    def test_a_run_has_the_traces_made_in_it_and_those_linked_to_it_even_before_they_came(self, store: ServedStore) -> None:
        run_id = store.create_run("0").run_id
        store.traces.link_to_run(run_id, [trace(2).trace_id, trace(3).trace_id])
        store.traces.link_to_run(run_id, [trace(2).trace_id])
        store.traces.put(trace(1, metadata={META_SOURCE_RUN: run_id}))
        store.traces.put(trace(2))
        store.traces.put(trace(4))
        assert found(store, f"attribute.run_id = '{run_id}'") == [2, 1]
        assert found(store, f"run_id = '{run_id}' AND status = 'OK'", order_by=["run_id"]) == [2, 1]
        assert found(store, "run_id = 'none'") == []

    def test_tags_are_set_and_removed(self, store: ServedStore) -> None:
        trace_id = store.traces.put(trace(1)).trace_id
        store.traces.set_tag(trace_id, "k", "v")
        assert store.traces.get(trace_id).tags["k"] == "v"
        store.traces.set_tag(trace_id, "k", None)
        assert "k" not in store.traces.get(trace_id).tags
        with pytest.raises(NotFound, match="'k'"):
            store.traces.set_tag(trace_id, "k", None)
        with pytest.raises(NotFound):
            store.traces.set_tag("tr-none", "k", "v")

    def test_traces_are_deleted_by_id_or_the_oldest_first(self, store: ServedStore) -> None:
        for number in range(1, 6):
            store.traces.put(trace(number, assessments=[judged(number)]))
        assert store.traces.delete("0", trace_ids=[trace(5).trace_id, "tr-none"]) == [trace(5).trace_id]
        assert store.traces.delete("0", until=3_000, max_traces=2) == [trace(1).trace_id, trace(2).trace_id]
        assert found(store) == [4, 3]
        other = store.create_experiment("other")
        assert store.traces.delete(other, trace_ids=[trace(4).trace_id]) == []
        with pytest.raises(NotFound):
            store.traces.get(trace(1).trace_id)

    def test_assessments_are_kept_changed_and_removed(self, store: ServedStore) -> None:
        trace_id = store.traces.put(trace(1)).trace_id
        first = judged(1, feedback={"value": None, "error": {"error_code": "E"}}, metadata={"a": "1"})
        store.traces.add_assessment(trace_id, first)
        assert store.traces.get(trace_id).assessments == [first]
        changed = store.traces.update_assessment(trace_id, "a-1", {"feedback": {"value": 0.5}, "metadata": {"b": "2"}})
        assert changed.body == {**first.body, "feedback": {"value": 0.5}, "metadata": {"a": "1", "b": "2"}}
        assert store.traces.get_assessment(trace_id, "a-1") == changed
        store.traces.delete_assessment(trace_id, "a-1")
        for call in (store.traces.get_assessment, store.traces.delete_assessment):
            with pytest.raises(NotFound, match="a-1"):
                call(trace_id, "a-1")
        with pytest.raises(NotFound, match="tr-none"):
            store.traces.add_assessment("tr-none", first)

    def test_an_overridden_assessment_is_invalid_until_the_other_goes(self, store: ServedStore) -> None:
        trace_id = store.traces.put(trace(1, assessments=[judged(1)])).trace_id
        store.traces.add_assessment(trace_id, judged(2, overrides="a-1"))
        assert store.traces.get_assessment(trace_id, "a-1").body["valid"] is False
        store.traces.delete_assessment(trace_id, "a-2")
        assert store.traces.get_assessment(trace_id, "a-1").body["valid"] is True
        with pytest.raises(NotFound, match="a-9"):
            store.traces.add_assessment(trace_id, judged(3, overrides="a-9"))

    def test_prompts_of_a_trace_are_listed_once(self, store: ServedStore) -> None:
        trace_id = store.traces.put(trace(1)).trace_id
        store.traces.link_prompts(trace_id, [("greet", "1")])
        store.traces.link_prompts(trace_id, [("greet", "1"), ("greet", "2")])
        listed = msgspec.json.decode(store.traces.get(trace_id).tags[TAG_LINKED_PROMPTS])
        assert listed == [{"name": "greet", "version": "1"}, {"name": "greet", "version": "2"}]


class TestTracesOnSqlite(TracesContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = open_store(f"sqlite:///{tmp_path}/store.db?durability=normal")
        assert store is not None
        yield store
        store.close()


@needs_postgres
class TestTracesOnPostgres(TracesContract):
    @pytest.fixture
    def store(self, postgres: PostgresServer, tmp_path: Path) -> Iterator[Any]:
        store = open_store(postgres.new_database(), artifact_root=str(tmp_path))
        assert store is not None
        yield store
        store.close()


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 1_795_274_349_865, -1, 253_402_300_799_999])
def test_a_time_is_the_same_in_text_and_back(milliseconds: int) -> None:
    assert time_of_text(text_of_time(milliseconds)) == milliseconds


def test_times_and_durations_are_read_in_every_form_that_protobuf_writes() -> None:
    assert time_of_text("2026-11-21T15:19:09Z") == time_of_text("2026-11-21T16:19:09.000000999+01:00") == 1_795_274_349_000
    assert [duration_of_text(text) for text in ("0s", "0.181s", "3.5s", "1.000000001s")] == [0, 181, 3500, 1000]
    assert [text_of_duration(each) for each in (0, 181, 3500, 60_000)] == ["0s", "0.181s", "3.500s", "60s"]
    for call, text in ((time_of_text, "yesterday"), (duration_of_text, "1h"), (duration_of_text, "-1s")):
        with pytest.raises(InvalidInput, match=text):
            call(text)
