"""What a filter means: the evaluation in Python that every store's SQL agrees with."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Protocol

from mlops_nb.core.filters import pattern
from mlops_nb.core.filters.tree import And, Comparison, Field, Node, Not
from mlops_nb.core.records import Experiment, Run


class Searched(Protocol):
    """A record that filters can be evaluated on."""

    def values(self, field: Field, key: str) -> Iterable[float | str | None]:
        """Return what the record has there: nothing or None where it has no value, several where it has several."""


def matches(node: Node | None, record: Run | Experiment | Searched) -> bool:
    """Evaluate a filter on one record.

    A comparison is true if some value of the record satisfies it, and false where there is none. What is false, NOT
    makes true. NaN differs from every number and compares with none.
    """
    if node is None:
        return True
    if isinstance(node, Comparison):
        return _compare(node, [value for value in _values(record, node.field, node.key) if value is not None])
    if isinstance(node, Not):
        return not matches(node.part, record)
    return all(matches(part, record) for part in node.parts) if isinstance(node, And) else any(matches(part, record) for part in node.parts)


_RUN = {"run_name": "name", "user_id": "user"}


def _values(record: Run | Experiment | Searched, field: Field, key: str) -> Iterable[float | str | None]:
    if not isinstance(record, Run | Experiment):
        return record.values(field, key)
    if field is Field.TAG:
        return [record.tags.get(key)]
    if field is Field.ATTRIBUTE:
        value: float | str | Enum | None = getattr(record, _RUN.get(key, key) if isinstance(record, Run) else key)
        return [str(value.value) if isinstance(value, Enum) else value]
    if isinstance(record, Run) and field is Field.PARAM:
        return [record.params.get(key)]
    if isinstance(record, Run) and field is Field.METRIC:
        return [record.metrics[key].value] if key in record.metrics else []
    if isinstance(record, Run) and field is Field.DATASET:
        return [each.context if key == "context" else getattr(each.dataset, key) for each in record.inputs.datasets]
    return []


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "IN": lambda value, wanted: value in wanted,
    "NOT IN": lambda value, wanted: value not in wanted,
    "LIKE": lambda value, wanted: pattern.compiled(wanted, any_case=False).fullmatch(value) is not None,
    "ILIKE": lambda value, wanted: pattern.compiled(wanted, any_case=True).fullmatch(value) is not None,
}


def _compare(node: Comparison, values: Sequence[float | str]) -> bool:
    if node.op == "IS NULL":
        return not values
    if node.op == "IS NOT NULL":
        return bool(values)
    return any(_OPERATORS[node.op](value, node.value) for value in values)
