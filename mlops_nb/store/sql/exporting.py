"""Everything in a database as tables for whoever wants to leave; see `StoreExport`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from mlops_nb.errors import NotFound
from mlops_nb.store.sql import schema as s
from mlops_nb.store.sql.bits import all_from_bits
from mlops_nb.store.sql.database import Database
from mlops_nb.store.transfer import ColumnKind, OpenTable, StoreExport

_BITS = "bits"
"""Columns of this name leave as `value`, a float."""


def _statement(*columns: Any, joins: Any = None, order: Any = ()) -> sa.Select[Any]:
    query = sa.select(*columns)
    return (query if joins is None else query.select_from(joins)).order_by(*order)


def _of_run(table: sa.Table, *columns: str) -> sa.Select[Any]:
    order = list(table.primary_key.columns)
    return _statement(
        s.runs.c.run_id, *(table.c[name] for name in columns), joins=table.join(s.runs, s.runs.c.id == table.c.run), order=order
    )


def _points(table: sa.Table, *columns: str) -> sa.Select[Any]:
    joins = table.join(s.runs, s.runs.c.id == table.c.run).join(s.metric_keys, s.metric_keys.c.id == table.c.key)
    named = (s.runs.c.run_id, s.metric_keys.c.name.label("key"))
    return _statement(*named, *(table.c[name] for name in columns), joins=joins, order=list(table.primary_key.columns))


def _owned(table: sa.Table, owner: sa.Table, column: str, identity: sa.ColumnElement[Any], *columns: str) -> sa.Select[Any]:
    joins = table.join(owner, owner.c.id == table.c[column])
    order = list(table.primary_key.columns)
    return _statement(identity, *(table.c[name] for name in columns), joins=joins, order=order)


def _all(table: sa.Table, *columns: str) -> sa.Select[Any]:
    return _statement(*(table.c[name] for name in columns), order=list(table.primary_key.columns))


def _versioned(table: sa.Table, column: str, *columns: Any) -> sa.Select[Any]:
    joins = table.join(s.model_versions, s.model_versions.c.id == table.c[column])
    joins = joins.join(s.registered_models, s.registered_models.c.id == s.model_versions.c.model)
    named = (s.registered_models.c.name, s.model_versions.c.version)
    return _statement(*named, *columns, joins=joins, order=list(table.primary_key.columns))


_MODEL_ID = s.logged_models.c.model_id
_MODEL_NAME = s.registered_models.c.name
_TRACE_ID = s.traces.c.trace_id
_EXPERIMENT = s.experiments.c.id.label("experiment_id")
_INPUT = s.run_inputs.join(s.runs, s.runs.c.id == s.run_inputs.c.run).join(s.datasets, s.datasets.c.id == s.run_inputs.c.dataset)
_LINK = s.run_models.join(s.runs, s.runs.c.id == s.run_models.c.run).join(s.logged_models, s.logged_models.c.id == s.run_models.c.model)
_VALUE = s.logged_model_metrics.join(s.logged_models, s.logged_models.c.id == s.logged_model_metrics.c.model)
_VALUE = _VALUE.join(s.runs, s.runs.c.id == s.logged_model_metrics.c.run)
_VALUE = _VALUE.join(s.metric_keys, s.metric_keys.c.id == s.logged_model_metrics.c.key)
_RUN = ("run_id", "experiment_id", "name", "user", "status", "reason", "start_time", "end_time", "lifecycle_stage", "deleted_time")
_DATASET = ("experiment_id", "name", "digest", "source_type", "source", "schema", "profile")
_CELL = ("index", "cell_id", "execution_count", "source", "source_hash", "started", "duration_ms", "outcome", "error", "outputs")
_CELL_FACTS = ("reads", "writes", "peak_memory")
_MODEL = ("model_id", "experiment_id", "name", "status", "status_message", "model_type", "source_run_id", "artifact_location")
_MODEL_TIMES = ("lifecycle_stage", "creation_time", "last_update_time")
_VERSION = ("version", "description", "user", "source", "storage_location", "run_id", "run_link", "model_id", "status", "status_message")
_VERSION_TIMES = ("stage", "creation_time", "last_update_time")
_TRACE = ("trace_id", "experiment_id", "client_request_id", "request_time", "duration_ms", "state", "request_preview", "response_preview")
_m = s.logged_model_metrics.c

_TABLES: dict[str, sa.Select[Any]] = {
    "experiments": _statement(
        _EXPERIMENT,
        *(s.experiments.c[n] for n in ("name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time")),
        order=[s.experiments.c.id],
    ),
    "experiment_tags": _all(s.experiment_tags, "experiment_id", "key", "value"),
    "runs": _all(s.runs, *_RUN),
    "params": _of_run(s.params, "key", "value"),
    "tags": _of_run(s.tags, "key", "value"),
    "latest_metrics": _points(s.latest_metrics, "step", "timestamp", "bits", "cell", "points"),
    "metric_points": _points(s.metric_points, "step", "timestamp", "bits", "cell"),
    "cells": _of_run(s.cells, *_CELL, *_CELL_FACTS),
    "cell_products": _of_run(s.cell_products, "cell", "kind", "name"),
    "datasets": _all(s.datasets, *_DATASET),
    "run_inputs": _statement(
        s.runs.c.run_id,
        s.datasets.c.experiment_id,
        s.datasets.c.name,
        s.datasets.c.digest,
        s.run_inputs.c.tags,
        s.run_inputs.c.context,
        joins=_INPUT,
        order=list(s.run_inputs.primary_key.columns),
    ),
    "logged_models": _all(s.logged_models, *_MODEL, *_MODEL_TIMES),
    "logged_model_params": _owned(s.logged_model_params, s.logged_models, "model", _MODEL_ID, "key", "value"),
    "logged_model_tags": _owned(s.logged_model_tags, s.logged_models, "model", _MODEL_ID, "key", "value"),
    "logged_model_metrics": _statement(
        _MODEL_ID,
        s.metric_keys.c.name.label("key"),
        *(_m.dataset_name, _m.dataset_digest, s.runs.c.run_id, _m.step, _m.timestamp, _m.bits),
        joins=_VALUE,
        order=list(s.logged_model_metrics.primary_key.columns),
    ),
    "run_models": _statement(
        s.runs.c.run_id,
        s.run_models.c.role,
        _MODEL_ID,
        s.run_models.c.step,
        joins=_LINK,
        order=list(s.run_models.primary_key.columns),
    ),
    "registered_models": _all(s.registered_models, "name", "description", "creation_time", "last_update_time"),
    "registered_model_tags": _owned(s.registered_model_tags, s.registered_models, "model", _MODEL_NAME, "key", "value"),
    "model_versions": _owned(s.model_versions, s.registered_models, "model", _MODEL_NAME, *_VERSION, *_VERSION_TIMES),
    "model_version_tags": _versioned(s.model_version_tags, "version", s.model_version_tags.c.key, s.model_version_tags.c.value),
    "model_aliases": _owned(s.model_aliases, s.registered_models, "model", _MODEL_NAME, "alias", "version"),
    "traces": _all(s.traces, *_TRACE),
    "trace_tags": _owned(s.trace_tags, s.traces, "trace", _TRACE_ID, "key", "value"),
    "trace_metadata": _owned(s.trace_metadata, s.traces, "trace", _TRACE_ID, "key", "value"),
    "trace_assessments": _owned(s.trace_assessments, s.traces, "trace", _TRACE_ID, "assessment_id", "body"),
    "trace_runs": _all(s.trace_runs, "run_id", "trace_id"),
}


class SqlExport(StoreExport):
    """See `StoreExport`. It reads in one transaction.

    Args:
        connection: Used by nobody else meanwhile.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @property
    def tables(self) -> list[OpenTable]:
        return [
            OpenTable(name=name, columns={_named(c.name): _kind(c) for c in statement.selected_columns})
            for name, statement in _TABLES.items()
        ]

    def rows(self, table: str, *, chunk: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        if table not in _TABLES:
            raise NotFound(f"There is no table '{table}'.")
        statement = _TABLES[table]
        bits = next((at for at, column in enumerate(statement.selected_columns) if column.name == _BITS), None)
        result = self._connection.execution_options(stream_results=True, yield_per=chunk).execute(statement)
        for part in result.partitions(chunk):
            rows: list[tuple[object, ...]] = [tuple(row) for row in part]
            if bits is not None:
                values = all_from_bits([row[bits] for row in part])
                rows = [(*row[:bits], value, *row[bits + 1 :]) for row, value in zip(rows, values, strict=True)]
            yield rows

    @property
    def schema_version(self) -> str:
        return s.SCHEMA_VERSION


@contextlib.contextmanager
def export(database: Database) -> Iterator[SqlExport]:
    """Give all that is in a database as it is at this moment."""
    with database.read() as c:
        yield SqlExport(c)


def _named(column: str) -> str:
    return "value" if column == _BITS else column


def _kind(column: sa.ColumnElement[Any]) -> ColumnKind:
    if column.name == _BITS or isinstance(column.type, sa.Double):
        return ColumnKind.FLOAT
    return ColumnKind.INTEGER if isinstance(column.type, sa.Integer) else ColumnKind.TEXT
