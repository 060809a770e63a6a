"""Logged models, and the model registry."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, Table, UniqueConstraint

from mlops_nb.store.sql.schema.types import BIG_ID, String, Text, metadata

logged_models = Table(
    "logged_models",
    metadata,
    Column("id", BIG_ID, primary_key=True),
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


registered_models = Table(
    "registered_models",
    metadata,
    Column("id", BIG_ID, primary_key=True),
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
    Column("id", BIG_ID, primary_key=True),
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
    Index("model_versions_by_stage", "model", "stage", "version"),
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
