"""The write path of our own clients: events applied in order, each exactly once; leases; the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.events import AnyEvent, ArtifactAdded, CellRan, MetricLogged, ParamLogged, RunEnded, RunStarted, TagSet
from mlops_nb.core.names import clean_run_name, is_run_id
from mlops_nb.core.records import TAG_RUN_NAME, CellExecution, CellOutcome, LifecycleStage, Metric, float_from_json
from mlops_nb.core.run_state import RunStatus, is_legal
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.sql import experiments as experiment_rows
from mlops_nb.store.sql import points as point_rows
from mlops_nb.store.sql import revision
from mlops_nb.store.sql import runs as run_rows
from mlops_nb.store.sql.schema import cells, deliveries, runs
from mlops_nb.store.sql.search import chunks
from mlops_nb.store.sql.upsert import insert


def apply(c: sa.Connection, run_id: str, source: str, events: Sequence[AnyEvent], now: int) -> int:
    """Apply the events of a source that are not applied yet and return the highest one that is."""
    applied = int(c.execute(sa.select(deliveries.c.seq).where(deliveries.c.source == source)).scalar() or 0)
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
    ledger: dict[int, CellExecution] = {}
    columns: dict[str, Any] = {}
    for event in events:
        if isinstance(event, MetricLogged):
            value = float_from_json(event.value)
            points.append(Metric(key=event.key, value=value, timestamp=event.ts, step=event.step, cell=event.cell))
        elif isinstance(event, ParamLogged):
            params.setdefault(event.key, event.value)
        elif isinstance(event, TagSet):
            tags[event.key] = event.value
        elif isinstance(event, CellRan):
            ledger[event.cell.index] = event.cell
        elif isinstance(event, RunStarted):
            tags |= {**event.tags, TAG_RUN_NAME: event.name}
            columns |= {"status": RunStatus.RUNNING, "end_time": None, "reason": None}
        elif isinstance(event, RunEnded):
            columns |= {"status": event.status, "end_time": event.ts, "reason": event.reason}
        else:
            assert isinstance(event, ArtifactAdded)  # its bytes are in place already; the new revision shows them
    point_rows.put(c, row, points)
    run_rows.put_params(c, row, params)
    run_rows.put_tags(c, row, tags)
    _put_cells(c, row, list(ledger.values()))
    if tags.get(TAG_RUN_NAME):
        columns["name"] = clean_run_name(str(tags[TAG_RUN_NAME]))
    return columns


def _revive(c: sa.Connection, row: int, columns: dict[str, Any], now: int) -> None:
    """Set the columns of a run that gave a sign of life, and its state as far as that is legal."""
    current = RunStatus(c.execute(sa.select(runs.c.status).where(runs.c.id == row)).scalar_one())
    new = columns.pop("status", None) or (RunStatus.RUNNING if current is RunStatus.LOST else current)
    if not is_legal(current, new):
        columns, new = {k: v for k, v in columns.items() if k not in ("end_time", "reason")}, current
    if current is RunStatus.LOST and new is RunStatus.RUNNING:
        columns.setdefault("reason", None)
    columns |= {"status": new.value, "lease_at": None if new.is_final else now, "revision": revision.following(c)}
    c.execute(runs.update().where(runs.c.id == row).values(**columns))


def _put_cells(c: sa.Connection, row: int, executions: Sequence[CellExecution]) -> None:
    if not executions:
        return
    statement = insert(c, cells)
    names = ["cell_id", "execution_count", "source", "source_hash", "started", "duration_ms", "outcome", "error"]
    changed: dict[str, Any] = {name: getattr(statement.excluded, name) for name in names}
    # Outputs come from the executor, which sees them after the kernel has reported the cell: None keeps what is there.
    changed["outputs"] = sa.func.coalesce(statement.excluded.outputs, cells.c.outputs)
    rows = [
        {"run": row, **{name: getattr(e, name) for name in ("index", *names, "outputs")}, "outcome": e.outcome.value} for e in executions
    ]
    c.execute(statement.on_conflict_do_update(index_elements=["run", "index"], set_=changed), rows)


def ledger(c: sa.Connection, row: int) -> list[CellExecution]:
    """Return the cell executions of a run."""
    rows = c.execute(sa.select(cells).where(cells.c.run == row).order_by(cells.c.index)).mappings()
    return [
        CellExecution(
            **{name: r[name] for name in r if name not in ("run", "outcome")},
            outcome=CellOutcome(r["outcome"]),
        )
        for r in rows
    ]


def heartbeat(c: sa.Connection, run_ids: Sequence[str], now: int) -> None:
    """Renew leases; a LOST run is RUNNING again."""
    open_states = [RunStatus.RUNNING.value, RunStatus.SCHEDULED.value]
    for ids in chunks(run_ids):
        c.execute(runs.update().where(runs.c.run_id.in_(ids), runs.c.status.in_(open_states)).values(lease_at=now))
        lost = sa.select(runs.c.id).where(runs.c.run_id.in_(ids), runs.c.status == RunStatus.LOST.value)
        found = [row[0] for row in c.execute(lost)]
        revision.change_runs(c, found, lease_at=now, status=RunStatus.RUNNING.value, reason=None, end_time=None)


def _expired(limit: int) -> sa.ColumnElement[bool]:
    return sa.and_(runs.c.lease_at < limit, runs.c.status == RunStatus.RUNNING.value)


def expired(c: sa.Connection, limit: int) -> bool:
    """Return whether the lease of a running run was last renewed before `limit`."""
    return c.execute(sa.select(runs.c.id).where(_expired(limit)).limit(1)).first() is not None


def expire(c: sa.Connection, limit: int) -> list[str]:
    """Mark the runs whose lease ran out as LOST."""
    found = c.execute(sa.select(runs.c.id, runs.c.run_id).where(_expired(limit)).order_by(runs.c.id)).all()
    reason = "no sign of life from its process"
    revision.change_runs(c, [row[0] for row in found], status=RunStatus.LOST.value, reason=reason)
    return [row[1] for row in found]
