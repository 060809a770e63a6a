"""`LoggedModelStore` on a database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from mlops_nb.core import filters
from mlops_nb.core.artifacts import OwnerKind, artifact_uri
from mlops_nb.core.events import ModelLogged
from mlops_nb.core.logged_models import (
    DatasetRef,
    LoggedModel,
    LoggedModelQuery,
    LoggedModelStatus,
    ModelMetric,
    ModelOrder,
    check_model_id,
    check_model_name,
    new_model_id,
)
from mlops_nb.core.names import MAX_KEY, new_run_name
from mlops_nb.core.records import Experiment, LifecycleStage
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.logged_models import LoggedModelStore
from mlops_nb.store.page import MAX_PAGE, Page
from mlops_nb.store.sql import experiments, search
from mlops_nb.store.sql.bits import from_bits
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.inputs import model_not_found
from mlops_nb.store.sql.schema import (
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    metric_keys,
    runs,
)
from mlops_nb.store.sql.upsert import insert

_m = logged_models.c
_ACTIVE = LifecycleStage.ACTIVE.value
_DELETED = LifecycleStage.DELETED.value


class SqlLoggedModels(LoggedModelStore):
    """See `LoggedModelStore`."""

    def __init__(self, database: Database) -> None:
        self._read, self._write = database.read, database.write

    def create(
        self,
        experiment_id: str,
        *,
        name: str = "",
        model_type: str = "",
        source_run_id: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        with self._write() as c:
            experiment = experiments.get(c, experiment_id)
            if experiment.lifecycle_stage is LifecycleStage.DELETED:
                raise InvalidInput(f"Experiment {experiment_id} is deleted.", hint="Restore it first.")
            model = ModelLogged(
                model_id=new_model_id(),
                name=name or new_run_name(),
                model_type=model_type,
                status=LoggedModelStatus.PENDING,
                params=dict(params or {}),
                tags=dict(tags or {}),
            )
            _create(c, experiment, model, source_run_id)
            return _get(c, model.model_id)

    def get(self, model_id: str, *, allow_deleted: bool = False) -> LoggedModel:
        with self._read() as c:
            return _get(c, model_id, allow_deleted=allow_deleted)

    def finalize(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        with self._write() as c:
            row = _row(c, model_id)
            c.execute(logged_models.update().where(_m.id == row).values(status=status.value, last_update_time=_now()))
            return _get(c, model_id)

    def log_params(self, model_id: str, params: Mapping[str, str]) -> None:
        with self._write() as c:
            _put_params(c, _row(c, model_id), params)

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> LoggedModel:
        with self._write() as c:
            _put_tags(c, _row(c, model_id), tags)
            return _get(c, model_id)

    def delete_tag(self, model_id: str, key: str) -> None:
        tags = logged_model_tags
        with self._write() as c:
            if not c.execute(tags.delete().where(tags.c.model == _row(c, model_id), tags.c.key == key)).rowcount:
                raise NotFound(f"No tag with key {key!r} found for model with ID {model_id!r}.")

    def delete(self, model_id: str) -> None:
        with self._write() as c:
            row = _row(c, model_id, allow_deleted=True)
            change = logged_models.update().where(_m.id == row, _m.lifecycle_stage == _ACTIVE)
            c.execute(change.values(lifecycle_stage=_DELETED, last_update_time=_now()))

    def search(self, query: LoggedModelQuery) -> Page[LoggedModel]:
        numbers = sorted({int(i) for i in query.experiment_ids if i.isascii() and i.isdigit()})
        with self._read() as c:
            page = search.select_ids(
                c,
                search.LOGGED_MODELS,
                query.filter,
                [_order(by) for by in query.order_by],
                where=[_m.experiment_id.in_(numbers), _m.lifecycle_stage == _ACTIVE, *_measured_on(query.datasets)],
                scope=[numbers, query.datasets],
                max_results=query.max_results,
                largest=MAX_PAGE,
                page_token=query.page_token,
                datasets=query.datasets,
            )
            found: dict[int, LoggedModel] = {}
            for chunk in search.chunks(page.items):
                found |= _load(c, sa.select(logged_models).where(_m.id.in_(chunk)))
            return Page(items=search.in_order(page.items, found), token=page.token)


def put(c: sa.Connection, run: int, models: Sequence[ModelLogged]) -> None:
    """Create the models that a run tells of, or change their status where they are there.

    Raises:
        InvalidInput: If an id is no model's id, or that of another run's model.
    """
    run_id, experiment_id = c.execute(sa.select(runs.c.run_id, runs.c.experiment_id).where(runs.c.id == run)).one()
    for model in models:
        found = c.execute(sa.select(_m.id, _m.source_run_id).where(_m.model_id == model.model_id)).first()
        if found is None:
            _create(c, experiments.get(c, str(experiment_id)), model, run_id)
        elif found[1] == run_id:
            c.execute(logged_models.update().where(_m.id == found[0]).values(status=model.status.value, last_update_time=_now()))
        else:
            raise InvalidInput(f"The model {model.model_id} is not of this run.")


def _create(c: sa.Connection, experiment: Experiment, model: ModelLogged, source_run_id: str) -> None:
    now = _now()
    row = logged_models.insert().values(
        model_id=check_model_id(model.model_id),
        experiment_id=int(experiment.experiment_id),
        name=check_model_name(model.name),
        status=model.status.value,
        model_type=model.model_type,
        source_run_id=source_run_id,
        artifact_location=artifact_uri(experiment.artifact_location, OwnerKind.MODEL, model.model_id),
        lifecycle_stage=_ACTIVE,
        creation_time=now,
        last_update_time=now,
    )
    key = c.execute(row).inserted_primary_key
    assert key is not None
    _put_params(c, key[0], model.params)
    _put_tags(c, key[0], model.tags)


def _order(by: ModelOrder) -> filters.OrderBy:
    parsed = filters.parse_order_by(by.field, filters.LOGGED_MODELS)
    return msgspec.structs.replace(parsed, descending=not by.ascending, dataset=by.dataset)


def _measured_on(datasets: Sequence[DatasetRef]) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a model has a metric on one of the data sets; none where no data sets are given."""
    if not datasets:
        return []
    t = logged_model_metrics.c
    each = [sa.and_(t.dataset_name == name, sa.true() if digest is None else t.dataset_digest == digest) for name, digest in datasets]
    return [_m.id.in_(sa.select(t.model).where(sa.or_(*each)))]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _row(c: sa.Connection, model_id: str, *, allow_deleted: bool = False) -> int:
    found = c.execute(sa.select(_m.id, _m.lifecycle_stage).where(_m.model_id == model_id)).first()
    if found is None or (found[1] == _DELETED and not allow_deleted):
        raise model_not_found(model_id)
    return int(found[0])


