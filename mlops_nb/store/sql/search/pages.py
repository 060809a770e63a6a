"""One page of a search: which records, in order, and where the next page begins.

A page token holds what the last record of the page is sorted by. The next page is what comes after that, so records
that are added or removed in between neither repeat others nor hide them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from mlops_nb.core import filters
from mlops_nb.core.filters import Comparison, Field, Node, OrderBy
from mlops_nb.errors import InvalidInput
from mlops_nb.store.page import Page
from mlops_nb.store.sql import paging
from mlops_nb.store.sql.metrics import known_ids
from mlops_nb.store.sql.search import ordering
from mlops_nb.store.sql.search.conditions import Conditions
from mlops_nb.store.sql.search.fragment import NOTHING, Sql, both, fetch, is_postgres, joined, of_condition
from mlops_nb.store.sql.search.ordering import Term
from mlops_nb.store.sql.search.planning import Partition, plan
from mlops_nb.store.sql.search.subjects import Subject

CHUNK = 500
_EVERYWHERE = Partition()

T = TypeVar("T")


def select_ids(
    c: sa.Connection,
    subject: Subject,
    filter_text: str,
    order_by: Sequence[str | OrderBy] = (),
    *,
    where: Sequence[sa.ColumnElement[bool] | Sql] = (),
    partition: Partition = _EVERYWHERE,
    scope: Any = None,
    datasets: Sequence[tuple[str, str | None]] = (),
    max_results: int,
    largest: int,
    page_token: str | None = None,
) -> Page[int]:
    """Return the ids of the records on a page.

    Args:
        c: Where from.
        subject: What is searched.
        filter_text: In the language of the subject; "" means all.
        order_by: Clauses, or what they parse to. The default order breaks ties.
        where: What else must hold of the subject's table.
        partition: What else must hold, where an index of the default order begins with it.
        scope: What else a page token belongs to, beside subject, filter and order, in JSON.
        datasets: Metrics count on these data sets only, (name, digest or None); none: on all.
        max_results: How many records the page has at most.
        largest: The largest `max_results`.
        page_token: Of the page before.

    Raises:
        FilterError: If the filter or the order does not parse.
        InvalidInput: If `max_results` is out of range or the token belongs to another search.
    """
    limit = paging.limit_of(max_results, largest)
    node = filters.parse(filter_text, subject.language)
    orders = [by if isinstance(by, OrderBy) else filters.parse_order_by(by, subject.language) for by in order_by]
    metric_ids = _metric_ids(c, node, orders)
    conditions = Conditions(subject, postgres=is_postgres(c), metric_ids=metric_ids, datasets=datasets)
    terms = ordering.terms(subject, orders, metric_ids, conditions)
    mark = _mark([subject.table, filter_text, [msgspec.to_builtins(by) for by in orders], scope, list(datasets)])
    last = _last(page_token, mark, terms)
    fits = joined(" AND ", (each if isinstance(each, Sql) else of_condition(c, each) for each in where))
    if node is not None:
        fits = both(fits, conditions.of(node))
    in_order = terms[0].value.text == subject.columns[subject.order[0][0]].sorted_by
    chosen = plan(c, subject, conditions, node, partition=partition, metric=terms[0].metric, in_order=in_order, wanted=limit + 1)
    rows: list[Any] = []
    for branch in chosen.branches:
        search = _Search(c, subject, both(branch, fits), terms, limit + 1)
        rows += search.walk(last) if chosen.walk else search.sorted(chosen.owners, last)
    if len(chosen.branches) > 1:
        rows = ordering.merged(rows, terms)
    token = paging.to_token([mark, *rows[limit - 1][1:]]) if len(rows) > limit else None
    return Page(items=[row[0] for row in rows[:limit]], token=token)


class _Search:
    """Runs the statements of one search.

    Args:
        fits: The condition that the records satisfy.
        terms: What they are sorted by.
        limit: How many are wanted.
    """

    def __init__(self, c: sa.Connection, subject: Subject, fits: Sql, terms: Sequence[Term], limit: int) -> None:
        self._c = c
        self._subject = subject
        self._fits = fits
        self._terms = terms
        self._limit = limit

    def sorted(self, owners: Sql | None, last: Sequence[Any] | None) -> list[Any]:
        """Return the rows from those of the owners, or from all."""
        table = self._subject.table
        if owners is None:
            return self._rows(Sql(table), NOTHING, self._terms, last, self._limit)
        source = Sql(f"({owners.text}) AS chosen CROSS JOIN {table}", owners.values)
        return self._rows(source, Sql(f"{table}.id = chosen.id"), self._terms, last, self._limit)

    def walk(self, last: Sequence[Any] | None) -> list[Any]:
        """Return the rows along the index of the metric that comes first in the order, then those that lack the metric."""
        first, *rest = self._terms
        subject, table = self._subject, self._subject.table
        assert subject.metrics is not None
        metrics, owner = subject.metrics.table, subject.metrics.owner
        rows: list[Any] = []
        if last is None or last[0] is not None:
            walked = msgspec.structs.replace(first, value=Sql("walked.value"), nullable=False, join=NOTHING)
            linked = Sql(f"{table}.id = walked.{owner} AND walked.key = ? AND walked.value IS NOT NULL", (first.metric,))
            rows = self._rows(Sql(f"{metrics} AS walked CROSS JOIN {table}"), linked, [walked, *rest], last, self._limit)
            last = None
        if len(rows) < self._limit:
            lacking = Sql(
                f"NOT EXISTS (SELECT 1 FROM {metrics} WHERE {metrics}.{owner} = {table}.id AND {metrics}.key = ?"
                f" AND {metrics}.value IS NOT NULL)",
                (first.metric,),
            )
            without = self._rows(Sql(table), lacking, rest, last[1:] if last else None, self._limit - len(rows))
            rows += [(row[0], None, *row[1:]) for row in without]
        return rows

    def _rows(self, source: Sql, linked: Sql, terms: Sequence[Term], last: Sequence[Any] | None, limit: int) -> list[Any]:
        columns = joined(", ", [Sql(f"{self._subject.table}.id"), *(term.value for term in terms)])
        begin = NOTHING if last is None else ordering.after(terms, last)
        tables = joined(" ", [source, *(term.join for term in terms)])
        holds = both(linked, self._fits, begin)
        order = joined(", ", [term.order() for term in terms])
        text = f"SELECT {columns.text} FROM {tables.text} WHERE {holds.text} ORDER BY {order.text} LIMIT {limit}"
        return fetch(self._c, Sql(text, columns.values + tables.values + holds.values + order.values))


def _metric_ids(c: sa.Connection, node: Node | None, orders: Sequence[OrderBy]) -> dict[str, int]:
    named: list[Comparison | OrderBy] = [*filters.comparisons(node), *orders]
    names = {each.key for each in named if each.field is Field.METRIC}
    return known_ids(c, names) if names else {}


def _mark(parts: list[Any]) -> str:
    """Return what tells the tokens of one search from those of others."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]


def _last(token: str | None, mark: str, terms: Sequence[Term]) -> list[Any] | None:
    """Return what the last record of the page before is sorted by; None for the first page."""
    if not token:
        return None
    its_mark, *last = paging.from_token(token) or [None]
    if its_mark != mark or len(last) != len(terms):
        raise InvalidInput(
            "The page token belongs to another search.",
            hint="Ask for the next page with the filter and the order of the page before, or begin without a token.",
        )
    for term, value in zip(terms, last, strict=True):
        term.check(value)
    return last


def chunks(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield ids in numbers that one statement can name."""
    return (ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK))


def in_order(ids: Sequence[int], records: Mapping[int, T]) -> list[T]:
    """Return records in the order of their ids; without those that are gone."""
    return [records[each] for each in ids if each in records]
