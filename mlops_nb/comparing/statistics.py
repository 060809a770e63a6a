"""Whether a difference is more than chance: paired bootstrap, exact McNemar, Welch, and Holm over several tests.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13 and 16; Dietterich, Approximate
Statistical Tests for Comparing Supervised Classification Learning Algorithms (1998); Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlops_nb.comparing.scores import Arguments, sklearn_function, weighted
from mlops_nb.core.records import Record

Array = np.ndarray[Any, Any]

DRAWS = 5000
SEED = 20_260_101
_BUDGET = 20_000_000
"""Draws times rows: with more rows there are fewer draws."""
_SLOW_BUDGET = 400_000
_FEWEST, _FEWEST_SLOW = 200, 100
_ENOUGH = 2000
"""With fewer draws than this their ends say little: the normal distribution with their spread takes over."""
_CHUNK = 2_000_000


class Tested(Record, frozen=True, kw_only=True):
    """A difference with its confidence interval and the p-value of "there is none". `draws` is 0 where none were made."""

    difference: float
    low: float
    high: float
    p_value: float
    draws: int = 0


def paired_bootstrap(
    function: str,
    target: Array,
    base: Array,
    other: Array,
    *,
    arguments: Arguments | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Tested | None:
    """Test the difference of a metric between two predictions of the same rows, by drawing the rows again.

    The same rows are drawn for both, so that what makes a row hard for both cancels out. Interval: percentiles of the
    differences; p-value: twice the smaller share of the draws at or beyond 0. With many rows, where there is time for
    few draws only, both come from the normal distribution with their spread.

    Args:
        function: A function of `sklearn.metrics`.
        target: The truth, N.
        base: The prediction of the base, N or N x classes.
        other: The other prediction.
        arguments: Further ones of the function.
        level: Of the interval.
        draws: At most so many.
        seed: The same seed draws the same rows.

    Returns:
        None where the metric cannot be computed of enough draws.
    """
    given = arguments or {}
    count = len(target)
    first, second = weighted(function, target, base, given), weighted(function, target, other, given)
    rng = np.random.default_rng(seed)
    if first is not None and second is not None:
        whole = np.ones((1, count))
        observed = float((second(whole) - first(whole))[0])
        draws = max(_FEWEST, min(draws, _BUDGET // count))
        size = max(1, _CHUNK // count)
        parts = []
        for begin in range(0, draws, size):
            weights = _counts(rng, min(size, draws - begin), count)
            parts.append(second(weights) - first(weights))
        found = np.concatenate(parts)
    else:
        call = sklearn_function(function)
        if call is None:
            return None
        draws = max(_FEWEST_SLOW, min(draws, _SLOW_BUDGET // count))
        measure = _difference_by(call, target, base, other, given)
        observed = measure(np.arange(count))
        if not math.isfinite(observed):
            return None
        found = np.array([measure(rng.integers(0, count, count)) for _ in range(draws)])
    found = found[np.isfinite(found)]
    if not math.isfinite(observed) or len(found) < 0.9 * draws:
        return None
    return _judged(observed, found, level)


def _counts(rng: np.random.Generator, draws: int, rows: int) -> Array:
    """Return how often each draw has each row."""
    chosen = rng.integers(0, rows, size=(draws, rows), dtype=np.int64)
    chosen += np.arange(draws, dtype=np.int64)[:, None] * rows
    return np.bincount(chosen.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.float64)


def _difference_by(call: Callable[..., Any], target: Array, base: Array, other: Array, arguments: Arguments) -> Callable[[Array], float]:
    import warnings

    def measure(rows: Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return float(call(target[rows], other[rows], **arguments)) - float(call(target[rows], base[rows], **arguments))
            except (ValueError, TypeError):  # a draw with one class only, or nothing that has this metric
                return math.nan

    return measure


def _judged(observed: float, found: Array, level: float) -> Tested:
    tail = (1 - level) / 2
    count = len(found)
    if count >= _ENOUGH:
        low, high = np.quantile(found, [tail, 1 - tail])
        below, above = int((found <= 0).sum()), int((found >= 0).sum())
        p_value = min(1.0, 2 * (min(below, above) + 1) / (count + 1))
    else:
        from scipy.stats import norm

        spread = float(found.std(ddof=1))
        low, high = observed + norm.ppf([tail, 1 - tail]) * spread
        p_value = float(2 * norm.sf(abs(observed) / spread)) if spread else float(observed == 0)
    return Tested(difference=observed, low=float(low), high=float(high), p_value=p_value, draws=count)


def mcnemar(target: Array, base: Array, other: Array) -> float:
    """Return the exact two-sided p-value of "both are right equally often", from the rows where only one of them is."""
    from scipy.stats import binomtest

    right, also = base == target, other == target
    won, lost = int((~right & also).sum()), int((right & ~also).sum())
    return float(binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def welch(base: Sequence[float], other: Sequence[float], *, level: float = 0.95) -> Tested | None:
    """Test the difference of the means of two groups of repeated runs, whose spreads may differ.

    Returns:
        None where a group has less than two runs, or there is no spread at all.
    """
    first, second = (np.array([value for value in values if math.isfinite(value)]) for values in (base, other))
    if len(first) < 2 or len(second) < 2:
        return None
    difference = float(second.mean() - first.mean())
    if first.std() == 0 and second.std() == 0:  # runs that ignore their seeds: of their noise nothing is known
        return None
    from scipy.stats import ttest_ind

    result = ttest_ind(second, first, equal_var=False)
    interval = result.confidence_interval(level)
    return Tested(difference=difference, low=float(interval.low), high=float(interval.high), p_value=float(result.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for how many there are (Holm's step-down): each may be judged as if it were the only one."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
