"""Runs with their params, tags and latest metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypeVar

import sqlalchemy as sa

from mlops_nb.core.names import MAX_PARAM_VALUE, MAX_TAG_VALUE, MAX_USER, check_key, clean_run_name, new_run_id, new_run_name
from mlops_nb.core.records import TAG_RUN_NAME, TAG_USER, LifecycleStage, Metric, Run
from mlops_nb.core.run_state import RunStatus, check_transition
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import StoreStatus
from mlops_nb.store.sql import experiments as experiment_rows
from mlops_nb.store.sql import inputs, revision, run_records
from mlops_nb.store.sql import points as point_rows
from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.schema import experiments, runs

_CHUNK = 500
_INSERT = Hot(
    'INSERT INTO runs (run_id, experiment_id, name, "user", status, start_time, lifecycle_stage, lease_at, revision) '
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
_STAGE = Hot("SELECT id, lifecycle_stage FROM runs WHERE run_id = ?")
_PLACE = Hot("SELECT e.id, e.artifact_location FROM runs AS r JOIN experiments AS e ON e.id = r.experiment_id WHERE r.run_id = ?")
_TOUCH = Hot("UPDATE runs SET revision = ? WHERE id = ?")
_RENAME = Hot("UPDATE runs SET name = ? WHERE id = ?")
_PARAM = Hot("SELECT value FROM params WHERE run = ? AND key = ?")
_PARAMS = Hot("SELECT key, value FROM params WHERE run = ?")
_PUT_PARAM = Hot("INSERT INTO params (run, key, value) VALUES (?, ?, ?)")
_PUT_TAG = Hot("INSERT INTO tags (run, key, value) VALUES (?, ?, ?) ON CONFLICT (run, key) DO UPDATE SET value = excluded.value")
_REMOVE_TAG = Hot("DELETE FROM tags WHERE run = ? AND key = ?")

T = TypeVar("T")


def create(c: sa.Connection, experiment_id: str, name: str, user: str, start_time: int, run_tags: Mapping[str, str]) -> Run:
    """Insert a run in state RUNNING."""
    stage = experiment_rows.stage(c, experiment_id)
    if stage is LifecycleStage.DELETED:
        raise InvalidInput(f"Experiment {experiment_id} is deleted.", hint="Restore it first.")
    run_id = new_run_id()
    name = clean_run_name(name or run_tags.get(TAG_RUN_NAME, "")) or new_run_name()
    row = insert_run(c, run_id, int(experiment_id), name, user or run_tags.get(TAG_USER, ""), start_time)
    put_tags(c, row, {**run_tags, TAG_RUN_NAME: name})
    return get(c, run_id)


def insert_run(c: sa.Connection, run_id: str, experiment: int, name: str, user: str, start_time: int, lease_at: int | None = None) -> int:
    """Insert the row of a run and return its number."""
    active, running = LifecycleStage.ACTIVE.value, RunStatus.RUNNING.value
    values = (run_id, experiment, name, user[:MAX_USER], running, start_time, active, lease_at, revision.following(c))
    return int(_INSERT.rows(c, *values)[0][0])


def touch(c: sa.Connection, row: int) -> None:
    """Give a run a new revision."""
    _TOUCH.run(c, revision.following(c), row)


def row_id(c: sa.Connection, run_id: str) -> int:
    """Return the number of a run's row."""
    found = _STAGE.rows(c, run_id)
    if not found:
        raise _not_found(run_id)
    return int(found[0][0])


def active_row(c: sa.Connection, run_id: str) -> int:
    """Return the number of the row of a run that can be logged to.

    Raises:
        NotFound: If the run is not there.
        InvalidInput: If it is deleted.
    """
    found = _STAGE.rows(c, run_id)
    if not found:
        raise _not_found(run_id)
    row, stage = found[0]
    if stage == LifecycleStage.DELETED.value:
        raise InvalidInput(f"The run {run_id} must be in the 'active' state. Current state is deleted.", hint="Restore it first.")
    return int(row)


def place_of(c: sa.Connection, run_id: str) -> tuple[str, str]:
    """Return the id of a run's experiment, and the artifact location of that."""
    found = _PLACE.rows(c, run_id)
    if not found:
        raise _not_found(run_id)
    return str(found[0][0]), found[0][1]


def _not_found(run_id: str) -> NotFound:
    return NotFound(f"Run with id={run_id[:64]} not found.")


