"""`TraceStore` on a database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.artifacts import OwnerKind, artifact_uri
from mlops_nb.core.names import MAX_KEY, is_run_id
from mlops_nb.core.records import LifecycleStage
from mlops_nb.core.traces import (
    META_SOURCE_RUN,
    TAG_ARTIFACT_LOCATION,
    TAG_LINKED_PROMPTS,
    Assessment,
    TraceInfo,
    TraceQuery,
    TraceState,
    check_trace_id,
    merged_prompts,
)
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.page import MAX_PAGE, Page
from mlops_nb.store.sql import experiments, search
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.schema import trace_assessments, trace_metadata, trace_runs, trace_tags, traces
from mlops_nb.store.sql.upsert import insert
from mlops_nb.store.traces import TraceStore

_t = traces.c
_OWNED = (trace_tags, trace_metadata, trace_assessments)


class SqlTraces(TraceStore):
    """See `TraceStore`."""

    def __init__(self, database: Database) -> None:
        self._read, self._write = database.read, database.write

    def put(self, trace: TraceInfo) -> TraceInfo:
        check_trace_id(trace.trace_id)
        with self._write() as c:
            experiment = experiments.get(c, trace.experiment_id)
            if experiment.lifecycle_stage is LifecycleStage.DELETED:
                raise InvalidInput(f"Experiment {trace.experiment_id} is deleted.", hint="Restore it first.")
            location = artifact_uri(experiment.artifact_location, OwnerKind.TRACE, trace.trace_id)
            row = _put_row(c, trace)
            _put(c, trace_tags, row, {**trace.tags, TAG_ARTIFACT_LOCATION: location})
            _put(c, trace_metadata, row, trace.metadata)
            for assessment in trace.assessments:
                _put_assessment(c, row, assessment)
            run_id = trace.metadata.get(META_SOURCE_RUN, "")
            if is_run_id(run_id):
                _link(c, run_id, [trace.trace_id])
            return _get(c, trace.trace_id)

    def get(self, trace_id: str) -> TraceInfo:
        with self._read() as c:
            return _get(c, trace_id)

    def get_many(self, trace_ids: Sequence[str]) -> list[TraceInfo]:
        found: dict[str, TraceInfo] = {}
        with self._read() as c:
            for chunk in search.chunks(list(dict.fromkeys(trace_ids))):
                found |= {trace.trace_id: trace for trace in _load(c, sa.select(traces).where(_t.trace_id.in_(chunk))).values()}
        return [found[trace_id] for trace_id in dict.fromkeys(trace_ids) if trace_id in found]

    def search(self, query: TraceQuery) -> Page[TraceInfo]:
        numbers = sorted({int(i) for i in query.experiment_ids if i.isascii() and i.isdigit()})
        with self._read() as c:
            page = search.select_ids(
                c,
                search.TRACES,
                query.filter,
                query.order_by,
                where=[_t.experiment_id.in_(numbers)],
                scope=numbers,
                max_results=query.max_results,
                largest=MAX_PAGE,
                page_token=query.page_token,
            )
            found: dict[int, TraceInfo] = {}
            for chunk in search.chunks(page.items):
                found |= _load(c, sa.select(traces).where(_t.id.in_(chunk)))
            return Page(items=search.in_order(page.items, found), token=page.token)

    def set_tag(self, trace_id: str, key: str, value: str | None) -> None:
        with self._write() as c:
            row = _row(c, trace_id)
            if value is not None:
                _put(c, trace_tags, row, {key: value})
            elif not c.execute(trace_tags.delete().where(trace_tags.c.trace == row, trace_tags.c.key == key)).rowcount:
                raise NotFound(f"No trace tag with key '{key}' for trace with ID '{trace_id}'.")

    def delete(
        self, experiment_id: str, *, trace_ids: Sequence[str] | None = None, until: int | None = None, max_traces: int | None = None
    ) -> list[str]:
        with self._write() as c:
            experiment = int(experiments.get(c, experiment_id).experiment_id)
            wanted = sa.select(_t.id, _t.trace_id).where(_t.experiment_id == experiment).order_by(_t.request_time, _t.trace_id)
            if trace_ids is not None:
                rows: list[Any] = [
                    row
                    for chunk in search.chunks(list(dict.fromkeys(trace_ids)))
                    for row in c.execute(wanted.where(_t.trace_id.in_(chunk)))
                ]
            else:
                wanted = wanted if until is None else wanted.where(_t.request_time <= until)
                rows = list(c.execute(wanted if max_traces is None else wanted.limit(max_traces)))
            rows = rows if max_traces is None else rows[:max_traces]
            for chunk in search.chunks(rows):
                numbers = [row[0] for row in chunk]
                for table in _OWNED:
                    c.execute(table.delete().where(table.c.trace.in_(numbers)))
                c.execute(trace_runs.delete().where(trace_runs.c.trace_id.in_([row[1] for row in chunk])))
                c.execute(traces.delete().where(_t.id.in_(numbers)))
            return [row[1] for row in rows]

    def link_to_run(self, run_id: str, trace_ids: Sequence[str]) -> None:
        with self._write() as c:
            _link(c, run_id, trace_ids)

    def get_assessment(self, trace_id: str, assessment_id: str) -> Assessment:
        for assessment in self.get(trace_id).assessments:
            if assessment.assessment_id == assessment_id:
                return assessment
        raise _no_assessment(trace_id, assessment_id)

    def add_assessment(self, trace_id: str, assessment: Assessment) -> None:
        with self._write() as c:
            row = _row(c, trace_id)
            overridden = assessment.body.get("overrides")
            if overridden:
                old = _assessment(c, row, trace_id, overridden)
                _put_assessment(c, row, Assessment(assessment_id=overridden, body={**old, "valid": False}))
            _put_assessment(c, row, assessment)

    def update_assessment(self, trace_id: str, assessment_id: str, changes: Mapping[str, Any]) -> Assessment:
        with self._write() as c:
            row = _row(c, trace_id)
            body = _assessment(c, row, trace_id, assessment_id)
            merged = {**body, **changes}
            if "metadata" in changes:
                merged["metadata"] = {**body.get("metadata", {}), **changes["metadata"]}
            assessment = Assessment(assessment_id=assessment_id, body=merged)
            _put_assessment(c, row, assessment)
            return assessment

    def delete_assessment(self, trace_id: str, assessment_id: str) -> None:
        table = trace_assessments
        with self._write() as c:
            row = _row(c, trace_id)
            body = _assessment(c, row, trace_id, assessment_id)
            c.execute(table.delete().where(table.c.trace == row, table.c.assessment_id == assessment_id))
            overridden = str(body.get("overrides", ""))
            old = _assessments(c, row).get(overridden)
            if old is not None:
                _put_assessment(c, row, Assessment(assessment_id=overridden, body={**old, "valid": True}))

    def link_prompts(self, trace_id: str, prompts: Sequence[tuple[str, str]]) -> None:
        with self._write() as c:
            row = _row(c, trace_id)
            known = c.execute(
                sa.select(trace_tags.c.value).where(trace_tags.c.trace == row, trace_tags.c.key == TAG_LINKED_PROMPTS)
            ).scalar()
            _put(c, trace_tags, row, {TAG_LINKED_PROMPTS: merged_prompts(known, prompts)})


def _assessments(c: sa.Connection, row: int) -> dict[str, dict[str, Any]]:
    table = trace_assessments.c
    return {r[0]: json.loads(r[1]) for r in c.execute(sa.select(table.assessment_id, table.body).where(table.trace == row))}


def _assessment(c: sa.Connection, row: int, trace_id: str, assessment_id: str) -> dict[str, Any]:
    body = _assessments(c, row).get(assessment_id)
    if body is None:
        raise _no_assessment(trace_id, assessment_id)
    return body


def _no_assessment(trace_id: str, assessment_id: str) -> NotFound:
    return NotFound(f"Assessment with ID '{assessment_id[:80]}' not found for trace '{trace_id[:80]}'")


def _row(c: sa.Connection, trace_id: str) -> int:
    found = c.execute(sa.select(_t.id).where(_t.trace_id == trace_id)).scalar()
    if found is None:
        raise NotFound(f"Trace with ID '{trace_id[:80]}' not found.")
    return int(found)


def _put_row(c: sa.Connection, trace: TraceInfo) -> int:
    values = {
        "client_request_id": trace.client_request_id,
        "request_time": trace.request_time,
        "duration_ms": trace.duration_ms,
        "state": trace.state.value,
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
    }
    known = c.execute(sa.select(_t.id, _t.experiment_id).where(_t.trace_id == trace.trace_id)).first()
    if known is None:
        row = {"trace_id": trace.trace_id, "experiment_id": int(trace.experiment_id), **values}
        key = c.execute(traces.insert().values(**row)).inserted_primary_key
        assert key is not None
        return int(key[0])
    if str(known[1]) != trace.experiment_id:
        raise InvalidInput(f"The trace '{trace.trace_id}' belongs to experiment {known[1]}, not {trace.experiment_id}.")
    c.execute(traces.update().where(_t.id == known[0]).values(**values))
    return int(known[0])


def _put(c: sa.Connection, table: sa.Table, row: int, new: Mapping[str, str]) -> None:
    for key in new:
        if not key or len(key) > MAX_KEY:
            raise InvalidInput(f"The name '{key[:40]}' of a trace's tag has {len(key)} characters; 1 to {MAX_KEY} are allowed.")
    if new:
        statement = insert(c, table)
        statement = statement.on_conflict_do_update(index_elements=["trace", "key"], set_={"value": statement.excluded.value})
        c.execute(statement, [{"trace": row, "key": key, "value": value} for key, value in new.items()])


def _put_assessment(c: sa.Connection, row: int, assessment: Assessment) -> None:
    statement = insert(c, trace_assessments)
    statement = statement.on_conflict_do_update(index_elements=["trace", "assessment_id"], set_={"body": statement.excluded.body})
    c.execute(statement, {"trace": row, "assessment_id": assessment.assessment_id, "body": json.dumps(assessment.body)})


def _link(c: sa.Connection, run_id: str, trace_ids: Sequence[str]) -> None:
    rows = [{"run_id": run_id, "trace_id": trace_id} for trace_id in dict.fromkeys(trace_ids)]
    if rows:
        c.execute(insert(c, trace_runs).on_conflict_do_nothing(), rows)


def _get(c: sa.Connection, trace_id: str) -> TraceInfo:
    for trace in _load(c, sa.select(traces).where(_t.trace_id == trace_id)).values():
        return trace
    raise NotFound(f"Trace with ID '{trace_id[:80]}' not found.")


def _load(c: sa.Connection, query: sa.Select[Any]) -> dict[int, TraceInfo]:
    """Return the traces of a query over `traces`, by number."""
    rows = c.execute(query).all()
    numbers = [row.id for row in rows]
    tags: dict[int, dict[str, str]] = {n: {} for n in numbers}
    metadata: dict[int, dict[str, str]] = {n: {} for n in numbers}
    assessments: dict[int, list[Assessment]] = {n: [] for n in numbers}
    for table, owned in ((trace_tags, tags), (trace_metadata, metadata)):
        for owner, key, value in c.execute(sa.select(table).where(table.c.trace.in_(numbers)).order_by(table.c.key)):
            owned[owner][key] = value
    for owner, assessment_id, body in c.execute(sa.select(trace_assessments).where(trace_assessments.c.trace.in_(numbers))):
        assessments[owner].append(Assessment(assessment_id=assessment_id, body=json.loads(body)))
    for listed in assessments.values():
        listed.sort(key=lambda assessment: (str(assessment.body.get("create_time")), assessment.assessment_id))
    return {
        row.id: TraceInfo(
            trace_id=row.trace_id,
            experiment_id=str(row.experiment_id),
            client_request_id=row.client_request_id,
            request_time=row.request_time,
            duration_ms=row.duration_ms,
            state=TraceState(row.state),
            request_preview=row.request_preview,
            response_preview=row.response_preview,
            metadata=metadata[row.id],
            tags=tags[row.id],
            assessments=assessments[row.id],
        )
        for row in rows
    }
