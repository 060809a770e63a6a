"""Purging: the rows go first, then the files.

The transaction that removes the rows of a run also notes in `purged_files` where its files are, and a note goes when the
files have gone. Whenever a purge is killed, a run is there whole or not seen any more, and the next purge finishes the
files. The other way round a killed purge would leave runs that can be restored, but not their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind, artifact_uri
from mlops_nb.core.records import LifecycleStage
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, NotSupported
from mlops_nb.store.purge import UPLOAD_GRACE_SECONDS, Purged, PurgeQuery
from mlops_nb.store.sql import runs as run_rows
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.schema import (
    datasets,
    experiments,
    latest_metrics,
    logged_models,
    metadata,
    purged_files,
    run_inputs,
    run_models,
    runs,
    trace_runs,
    traces,
)
from mlops_nb.store.sql.upsert import insert

if TYPE_CHECKING:
    from mlops_nb.store.files import OwnedFiles

_CHUNK = 100
_POINTS = 200_000
_DELETED = LifecycleStage.DELETED.value
_OPEN = (RunStatus.RUNNING.value, RunStatus.SCHEDULED.value)
_IDS: dict[str, Any] = {OwnerKind.RUN: runs.c.run_id, OwnerKind.MODEL: logged_models.c.model_id, OwnerKind.TRACE: traces.c.trace_id}


def purge(database: Database, files: OwnedFiles, query: PurgeQuery, now: int) -> Purged:
    """Remove what a query names for good, and finish what an earlier purge has left."""
    done = Purged()
    limit = now - query.older_than_ms
    if not query.dry_run:
        _remove_files(database, files, done)
    with database.read() as c:
        _check(c, query, limit)
        wanted = _experiments(c, query, limit, done)
        numbers = _runs(c, query, limit, wanted, done)
        models = _models(c, query, limit, wanted)
        if query.dry_run:
            return _foreseen(c, [number for number, _ in numbers], models, wanted, done)
    for group in _groups(numbers):
        with database.write() as c:
            done.runs += _purge_runs(c, group)
    for chunk in _chunks(models):
        with database.write() as c:
            done.models += _purge_models(c, chunk, wanted)
    for number in wanted:
        _purge_experiment(database, number, done)
    with database.write() as c:
        used = sa.select(run_inputs.c.dataset)
        done.datasets = c.execute(datasets.delete().where(datasets.c.id.not_in(used))).rowcount
    _remove_files(database, files, done)
    done.leftovers = files.cleanup(UPLOAD_GRACE_SECONDS)
    return done


# -- what goes


def _check(c: sa.Connection, query: PurgeQuery, limit: int) -> None:
    """Refuse a query that names what may not go.

    Raises:
        NotFound, InvalidInput: With the id.
    """
    for run_id in query.run_ids or ():
        found = c.execute(sa.select(runs.c.lifecycle_stage, runs.c.deleted_time, runs.c.status).where(runs.c.run_id == run_id)).first()
        if found is None:
            raise NotFound(f"Run with id={run_id[:64]} not found.")
        _check_deleted(f"Run {run_id}", found[0], found[1], limit, f"mlops-nb runs delete --run-id {run_id}")
        if found[2] in _OPEN:
            raise InvalidInput(f"Run {run_id} is {found[2]}.", hint="End it first: what it logs would be lost.")
    for experiment_id in query.experiment_ids or ():
        row = c.execute(
            sa.select(experiments.c.lifecycle_stage, experiments.c.last_update_time).where(experiments.c.id == _number(experiment_id))
        ).first()
        if row is None:
            raise NotFound(f"No experiment with id {experiment_id[:64]} exists.")
        _check_deleted(f"Experiment {experiment_id}", row[0], row[1], limit, f"mlops-nb experiments delete -x {experiment_id}")
    for model_id in query.model_ids or ():
        row = c.execute(
            sa.select(logged_models.c.lifecycle_stage, logged_models.c.last_update_time).where(logged_models.c.model_id == model_id)
        ).first()
        if row is None:
            raise NotFound(f"Logged model with ID '{model_id[:64]}' not found.")
        _check_deleted(f"Logged model {model_id}", row[0], row[1], limit, "Delete it first.")


def _check_deleted(what: str, stage: str, since: int | None, limit: int, remedy: str) -> None:
    if stage != _DELETED:
        raise InvalidInput(f"{what} is not in `deleted` lifecycle stage. Only what is deleted can be removed for good.", hint=remedy)
    if since is not None and since > limit:
        raise InvalidInput(f"{what} is not older than the required age.", hint="Give a shorter time, or leave --older-than out.")


def _number(experiment_id: str) -> int:
    return int(experiment_id) if experiment_id.isascii() and experiment_id.isdigit() and len(experiment_id) < 10 else -1


def _experiments(c: sa.Connection, query: PurgeQuery, limit: int, done: Purged) -> list[int]:
    """Return the numbers of the experiments that go: the deleted ones in which nothing is active or running."""
    if query.names_some and query.experiment_ids is None:
        return []
    wanted = sa.select(experiments.c.id).where(experiments.c.lifecycle_stage == _DELETED, experiments.c.last_update_time <= limit)
    if query.experiment_ids is not None:
        wanted = wanted.where(experiments.c.id.in_([_number(i) for i in query.experiment_ids]))
    free = []
    for (number,) in c.execute(wanted.order_by(experiments.c.id)).all():
        alive = c.execute(_alive(number)).scalar()
        if alive is None:
            free.append(number)
        else:
            done.kept.append(f"Experiment {number} stays: its run {alive} is active or running.")
    return free


def _alive(experiment: int) -> sa.Select[tuple[str]]:
    alive = sa.or_(runs.c.lifecycle_stage != _DELETED, runs.c.status.in_(_OPEN))
    return sa.select(runs.c.run_id).where(runs.c.experiment_id == experiment, alive).limit(1)


def _runs(c: sa.Connection, query: PurgeQuery, limit: int, wanted: Sequence[int], done: Purged) -> list[tuple[int, int]]:
    """Return the numbers of the runs that go, each with how many points it has."""
    condition: sa.ColumnElement[bool] = runs.c.experiment_id.in_(wanted)
    if not query.names_some:
        old = sa.or_(runs.c.deleted_time.is_(None), runs.c.deleted_time <= limit)
        condition = sa.or_(condition, old)
    elif query.run_ids is not None:
        condition = sa.or_(condition, runs.c.run_id.in_(query.run_ids))
    condition = sa.and_(condition, runs.c.lifecycle_stage == _DELETED)
    for (run_id,) in c.execute(sa.select(runs.c.run_id).where(condition, runs.c.status.in_(_OPEN))):
        done.kept.append(f"Run {run_id} stays: it is running.")
    points = sa.select(sa.func.coalesce(sa.func.sum(latest_metrics.c.points), 0)).where(latest_metrics.c.run == runs.c.id).scalar_subquery()
    rows = c.execute(sa.select(runs.c.id, points).where(condition, runs.c.status.not_in(_OPEN)).order_by(runs.c.id))
    return [(int(number), int(count)) for number, count in rows]


def _models(c: sa.Connection, query: PurgeQuery, limit: int, wanted: Sequence[int]) -> list[int]:
    """Return the numbers of the logged models that go."""
    condition: sa.ColumnElement[bool] = logged_models.c.experiment_id.in_(wanted)
    deleted = logged_models.c.lifecycle_stage == _DELETED
    if not query.names_some:
        condition = sa.or_(condition, sa.and_(deleted, logged_models.c.last_update_time <= limit))
    elif query.model_ids is not None:
        condition = sa.or_(condition, sa.and_(deleted, logged_models.c.model_id.in_(query.model_ids)))
    return [int(row[0]) for row in c.execute(sa.select(logged_models.c.id).where(condition).order_by(logged_models.c.id))]


def _foreseen(c: sa.Connection, numbers: Sequence[int], models: Sequence[int], wanted: Sequence[int], done: Purged) -> Purged:
    """Say what a purge would remove; data sets and remains of uploads are not looked for."""
    for chunk in _chunks(numbers):
        done.runs += c.execute(sa.select(runs.c.run_id).where(runs.c.id.in_(chunk)).order_by(runs.c.id)).scalars()
    for chunk in _chunks(models):
        m = logged_models.c
        done.models += c.execute(sa.select(m.model_id).where(m.id.in_(chunk)).order_by(m.id)).scalars()
    done.experiments = [str(number) for number in wanted]
    done.traces = c.execute(sa.select(sa.func.count()).where(traces.c.experiment_id.in_(wanted))).scalar_one()
    return done


def _groups(numbers: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Part runs into those that go in one transaction, so that none holds the lock for long."""
    group: list[int] = []
    points = 0
    for number, count in numbers:
        if group and (points + count > _POINTS or len(group) >= _CHUNK):
            yield group
            group, points = [], 0
        group.append(number)
        points += count
    if group:
        yield group


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[at : at + _CHUNK] for at in range(0, len(numbers), _CHUNK))