def get(c: sa.Connection, run_id: str) -> Run:
    """Return a run by id."""
    found = run_records.by_id(c, run_id)
    if found is None:
        raise _not_found(run_id)
    return found


def update(
    c: sa.Connection,
    run_id: str,
    *,
    name: str | None,
    status: RunStatus | None,
    end_time: int | None,
    reason: str | None,
    lifecycle_stage: LifecycleStage | None,
) -> Run:
    """Change the given columns of a run."""
    run = get(c, run_id)
    row = row_id(c, run_id)
    values: dict[str, object] = {"revision": revision.following(c)}
    if name is not None:
        values["name"] = clean_run_name(name) or run.name
        put_tags(c, row, {TAG_RUN_NAME: str(values["name"])})
    if status is not None:
        values["status"] = check_transition(run.status, status).value
        values["reason"] = reason
        if status.is_final:
            values["lease_at"] = None
        elif status is RunStatus.RUNNING:
            values["end_time"] = None
    if reason is not None:
        values["reason"] = reason
    if end_time is not None:
        values["end_time"] = end_time
    if lifecycle_stage is not None:
        values["lifecycle_stage"] = lifecycle_stage.value
        if lifecycle_stage is not run.lifecycle_stage:
            values["deleted_time"] = time.time_ns() // 1_000_000 if lifecycle_stage is LifecycleStage.DELETED else None
    c.execute(runs.update().where(runs.c.id == row).values(**values))
    return get(c, run_id)


def log_batch(
    c: sa.Connection, run_id: str, points: Sequence[Metric], run_params: Mapping[str, str], run_tags: Mapping[str, str | None]
) -> None:
    """Log metrics, params and tags of an active run, all or nothing."""
    row = active_row(c, run_id)
    for key, value in run_params.items():
        check_key(key, "param")
        if len(value) > MAX_PARAM_VALUE:
            raise InvalidInput(f"The value of param '{key}' has {len(value)} characters; {MAX_PARAM_VALUE} are allowed.")
    clash = put_params(c, row, run_params)
    if clash:
        key, old = next(iter(clash.items()))
        raise InvalidInput(
            f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{old}' for run ID='{run_id}'. "
            f"Attempted logging new value '{run_params[key]}'."
        )
    for key, text in run_tags.items():
        check_key(key, "tag")
        if text is not None and len(text) > MAX_TAG_VALUE:
            raise InvalidInput(f"The value of tag '{key}' has {len(text)} characters; {MAX_TAG_VALUE} are allowed.")
    put_tags(c, row, run_tags)
    for key in {point.key for point in points}:
        check_key(key, "metric")
    point_rows.put(c, row, points)
    if any(point.model_id or point.dataset_name or point.dataset_digest for point in points):
        inputs.add_model_metrics(c, row, points)
    if name := run_tags.get(TAG_RUN_NAME):
        _RENAME.run(c, clean_run_name(name), row)
    touch(c, row)


def put_params(c: sa.Connection, row: int, new: Mapping[str, str]) -> dict[str, str]:
    """Insert params that are not there; return those that have another value already, with that value."""
    if not new:
        return {}
    if len(new) == 1:
        (only,) = new
        found = _PARAM.rows(c, row, only)
        present = {only: found[0][0]} if found else {}
    else:
        present = {key: value for key, value in _PARAMS.rows(c, row) if key in new}
    _PUT_PARAM.many(c, [(row, key, value) for key, value in new.items() if key not in present])
    return {key: value for key, value in present.items() if value != new[key]}


def put_tags(c: sa.Connection, row: int, new: Mapping[str, str | None]) -> None:
    """Set tags; None removes one."""
    _REMOVE_TAG.many(c, [(row, key) for key, value in new.items() if value is None])
    _PUT_TAG.many(c, [(row, key, value) for key, value in new.items() if value is not None])


def totals(c: sa.Connection) -> StoreStatus:
    """Return the revision and the numbers of active experiments and runs."""
    active = LifecycleStage.ACTIVE.value
    return StoreStatus(
        revision=revision.current(c),
        experiment_count=c.execute(
            sa.select(sa.func.count()).select_from(experiments).where(experiments.c.lifecycle_stage == active)
        ).scalar_one(),
        run_count=c.execute(sa.select(sa.func.count()).select_from(runs).where(runs.c.lifecycle_stage == active)).scalar_one(),
    )
