"""The first schema."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def _text() -> sa.Text:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", _string(500), nullable=False, unique=True),
        sa.Column("artifact_location", _text(), nullable=False),
        sa.Column("lifecycle_stage", _string(10), nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("last_update_time", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "metric_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", _string(250), nullable=False),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "experiment_tags",
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("run_id", _string(64), nullable=False, unique=True),
        sa.Column("experiment_id", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
        sa.Column("name", _string(250), nullable=False),
        sa.Column("user", _string(256), nullable=False),
        sa.Column("status", _string(10), nullable=False),
        sa.Column("reason", _text()),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("lifecycle_stage", _string(10), nullable=False),
        sa.Column("lease_at", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("runs_by_lease", "runs", ["lease_at"])
    op.create_index("runs_by_revision", "runs", ["revision"])
    op.create_index("runs_by_start", "runs", ["experiment_id", "lifecycle_stage", "start_time", "run_id"])
    op.create_index("runs_by_time", "runs", ["lifecycle_stage", "start_time", "run_id"])
    op.create_table(
        "cells",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("index", sa.Integer, primary_key=True),
        sa.Column("cell_id", _text()),
        sa.Column("execution_count", sa.Integer),
        sa.Column("source", _text(), nullable=False),
        sa.Column("source_hash", _string(64), nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.Double, nullable=False),
        sa.Column("outcome", _string(20), nullable=False),
        sa.Column("error", _text()),
        sa.Column("outputs", _text()),
    )
    op.create_table(
        "deliveries",
        sa.Column("source", _string(64), primary_key=True),
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "latest_metrics",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", sa.Integer, sa.ForeignKey("metric_keys.id"), primary_key=True),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("bits", sa.BigInteger, nullable=False),
        sa.Column("cell", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_index("latest_metrics_by_value", "latest_metrics", ["key", "value", "run"])
    op.create_table(
        "metric_points",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", sa.Integer, sa.ForeignKey("metric_keys.id"), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True),
        sa.Column("timestamp", sa.BigInteger, primary_key=True),
        sa.Column("bits", sa.BigInteger, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "params",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tags",
        sa.Column("run", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", _string(250), primary_key=True),
        sa.Column("value", _text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("tags_by_key", "tags", ["key", "run"])
    now = time.time_ns() // 1_000_000
    default = sa.text(
        "INSERT INTO experiments (id, name, artifact_location, lifecycle_stage, creation_time, last_update_time) "
        "VALUES (0, 'Default', 'mlflow-artifacts:/0', 'active', :now, :now)"
    )
    op.execute(default.bindparams(sa.bindparam("now", now, sa.BigInteger)))