# -- the rows go


def _purge_runs(c: sa.Connection, numbers: Sequence[int]) -> list[str]:
    # Looked at again under the lock: one may have been restored or resumed meanwhile.
    free = sa.and_(runs.c.id.in_(numbers), runs.c.lifecycle_stage == _DELETED, runs.c.status.not_in(_OPEN))
    rows = c.execute(sa.select(runs.c.id, runs.c.run_id).where(free).order_by(runs.c.id)).all()
    ids = [row[1] for row in rows]
    _note(c, [_owner(c, run_id) for run_id in ids])
    _delete_rows(c, runs, [row[0] for row in rows])
    c.execute(trace_runs.delete().where(trace_runs.c.run_id.in_(ids)))
    return ids


def _owner(c: sa.Connection, run_id: str) -> ArtifactOwner:
    experiment_id, location = run_rows.place_of(c, run_id)
    uri = artifact_uri(location, OwnerKind.RUN, run_id)
    return ArtifactOwner(kind=OwnerKind.RUN, experiment_id=experiment_id, owner_id=run_id, uri=uri)


def _purge_models(c: sa.Connection, numbers: Sequence[int], whole: Sequence[int]) -> list[str]:
    free = sa.or_(logged_models.c.lifecycle_stage == _DELETED, logged_models.c.experiment_id.in_(whole))
    m = logged_models.c
    rows = c.execute(sa.select(m.id, m.model_id, m.experiment_id, m.artifact_location).where(m.id.in_(numbers), free).order_by(m.id)).all()
    _note(c, [ArtifactOwner(kind=OwnerKind.MODEL, experiment_id=str(row[2]), owner_id=row[1], uri=row[3]) for row in rows])
    gone = [row[0] for row in rows]
    for (run,) in c.execute(sa.select(run_models.c.run).distinct().where(run_models.c.model.in_(gone))).all():
        run_rows.touch(c, run)  # it shows its models
    _delete_rows(c, logged_models, gone)
    return [row[1] for row in rows]


