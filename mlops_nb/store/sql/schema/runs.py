"""Experiments, runs with their params, tags, cells and data sets, and what the store says of itself.

`store_state` holds the store-wide revision: every change of a run takes the next one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, Table, UniqueConstraint

from mlops_nb.store.sql.schema.types import BIG_ID, String, Text, by_value, metadata

experiments = Table(
    "experiments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(500), nullable=False, unique=True),
    Column("artifact_location", Text, nullable=False),
    Column("lifecycle_stage", String(10), nullable=False),
    Column("creation_time", BigInteger, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

FIRST_EXPERIMENT = {
    "id": 0,
    "name": "Default",
    "artifact_location": "mlflow-artifacts:/0",
    "lifecycle_stage": "active",
    "creation_time": 0,
    "last_update_time": 0,
}

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("experiment_id", ForeignKey("experiments.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("run_id", String(64), nullable=False, unique=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False),
    Column("name", String(250), nullable=False),
    Column("user", String(256), nullable=False),
    Column("status", String(10), nullable=False),
    Column("reason", Text),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("lifecycle_stage", String(10), nullable=False),
    Column("lease_at", BigInteger),
    Column("revision", BigInteger, nullable=False),
    # When the run was deleted; NULL of an active one.
    Column("deleted_time", BigInteger),
    Index("runs_by_start", "experiment_id", "lifecycle_stage", "start_time", "run_id"),
    Index("runs_by_time", "lifecycle_stage", "start_time", "run_id"),
    Index("runs_by_revision", "revision"),
    Index("runs_by_lease", "lease_at"),
)

params = Table(
    "params",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    by_value("params_by_value", "run"),
    sqlite_with_rowid=False,
)

tags = Table(
    "tags",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    by_value("tags_by_value", "run"),
    sqlite_with_rowid=False,
)

cells = Table(
    "cells",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("cell_id", Text),
    Column("execution_count", Integer),
    Column("source", Text, nullable=False),
    Column("source_hash", String(64), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("error", Text),
    Column("outputs", Text),
    # JSON arrays of names.
    Column("reads", Text),
    Column("writes", Text),
    Column("peak_memory", BigInteger),
)

# Which cell a run has its params, files, data sets and models from; points of metrics name their cell themselves.
cell_products = Table(
    "cell_products",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("cell", Integer, nullable=False),
    sqlite_with_rowid=False,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("run", ForeignKey("runs.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
)

store_state = Table(
    "store_state",
    metadata,
    Column("name", String(30), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Files that belong to nothing any more: their rows are purged, they are next.
purged_files = Table(
    "purged_files",
    metadata,
    Column("kind", String(10), primary_key=True),
    Column("owner_id", String(64), primary_key=True),
    Column("experiment_id", String(20), nullable=False),
    Column("uri", Text, nullable=False),
    sqlite_with_rowid=False,
)


datasets = Table(
    "datasets",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False),
    Column("name", String(500), nullable=False),
    Column("digest", String(36), nullable=False),
    Column("source_type", String(36), nullable=False),
    Column("source", Text, nullable=False),
    Column("schema", Text),
    Column("profile", Text),
    UniqueConstraint("experiment_id", "name", "digest"),
)

# `tags` is a JSON object; `context` repeats its `mlflow.data.context`, which searches ask for.
run_inputs = Table(
    "run_inputs",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("dataset", ForeignKey("datasets.id"), primary_key=True),
    Column("tags", Text, nullable=False),
    Column("context", String(500)),
    Index("run_inputs_by_dataset", "dataset", "run"),
    sqlite_with_rowid=False,
)
