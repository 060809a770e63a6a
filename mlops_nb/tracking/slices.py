"""Where predictions are worse: the mean error in slices of the rows, by the columns of the table that came with them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mlops_nb.core.predictions import Slice, Slices

Array = np.ndarray[Any, Any]

_MOST_COLUMNS = 200
_MOST_LEVELS = 20
_KEPT = 50
_FEWEST_ROWS = 20
_PARTS = 4
_Z = 1.96


def slices_of(truth: Array, guess: Array, rows: Any, name: str, task: str | None) -> Slices | None:
    """Return the slices of a table with the largest errors, the worst first; None where the rows are no table or have no error.

    Args:
        truth: One value a row.
        guess: The same, or the probability of class 1.
        rows: A table with as many rows.
        name: Of the predictions.
        task: `classification` or `regression`, where somebody said so.
    """
    if not (hasattr(rows, "columns") and hasattr(rows, "iloc")) or len(rows) != len(truth) or guess.ndim != 1:
        return None
    found = _errors(truth, guess, task)
    if found is None:
        return None
    measure, errors = found
    worst: list[Slice] = []
    for place, column in enumerate(rows.columns[:_MOST_COLUMNS]):
        worst += [_measured(str(column), label, errors[mask]) for label, mask in _parts(rows.iloc[:, place])]
    worst.sort(key=lambda one: -one.value)
    return Slices(name=name, measure=measure, overall=_measured("", "", errors), worst=worst[:_KEPT])


def _errors(truth: Array, guess: Array, task: str | None) -> tuple[str, Array] | None:
    """Return what the error of a row is called, and the error of each."""
    if truth.dtype.kind in "OUS" or guess.dtype.kind in "OUS":
        return "error rate", (truth != guess).astype(float)
    whole = bool(np.all(np.mod(truth, 1) == 0)) and bool(np.all(np.mod(guess, 1) == 0))
    labels = task == "classification" or (task is None and whole and len(np.unique(truth)) <= _MOST_LEVELS)
    if labels and whole:
        return "error rate", (truth != guess).astype(float)
    if task != "regression" and set(np.unique(truth)) <= {0, 1} and bool(np.all((guess >= 0) & (guess <= 1))):
        return "error rate at 0.5", ((guess >= 0.5) != (truth == 1)).astype(float)
    if task == "classification":
        return None
    errors = np.abs(truth.astype(float) - guess.astype(float))
    return ("mean absolute error", errors) if bool(np.all(np.isfinite(errors))) else None


def _parts(values: Any) -> Iterator[tuple[str, Array]]:
    """Yield slices of a column, with a name and which rows are in them: its levels, or quarters of its numbers."""
    missing = np.asarray(values.isna(), dtype=bool)
    if missing.any():
        yield from _large("missing", missing)
    if values.dtype.kind in "iuf":
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        present = numbers[~missing]
        if len(np.unique(present)) > _MOST_LEVELS:
            edges = np.unique(np.quantile(present, np.linspace(0, 1, _PARTS + 1)))
            for low, high in itertools.pairwise(edges):
                last = high == edges[-1]
                with np.errstate(invalid="ignore"):
                    yield from _large(f"{low:.4g} to {high:.4g}", (numbers >= low) & ((numbers <= high) if last else (numbers < high)))
            return
    try:
        levels = values[~missing].unique()
    except TypeError:  # lists and the like
        return
    if len(levels) <= _MOST_LEVELS:
        for level in levels:
            yield from _large(str(level)[:80], np.asarray(values == level, dtype=bool) & ~missing)


def _large(label: str, mask: Array) -> Iterator[tuple[str, Array]]:
    if int(mask.sum()) >= _FEWEST_ROWS and not bool(mask.all()):
        yield label, mask


def _measured(column: str, label: str, errors: Array) -> Slice:
    """Return a slice with its mean error and the interval of 95 %: Wilson's for shares, else the normal one of the mean."""
    count, mean = len(errors), float(errors.mean())
    if set(np.unique(errors)) <= {0.0, 1.0}:
        middle = (mean + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
        half = _Z * math.sqrt(mean * (1 - mean) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    else:
        middle, half = mean, _Z * float(errors.std(ddof=1 if count > 1 else 0)) / math.sqrt(count)
    return Slice(column=column, level=label, rows=count, value=mean, low=max(0.0, middle - half), high=middle + half)
