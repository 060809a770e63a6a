"""The tables, the same on SQLite and PostgreSQL.

Text compares by code point on both (`COLLATE "C"`), so that both find and sort the same.

Metric names are interned (`metric_keys`), and a point is its whole key: a row of `metric_points` has nothing beside
(run, metric, step, timestamp, bits), so that the same point sent twice is stored once. `bits` are the 64 bits of the
value: databases alter NaN, infinities and -0.0, integers they keep. `latest_metrics` repeats the newest point of each
metric with a plain `value` (NULL for NaN) that can be compared and sorted, and counts the points: `points` in all,
`loose` after the last block. `metric_blocks` has a row for each stretch of a long series, with its ends and extremes, from
which charts are drawn without reading the points.

`store_state` holds the store-wide revision: every change of a run takes the next one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, MetaData, Table, UniqueConstraint
from sqlalchemy import String as _String
from sqlalchemy import Text as _Text
from sqlalchemy.dialects import postgresql

SCHEMA_VERSION = "0002"

metadata = MetaData()

_BIG_ID = BigInteger().with_variant(Integer, "sqlite")
Text = _Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def String(length: int) -> _String:
    """Return the type of a text of limited length that compares by code point."""
    return _String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


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
    Column("cell", Integer),
    sqlite_with_rowid=False,
)

metric_blocks = Table(
    "metric_blocks",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("first_step", BigInteger, primary_key=True),
    Column("first_timestamp", BigInteger, primary_key=True),
    Column("first_bits", BigInteger, primary_key=True),
    Column("last_step", BigInteger, nullable=False),
    Column("last_timestamp", BigInteger, nullable=False),
    Column("last_bits", BigInteger, nullable=False),
    Column("points", Integer, nullable=False),
    # Of a block that holds nothing but NaN the extremes are NULL.
    Column("low_step", BigInteger),
    Column("low_timestamp", BigInteger),
    Column("low_bits", BigInteger),
    Column("high_step", BigInteger),
    Column("high_timestamp", BigInteger),
    Column("high_bits", BigInteger),
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
    Column("points", BigInteger, nullable=False, server_default="0"),
    Column("loose", Integer, nullable=False, server_default="0"),
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

store_state = Table(
    "store_state",
    metadata,
    Column("name", String(30), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# -- data sets

datasets = Table(
    "datasets",
    metadata,
    Column("id", _BIG_ID, primary_key=True),
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

# -- logged models

logged_models = Table(
    "logged_models",
    metadata,
    Column("id", _BIG_ID, primary_key=True),
    Column("model_id", String(64), nullable=False, unique=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False),
    Column("name", String(500), nullable=False),
    Column("status", String(30), nullable=False),
    Column("status_message", Text),
    Column("model_type", String(500), nullable=False),
    Column("source_run_id", String(64), nullable=False),
    Column("artifact_location", Text, nullable=False),
    Column("lifecycle_stage", String(10), nullable=False),
    Column("creation_time", BigInteger, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    Index("logged_models_by_time", "experiment_id", "lifecycle_stage", "creation_time", "model_id"),
    Index("logged_models_by_run", "source_run_id"),
)

logged_model_params = Table(
    "logged_model_params",
    metadata,
    Column("model", ForeignKey("logged_models.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

logged_model_tags = Table(
    "logged_model_tags",
    metadata,
    Column("model", ForeignKey("logged_models.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("logged_model_tags_by_key", "key", "model"),
    sqlite_with_rowid=False,
)

# "" stands for a point without data set, since NULL cannot be part of a key.
logged_model_metrics = Table(
    "logged_model_metrics",
    metadata,
    Column("model", ForeignKey("logged_models.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("dataset_name", String(500), primary_key=True),
    Column("dataset_digest", String(36), primary_key=True),
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("bits", BigInteger, primary_key=True),
    Column("value", Double),
    Index("logged_model_metrics_by_value", "key", "value", "model"),
    Index("logged_model_metrics_by_run", "run"),
    sqlite_with_rowid=False,
)

# `role` is `input` or `output`.
run_models = Table(
    "run_models",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("role", String(6), primary_key=True),
    Column("model", ForeignKey("logged_models.id"), primary_key=True),
    Column("step", BigInteger, nullable=False),
    Index("run_models_by_model", "model", "role"),
    sqlite_with_rowid=False,
)

# -- model registry

registered_models = Table(
    "registered_models",
    metadata,
    Column("id", _BIG_ID, primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("creation_time", BigInteger, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    # The highest version ever given out: the number of a deleted version is not given again.
    Column("versions", Integer, nullable=False),
)

registered_model_tags = Table(
    "registered_model_tags",
    metadata,
    Column("model", ForeignKey("registered_models.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("registered_model_tags_by_key", "key", "model"),
    sqlite_with_rowid=False,
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", _BIG_ID, primary_key=True),
    Column("model", ForeignKey("registered_models.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("user", String(256), nullable=False),
    Column("source", Text, nullable=False),
    Column("storage_location", Text, nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("run_link", Text, nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("status", String(30), nullable=False),
    Column("status_message", Text, nullable=False),
    Column("stage", String(20), nullable=False),
    Column("creation_time", BigInteger, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    UniqueConstraint("model", "version"),
    Index("model_versions_by_run", "run_id"),
    Index("model_versions_by_time", "last_update_time"),
)

model_version_tags = Table(
    "model_version_tags",
    metadata,
    Column("version", ForeignKey("model_versions.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("model_version_tags_by_key", "key", "version"),
    sqlite_with_rowid=False,
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model", ForeignKey("registered_models.id"), primary_key=True),
    Column("alias", String(255), primary_key=True),
    Column("version", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# -- traces: what is known of each; spans are kept as artifacts

traces = Table(
    "traces",
    metadata,
    Column("id", _BIG_ID, primary_key=True),
    Column("trace_id", String(64), nullable=False, unique=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False),
    Column("client_request_id", String(250)),
    Column("request_time", BigInteger, nullable=False),
    Column("duration_ms", BigInteger),
    Column("state", String(20), nullable=False),
    Column("request_preview", Text),
    Column("response_preview", Text),
    Index("traces_by_time", "experiment_id", "request_time", "trace_id"),
)

trace_tags = Table(
    "trace_tags",
    metadata,
    Column("trace", ForeignKey("traces.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("trace_tags_by_key", "key", "trace"),
    sqlite_with_rowid=False,
)

trace_metadata = Table(
    "trace_metadata",
    metadata,
    Column("trace", ForeignKey("traces.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("trace_metadata_by_key", "key", "trace"),
    sqlite_with_rowid=False,
)

# `body` is the assessment in MLflow's JSON form.
trace_assessments = Table(
    "trace_assessments",
    metadata,
    Column("trace", ForeignKey("traces.id"), primary_key=True),
    Column("assessment_id", String(64), primary_key=True),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)
