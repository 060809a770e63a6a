"""Runs with their params, tags and latest metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import sqlalchemy as sa

from mlops_nb.core.names import MAX_PARAM_VALUE, MAX_TAG_VALUE, check_key, clean_run_name, new_run_id, new_run_name
from mlops_nb.core.records import TAG_RUN_NAME, TAG_USER, LifecycleStage, Metric, Run
from mlops_nb.core.run_state import RunStatus, check_transition
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import StoreStatus
from mlops_nb.store.sql import experiments as experiment_rows
from mlops_nb.store.sql import metrics as metric_rows
from mlops_nb.store.sql import revision
from mlops_nb.store.sql.bits import from_bits
from mlops_nb.store.sql.schema import experiments, latest_metrics, metric_keys, params, runs, tags
from mlops_nb.store.sql.upsert import insert

_CHUNK = 500

T = TypeVar("T")


def create(c: sa.Connection, experiment_id: str, name: str, user: str, start_time: int, run_tags: Mapping[str, str]) -> Run:
    """Insert a run in state RUNNING."""
    experiment = experiment_rows.get(c, experiment_id)
    if experiment.lifecycle_stage is LifecycleStage.DELETED:
        raise InvalidInput(f"Experiment {experiment_id} is deleted.", hint="Restore it first.")
    run_id = new_run_id()
    name = clean_run_name(name or run_tags.get(TAG_RUN_NAME, "")) or new_run_name()
    row = insert_run(c, run_id, int(experiment_id), name, user or run_tags.get(TAG_USER, ""), start_time)
    put_tags(c, row, {**run_tags, TAG_RUN_NAME: name})
    return get(c, run_id)


def insert_run(c: sa.Connection, run_id: str, experiment: int, name: str, user: str, start_time: int, lease_at: int | None = None) -> int:
    """Insert the row of a run and return its number."""
    result = c.execute(
        runs.insert().values(
            run_id=run_id,
            experiment_id=experiment,
            name=name,
            user=user,
            status=RunStatus.RUNNING.value,
            start_time=start_time,
            lifecycle_stage=LifecycleStage.ACTIVE.value,
            lease_at=lease_at,
            revision=revision.following(c),
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def touch(c: sa.Connection, row: int) -> None:
    """Give a run a new revision."""
    c.execute(runs.update().where(runs.c.id == row).values(revision=revision.following(c)))


def row_id(c: sa.Connection, run_id: str) -> int:
    """Return the number of a run's row."""
    found = c.execute(sa.select(runs.c.id).where(runs.c.run_id == run_id)).scalar()
    if found is None:
        raise _not_found(run_id)
    return int(found)


def experiment_of(c: sa.Connection, run_id: str) -> str:
    """Return the id of a run's experiment."""
    found = c.execute(sa.select(runs.c.experiment_id).where(runs.c.run_id == run_id)).scalar()
    if found is None:
        raise _not_found(run_id)
    return str(found)


def _not_found(run_id: str) -> NotFound:
    return NotFound(f"Run with id={run_id[:64]} not found.")


def get(c: sa.Connection, run_id: str) -> Run:
    """Return a run by id."""
    found = load(c, sa.select(runs).where(runs.c.run_id == run_id))
    if not found:
        raise _not_found(run_id)
    return found[0]


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
    c.execute(runs.update().where(runs.c.id == row).values(**values))
    return get(c, run_id)


def log_batch(
    c: sa.Connection, run_id: str, points: Sequence[Metric], run_params: Mapping[str, str], run_tags: Mapping[str, str | None]
) -> None:
    """Log metrics, params and tags of an active run, all or nothing."""
    found = c.execute(sa.select(runs.c.id, runs.c.lifecycle_stage).where(runs.c.run_id == run_id)).first()
    if found is None:
        raise _not_found(run_id)
    row, stage = int(found[0]), found[1]
    if stage == LifecycleStage.DELETED.value:
        raise InvalidInput(f"The run {run_id} must be in the 'active' state. Current state is deleted.", hint="Restore it first.")
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
    for point in points:
        check_key(point.key, "metric")
    metric_rows.put(c, row, points)
    values: dict[str, object] = {"revision": revision.following(c)}
    if run_tags.get(TAG_RUN_NAME):
        values["name"] = clean_run_name(str(run_tags[TAG_RUN_NAME]))
    c.execute(runs.update().where(runs.c.id == row).values(**values))


