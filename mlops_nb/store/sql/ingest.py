"""The write path of our own clients: events applied in order, each exactly once; leases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.datasets import DatasetInput, ModelOutput
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
from mlops_nb.core.names import clean_run_name, is_run_id
from mlops_nb.core.records import TAG_RUN_NAME, CellExecution, LifecycleStage, Metric, ProductKind, float_from_json
from mlops_nb.core.run_state import RunStatus, is_legal
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.sql import experiments as experiment_rows
from mlops_nb.store.sql import inputs as input_rows
from mlops_nb.store.sql import ledger, logged_models, revision
from mlops_nb.store.sql import points as point_rows
from mlops_nb.store.sql import runs as run_rows
from mlops_nb.store.sql.schema import deliveries, runs
from mlops_nb.store.sql.search import chunks
from mlops_nb.store.sql.upsert import insert


def apply(c: sa.Connection, run_id: str, source: str, events: Sequence[AnyEvent], now: int) -> int:
    """Apply the events of a source that are not applied yet and return the highest one that is."""
    source, applied = _applied(c, run_id, source)
    fresh = [event for event in events if event.seq > applied]
    if not fresh:
        return applied
    row = c.execute(sa.select(runs.c.id).where(runs.c.run_id == run_id)).scalar()
    if row is None:
        first = fresh[0]
        if not isinstance(first, RunStarted):
            raise NotFound(f"Run with id={run_id[:64]} not found.")
        row = _start(c, run_id, first, now)
    columns = _apply_all(c, int(row), fresh)
    _revive(c, int(row), columns, now)
    statement = insert(c, deliveries).values(source=source, run=row, seq=fresh[-1].seq)
    c.execute(statement.on_conflict_do_update(index_elements=["source"], set_={"seq": statement.excluded.seq}))
    return fresh[-1].seq


def _applied(c: sa.Connection, run_id: str, source: str) -> tuple[str, int]:
    """Return under which name a source is kept, and its highest event that is applied.

    A source is of one run: whoever may write another run cannot make its events count as applied by naming it there.
    """
    otherwise = hashlib.sha256(f"{run_id} {source}".encode()).hexdigest()
    d = deliveries.c
    query = sa.select(d.source, d.seq, runs.c.run_id).join(runs, runs.c.id == d.run).where(d.source.in_((source, otherwise)))
    kept = c.execute(query).all()
    for name, seq, of_run in kept:
        if of_run == run_id:
            return name, int(seq)
    return (otherwise if any(name == source for name, _, _ in kept) else source), 0


def _start(c: sa.Connection, run_id: str, event: RunStarted, now: int) -> int:
    if not is_run_id(run_id):
        raise InvalidInput(f"{run_id[:64]!r} cannot be a run id.")
    experiment = experiment_rows.by_name(c, event.experiment)
    if experiment is None:
        number = experiment_rows.create(c, event.experiment, None, {}, now)
    else:
        number = int(experiment.experiment_id)
        if experiment.lifecycle_stage is LifecycleStage.DELETED:
            # What was recorded must be seen: new work in a deleted experiment brings it back.
            experiment_rows.update(c, experiment.experiment_id, None, LifecycleStage.ACTIVE, now)
    return run_rows.insert_run(c, run_id, number, clean_run_name(event.name), event.user, event.ts, lease_at=now)


def _apply_all(c: sa.Connection, row: int, events: Sequence[AnyEvent]) -> dict[str, Any]:
    """Write what the events carry; return the columns of the run that they change."""
    points: list[Metric] = []
    params: dict[str, str] = {}
    tags: dict[str, str | None] = {}
    executions: dict[int, CellExecution] = {}
    products: dict[tuple[ProductKind, str], int] = {}
    read: list[DatasetInput] = []
    made: dict[str, ModelLogged] = {}
    columns: dict[str, Any] = {}
    for event in events:
        if isinstance(event, MetricLogged):
            value = float_from_json(event.value)
            points.append(Metric(key=event.key, value=value, timestamp=event.ts, step=event.step, cell=event.cell))
        elif isinstance(event, ParamLogged):
            params.setdefault(event.key, event.value)
            _note(products, ProductKind.PARAM, event.key, event.cell)
        elif isinstance(event, TagSet):
            tags[event.key] = event.value
        elif isinstance(event, CellRan):
            executions[event.cell.index] = event.cell
        elif isinstance(event, DatasetLogged):
            read.append(event.input)
            _note(products, ProductKind.DATASET, event.input.dataset.name, event.cell)
        elif isinstance(event, ModelLogged):
            made[event.model_id] = event
            _note(products, ProductKind.MODEL, event.model_id, event.cell)
        elif isinstance(event, RunStarted):
            tags |= {**event.tags, TAG_RUN_NAME: event.name}
            columns |= {"status": RunStatus.RUNNING, "end_time": None, "reason": None}
        elif isinstance(event, RunEnded):
            columns |= {"status": event.status, "end_time": event.ts, "reason": event.reason}
        else:
            assert isinstance(event, ArtifactAdded)  # its bytes are in place already; the new revision shows them
            if event.model_id is None:
                _note(products, ProductKind.ARTIFACT, event.path, event.cell)
    point_rows.put(c, row, points)
    run_rows.put_params(c, row, params)
    run_rows.put_tags(c, row, tags)
    if read:
        input_rows.add_inputs(c, row, read, ())
    if made:
        logged_models.put(c, row, list(made.values()))
        input_rows.add_outputs(c, row, [ModelOutput(model_id=model.model_id, step=model.step) for model in made.values()])
    ledger.put(c, row, list(executions.values()))
    ledger.put_products(c, row, products)
    if tags.get(TAG_RUN_NAME):
        columns["name"] = clean_run_name(str(tags[TAG_RUN_NAME]))
    return columns


def _note(products: dict[tuple[ProductKind, str], int], kind: ProductKind, name: str, cell: int | None) -> None:
    if cell is not None:
        products[kind, name] = cell


def _revive(c: sa.Connection, row: int, columns: dict[str, Any], now: int) -> None:
    """Set the columns of a run that gave a sign of life, and its state as far as that is legal."""
    status, start_time = c.execute(sa.select(runs.c.status, runs.c.start_time).where(runs.c.id == row)).one()
    current = RunStatus(status)
    if columns.get("end_time") is not None:  # a clock that was set back must not make a run end before it began
        columns["end_time"] = max(columns["end_time"], start_time or 0)
    new = columns.pop("status", None) or (RunStatus.RUNNING if current is RunStatus.LOST else current)
    if not is_legal(current, new):
        columns, new = {k: v for k, v in columns.items() if k not in ("end_time", "reason")}, current
    if current is RunStatus.LOST and new is RunStatus.RUNNING:
        columns = {"reason": None, "end_time": None} | columns
    columns |= {"status": new.value, "lease_at": None if new.is_final else now, "revision": revision.following(c)}
    c.execute(runs.update().where(runs.c.id == row).values(**columns))


def heartbeat(c: sa.Connection, run_ids: Sequence[str], now: int) -> None:
    """Renew leases; a LOST run is RUNNING again."""
    open_states = [RunStatus.RUNNING.value, RunStatus.SCHEDULED.value]
    for ids in chunks(run_ids):
        c.execute(runs.update().where(runs.c.run_id.in_(ids), runs.c.status.in_(open_states)).values(lease_at=now))
        lost = sa.select(runs.c.id).where(runs.c.run_id.in_(ids), runs.c.status == RunStatus.LOST.value)
        found = [row[0] for row in c.execute(lost)]
        revision.change_runs(c, found, lease_at=now, status=RunStatus.RUNNING.value, reason=None, end_time=None)


def renew_all(c: sa.Connection, now: int) -> None:
    """Renew the leases of all running runs."""
    c.execute(runs.update().where(runs.c.lease_at.is_not(None), runs.c.status == RunStatus.RUNNING.value).values(lease_at=now))


def _expired(limit: int) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.lease_at < limit, runs.c.status == RunStatus.RUNNING.value)


def expired(c: sa.Connection, limit: int) -> bool:
    """Return whether the lease of a running run was last renewed before `limit`."""
    return c.execute(sa.select(runs.c.id).where(_expired(limit)).limit(1)).first() is not None


def expire(c: sa.Connection, limit: int) -> list[str]:
    """Mark the runs whose lease ran out as LOST; as far as anybody knows, they ended with their last sign of life."""
    found = c.execute(sa.select(runs.c.id, runs.c.run_id).where(_expired(limit)).order_by(runs.c.id)).all()
    reason = "no sign of life from its process"
    last_sign = sa.case((runs.c.lease_at > runs.c.start_time, runs.c.lease_at), else_=runs.c.start_time)
    revision.change_runs(c, [row[0] for row in found], status=RunStatus.LOST.value, reason=reason, end_time=last_sign)
    return [row[1] for row in found]
