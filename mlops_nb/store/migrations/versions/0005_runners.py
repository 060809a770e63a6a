"""Runners, their machines and their jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def _text() -> sa.Text:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _runner(*, is_key: bool = True) -> sa.Column[int]:
    return sa.Column("runner", _big_id(), sa.ForeignKey("runners.id"), primary_key=is_key, nullable=False)


def upgrade() -> None:
    op.create_table(
        "runners",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("runner_id", _string(32), nullable=False, unique=True),
        sa.Column("name", _string(48), nullable=False),
        sa.Column("state", _string(12), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("ended", sa.Double),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("record", _text(), nullable=False),
        sa.Column("agent", _string(64), unique=True),
    )
    op.create_index("runners_by_name", "runners", ["name"])
    op.create_index("runners_by_state", "runners", ["state", "created"])
    op.create_table(
        "runner_events", sa.Column("id", _big_id(), primary_key=True), _runner(is_key=False), sa.Column("record", _text(), nullable=False)
    )
    op.create_index("runner_events_by_runner", "runner_events", ["runner", "id"])
    op.create_table(
        "runner_tickets",
        _runner(),
        sa.Column("ticket", _string(64), nullable=False, unique=True),
        sa.Column("secret", _text()),
        sa.Column("expires", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runner_logs",
        _runner(),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "runner_jobs",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("job_id", _string(32), nullable=False, unique=True),
        sa.Column("runner_id", _string(32), nullable=False),
        sa.Column("run_id", _string(64), nullable=False),
        sa.Column("name", _string(250), nullable=False),
        sa.Column("state", _string(12), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("record", _text(), nullable=False),
        sa.Column("claim", _string(64)),
    )
    op.create_index("runner_jobs_by_runner", "runner_jobs", ["runner_id", "state", "id"])
    op.create_index("runner_jobs_by_name", "runner_jobs", ["name"])
    op.create_table("runner_runs", _runner(), sa.Column("run_id", _string(64), primary_key=True), sqlite_with_rowid=False)
    op.create_table(
        "runner_holds",
        sa.Column("name", _string(64), primary_key=True),
        sa.Column("holder", _string(64), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "installations",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("installation", _string(64), nullable=False),
    )
