"""Where SQLite begins a search: its planner knows neither how many rows a condition keeps nor that a page is short.

Three ways lead to a page: to walk the records in their order and keep those that fit until the page is full; to walk the
index of a metric so; or to begin with the few records that one condition keeps and sort them. Which is best depends on
how many rows there are, which the indexes tell by counting, up to a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from mlops_nb.core.filters import And, Comparison, Node
from mlops_nb.store.sql.search.conditions import Conditions
from mlops_nb.store.sql.search.fragment import NOTHING, Sql, fetch, is_postgres, joined
from mlops_nb.store.sql.search.subjects import Subject

_COUNTED = 15_000
_GUESS = 0.3
"""The part of the records that a condition keeps that no index counts."""


class Partition(NamedTuple):
    """A condition that the index of the default order begins with.

    Attributes:
        whole: The condition.
        branches: The same as alternatives of which each names one value of each column, where they are few.
        spread: The same, written so that SQLite does not look for an index for it.
    """

    whole: Sql = NOTHING
    branches: Sequence[Sql] = ()
    spread: Sql = NOTHING


class Plan(NamedTuple):
    """Where a search begins: with the records of `owners`; along the index of the metric that it sorts by (`walk`); along
    the default order whatever the partition (`spread`); else in the partition. The `branches` are merged."""

    branches: Sequence[Sql]
    owners: Sql | None = None
    walk: bool = False
    spread: bool = False


def plan(
    c: sa.Connection,
    subject: Subject,
    conditions: Conditions,
    node: Node | None,
    *,
    partition: Partition,
    metric: int | None,
    in_order: bool,
    wanted: int,
) -> Plan:
    """Return where to begin.

    Args:
        metric: The metric that comes first in the order.
        in_order: Whether an index of the subject has the order.
        wanted: How many records the page takes.
    """
    parts = node.parts if isinstance(node, And) else () if node is None else (node,)
    ways = possible(subject, conditions, parts, partition=partition, metric=metric, in_order=in_order)
    if len(ways) == 1:
        return ways[0]
    if is_postgres(c):  # its planner knows how many rows there are
        return next((way for way in ways if way.walk), ways[0])
    owners = [way.owners for way in ways if way.owners is not None]
    total, inside, *counts = _counts(c, subject, partition.whole, owners)
    kept = _GUESS ** (len(parts) - len(owners))
    for count in counts:
        kept *= count / total
    checks = 1 + len(parts)

    def cost(way: Plan) -> float:
        if way.owners is not None:
            return counts[owners.index(way.owners)] * checks
        if way.walk or way.spread:
            return min(total, wanted / max(kept * inside / total, 1e-9)) * (1 + checks)
        return (min(inside, wanted / max(kept, 1e-9)) if in_order and partition.branches else inside) * checks

    return min(ways, key=cost)


def possible(
    subject: Subject, conditions: Conditions, parts: Sequence[Node], *, partition: Partition, metric: int | None, in_order: bool
) -> list[Plan]:
    """Return the ways to begin, first the one that is always open."""
    ways = [Plan(branches=partition.branches if in_order and partition.branches else [partition.whole])]
    if in_order and partition.spread and not partition.branches:
        ways.append(Plan(spread=True, branches=[partition.spread]))
    for part in parts:
        owners = conditions.owners(part) if isinstance(part, Comparison) else None
        if owners is not None:
            ways.append(Plan(owners=owners, branches=[partition.whole]))
    if metric is not None:
        ways.append(Plan(walk=True, branches=[partition.whole]))
    return ways


def _counts(c: sa.Connection, subject: Subject, partition: Sql, owners: Sequence[Sql]) -> list[int]:
    """Return how many records there are, in the partition, and of each of the owners; at least 1 each."""
    everything = Sql(f"(SELECT MAX(id) FROM {subject.table})")
    inside = Sql(f"SELECT 1 FROM {subject.table} WHERE {partition.text}", partition.values)
    columns = [everything, _count(inside) if partition else everything, *map(_count, owners)]
    statement = joined(", ", columns)
    (row,) = fetch(c, Sql(f"SELECT {statement.text}", statement.values))
    total = max(1, row[0] or 0)
    return [total, *(max(1, (count + total) // 2 if count == _COUNTED < total else min(count or 0, total)) for count in row[1:])]


def _count(query: Sql) -> Sql:
    return Sql(f"(SELECT COUNT(*) FROM ({query.text} LIMIT {_COUNTED}))", query.values)
