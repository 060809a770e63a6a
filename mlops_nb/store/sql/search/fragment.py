"""Pieces of SQL text with `?` for each bound value: what a search is put together from.

The text of a piece is ours alone; whatever comes from outside is a bound value. Put together as text, because the
planner of SQLite is told which table to begin with (`CROSS JOIN`), and because building such a statement of SQLAlchemy's
elements takes as long as running it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa


class Sql(NamedTuple):
    """A piece of SQL and the values bound in it, in the order of their `?`."""

    text: str
    values: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text)


NOTHING = Sql("")
TRUE = Sql("1 = 1")
FALSE = Sql("1 = 0")


def joined(separator: str, parts: Iterable[Sql]) -> Sql:
    """Return pieces with a separator between them; empty ones are left out."""
    kept = [part for part in parts if part.text]
    return Sql(separator.join(part.text for part in kept), tuple(value for part in kept for value in part.values))


def both(*parts: Sql) -> Sql:
    """Return the condition that all of these hold."""
    kept = [part for part in parts if part.text]
    return kept[0] if len(kept) == 1 else joined(" AND ", kept) if kept else TRUE


def marks(values: Sequence[Any]) -> Sql:
    """Return `?, ?, ...` for the members of an IN."""
    return Sql(", ".join("?" * len(values)), tuple(values))


def fetch(c: sa.Connection, sql: Sql) -> list[Any]:
    """Run a query and return its rows."""
    text = sql.text.replace("%", "%%").replace("?", "%s") if is_postgres(c) else sql.text
    return list(c.exec_driver_sql(text, sql.values).fetchall())


def is_postgres(c: sa.Connection) -> bool:
    return c.dialect.name == "postgresql"


def of_condition(c: sa.Connection, condition: sa.ColumnElement[bool]) -> Sql:
    """Return a condition of SQLAlchemy's as a piece."""
    compiled = condition.compile(dialect=_positional(c.dialect.name), compile_kwargs={"render_postcompile": True})
    text = str(compiled)
    if is_postgres(c):
        text = text.replace("%s", "?").replace("%%", "%")
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    values = compiled.construct_params()
    return Sql(f"({text})", tuple(values[name] for name in compiled.positiontup or ()))


@functools.cache
def _positional(name: str) -> sa.Dialect:
    url = sa.make_url("postgresql+psycopg://" if name == "postgresql" else "sqlite://")
    dialect: Callable[..., sa.Dialect] = url.get_dialect()
    return dialect(paramstyle="format" if name == "postgresql" else "qmark")
