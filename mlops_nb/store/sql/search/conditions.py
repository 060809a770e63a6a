"""The tree of `core.filters` to SQL. What the SQL says is what `filters.matches` says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from mlops_nb.core.filters import And, Comparison, Field, Node, Not, Value, pattern
from mlops_nb.store.sql.schema import INDEXED_LENGTH
from mlops_nb.store.sql.search.fragment import FALSE, TRUE, Sql, both, joined, marks
from mlops_nb.store.sql.search.subjects import Column, Keyed, Subject

_LARGEST = (1 << 63) - 1
_INPUTS = "FROM run_inputs JOIN datasets ON datasets.id = run_inputs.dataset"
_DATASET_COLUMNS = {"name": "datasets.name", "digest": "datasets.digest", "context": "run_inputs.context"}


class Conditions:
    """Writes the conditions of one search.

    Args:
        subject: What is searched.
        postgres: Whether for PostgreSQL; else for SQLite.
        metric_ids: The numbers of the metric names that have one.
        datasets: Of metrics only the points on these (name, digest or None) count; empty: all.
    """

    def __init__(
        self, subject: Subject, *, postgres: bool, metric_ids: Mapping[str, int], datasets: Sequence[tuple[str, str | None]] = ()
    ) -> None:
        self._subject = subject
        self._postgres = postgres
        self._metric_ids = metric_ids
        self._datasets = datasets

    def of(self, node: Node) -> Sql:
        """Return the condition of a filter."""
        if isinstance(node, Comparison):
            return self._comparison(node)
        if isinstance(node, Not):
            return _wrapped("NOT ({})", self.of(node.part))
        return _wrapped("({})", joined(" AND " if isinstance(node, And) else " OR ", [self.of(part) for part in node.parts]))

    def owners(self, node: Comparison) -> Sql | None:
        """Return the query for the ids of the records that satisfy a comparison, where an index finds them; else None."""
        if node.op in ("IS NULL", "!=", "NOT IN"):
            return None
        if node.field is Field.METRIC and not self._subject.many:
            rows = self._metric_rows(node, "value")
            return None if rows is None else self._owners(self._metrics(), rows)
        if node.field is Field.DATASET:
            return _wrapped(f"SELECT DISTINCT run_inputs.run AS id {_INPUTS} WHERE {{}}", self._dataset_rows(node))
        keyed = self._subject.keyed.get(node.field)
        if keyed is not None and keyed.by_value and _is_short(node):
            return self._owners(keyed, self._keyed_rows(keyed, node))
        return None

    def metric_owned(self, key: int, datasets: Iterable[tuple[str, str | None]] = ()) -> Sql:
        """Return the rows of a metric: the condition on the table of metrics."""
        table = self._metrics().table
        return both(Sql(f"{table}.key = ?", (key,)), self.on_datasets(table, datasets))

    @staticmethod
    def on_datasets(table: str, datasets: Iterable[tuple[str, str | None]]) -> Sql:
        """Return the condition that a point is on one of some data sets."""
        each = [
            Sql(f"{table}.dataset_name = ?", (name,))
            if digest is None
            else Sql(f"({table}.dataset_name = ? AND {table}.dataset_digest = ?)", (name, digest))
            for name, digest in datasets
        ]
        return _wrapped("({})", joined(" OR ", each)) if each else Sql("")

    def _comparison(self, node: Comparison) -> Sql:
        if node.field is Field.ATTRIBUTE:
            return self._attribute(self._subject.columns[node.key], node)
        if node.field is Field.DATASET:
            return self._dataset(node)
        if node.field is Field.METRIC:
            keyed: Keyed = self._metrics()
            # The plus keeps SQLite from reading an index by value for each record; by its key it reads one row.
            rows = self._metric_rows(node, "+value")
            if rows is None:
                return TRUE if node.op == "IS NULL" else FALSE
        else:
            keyed = self._subject.keyed[node.field]
            rows = self._keyed_rows(keyed, node)
        exists = f"EXISTS (SELECT 1 FROM {keyed.table} WHERE {keyed.table}.{keyed.owner} = {self._subject.table}.id AND {{}})"
        return _wrapped(f"NOT {exists}" if node.op == "IS NULL" else exists, rows)

    def _owners(self, keyed: Keyed, rows: Sql) -> Sql:
        return _wrapped(f"SELECT {keyed.table}.{keyed.owner} AS id FROM {keyed.table} WHERE {{}}", rows)

    def _metrics(self) -> Keyed:
        assert self._subject.metrics is not None, "the language lets no filter name metrics where there are none"
        return self._subject.metrics

    def _metric_rows(self, node: Comparison, value: str) -> Sql | None:
        """Return the condition on the rows of metrics; None for a metric that no record has."""
        key = self._metric_ids.get(node.key)
        if key is None:
            return None
        rows = self.metric_owned(key, self._datasets)
        if node.op in ("IS NULL", "IS NOT NULL"):
            return rows
        fits = self.fits(value, node.op, node.value)
        if node.op == "!=":  # NaN differs from every number
            fits = _wrapped("({} OR value IS NULL)", fits)
        return both(rows, fits)

    def _keyed_rows(self, keyed: Keyed, node: Comparison) -> Sql:
        named = Sql(f"{keyed.table}.key = ?", (node.key,))
        if node.op in ("IS NULL", "IS NOT NULL"):
            return named
        fits = both(named, self.fits(f"{keyed.table}.value", node.op, node.value))
        return both(fits, Sql(f"length({keyed.table}.value) <= {INDEXED_LENGTH}")) if keyed.by_value and _is_short(node) else fits

    def _attribute(self, column: Column, node: Comparison) -> Sql:
        if node.op in ("IS NULL", "IS NOT NULL"):
            if column.within:
                return _wrapped("NOT ({})" if node.op == "IS NULL" else "({})", _wrapped(column.within, TRUE))
            if not column.nullable:
                return FALSE if node.op == "IS NULL" else TRUE
            return Sql(f"{column.value} {node.op}")
        fits = whole(column.value, node.op, node.value) if column.number else self.fits(column.value, node.op, node.value)
        if column.within:
            return _wrapped(column.within, fits)
        # In SQL what is unknown is neither true nor false, and NOT of it is unknown too; in the language it is false.
        return _wrapped(f"({column.value} IS NOT NULL AND {{}})", fits) if column.nullable else fits

    def _dataset(self, node: Comparison) -> Sql:
        exists = f"EXISTS (SELECT 1 {_INPUTS} WHERE run_inputs.run = {self._subject.table}.id AND {{}})"
        return _wrapped(f"NOT {exists}" if node.op == "IS NULL" else exists, self._dataset_rows(node))

    def _dataset_rows(self, node: Comparison) -> Sql:
        column = _DATASET_COLUMNS[node.key]
        there = Sql(f"{column} IS NOT NULL")
        return there if node.op in ("IS NULL", "IS NOT NULL") else both(there, self.fits(column, node.op, node.value))

    def fits(self, column: str, op: str, value: Value) -> Sql:
        """Return the condition that a text or a float compares so with a value."""
        if op in ("IN", "NOT IN"):
            assert isinstance(value, tuple)
            return _wrapped(f"{column} {op} ({{}})", marks(value))
        if op in ("LIKE", "ILIKE"):
            return self.like(column, str(value), any_case=op == "ILIKE")
        return Sql(f"{column} {op} ?", (value,))

    def like(self, column: str, wanted: str, *, any_case: bool) -> Sql:
        """Return the condition that a text fits a pattern, whatever the database takes for letters."""
        if self._postgres and not any_case:
            return Sql(f"{column} LIKE ? ESCAPE ''", (wanted,))
        return self._fitting(column, list(pattern.elements(wanted, any_case=any_case)))

    def holds(self, column: str, text: str) -> Sql:
        """Return the condition that a column has a text in it, in any case."""
        return self._fitting(column, [pattern.Wild.ANY, *map(pattern.cases, text), pattern.Wild.ANY])

    def _fitting(self, column: str, parts: Sequence[pattern.Wild | str]) -> Sql:
        if self._postgres:
            return Sql(f"{column} ~ ?", (f"^{''.join(map(_regular, parts))}$",))
        return Sql(f"{column} GLOB ?", ("".join(map(_glob, parts)),))


def whole(column: str, op: str, value: Value) -> Sql:
    """Return the condition that a whole number compares so with any number, beyond what a column holds too."""
    assert isinstance(value, int | float)
    if isinstance(value, float):
        if math.isfinite(value) and not value.is_integer():
            if op in ("=", "!="):
                return FALSE if op == "=" else TRUE
            op, value = ("<=", math.floor(value)) if op[0] == "<" else (">=", math.ceil(value))
        elif math.isfinite(value):
            value = int(value)
    if abs(value) > _LARGEST:
        return TRUE if op == "!=" or ((op[0] == "<") == (value > 0) and op != "=") else FALSE
    return Sql(f"{column} {op} ?", (value,))


def _is_short(node: Comparison) -> bool:
    """Return whether an index of short values finds what a comparison is true of."""
    values = node.value if node.op == "IN" else (node.value,) if node.op == "=" else ()
    assert isinstance(values, tuple)
    return bool(values) and all(len(str(value)) <= INDEXED_LENGTH for value in values)


def _wrapped(form: str, sql: Sql) -> Sql:
    return Sql(form.format(sql.text), sql.values)


def _glob(part: pattern.Wild | str) -> str:
    """Return a part of a pattern as SQLite's GLOB has it, which knows classes of characters and no escapes."""
    if isinstance(part, pattern.Wild):
        return "*" if part is pattern.Wild.ANY else "?"
    return f"[{part}]" if len(part) > 1 or part in "*?[" else part


def _regular(part: pattern.Wild | str) -> str:
    """Return a part of a pattern as PostgreSQL's regular expressions have it."""
    if isinstance(part, pattern.Wild):
        return ".*" if part is pattern.Wild.ANY else "."
    if len(part) > 1:
        return f"[{part}]"
    return part if part.isalnum() or part.isspace() or not part.isascii() else f"\\{part}"
