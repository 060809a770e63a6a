"""Statements of the hot paths, run on the driver's cursor: SQLAlchemy's own way costs three times what SQLite does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


class Hot:
    """One statement in the SQL that both databases share, with `?` for each bound value.

    Args:
        text: The statement.
        postgresql: The statement for PostgreSQL, where it has to be another one.
    """

    def __init__(self, text: str, *, postgresql: str | None = None) -> None:
        self._sqlite = text
        self._postgresql = (postgresql or text).replace("?", "%s")

    @classmethod
    def of_runs(cls, text: str) -> Hot:
        """Return a statement that ends where the numbers of runs belong; run it with `of`."""
        return cls(text + " IN (SELECT value FROM json_each(?))", postgresql=text + " = ANY(?)")  # noqa: S608 - the text is ours

    def of(self, c: sa.Connection, numbers: Sequence[int]) -> list[Any]:
        """Run it with a list of numbers, however many, as its only value, and return the rows."""
        if not numbers:
            return []
        return self.rows(c, list(numbers) if c.dialect.name == "postgresql" else json.dumps(list(numbers)))

    def rows(self, c: sa.Connection, *values: Any) -> list[Any]:
        """Run it and return the rows."""
        cursor = c.connection.cursor()
        try:
            cursor.execute(self._text(c), values)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def run(self, c: sa.Connection, *values: Any) -> int:
        """Run it and return the number of rows it changed."""
        cursor = c.connection.cursor()
        try:
            cursor.execute(self._text(c), values)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def many(self, c: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Run it once for each row of values."""
        if not rows:
            return
        cursor = c.connection.cursor()
        try:
            cursor.executemany(self._text(c), rows)
        finally:
            cursor.close()

    def _text(self, c: sa.Connection) -> str:
        return self._postgresql if c.dialect.name == "postgresql" else self._sqlite
