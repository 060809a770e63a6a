"""Looking over a database: whether its pages are sound, and whether what is counted is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

_SERIES = "p.run = m.run AND p.key = m.key"
_COUNTS = (
    f"SELECT m.run, m.key, m.points, m.loose, (SELECT count(*) FROM metric_points AS p WHERE {_SERIES}), "  # noqa: S608 - of constants
    "(SELECT coalesce(sum(b.points), 0) FROM metric_blocks AS b WHERE b.run = m.run AND b.key = m.key) "
    "FROM latest_metrics AS m WHERE m.run >= {first}"
)
_ORPHANS = (
    f"SELECT count(*) FROM metric_points AS p WHERE NOT EXISTS (SELECT 1 FROM latest_metrics AS m WHERE {_SERIES}) "  # noqa: S608
    "AND p.run >= {first}"
)
_BLOCKS = (
    "SELECT m.run, m.key, m.points, (SELECT count(*) FROM metric_points AS p "  # noqa: S608
    f"WHERE {_SERIES} AND (p.step, p.timestamp, p.bits) >= (m.first_step, m.first_timestamp, m.first_bits) "
    "AND (p.step, p.timestamp, p.bits) <= (m.last_step, m.last_timestamp, m.last_bits)) FROM metric_blocks AS m WHERE m.run >= {first}"
)


def faults(c: sa.Connection) -> list[str]:
    """Return what is wrong in a database, in words; reads all of it.

    SQLite has no checksums of its pages: a value that the disk changed within a row is not noticed by anything.
    PostgreSQL looks after its pages itself.
    """
    found: list[str] = []
    if c.dialect.name == "sqlite":
        found += [row[0] for row in c.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]
        found += [
            f"a row of {table} belongs to nothing in {parent}" for table, _, parent, _ in c.exec_driver_sql("PRAGMA foreign_key_check")
        ]
    return found + miscounts(lambda query: c.exec_driver_sql(query))


def miscounts(rows: Callable[[str], Iterable[Sequence[Any]]], *, first: int = 0) -> list[str]:
    """Return where the counters of a database disagree with its points.

    Args:
        rows: Runs a query and returns its rows.
        first: The number of the first run that is looked at.
    """
    wrong = []
    for run, key, points, loose, there, in_blocks in rows(_COUNTS.format(first=first)):
        if not points == there == loose + in_blocks:
            wrong.append(f"run {run}, metric {key}: {there} points, counted {points}, {in_blocks} in blocks and {loose} loose")
    for run, key, points, there in rows(_BLOCKS.format(first=first)):
        if points != there:
            wrong.append(f"run {run}, metric {key}: a block says {points} points and spans {there}")
    if (orphans := next(iter(rows(_ORPHANS.format(first=first))))[0]) > 0:
        wrong.append(f"{orphans} points belong to no metric")
    return wrong
