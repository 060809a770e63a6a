"""The tables.

Metric names are interned (`metric_keys`), and a point is its whole key: a row of `metric_points` has nothing beside
(run, metric, step, timestamp, bits), so that the same point sent twice is stored once. `bits` are the 64 bits of the
value: databases alter NaN, infinities and -0.0, integers they keep. `latest_metrics` repeats the newest point of each
metric with a plain `value` (NULL for NaN) that can be compared and sorted.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

SCHEMA_VERSION = "0001"

metadata = MetaData()

_BIG_ID = BigInteger().with_variant(Integer, "sqlite")

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
    Column("id", _BIG_ID, primary_key=True),
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
    Index("runs_by_start", "experiment_id", "lifecycle_stage", "start_time", "run_id"),
    Index("runs_by_time", "lifecycle_stage", "start_time", "run_id"),
    Index("runs_by_revision", "revision"),
    Index("runs_by_lease", "lease_at"),
)

metric_keys = Table(
    "metric_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(250), nullable=False),
    UniqueConstraint("name"),
)

metric_points = Table(
    "metric_points",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("bits", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

latest_metrics = Table(
    "latest_metrics",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("value", Double),
    Column("bits", BigInteger, nullable=False),
    Column("cell", Integer),
    Index("latest_metrics_by_value", "key", "value", "run"),
    sqlite_with_rowid=False,
)

params = Table(
    "params",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

tags = Table(
    "tags",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("tags_by_key", "key", "run"),
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
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("run", ForeignKey("runs.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
)