def put_params(c: sa.Connection, row: int, new: Mapping[str, str]) -> dict[str, str]:
    """Insert params that are not there; return those that have another value already, with that value."""
    if not new:
        return {}
    present: dict[str, str] = {}
    for keys in _chunks(list(new)):
        present.update(
            (r[0], r[1]) for r in c.execute(sa.select(params.c.key, params.c.value).where(params.c.run == row, params.c.key.in_(keys)))
        )
    missing = [{"run": row, "key": key, "value": value} for key, value in new.items() if key not in present]
    if missing:
        c.execute(insert(c, params).on_conflict_do_nothing(), missing)
    return {key: value for key, value in present.items() if value != new[key]}


def put_tags(c: sa.Connection, row: int, new: Mapping[str, str | None]) -> None:
    """Set tags; None removes one."""
    gone = [key for key, value in new.items() if value is None]
    if gone:
        c.execute(tags.delete().where(tags.c.run == row, tags.c.key.in_(gone)))
    kept = [{"run": row, "key": key, "value": value} for key, value in new.items() if value is not None]
    if kept:
        statement = insert(c, tags)
        c.execute(statement.on_conflict_do_update(index_elements=["run", "key"], set_={"value": statement.excluded.value}), kept)


def changed(c: sa.Connection, since: int, max_results: int) -> list[Run]:
    """Return the runs that changed after a revision."""
    return load(c, sa.select(runs).where(runs.c.revision > since).order_by(runs.c.revision, runs.c.id).limit(max_results))


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


def load(c: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[Run]:
    """Return the runs of a query over `runs` with their params, tags and latest metrics."""
    rows = c.execute(query).mappings().all()
    numbers = [row["id"] for row in rows]
    run_params: dict[int, dict[str, str]] = {n: {} for n in numbers}
    run_tags: dict[int, dict[str, str]] = {n: {} for n in numbers}
    run_metrics: dict[int, dict[str, Metric]] = {n: {} for n in numbers}
    latest = sa.select(
        latest_metrics.c.run,
        metric_keys.c.name,
        latest_metrics.c.bits,
        latest_metrics.c.timestamp,
        latest_metrics.c.step,
        latest_metrics.c.cell,
    ).join(metric_keys, metric_keys.c.id == latest_metrics.c.key)
    for chunk in _chunks(numbers):
        for owner, key, value in c.execute(sa.select(params).where(params.c.run.in_(chunk))):
            run_params[owner][key] = value
        for owner, key, value in c.execute(sa.select(tags).where(tags.c.run.in_(chunk))):
            run_tags[owner][key] = value
        for owner, key, bits, timestamp, step, cell in c.execute(latest.where(latest_metrics.c.run.in_(chunk))):
            run_metrics[owner][key] = Metric(key=key, value=from_bits(bits), timestamp=timestamp, step=step, cell=cell)
    return [
        Run(
            run_id=row["run_id"],
            experiment_id=str(row["experiment_id"]),
            name=row["name"],
            status=RunStatus(row["status"]),
            start_time=row["start_time"],
            end_time=row["end_time"],
            reason=row["reason"],
            lifecycle_stage=LifecycleStage(row["lifecycle_stage"]),
            user=row["user"],
            artifact_uri=f"mlflow-artifacts:/{row['experiment_id']}/{row['run_id']}/artifacts",
            revision=row["revision"],
            params=run_params[row["id"]],
            metrics=run_metrics[row["id"]],
            tags=run_tags[row["id"]],
        )
        for row in rows
    ]


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK))
