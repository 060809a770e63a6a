"""Webhooks, and the messages to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def _text() -> sa.Text:
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _string(length: int) -> sa.String:
    return sa.String(length).with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")


def _big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("webhook_id", _string(36), nullable=False, unique=True),
        sa.Column("name", _string(63), nullable=False),
        sa.Column("url", _text(), nullable=False),
        sa.Column("description", _text(), nullable=False),
        sa.Column("status", _string(10), nullable=False),
        sa.Column("secret", _text()),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("last_update_time", sa.BigInteger, nullable=False),
        sa.Column("last_time", sa.BigInteger),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", _text(), nullable=False),
    )
    op.create_table(
        "webhook_events",
        sa.Column("event", _string(60), primary_key=True),
        sa.Column("webhook", _big_id(), sa.ForeignKey("webhooks.id"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("webhook_events_by_webhook", "webhook_events", ["webhook"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", _big_id(), primary_key=True),
        sa.Column("delivery_id", _string(36), nullable=False, unique=True),
        sa.Column("webhook", _big_id(), sa.ForeignKey("webhooks.id"), nullable=False),
        sa.Column("event", _string(60), nullable=False),
        sa.Column("body", _text(), nullable=False),
        sa.Column("state", _string(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("creation_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("response_status", sa.Integer),
        sa.Column("error", _text(), nullable=False),
    )
    op.create_index("webhook_deliveries_by_due", "webhook_deliveries", ["state", "due"])
    op.create_index("webhook_deliveries_by_webhook", "webhook_deliveries", ["webhook", "id"])