def _get(c: sa.Connection, model_id: str, *, allow_deleted: bool = False) -> LoggedModel:
    for model in _load(c, sa.select(logged_models).where(_m.model_id == model_id)).values():
        if allow_deleted or model.lifecycle_stage is LifecycleStage.ACTIVE:
            return model
    raise model_not_found(model_id)


def _put_params(c: sa.Connection, row: int, new: Mapping[str, str]) -> None:
    if not new:
        return
    table = logged_model_params
    present = {r[0]: r[1] for r in c.execute(sa.select(table.c.key, table.c.value).where(table.c.model == row))}
    for key, value in new.items():
        _check_key(key, "param")
        if present.get(key, value) != value:
            raise InvalidInput(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{present[key][:80]}'. "
                f"Attempted logging new value '{value[:80]}'."
            )
    missing = [{"model": row, "key": key, "value": value} for key, value in new.items() if key not in present]
    if missing:
        c.execute(table.insert(), missing)


def _put_tags(c: sa.Connection, row: int, new: Mapping[str, str]) -> None:
    for key in new:
        _check_key(key, "tag")
    if new:
        statement = insert(c, logged_model_tags)
        statement = statement.on_conflict_do_update(index_elements=["model", "key"], set_={"value": statement.excluded.value})
        c.execute(statement, [{"model": row, "key": key, "value": value} for key, value in new.items()])


def _check_key(key: str, what: str) -> None:
    if not key or len(key) > MAX_KEY:
        raise InvalidInput(f"The {what} name '{key[:40]}' of a model has {len(key)} characters; 1 to {MAX_KEY} are allowed.")


def _load(c: sa.Connection, query: sa.Select[Any]) -> dict[int, LoggedModel]:
    """Return the models of a query over `logged_models`, by number."""
    rows = c.execute(query).all()
    numbers = [row.id for row in rows]
    params: dict[int, dict[str, str]] = {n: {} for n in numbers}
    tags: dict[int, dict[str, str]] = {n: {} for n in numbers}
    for table, owned in ((logged_model_params, params), (logged_model_tags, tags)):
        for owner, key, value in c.execute(sa.select(table).where(table.c.model.in_(numbers)).order_by(table.c.key)):
            owned[owner][key] = value
    metrics = _metrics(c, numbers)
    return {
        row.id: LoggedModel(
            model_id=row.model_id,
            experiment_id=str(row.experiment_id),
            name=row.name,
            status=LoggedModelStatus(row.status),
            status_message=row.status_message,
            model_type=row.model_type,
            source_run_id=row.source_run_id,
            artifact_location=row.artifact_location,
            lifecycle_stage=LifecycleStage(row.lifecycle_stage),
            creation_time=row.creation_time,
            last_update_time=row.last_update_time,
            params=params[row.id],
            tags=tags[row.id],
            metrics=metrics[row.id],
        )
        for row in rows
    }


def _metrics(c: sa.Connection, numbers: Sequence[int]) -> dict[int, list[ModelMetric]]:
    found: dict[int, list[ModelMetric]] = {n: [] for n in numbers}
    t = logged_model_metrics.c
    query = (
        sa.select(t.model, metric_keys.c.name, t.bits, t.timestamp, t.step, runs.c.run_id, t.dataset_name, t.dataset_digest)
        .join(metric_keys, metric_keys.c.id == t.key)
        .join(runs, runs.c.id == t.run)
        .where(t.model.in_(numbers))
        .order_by(metric_keys.c.name, t.step, t.timestamp, t.dataset_name, t.dataset_digest, t.run)
    )
    for model, key, bits, timestamp, step, run_id, name, digest in c.execute(query):
        metric = ModelMetric(
            key=key,
            value=from_bits(bits),
            timestamp=timestamp,
            step=step,
            run_id=run_id,
            dataset_name=name or None,
            dataset_digest=digest or None,
        )
        found[model].append(metric)
    return found
