"""Whether a converted model answers what the model itself answers: rows to ask both, and the comparison.

Rows that were tried are evidence, not a proof for every row there is. They are chosen where conversions go wrong: at the
thresholds of trees, beyond what was seen, at very large and very small values, and where values are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""Numbers are the same within this; classes must be equal. It is what parity with the notebook's model allows."""

NUMBERS = RELATIVE / 4, ABSOLUTE / 4
"""Within which tried rows must be: others may be a little worse."""

SCORES = 0.0, 1e-5
"""Within which the probabilities behind classes must be: where a tree goes another way they differ by far more."""

LARGEST = 1e12
"""The largest magnitude that is tried; the model itself answers rows with larger values."""

_WITHIN, _OUTSIDE, _EXTREME, _MISSING, _ALONE = 256, 64, 64, 24, 24
_THRESHOLDS = 768
_EXAMPLES = 100
_EXTREMES = (0.0, -0.0, 1e-45, -1e-45, 1e-300, 1e-6, 1e6, -1e6, 1e9, -1e9, LARGEST, -LARGEST)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found.

    Attributes:
        rows: How many were compared.
        problem: Why the conversion cannot be used, or "".
        takes_missing: Whether rows with missing values were answered the same; else the model itself answers them.
    """

    rows: int = 0
    problem: str = ""
    takes_missing: bool = False


Ask = Callable[[Any], Any]
Within = tuple[float, float]


def prove(plain: Ask, other: Ask, rows: dict[str, Any], *, is_classes: bool, within: Within = NUMBERS) -> Proof:
    """Ask both the same rows.

    Args:
        plain: The model itself; takes an array, answers one.
        other: The conversion.
        rows: As `trial_rows` gives them.
        is_classes: Whether the answers are classes.
        within: How far numbers may differ.
    """
    import numpy

    compared, takes_missing = 0, False
    for kind, given in rows.items():
        if not len(given):
            continue
        try:
            expected = numpy.asarray(plain(given))
        except Exception as error:  # noqa: BLE001 - models raise what they like about rows that nobody chose
            if kind in ("missing", "extreme"):
                continue
            return Proof(rows=compared, problem=f"the model does not answer the rows that it was tried with: {type(error).__name__}")
        try:
            wrong = difference(expected, numpy.asarray(other(given)), is_classes=is_classes, within=within)
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises
            wrong = f"{type(error).__name__}"
        if kind == "missing":
            takes_missing = not wrong
            compared += len(given) if takes_missing else 0
            continue
        if wrong:
            return Proof(rows=compared, problem=f"it answers otherwise ({_KINDS[kind]}): {wrong}")
        compared += len(given)
    alone = rows["within"][:_ALONE]
    if len(alone):
        one_by_one = numpy.concatenate([numpy.asarray(other(alone[i : i + 1])) for i in range(len(alone))])
        wrong = difference(numpy.asarray(plain(alone)), one_by_one, is_classes=is_classes, within=within)
        if wrong:
            return Proof(rows=compared, problem=f"it answers otherwise (rows alone): {wrong}")
    return Proof(rows=compared, takes_missing=takes_missing)


_KINDS = {
    "example": "the model's example",
    "within": "rows like those seen",
    "outside": "rows beyond those seen",
    "extreme": "very large and very small values",
    "threshold": "values at the thresholds of trees",
}


def difference(expected: Any, answered: Any, *, is_classes: bool, within: Within = NUMBERS) -> str:
    """Return how two answers differ, in words; "" where they are the same."""
    import numpy

    if expected.shape != answered.shape:
        return f"shape {answered.shape} instead of {expected.shape}"
    if expected.dtype.kind == "f" and not is_classes:
        same = numpy.isclose(answered, expected, rtol=within[0], atol=within[1], equal_nan=True)
    else:
        same = answered == expected
    if bool(numpy.all(same)):
        return ""
    wrong = numpy.flatnonzero(~numpy.asarray(same).reshape(len(expected), -1).all(axis=1))
    first = int(wrong[0])
    return f"{len(wrong)} of {len(expected)} rows, such as {_shown(answered[first])} instead of {_shown(expected[first])}"


def _shown(value: Any) -> str:
    text = str(value.tolist() if hasattr(value, "tolist") else value)
    return text if len(text) <= 60 else text[:59] + "…"


def trial_rows(
    native: Any, columns: int, *, whole: Sequence[int], example: Any = None, ranges: Sequence[tuple[float, float] | None] = ()
) -> dict[str, Any]:
    """Return arrays of rows by kind: the example, within and outside what was seen, extremes, thresholds, with missing values.

    Args:
        native: The model, whose thresholds are looked for.
        columns: How many.
        whole: Numbers of the columns that hold whole numbers.
        example: Rows that were kept with the model.
        ranges: The smallest and the largest value seen in each column, where known.
    """
    import numpy

    random = numpy.random.default_rng(0)
    last, there, back = _last_step(native)
    thresholds = _thresholds(numpy, last, columns)
    low, high = _seen(numpy, columns, example, ranges, thresholds if last is native else ())
    span = numpy.maximum(high - low, 1e-3)
    within = random.uniform(low, low + span, (_WITHIN, columns))
    outside = random.uniform(low - 2 * span, high + 2 * span, (_OUTSIDE, columns))
    extreme = random.uniform(low, low + span, (_EXTREME, columns))
    for i in range(_EXTREME):  # one value each: the sum of several would tell more of rounding than of the conversion
        extreme[i, random.integers(columns)] = _EXTREMES[i % len(_EXTREMES)]
    at = random.uniform(low, low + span, (min(len(thresholds) * 3, _THRESHOLDS), columns))
    if len(at):
        at = there(at)
    chosen = random.permutation(len(thresholds))[: len(at) // 3]
    for i, which in enumerate(chosen):
        column, value = int(thresholds[which, 0]), numpy.float32(thresholds[which, 1])
        near = (thresholds[which, 1], numpy.nextafter(value, numpy.float32(-numpy.inf)), numpy.nextafter(value, numpy.float32(numpy.inf)))
        for j in range(3):
            at[3 * i + j, column] = near[j]
    if len(at):
        at = back(at)
    rows = {
        "example": numpy.array(example, dtype="float64")[:_EXAMPLES] if example is not None else numpy.empty((0, columns)),
        "within": within,
        "outside": outside,
        "extreme": extreme,
        "threshold": at,
    }
    for given in rows.values():
        given[:, list(whole)] = numpy.clip(numpy.round(given[:, list(whole)]), -(2**31), 2**31 - 1)
    gaps = [i for i in range(columns) if i not in set(whole)]
    missing = rows["within"][: _MISSING if gaps else 0].copy()
    for i in range(len(missing)):
        missing[i, gaps if i == 0 else gaps[i % len(gaps)]] = numpy.nan
    return {**rows, "missing": missing}


def _seen(numpy: Any, columns: int, example: Any, ranges: Sequence[tuple[float, float] | None], thresholds: Any) -> tuple[Any, Any]:
    low, high = numpy.full(columns, numpy.inf), numpy.full(columns, -numpy.inf)
    for i, pair in enumerate(ranges):
        if pair is not None:
            low[i], high[i] = pair
    for column, value in thresholds:
        low[int(column)], high[int(column)] = min(low[int(column)], value - 1), max(high[int(column)], value + 1)
    if example is not None and len(example):
        low, high = numpy.fmin(low, numpy.nanmin(example, axis=0)), numpy.fmax(high, numpy.nanmax(example, axis=0))
    unknown = ~(numpy.isfinite(low) & numpy.isfinite(high))
    low[unknown], high[unknown] = -5.0, 5.0
    return numpy.clip(low, -LARGEST, LARGEST), numpy.clip(high, -LARGEST, LARGEST)


def _last_step(native: Any) -> tuple[Any, Ask, Ask]:
    """Return the model at the end of a pipeline of scalers, and the ways to and from what it gets; else the model itself."""
    if hasattr(native, "steps") and len(native.steps) > 1:
        before = native[:-1]
        if all(type(step).__module__ == "sklearn.preprocessing._data" and hasattr(step, "inverse_transform") for _, step in before.steps):
            return native.steps[-1][1], before.transform, before.inverse_transform
    return native, _same, _same


def _same(rows: Any) -> Any:
    return rows


def _thresholds(numpy: Any, native: Any, columns: int) -> Any:
    """Return pairs of column and threshold of a model of trees that takes its columns as they come."""
    todo, found = [native], []
    while todo:
        one = todo.pop()
        tree = getattr(one, "tree_", None)
        if tree is not None:
            inner = tree.feature >= 0
            found.append(numpy.column_stack([tree.feature[inner], tree.threshold[inner]]))
        elif getattr(one, "estimators_", None) is not None and type(one).__module__.startswith("sklearn.ensemble._"):
            todo += list(numpy.asarray(one.estimators_, dtype=object).ravel())
    pairs = numpy.concatenate(found) if found else numpy.empty((0, 2))
    return pairs[(pairs[:, 0] < columns) & numpy.isfinite(pairs[:, 1])]
