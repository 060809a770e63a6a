"""Orders: what a page is sorted by, and where in that order the next one begins.

Missing values and NaN come last, whichever way the rest is sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from mlops_nb.core.filters import Field, OrderBy
from mlops_nb.errors import InvalidInput
from mlops_nb.store.sql.search.conditions import Conditions
from mlops_nb.store.sql.search.fragment import FALSE, NOTHING, TRUE, Sql, both, joined
from mlops_nb.store.sql.search.subjects import Subject

_LARGEST = (1 << 63) - 1


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that records are sorted by.

    Attributes:
        value: The expression.
        join: The LEFT JOIN that gives it, or nothing.
        metric: The number of the metric that it is, where the index of metrics can be walked instead.
    """

    value: Sql
    descending: bool
    nullable: bool
    number: bool
    unique: bool = False
    join: Sql = NOTHING
    metric: int | None = None

    def order(self) -> Sql:
        """Return what stands in ORDER BY."""
        by = Sql(f"{self.value.text} {'DESC' if self.descending else 'ASC'}", self.value.values)
        return joined(", ", [Sql(f"{self.value.text} IS NULL", self.value.values), by]) if self.nullable else by

    def beyond(self, last: Any) -> Sql:
        """Return the condition that a record comes after the last one by this term."""
        if last is None:
            return FALSE
        after = self._compared("<" if self.descending else ">", last)
        if not self.nullable:
            return after
        return Sql(f"({after.text} OR {self.value.text} IS NULL)", after.values + self.value.values)

    def same(self, last: Any) -> Sql:
        """Return the condition that a record is level with the last one by this term."""
        return Sql(f"{self.value.text} IS NULL", self.value.values) if last is None else self._compared("=", last)

    def not_before(self, last: Any) -> Sql:
        """Return a condition that holds for all that come after the last one, and that an index can begin at."""
        return NOTHING if self.nullable or last is None else self._compared("<=" if self.descending else ">=", last)

    def _compared(self, op: str, last: Any) -> Sql:
        return Sql(f"{self.value.text} {op} ?", (*self.value.values, last))

    def check(self, last: Any) -> None:
        """Refuse what cannot be a value of this term.

        Raises:
            InvalidInput: Such a token was not made by us.
        """
        kind = (int, float) if self.number else (str,)
        fits = self.nullable if last is None else isinstance(last, kind) and not isinstance(last, bool)
        if not fits or (isinstance(last, int) and abs(last) > _LARGEST):
            raise InvalidInput("Invalid page token.", hint="Use next_page_token of the last answer as it is.")


def terms(subject: Subject, order_by: Sequence[OrderBy], metric_ids: dict[str, int], conditions: Conditions) -> list[Term]:
    """Return the terms of an order; the last one tells any two records apart."""
    default = [OrderBy(Field.ATTRIBUTE, key, descending) for key, descending in subject.order]
    seen: set[tuple[Field, str, tuple[str, str | None] | None]] = set()
    found: list[Term] = []
    for by in [*order_by, *default]:
        if (by.field, by.key, by.dataset) in seen:
            continue
        seen.add((by.field, by.key, by.dataset))
        term = _term(subject, by, metric_ids, conditions, f"by{len(found)}")
        if term is not None:
            found.append(term)
        if term is not None and term.unique:
            break
    return found


def _term(subject: Subject, by: OrderBy, metric_ids: dict[str, int], conditions: Conditions, alias: str) -> Term | None:
    """Return what stands for a clause; None for a metric that no record has, by which nothing is sorted."""
    if by.field is Field.ATTRIBUTE:
        column = subject.columns[by.key]
        return Term(
            value=Sql(column.sorted_by),
            descending=by.descending,
            nullable=column.nullable,
            number=column.number or by.key == "experiment_id",
            unique=column.unique,
        )
    if by.field is Field.DATASET:
        raise InvalidInput(f"{subject.language.thing.capitalize()}s cannot be sorted by data set '{by.key}'.", hint="Sort by a metric.")
    if by.field is Field.METRIC:
        key = metric_ids.get(by.key)
        if key is None:
            return None
        if subject.many:
            return Term(value=_latest(subject, key, by, conditions), descending=by.descending, nullable=True, number=True)
        assert subject.metrics is not None
        table, owner = subject.metrics.table, subject.metrics.owner
        join = Sql(f"LEFT JOIN {table} AS {alias} ON {alias}.{owner} = {subject.table}.id AND {alias}.key = ?", (key,))
        return Term(value=Sql(f"{alias}.value"), descending=by.descending, nullable=True, number=True, join=join, metric=key)
    keyed = subject.keyed[by.field]
    join = Sql(f"LEFT JOIN {keyed.table} AS {alias} ON {alias}.{keyed.owner} = {subject.table}.id AND {alias}.key = ?", (by.key,))
    return Term(value=Sql(f"{alias}.value"), descending=by.descending, nullable=True, number=False, join=join)


def _latest(subject: Subject, key: int, by: OrderBy, conditions: Conditions) -> Sql:
    """Return the latest value of a metric of which a record has several."""
    assert subject.metrics is not None
    table, owner = subject.metrics.table, subject.metrics.owner
    rows = conditions.metric_owned(key, [by.dataset] if by.dataset is not None else ())
    return Sql(
        f"(SELECT {table}.value FROM {table} WHERE {table}.{owner} = {subject.table}.id AND {rows.text}"
        f" ORDER BY {table}.timestamp DESC, {table}.step DESC, {table}.run, {table}.dataset_name, {table}.dataset_digest, {table}.bits"
        " LIMIT 1)",
        rows.values,
    )


def after(order: Sequence[Term], last: Sequence[Any]) -> Sql:
    """Return the condition that a record comes after the last one of a page."""
    level: list[Sql] = []
    ways: list[Sql] = []
    for term, value in zip(order, last, strict=True):
        beyond = term.beyond(value)
        if beyond != FALSE:
            ways.append(both(*level, beyond))
        level.append(term.same(value))
    if not ways:
        return FALSE
    either = joined(" OR ", ways)
    return both(order[0].not_before(last[0]), Sql(f"({either.text})", either.values)) or TRUE


def merged(rows: list[Any], order: Sequence[Term]) -> list[Any]:
    """Return rows of an id and the values of the terms as the database would have sorted them."""
    for place, term in reversed(list(enumerate(order, start=1))):
        there = sorted((row for row in rows if row[place] is not None), key=itemgetter(place), reverse=term.descending)
        rows = there + [row for row in rows if row[place] is None]
    return rows
