"""Writing what another store has, with its ids and times; see `StoreImport`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.artifacts import OwnerKind, artifact_uri
from mlops_nb.core.datasets import DatasetInput, ModelOutput
from mlops_nb.core.logged_models import LoggedModel, ModelMetric
from mlops_nb.core.names import check_experiment_name, clean_text, is_run_id
from mlops_nb.core.records import Experiment, LifecycleStage, Metric, Run
from mlops_nb.core.registry import ModelVersion, RegisteredModel
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.sql import experiments as experiment_rows
from mlops_nb.store.sql import points as point_rows
from mlops_nb.store.sql import revision
from mlops_nb.store.sql import runs as run_rows
from mlops_nb.store.sql.bits import comparable, to_bits
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.schema import (
    datasets,
    experiment_tags,
    experiments,
    latest_metrics,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    metric_points,
    model_aliases,
    model_version_tags,
    model_versions,
    params,
    registered_model_tags,
    registered_models,
    run_inputs,
    run_models,
    runs,
    tags,
)
from mlops_nb.store.sql.upsert import insert
from mlops_nb.store.transfer import StoreImport

_FINAL_FIELDS = ("name", "user", "status", "start_time", "end_time", "reason")
_p = metric_points.c


class SqlImport(StoreImport):
    """See `StoreImport`."""

    def __init__(self, database: Database) -> None:
        self._write = database.write

    def put_experiment(self, experiment: Experiment) -> Experiment:
        check_experiment_name(experiment.name)
        with self._write() as c:
            found = experiment_rows.by_name(c, experiment.name)
            if found is None:
                number = experiment_rows.create(c, experiment.name, None, {}, experiment.creation_time)
                values = {"lifecycle_stage": experiment.lifecycle_stage.value, "last_update_time": experiment.last_update_time}
                c.execute(experiments.update().where(experiments.c.id == number).values(**values))
            else:
                number = int(found.experiment_id)
                _put_times(c, found, experiment)
            _put_pairs(c, experiment_tags, {"experiment_id": number}, experiment.tags)
            return experiment_rows.get(c, str(number))

    def put_run(self, run: Run, *, deleted_time: int | None = None) -> bool:
        with self._write() as c:
            return _put_run(c, run, deleted_time)

    def put_points(self, run_id: str, points: Sequence[Metric]) -> int:
        with self._write() as c:
            row = run_rows.row_id(c, run_id)
            fresh = _unknown(c, row, points)
            if fresh:
                point_rows.put(c, row, fresh)
                run_rows.touch(c, row)
            return len(fresh)

    def put_logged_model(self, model: LoggedModel) -> LoggedModel:
        with self._write() as c:
            return _put_logged_model(c, model)

    def put_model_metrics(self, model_id: str, metrics: Sequence[ModelMetric]) -> None:
        with self._write() as c:
            _put_model_metrics(c, model_id, metrics)

    def put_registered_model(self, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
        with self._write() as c:
            _put_registered_model(c, model, versions)


def _put_times(c: sa.Connection, found: Experiment, new: Experiment) -> None:
    """Let an experiment that is younger here be as old as there, as `Default` is, which every store has from its first moment."""
    if 0 < new.creation_time < found.creation_time or not found.creation_time:
        values = {"creation_time": new.creation_time}
        if found.lifecycle_stage is LifecycleStage.ACTIVE:  # of a deleted one it is the time of the deletion
            values["last_update_time"] = new.last_update_time
        c.execute(experiments.update().where(experiments.c.id == int(found.experiment_id)).values(**values))


# -- runs


def _put_run(c: sa.Connection, run: Run, deleted_time: int | None) -> bool:
    if not is_run_id(run.run_id):
        raise InvalidInput(f"{run.run_id[:64]!r} cannot be a run id.", hint="It has up to 64 letters, digits, '_' and '-'.")
    values: dict[str, Any] = {name: getattr(run, name) for name in _FINAL_FIELDS}
    values |= {"name": clean_text(run.name), "user": clean_text(run.user), "status": run.status.value}
    found = c.execute(sa.select(runs).where(runs.c.run_id == run.run_id)).mappings().first()
    if found is None:
        is_deleted = run.lifecycle_stage is LifecycleStage.DELETED
        first: dict[str, Any] = {"experiment_id": int(run.experiment_id), "lifecycle_stage": run.lifecycle_stage.value}
        first["revision"] = revision.following(c)
        first |= {"deleted_time": (deleted_time or run.end_time or run.start_time) if is_deleted else None}
        key = c.execute(runs.insert().values(run_id=run.run_id, **values, **first)).inserted_primary_key
        assert key is not None
        row, experiment = int(key[0]), int(run.experiment_id)
        changed = False
    else:
        row, experiment = int(found["id"]), int(found["experiment_id"])
        if run.reason is None and run.status.value == found["status"]:
            del values["reason"]  # most sources know none
        changed = any(found[name] != value for name, value in values.items())
        if changed:
            lease = {"lease_at": None} if RunStatus(values["status"]).is_final else {}
            c.execute(runs.update().where(runs.c.id == row).values(**values, **lease))
    changed |= _put_pairs(c, params, {"run": row}, run.params)
    changed |= _put_pairs(c, tags, {"run": row}, run.tags)
    changed |= _put_inputs(c, row, experiment, run.inputs.datasets)
    changed |= _put_models_of(c, row, "input", [ModelOutput(model_id=model_id) for model_id in run.inputs.models])
    changed |= _put_models_of(c, row, "output", run.outputs)
    if changed and found is not None:
        run_rows.touch(c, row)
    return found is None


def _put_pairs(c: sa.Connection, table: sa.Table, owner: Mapping[str, int], new: Mapping[str, str]) -> bool:
    """Bring keys of an owner to these values; return whether any had another one, or none."""
    if not new:
        return False
    mine = sa.and_(*(table.c[name] == value for name, value in owner.items()))
    present = {row[0]: row[1] for row in c.execute(sa.select(table.c.key, table.c.value).where(mine))}
    pairs = {clean_text(key): clean_text(value) for key, value in new.items()}
    rows = [{**owner, "key": key, "value": value} for key, value in pairs.items() if present.get(key) != value]
    return _upsert(c, table, rows, ["value"])


def _upsert(c: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> bool:
    if rows:
        statement = insert(c, table)
        keys = [column.name for column in table.primary_key.columns]
        c.execute(statement.on_conflict_do_update(index_elements=keys, set_={n: getattr(statement.excluded, n) for n in columns}), rows)
    return bool(rows)


def _put_inputs(c: sa.Connection, row: int, experiment: int, inputs: Sequence[DatasetInput]) -> bool:
    if not inputs:
        return False
    d = datasets.c
    present = {found.dataset: found for found in c.execute(sa.select(run_inputs).where(run_inputs.c.run == row))}
    rows = []
    for one in inputs:
        mine = sa.and_(d.experiment_id == experiment, d.name == one.dataset.name, d.digest == one.dataset.digest)
        number = c.execute(sa.select(d.id).where(mine)).scalar()
        if number is None:
            fields = ("name", "digest", "source_type", "source", "schema", "profile")
            values = {name: getattr(one.dataset, name) for name in fields}
            key = c.execute(datasets.insert().values(experiment_id=experiment, **values)).inserted_primary_key
            assert key is not None
            number = key[0]
        its_tags = json.dumps(one.tags, sort_keys=True)
        known = present.get(number)
        if known is None or json.loads(known.tags) != one.tags or known.context != one.context:
            rows.append({"run": row, "dataset": number, "tags": its_tags, "context": one.context})
    return _upsert(c, run_inputs, rows, ["tags", "context"])


def _put_models_of(c: sa.Connection, row: int, role: str, models: Sequence[ModelOutput]) -> bool:
    if not models:
        return False
    m = logged_models.c
    numbers = {r[0]: r[1] for r in c.execute(sa.select(m.model_id, m.id).where(m.model_id.in_([one.model_id for one in models])))}
    mine = sa.and_(run_models.c.run == row, run_models.c.role == role)
    present = {r[0]: r[1] for r in c.execute(sa.select(run_models.c.model, run_models.c.step).where(mine))}
    known = {numbers[one.model_id]: one.step for one in models if one.model_id in numbers}
    rows = [{"run": row, "role": role, "model": model, "step": step} for model, step in known.items() if present.get(model) != step]
    return _upsert(c, run_models, rows, ["step"])


def _unknown(c: sa.Connection, row: int, points: Sequence[Metric]) -> list[Metric]:
    """Return those points that are not stored, each once, in order."""
    ids = point_rows.key_ids(c, sorted({point.key for point in points}))
    newest = sa.select(latest_metrics.c.key, latest_metrics.c.step).where(latest_metrics.c.run == row)
    ends = {r[0]: r[1] for r in c.execute(newest.where(latest_metrics.c.key.in_(list(ids.values()))))}
    groups: dict[int, list[Metric]] = {}
    for point in points:
        groups.setdefault(ids[point.key], []).append(point)
    fresh: list[Metric] = []
    for key, group in groups.items():
        seen: set[tuple[int, int, int]] = set()
        old = [point.step for point in group if key in ends and point.step <= ends[key]]
        if old:
            here = sa.and_(_p.run == row, _p.key == key, _p.step.between(min(old), max(old)))
            seen = {(r[0], r[1], r[2]) for r in c.execute(sa.select(_p.step, _p.timestamp, _p.bits).where(here))}
        for point in group:
            place = (point.step, point.timestamp, to_bits(point.value))
            if place not in seen:
                seen.add(place)
                fresh.append(point)
    return fresh


# -- logged models


def _put_logged_model(c: sa.Connection, model: LoggedModel) -> LoggedModel:
    if not is_run_id(model.model_id):
        raise InvalidInput(f"{model.model_id[:64]!r} cannot be a model id.", hint="It has up to 64 letters, digits, '_' and '-'.")
    values: dict[str, Any] = {
        "name": model.name,
        "status": model.status.value,
        "status_message": model.status_message,
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "last_update_time": model.last_update_time,
    }
    found = c.execute(sa.select(logged_models).where(logged_models.c.model_id == model.model_id)).mappings().first()
    if found is None:
        experiment = experiment_rows.get(c, model.experiment_id)
        location = artifact_uri(experiment.artifact_location, OwnerKind.MODEL, model.model_id)
        first = {"experiment_id": int(model.experiment_id), "creation_time": model.creation_time, "artifact_location": location}
        first |= {"lifecycle_stage": model.lifecycle_stage.value}
        key = c.execute(logged_models.insert().values(model_id=model.model_id, **values, **first)).inserted_primary_key
        assert key is not None
        number, experiment_id = int(key[0]), model.experiment_id
    else:
        number, location, experiment_id = int(found["id"]), found["artifact_location"], str(found["experiment_id"])
        if any(found[name] != value for name, value in values.items()):
            c.execute(logged_models.update().where(logged_models.c.id == number).values(**values))
    _put_pairs(c, logged_model_params, {"model": number}, model.params)
    _put_pairs(c, logged_model_tags, {"model": number}, model.tags)
    return LoggedModel(
        model_id=model.model_id,
        experiment_id=experiment_id,
        name=model.name,
        status=model.status,
        artifact_location=location,
        creation_time=model.creation_time,
        last_update_time=model.last_update_time,
    )


def _put_model_metrics(c: sa.Connection, model_id: str, metrics: Sequence[ModelMetric]) -> None:
    number = c.execute(sa.select(logged_models.c.id).where(logged_models.c.model_id == model_id)).scalar()
    if number is None:
        raise NotFound(f"Logged model with ID '{model_id[:64]}' not found.")
    ids = {r[0]: r[1] for r in c.execute(sa.select(runs.c.run_id, runs.c.id).where(runs.c.run_id.in_({m.run_id for m in metrics})))}
    keys = point_rows.key_ids(c, sorted({metric.key for metric in metrics}))
    rows = [
        {
            "model": number,
            "key": keys[metric.key],
            "dataset_name": metric.dataset_name or "",
            "dataset_digest": metric.dataset_digest or "",
            "run": ids[metric.run_id],
            "step": metric.step,
            "timestamp": metric.timestamp,
            "bits": to_bits(metric.value),
            "value": comparable(metric.value),
        }
        for metric in metrics
        if metric.run_id in ids
    ]
    if rows:
        c.execute(insert(c, logged_model_metrics).on_conflict_do_nothing(), rows)


# -- the registry


def _put_registered_model(c: sa.Connection, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
    r = registered_models.c
    highest = max((version.version for version in versions), default=0)
    values: dict[str, Any] = {"description": model.description, "last_update_time": model.last_update_time}
    found = c.execute(sa.select(registered_models).where(r.name == model.name)).mappings().first()
    if found is None:
        first = {"name": model.name, "creation_time": model.creation_time, "versions": highest}
        key = c.execute(registered_models.insert().values(**first, **values)).inserted_primary_key
        assert key is not None
        number = int(key[0])
    else:
        number = int(found["id"])
        values["versions"] = max(found["versions"], highest)
        if any(found[name] != value for name, value in values.items()):
            c.execute(registered_models.update().where(r.id == number).values(**values))
    _put_pairs(c, registered_model_tags, {"model": number}, model.tags)
    for version in versions:
        _put_version(c, number, version)
    a = model_aliases.c
    present = {row[0]: row[1] for row in c.execute(sa.select(a.alias, a.version).where(a.model == number))}
    rows = [{"model": number, "alias": alias, "version": v} for alias, v in model.aliases.items() if present.get(alias) != v]
    _upsert(c, model_aliases, rows, ["version"])


def _put_version(c: sa.Connection, model: int, version: ModelVersion) -> None:
    v = model_versions.c
    names = ("description", "user", "source", "storage_location", "run_id", "run_link", "model_id", "status", "status_message")
    values: dict[str, Any] = {name: getattr(version, name) for name in names}
    values |= {"stage": version.stage.value, "creation_time": version.creation_time, "last_update_time": version.last_update_time}
    found = c.execute(sa.select(model_versions).where(v.model == model, v.version == version.version)).mappings().first()
    if found is None:
        key = c.execute(model_versions.insert().values(model=model, version=version.version, **values)).inserted_primary_key
        assert key is not None
        number = int(key[0])
    else:
        number = int(found["id"])
        if any(found[name] != value for name, value in values.items()):
            c.execute(model_versions.update().where(v.id == number).values(**values))
    _put_pairs(c, model_version_tags, {"version": number}, version.tags)
