"""Scores that were just computed, so that whoever logs one as a metric also tells which predictions it is of.

Light: this module is asked at every point that is logged.
"""

from __future__ import annotations

import inspect
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlops_nb.tracking.run import ActiveRun

logger = logging.getLogger("mlops_nb")

MAX_ROWS = 100_000
"""Predictions of more rows are kept only by `log_predictions`."""

_MOST = 8
_TARGETS = ("y_true",)
_PREDICTIONS = ("y_pred", "y_score", "y_prob", "y_proba")
_SIMPLE = (bool, int, float, str, type(None))


class Score(NamedTuple):
    """A score and what it was computed from. `features` is a weak reference to the rows that were predicted."""

    function: str
    target: Any
    prediction: Any
    arguments: dict[str, Any]
    name: str | None
    features: Callable[[], Any]


recent: dict[float, Score] = {}
"""By value: what is logged with exactly this value is this score."""

_linked: weakref.WeakKeyDictionary[ActiveRun, set[str]] = weakref.WeakKeyDictionary()


def is_wanted() -> bool:
    """Return whether predictions may be kept without being asked: at the capture levels `hash` and `off` they may not."""
    return os.environ.get("MLOPS_NB_CAPTURE", "source") not in ("hash", "off")


def saw(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    value: Any,
    *,
    name: str | None = None,
    features: Callable[[], Any] = lambda: None,
) -> Score | None:
    """Take in a call of a function of `sklearn.metrics` that gave a number; None if it is of no use for a comparison."""
    if not is_wanted() or not isinstance(value, float):
        return None
    score = _score_of(function, args, kwargs, name, features)
    if score is not None:
        number = float(value)
        recent.pop(number, None)
        recent[number] = score
        while len(recent) > _MOST:
            del recent[next(iter(recent))]
    return score


def _score_of(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], name: str | None, features: Callable[[], Any]
) -> Score | None:
    bound = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    names = list(inspect.signature(function).parameters)
    if len(names) < 2 or names[0] not in _TARGETS or names[1] not in _PREDICTIONS:
        return None
    target, prediction = bound.pop(names[0], None), bound.pop(names[1], None)
    if not 2 <= _count(target) <= MAX_ROWS or _count(target) != _count(prediction):
        return None
    arguments: dict[str, Any] = {}
    for key, argument in bound.items():
        plain = argument.tolist() if hasattr(argument, "tolist") else argument
        if key == "sample_weight" and plain is not None:
            return None
        if not isinstance(plain, _SIMPLE) and not (isinstance(plain, (list, tuple)) and all(isinstance(one, _SIMPLE) for one in plain)):
            return None
        if plain is not None:
            arguments[key] = list(plain) if isinstance(plain, tuple) else plain
    return Score(function.__name__, target, prediction, arguments, name, features)


def _count(values: Any) -> int:
    try:
        return len(values)
    except TypeError:
        return 0


def link(run: ActiveRun, metric: str, value: float) -> None:
    """Keep what a metric is computed from, when it is logged with the value of a recent score. Never raises."""
    score = recent.get(value)
    if score is not None:
        keep(run, metric, score)


def keep(run: ActiveRun, metric: str, score: Score) -> None:
    """Keep the predictions of a score with a run, and that a metric is computed from them: once a metric. Never raises."""
    linked = _linked.setdefault(run, set())
    if metric in linked or not is_wanted():
        return
    linked.add(metric)
    try:
        from mlops_nb.tracking.predictions import keep_score

        keep_score(run, metric, score)
    except Exception:  # nobody asked for it: what goes wrong here is ours, and the user's code goes on
        logger.debug("the predictions of '%s' are not kept", metric, exc_info=True)
