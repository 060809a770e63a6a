"""Scores that the user computes of a tracked model's predictions: which run and which data they belong to."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from mlops_nb.tracking.autolog._fit import Trained

_MAX_CHAIN = 8


class Prediction(NamedTuple):
    """What a tracked model answered: where the model's training went, what people call the data, and while it lives, the data."""

    trained: Trained
    data_name: str
    data: Callable[[], Any] = lambda: None


def while_it_lives(thing: Any) -> Callable[[], Any]:
    """Return what gives a thing as long as others hold it, then None."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: None


class _ByIdentity:
    """Values for objects that live, found by the object itself; nothing is kept alive."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], Any]] = {}
        self._lock = threading.Lock()

    def put(self, thing: Any, value: Any) -> None:
        """Remember a value for an object that can be referred to weakly; another one is left out."""
        key = id(thing)
        try:
            reference = weakref.ref(thing, lambda gone: self._forget(key, gone))
        except TypeError:
            return
        with self._lock:
            self._entries[key] = (reference, value)

    def _forget(self, key: int, gone: weakref.ref[Any]) -> None:
        entry = self._entries.get(key)
        if entry is not None and entry[0] is gone:
            self._entries.pop(key, None)

    def get(self, thing: Any) -> Any:
        """Return the value of this very object, or None."""
        entry = self._entries.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else None


models = _ByIdentity()
predictions = _ByIdentity()
_calls: dict[tuple[str, str], int] = {}


def prediction_among(values: Any) -> Prediction | None:
    """Return the prediction that one of these values is, or is a part of (`p[:, 1]`)."""
    for value in values:
        part = value
        for _ in range(_MAX_CHAIN):
            found: Prediction | None = predictions.get(part)
            if found is not None:
                return found
            part = getattr(part, "base", None)
            if part is None:
                break
    return None


def name_of(value: Any) -> str:
    """Return what the caller's code calls a value, such as `X_test`; `unknown_dataset` where it has no name."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("mlops_nb", "sklearn"):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is not None:
        for names in (frame.f_locals, frame.f_globals):
            for name, known in list(names.items()):
                if known is value and not name.startswith("_"):
                    return name
    return "unknown_dataset"


def key_of(trained: Trained, metric: str, data_name: str) -> str:
    """Return the key of a metric of some data, as MLflow names it: `accuracy_score_X_test`, then `accuracy_score-2_X_test`."""
    called = (trained.run.run_id, metric)
    _calls[called] = count = _calls.get(called, 0) + 1
    return f"{metric}_{data_name}" if count == 1 else f"{metric}-{count}_{data_name}"
