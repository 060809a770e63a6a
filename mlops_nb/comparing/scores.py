"""Metrics of predictions, as scikit-learn computes them, also of rows that are drawn again: the heart of the bootstrap.

A quick form computes a metric for many draws at once, from how often each draw has each row; any other function of
`sklearn.metrics` is called once a draw.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Weighted = Callable[[Array], Array]
"""From how often each of D draws has each of N rows (D x N) to the metric of each draw; NaN where it has none."""

Arguments = Mapping[str, Any]

_BY_NAME = (
    (r"(roc_?)?auc(_?roc)?|auroc", "roc_auc_score"),
    (r"average_precision|ap|auprc|pr_?auc", "average_precision_score"),
    (r"balanced_accuracy|bal_acc", "balanced_accuracy_score"),
    (r"accuracy|acc", "accuracy_score"),
    (r"log_?loss|nll|cross_?entropy", "log_loss"),
    (r"brier(_score)?(_loss)?", "brier_score_loss"),
    (r"rmse|root_mean_squared_error", "root_mean_squared_error"),
    (r"mse|mean_squared_error", "mean_squared_error"),
    (r"mae|mean_absolute_error", "mean_absolute_error"),
    (r"r2|r_squared", "r2_score"),
    (r"f1", "f1_score"),
    (r"precision", "precision_score"),
    (r"recall", "recall_score"),
)
_EDGE = r"(?:^|[_./\-\s\d])(?:{})(?:$|[_./\-\s])"


def function_for(metric: str) -> str | None:
    """Return the function that a metric of this name is usually computed by; None where the name says nothing."""
    key = metric.lower().removesuffix("_score")
    return next((function for pattern, function in _BY_NAME if re.search(_EDGE.format(pattern), key)), None)


def score(function: str, target: Array, prediction: Array, arguments: Arguments) -> float:
    """Return a metric of all rows, by scikit-learn itself. What it cannot be computed of gives NaN, and so does its absence."""
    call = sklearn_function(function)
    if call is None:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = call(target, prediction, **arguments)
        except Exception:  # noqa: BLE001  # the arrays and arguments come from a file: whatever is wrong with them
            return float("nan")
    return float(value) if isinstance(value, (int, float, np.number)) else float("nan")


def sklearn_function(name: str) -> Callable[..., Any] | None:
    """Return a metric of scikit-learn that takes a target and a prediction; None where there is none, or no scikit-learn."""
    try:
        from sklearn import metrics
    except ImportError:
        return None
    if name not in metrics.__all__ or not re.search(r"(_score|_loss|_error|_deviance|_corrcoef|_error_ratio)$", name):
        return None
    function: Callable[..., Any] = getattr(metrics, name)
    is_ours = getattr(function, "__mlops_nb__", False)  # the hook of autolog, which has no business here
    return function.__wrapped__ if is_ours else function  # type: ignore[attr-defined]


def is_accuracy(function: str, arguments: Arguments) -> bool:
    """Return whether a metric is the share of rows that are right, for which there is an exact test."""
    return function == "accuracy_score" and arguments.get("normalize", True) is True


def weighted(function: str, target: Array, prediction: Array, arguments: Arguments) -> Weighted | None:
    """Return the quick form of a metric, for these rows; None where there is none for these arguments."""
    make = _QUICK.get(function)
    plain = {key: value for key, value in arguments.items() if value is not None and value != _DEFAULTS.get(key)}
    return None if make is None or plain else make(target, prediction)


_DEFAULTS = {"normalize": True, "average": "binary", "pos_label": 1, "max_fpr": None, "zero_division": "warn", "squared": True}


# -- means over rows


def _mean(values: Array, finish: Callable[[Array], Array] = lambda x: x) -> Weighted:
    return lambda weights: finish(weights @ values / weights.sum(axis=1))


def _accuracy(target: Array, prediction: Array) -> Weighted | None:
    return _mean((target == prediction).astype(float)) if prediction.ndim == 1 else None


def _squared(target: Array, prediction: Array) -> Weighted | None:
    return _mean(_errors(target, prediction) ** 2) if _are_numbers(target, prediction) else None


def _root(target: Array, prediction: Array) -> Weighted | None:
    return _mean(_errors(target, prediction) ** 2, np.sqrt) if _are_numbers(target, prediction) else None


def _absolute(target: Array, prediction: Array) -> Weighted | None:
    return _mean(np.abs(_errors(target, prediction))) if _are_numbers(target, prediction) else None


def _errors(target: Array, prediction: Array) -> Array:
    # Unsigned numbers would wrap around below zero.
    return np.asarray(target.astype(float) - prediction)


def _are_numbers(target: Array, prediction: Array) -> bool:
    return target.ndim == prediction.ndim == 1 and target.dtype.kind in "iuf" and prediction.dtype.kind in "iuf"


def _log_loss(target: Array, prediction: Array) -> Weighted | None:
    classes, codes = np.unique(target, return_inverse=True)
    if prediction.dtype.kind != "f":
        return None
    table = np.stack([1 - prediction, prediction], axis=1) if prediction.ndim == 1 else prediction
    if table.shape[1] != len(classes) or len(classes) < 2:
        return None
    edge = np.finfo(table.dtype).eps
    table = np.clip(table, edge, 1 - edge)
    table = table / table.sum(axis=1, keepdims=True)
    return _mean(-np.log(table[np.arange(len(codes)), codes]))


def _brier(target: Array, prediction: Array) -> Weighted | None:
    is_one = _is_one(target)
    return None if is_one is None or prediction.ndim != 1 else _mean((is_one - prediction) ** 2.0)


def _r2(target: Array, prediction: Array) -> Weighted | None:
    if not _are_numbers(target, prediction):
        return None
    truth = target.astype(float)
    shifted = truth - truth.mean()  # against cancellation
    errors, squares = _errors(target, prediction) ** 2, shifted**2

    def of(weights: Array) -> Array:
        count = weights.sum(axis=1)
        total = weights @ squares - (weights @ shifted) ** 2 / count
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(total > 0, 1 - (weights @ errors) / total, np.nan)

    return of


# -- counts of a table of two by two


def _is_one(target: Array) -> Array | None:
    """Return 1.0 for the greater of two labels, 0.0 for the other; None for more or less labels."""
    labels = np.unique(target)
    if len(labels) != 2 or target.ndim != 1:
        return None
    return np.asarray(target == labels[1], dtype=float)


def _counting(share: Callable[[Array, Array, Array], tuple[Array, Array]]) -> Callable[[Array, Array], Weighted | None]:
    def make(target: Array, prediction: Array) -> Weighted | None:
        if target.ndim != 1 or prediction.ndim != 1 or not set(np.unique(target)) | set(np.unique(prediction)) <= {0, 1}:
            return None  # with other labels scikit-learn wants to be told which one counts
        both = np.stack([target * prediction, prediction, target], axis=1).astype(float)

        def of(weights: Array) -> Array:
            hits, guessed, true = (weights @ both).T
            upper, lower = share(hits, guessed, true)
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(lower > 0, upper / lower, 0.0)

        return of

    return make


def _balanced(target: Array, prediction: Array) -> Weighted | None:
    if prediction.ndim != 1:
        return None
    labels = np.unique(target)
    if len(labels) > 50:
        return None
    of_label = (target[:, None] == labels).astype(float)
    right = of_label * (target == prediction)[:, None]

    def of(weights: Array) -> Array:
        counts = weights @ of_label
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.nanmean(np.where(counts > 0, weights @ right / counts, np.nan), axis=1))

    return of


# -- ranks


def _ranked(target: Array, prediction: Array) -> tuple[Array, Array, Array] | None:
    """Return the order of the rows by falling score, which are positive, and where each group of equal scores begins."""
    is_one = _is_one(target)
    if is_one is None or prediction.ndim != 1 or prediction.dtype.kind not in "iuf" or np.isnan(prediction).any():
        return None
    order = np.argsort(-prediction, kind="stable")
    ranked = prediction[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    return order, is_one[order], starts


def _auc(target: Array, prediction: Array) -> Weighted | None:
    ranked = _ranked(target, prediction)
    if ranked is None:
        return None
    order, ones, starts = ranked

    def of(weights: Array) -> Array:
        drawn = weights[:, order]
        positive = drawn * ones
        negative = drawn - positive
        if len(starts) < len(order):
            positive, negative = (np.add.reduceat(part, starts, axis=1) for part in (positive, negative))
        above = np.cumsum(positive, axis=1)
        hits = above[:, -1]
        misses = negative.sum(axis=1)
        # Each negative is below the positives ranked before it, and level with those of the same score.
        won = np.einsum("ij,ij->i", negative, above - 0.5 * positive)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((hits > 0) & (misses > 0), won / (hits * misses), np.nan)

    return of


def _average_precision(target: Array, prediction: Array) -> Weighted | None:
    ranked = _ranked(target, prediction)
    if ranked is None:
        return None
    order, ones, starts = ranked

    def of(weights: Array) -> Array:
        drawn = weights[:, order]
        positive = drawn * ones
        if len(starts) < len(order):
            positive, drawn = (np.add.reduceat(part, starts, axis=1) for part in (positive, drawn))
        hits, seen = np.cumsum(positive, axis=1), np.cumsum(drawn, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(seen > 0, hits / seen, 0.0)
            return np.where(hits[:, -1] > 0, (positive * precision).sum(axis=1) / hits[:, -1], np.nan)

    return of


_QUICK: dict[str, Callable[[Array, Array], Weighted | None]] = {
    "accuracy_score": _accuracy,
    "average_precision_score": _average_precision,
    "balanced_accuracy_score": _balanced,
    "brier_score_loss": _brier,
    "f1_score": _counting(lambda hits, guessed, true: (2 * hits, guessed + true)),
    "log_loss": _log_loss,
    "mean_absolute_error": _absolute,
    "mean_squared_error": _squared,
    "precision_score": _counting(lambda hits, guessed, true: (hits, guessed)),
    "r2_score": _r2,
    "recall_score": _counting(lambda hits, guessed, true: (hits, true)),
    "roc_auc_score": _auc,
    "root_mean_squared_error": _root,
}
