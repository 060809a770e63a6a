"""Webhooks, and the messages to them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table

from mlops_nb.store.sql.schema.types import BIG_ID, String, Text, metadata

# `secret` is encrypted by a key that is not here. `last_…` is of the last attempt of any message.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("webhook_id", String(36), nullable=False, unique=True),
    Column("name", String(63), nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", String(10), nullable=False),
    Column("secret", Text),
    Column("creation_time", BigInteger, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    Column("last_time", BigInteger),
    Column("last_status", Integer),
    Column("last_error", Text, nullable=False),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("event", String(60), primary_key=True),
    Column("webhook", ForeignKey("webhooks.id"), primary_key=True),
    Index("webhook_events_by_webhook", "webhook"),
    sqlite_with_rowid=False,
)

# `due` is when the next attempt may be made; a claim moves it on, so that a message whose taker died comes back.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("delivery_id", String(36), nullable=False, unique=True),
    Column("webhook", ForeignKey("webhooks.id"), nullable=False),
    Column("event", String(60), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("creation_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("response_status", Integer),
    Column("error", Text, nullable=False),
    Index("webhook_deliveries_by_due", "state", "due"),
    Index("webhook_deliveries_by_webhook", "webhook", "id"),
)