def _purge_experiment(database: Database, number: int, done: Purged) -> None:
    while True:
        with database.write() as c:
            rows = c.execute(sa.select(traces.c.id, traces.c.trace_id).where(traces.c.experiment_id == number).limit(_CHUNK)).all()
            if not _is_free(c, number):
                done.kept.append(f"Experiment {number} stays: it was restored meanwhile.")
                return
            if not rows:
                _delete_rows(c, experiments, [number])
                done.experiments.append(str(number))
                return
            location = str(c.execute(sa.select(experiments.c.artifact_location).where(experiments.c.id == number)).scalar_one())
            _note(c, [_trace(number, location, row[1]) for row in rows])
            _delete_rows(c, traces, [row[0] for row in rows])
            c.execute(trace_runs.delete().where(trace_runs.c.trace_id.in_([row[1] for row in rows])))
            done.traces += len(rows)


def _trace(experiment: int, location: str, trace_id: str) -> ArtifactOwner:
    # The tag that tells clients the place is not asked: they can change it, and would choose what goes.
    uri = artifact_uri(location, OwnerKind.TRACE, trace_id)
    return ArtifactOwner(kind=OwnerKind.TRACE, experiment_id=str(experiment), owner_id=trace_id, uri=uri)


def _is_free(c: sa.Connection, experiment: int) -> bool:
    """Return whether an experiment is still deleted and holds no run and no logged model."""
    stage = c.execute(sa.select(experiments.c.lifecycle_stage).where(experiments.c.id == experiment)).scalar()
    held = [c.execute(sa.select(table.c.id).where(table.c.experiment_id == experiment).limit(1)).first() for table in (runs, logged_models)]
    return stage == _DELETED and not any(held)


def _delete_rows(c: sa.Connection, table: sa.Table, numbers: Sequence[int]) -> None:
    """Delete rows with the rows of all tables that refer to them."""
    if not numbers:
        return
    for other in metadata.tables.values():
        for column in other.columns:
            if any(key.column is table.c.id for key in column.foreign_keys):
                c.execute(other.delete().where(column.in_(numbers)))
    c.execute(table.delete().where(table.c.id.in_(numbers)))


# -- the files go


def _note(c: sa.Connection, owners: Iterable[ArtifactOwner]) -> None:
    rows = [{"kind": o.kind.value, "owner_id": o.owner_id, "experiment_id": o.experiment_id, "uri": o.uri} for o in owners]
    if rows:
        statement = insert(c, purged_files)
        changed = {name: getattr(statement.excluded, name) for name in ("experiment_id", "uri")}
        c.execute(statement.on_conflict_do_update(index_elements=["kind", "owner_id"], set_=changed), rows)


def _remove_files(database: Database, files: OwnedFiles, done: Purged) -> None:
    """Remove the files of what is gone, and the notes about them."""
    with database.read() as c:
        noted = c.execute(sa.select(purged_files).order_by(purged_files.c.kind, purged_files.c.owner_id)).mappings().all()
    for row in noted:
        owner = ArtifactOwner(kind=OwnerKind(row["kind"]), experiment_id=row["experiment_id"], owner_id=row["owner_id"], uri=row["uri"])
        column = _IDS[owner.kind]
        with database.read() as c:  # imported again since: then the files are its own
            is_back = c.execute(sa.select(column).where(column == owner.owner_id)).first() is not None
        if not is_back:
            try:
                files.delete(owner)
                done.files += 1
            except (InvalidInput, NotSupported):  # it would be so at every purge
                done.kept.append(f"The files at {owner.uri} stay: they are not below the store's own place for files.")
            except MlopsError as error:
                done.problems.append(f"The files of {owner.owner_id} could not be removed: {error}")
                continue
        with database.write() as c:
            c.execute(purged_files.delete().where(purged_files.c.kind == row["kind"], purged_files.c.owner_id == row["owner_id"]))
