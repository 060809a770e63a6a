"""INSERT … ON CONFLICT for both databases: the statement is the same, SQLAlchemy has one class for each."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite


def insert(c: sa.Connection, table: sa.Table) -> Any:
    """Return an insert statement that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return (postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert)(table)
