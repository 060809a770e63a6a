"""Data sets, logged models, the model registry, traces; blocks of long series; the store-wide revision."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def _text() -> sa.Text:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "metric_blocks",
        sa.Column("run", _big_id(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", sa.Integer, sa.ForeignKey("metric_keys.id"), primary_key=True),
        sa.Column("first_step", sa.BigInteger, primary_key=True),
        sa.Column("first_timestamp", sa.BigInteger, primary_key=True),
        sa.Column("first_bits", sa.BigInteger, primary_key=True),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("last_timestamp", sa.BigInteger, nullable=False),
        sa.Column("last_bits", sa.BigInteger, nullable=False),
        sa.Column("points", sa.Integer, nullable=False),
        sa.Column("low_step", sa.BigInteger),
        sa.Column("low_timestamp", sa.BigInteger),
        sa.Column("low_bits", sa.BigInteger),
        sa.Column("high_step", sa.BigInteger),
        sa.Column("high_timestamp", sa.BigInteger),
        sa.Column("high_bits", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "store_state",
        sa.Column("name", _string(30), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "purged_files",
        sa.Column("kind", _string(10), primary_key=True),
        sa.Column("owner_id", _string(64), primary_key=True),
        sa.Column("experiment_id", _string(20), nullable=False),
        sa.Column("uri", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "datasets",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("name", _string(500), nullable=False),
        sa.Column("digest", _string(36), nullable=False),
        sa.Column("source_type", _string(36), nullable=False),
        sa.Column("source", _text(), nullable=False),
        sa.Column("schema", _text()),
        sa.Column("profile", _text()),
        sa.UniqueConstraint("experiment_id", "name", "digest"),
    )
    op.create_table(
        "run_inputs",
        sa.Column("run", _big_id(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("dataset", _big_id(), sa.ForeignKey("datasets.id"), primary_key=True),
        sa.Column("tags", _text(), nullable=False),
        sa.Column("context", _string(500)),
        sqlite_with_rowid=False,
    )
    op.create_index("run_inputs_by_dataset", "run_inputs", ["dataset", "run"])
    op.create_table(
        "logged_models",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("model_id", _string(64), nullable=False, unique=True),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("name", _string(500), nullable=False),
        sa.Column("status", _string(30), nullable=False),
        sa.Column("status_message", _text()),
        sa.Column("model_type", _string(500), nullable=False),
        sa.Column("source_run_id", _string(64), nullable=False),
        sa.Column("artifact_location", _text(), nullable=False),
        sa.Column("lifecycle_stage", _string(10), nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("last_update_time", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("model_id"),
    )
    op.create_index("logged_models_by_run", "logged_models", ["source_run_id"])
    op.create_index("logged_models_by_time", "logged_models", ["experiment_id", "lifecycle_stage", "creation_time", "model_id"])
    op.create_table(
        "logged_model_params",
        sa.Column("model", _big_id(), sa.ForeignKey("logged_models.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "logged_model_tags",
        sa.Column("model", _big_id(), sa.ForeignKey("logged_models.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("logged_model_tags_by_key", "logged_model_tags", ["key", "model"])
    op.create_table(
        "logged_model_metrics",
        sa.Column("model", _big_id(), sa.ForeignKey("logged_models.id"), primary_key=True),
        sa.Column("key", sa.Integer, sa.ForeignKey("metric_keys.id"), primary_key=True),
        sa.Column("dataset_name", _string(500), primary_key=True),
        sa.Column("dataset_digest", _string(36), primary_key=True),
        sa.Column("run", _big_id(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("timestamp", sa.BigInteger, primary_key=True),
        sa.Column("bits", sa.BigInteger, primary_key=True),
        sa.Column("value", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("logged_model_metrics_by_run", "logged_model_metrics", ["run"])
    op.create_index("logged_model_metrics_by_value", "logged_model_metrics", ["key", "value", "model"])
    op.create_table(
        "run_models",
        sa.Column("run", _big_id(), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("role", _string(6), primary_key=True),
        sa.Column("model", _big_id(), sa.ForeignKey("logged_models.id"), primary_key=True),
        sa.Column("step", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("run_models_by_model", "run_models", ["model", "role"])
    op.create_table(
        "registered_models",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("name", _string(256), nullable=False, unique=True),
        sa.Column("description", _text(), nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("last_update_time", sa.BigInteger, nullable=False),
        sa.Column("versions", sa.Integer, nullable=False),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "registered_model_tags",
        sa.Column("model", _big_id(), sa.ForeignKey("registered_models.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("registered_model_tags_by_key", "registered_model_tags", ["key", "model"])
    op.create_table(
        "model_versions",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("model", _big_id(), sa.ForeignKey("registered_models.id"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("description", _text(), nullable=False),
        sa.Column("user", _string(256), nullable=False),
        sa.Column("source", _text(), nullable=False),
        sa.Column("storage_location", _text(), nullable=False),
        sa.Column("run_id", _string(64), nullable=False),
        sa.Column("run_link", _text(), nullable=False),
        sa.Column("model_id", _string(64), nullable=False),
        sa.Column("status", _string(30), nullable=False),
        sa.Column("status_message", _text(), nullable=False),
        sa.Column("stage", _string(20), nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("last_update_time", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("model", "version"),
    )
    op.create_index("model_versions_by_run", "model_versions", ["run_id"])
    op.create_index("model_versions_by_time", "model_versions", ["last_update_time"])
    op.create_index("model_versions_by_stage", "model_versions", ["model", "stage", "version"])
    op.create_table(
        "model_version_tags",
        sa.Column("version", _big_id(), sa.ForeignKey("model_versions.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("model_version_tags_by_key", "model_version_tags", ["key", "version"])
    op.create_table(
        "model_aliases",
        sa.Column("model", _big_id(), sa.ForeignKey("registered_models.id"), primary_key=True),
        sa.Column("alias", _string(255), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "traces",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("trace_id", _string(64), nullable=False, unique=True),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("client_request_id", _string(250)),
        sa.Column("request_time", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("state", _string(20), nullable=False),
        sa.Column("request_preview", _text()),
        sa.Column("response_preview", _text()),
        sa.UniqueConstraint("trace_id"),
    )
    op.create_index("traces_by_time", "traces", ["experiment_id", "request_time", "trace_id"])
    op.create_table(
        "trace_tags",
        sa.Column("trace", _big_id(), sa.ForeignKey("traces.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("trace_tags_by_key", "trace_tags", ["key", "trace"])
    op.create_table(
        "trace_metadata",
        sa.Column("trace", _big_id(), sa.ForeignKey("traces.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("trace_metadata_by_key", "trace_metadata", ["key", "trace"])
    op.create_table(
        "trace_assessments",
        sa.Column("trace", _big_id(), sa.ForeignKey("traces.id"), primary_key=True),
        sa.Column("assessment_id", _string(64), primary_key=True),
        sa.Column("body", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trace_runs",
        sa.Column("run_id", _string(64), primary_key=True),
        sa.Column("trace_id", _string(64), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("trace_runs_by_trace", "trace_runs", ["trace_id", "run_id"])
    op.add_column("runs", sa.Column("deleted_time", sa.BigInteger))
    op.execute(sa.text("UPDATE runs SET deleted_time = :now WHERE lifecycle_stage = 'deleted'").bindparams(now=time.time_ns() // 1_000_000))
    short = sa.text("length(value) <= 64")
    op.drop_index("tags_by_key", "tags")
    op.create_index("tags_by_value", "tags", ["key", "value", "run"], sqlite_where=short, postgresql_where=short)
    op.create_index("params_by_value", "params", ["key", "value", "run"], sqlite_where=short, postgresql_where=short)
    op.add_column("metric_points", sa.Column("cell", sa.Integer))
    op.add_column("latest_metrics", sa.Column("points", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("latest_metrics", sa.Column("loose", sa.Integer, nullable=False, server_default="0"))
    # Every point is loose at first; the store makes the blocks.
    op.execute(
        "UPDATE latest_metrics SET points = (SELECT count(*) FROM metric_points AS p "
        "WHERE p.run = latest_metrics.run AND p.key = latest_metrics.key)"
    )
    op.execute("UPDATE latest_metrics SET loose = points")
    op.execute("INSERT INTO store_state (name, value) SELECT 'revision', coalesce(max(revision), 0) FROM runs")
