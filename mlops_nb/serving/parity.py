"""Prediction parity: whether an endpoint answers what the notebook's own model answers, row by row."""

from __future__ import annotations

from typing import Any

import msgspec

_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
_SHOWN = 5


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is not equal; values as texts, for reading."""

    row: int
    notebook: str
    endpoint: str


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found.

    Attributes:
        rows: How many were compared.
        different: The numbers of the rows, from 0, that are not equal.
        examples: The first of them.
        problem: Why rows could not be compared at all, or "".
    """

    rows: int
    different: list[int] = []
    examples: list[Difference] = []
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether all rows are equal."""
        return not self.different and not self.problem

    def __str__(self) -> str:
        if self.problem:
            return f"parity: {self.problem}"
        equal = self.rows - len(self.different)
        text = f"parity {equal:,}/{self.rows:,} rows equal"
        if not self.different:
            return text
        numbers = ", ".join(str(row) for row in self.different[:10]) + (", …" if len(self.different) > 10 else "")
        told = "".join(f"\n  row {one.row}: notebook {one.notebook}, endpoint {one.endpoint}" for one in self.examples)
        return f"{text}; different: {numbers}{told}"


def compare(expected: Any, answered: Any) -> Parity:
    """Compare predictions for the same rows.

    Numbers are equal when they differ by less than a millionth: an endpoint may sum in another order. All else must be the same.
    """
    import numpy

    ours, theirs = _columns(expected), _columns(answered)
    rows = len(next(iter(ours.values()), ()))
    if list(ours) != list(theirs) and len(ours) == len(theirs) == 1:
        theirs = {next(iter(ours)): next(iter(theirs.values()))}
    if list(ours) != list(theirs):
        return Parity(rows=rows, problem=f"the notebook answers columns {list(ours)[:5]}, the endpoint {list(theirs)[:5]}")
    wrong = numpy.zeros(rows, dtype=bool)
    for name, values in ours.items():
        others = theirs[name]
        if len(values) != len(others):
            return Parity(rows=rows, problem=f"the notebook answers {len(values)} rows, the endpoint {len(others)}")
        wrong |= ~_equal(numpy, values, others)
    different = [int(row) for row in numpy.flatnonzero(wrong)]
    examples = [Difference(row=row, notebook=_shown(ours, row), endpoint=_shown(theirs, row)) for row in different[:_SHOWN]]
    return Parity(rows=rows, different=different, examples=examples)


def _columns(prediction: Any) -> dict[Any, Any]:
    import numpy

    if hasattr(prediction, "columns"):
        return {str(name): prediction[name].to_numpy() for name in prediction.columns}
    if hasattr(prediction, "to_numpy"):
        return {0: prediction.to_numpy()}
    if isinstance(prediction, dict):
        return {str(name): numpy.asarray(values) for name, values in prediction.items()}
    array = numpy.asarray(prediction.detach().cpu() if hasattr(prediction, "detach") else prediction)
    return {0: array if array.ndim else array.reshape(1)}


def _equal(numpy: Any, values: Any, others: Any) -> Any:
    values, others = numpy.asarray(values), numpy.asarray(others)
    if values.ndim > 1 and others.ndim == 1:
        others = others.reshape(len(others), *([1] * (values.ndim - 1)))
    if values.shape != others.shape:
        return numpy.zeros(len(values), dtype=bool)
    if values.dtype.kind in "iub" and others.dtype.kind in "iub":
        same = values == others
    elif values.dtype.kind in "iubf" and others.dtype.kind in "iubf":
        same = numpy.isclose(values, others, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    else:
        flat = [_text(a) == _text(b) for a, b in zip(values.ravel().tolist(), others.ravel().tolist(), strict=True)]
        same = numpy.array(flat, dtype=bool).reshape(values.shape)
    return same.reshape(len(values), -1).all(axis=1) if len(values) else numpy.zeros(0, dtype=bool)


def _text(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _shown(columns: dict[Any, Any], row: int) -> str:
    values = [str(values[row]) for values in columns.values()]
    text = ", ".join(values[:4]) + (", …" if len(values) > 4 else "")
    return text if len(text) <= 80 else text[:79] + "…"
