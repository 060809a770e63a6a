"""Linear models and scalers without scikit-learn's checks of what is a checked array already: they take ten times the arithmetic.

The arithmetic is the class's own, in its order, so the answers are the same to the last bit. Rows that the class would
have something to say about, such as those with missing values, go the class's own way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def own_methods(model: Any) -> dict[str, Any]:
    """Return the methods that a light copy of a linear model or a scaler has instead of its class's; empty for other models."""
    kind = type(model)
    if not kind.__module__.startswith("sklearn.") or not hasattr(model, "n_features_in_") or hasattr(model, "_sklearn_output_config"):
        return {}
    if kind.__module__ == "sklearn.preprocessing._data":
        return _of_scaler(model, kind)
    if not kind.__module__.startswith("sklearn.linear_model."):
        return {}
    from sklearn.linear_model import _base as base

    classifier, regressor = base.LinearClassifierMixin, base.LinearModel
    if not hasattr(model, "coef_") or not hasattr(model, "intercept_"):
        return {}
    if getattr(kind, "decision_function", None) is classifier.decision_function and kind.predict is classifier.predict:
        return {"decision_function": _scores(kind), "predict": _classes(kind)}
    if getattr(kind, "predict", None) is regressor.predict and kind._decision_function is regressor._decision_function:
        return {"predict": _values(kind)}
    return {}


def in_turn(pipeline: Any, method: str) -> Callable[[Any], Any] | None:
    """Return a function that asks the steps of a pipeline one after the other; None where the last has no method of its own here."""
    steps = [step for _, step in pipeline.steps if step is not None and step != "passthrough"]
    if not steps or method not in getattr(steps[-1], "own_here", ()):
        return None
    if not all(hasattr(step, "n_features_in_") for step in steps):
        return None  # not fitted: the pipeline says so
    transforms, answer = [step.transform for step in steps[:-1]], getattr(steps[-1], method)

    def ask(rows: Any) -> Any:
        for transform in transforms:
            rows = transform(rows)
        return answer(rows)

    return ask


def _is_plain(model: Any, rows: Any) -> bool:
    """Return whether the class's checks would find nothing."""
    import numpy

    return (
        type(rows) is numpy.ndarray
        and rows.dtype.char in "fd"
        and rows.ndim == 2
        and rows.shape[0] > 0
        and rows.shape[1] == model.n_features_in_
        and bool(numpy.isfinite(rows).all())
    )


def _of_scaler(model: Any, kind: type) -> dict[str, Any]:
    own: Any = kind
    if kind.__name__ == "StandardScaler" and hasattr(model, "scale_"):

        def standard(self: Any, X: Any, copy: bool | None = None) -> Any:
            if not _is_plain(self, X):
                return own.transform(self, X, copy)
            scaled = X.copy(order="K")
            if self.with_mean:
                scaled -= self.mean_.astype(X.dtype, copy=False)
            if self.with_std:
                scaled /= self.scale_.astype(X.dtype, copy=False)
            return scaled

        return {"transform": standard}
    if kind.__name__ == "MinMaxScaler" and hasattr(model, "scale_") and not model.clip:

        def min_max(self: Any, X: Any) -> Any:
            if not _is_plain(self, X):
                return own.transform(self, X)
            scaled = X.copy(order="K")
            scaled *= self.scale_
            scaled += self.min_
            return scaled

        return {"transform": min_max}
    return {}


def _scores(kind: Any) -> Any:
    def decision_function(self: Any, X: Any) -> Any:
        if not _is_plain(self, X):
            return kind.decision_function(self, X)
        scores = _product(self, X)
        return scores.reshape(-1) if scores.ndim > 1 and scores.shape[1] == 1 else scores

    return decision_function


def _classes(kind: Any) -> Any:
    def predict(self: Any, X: Any) -> Any:
        if not _is_plain(self, X):
            return kind.predict(self, X)
        scores = self.decision_function(X)
        places = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_.take(places, axis=0)

    return predict


def _values(kind: Any) -> Any:
    def predict(self: Any, X: Any) -> Any:
        return _product(self, X) if _is_plain(self, X) else kind.predict(self, X)

    return predict


def _product(model: Any, rows: Any) -> Any:
    coefficients = model.coef_
    return rows @ (coefficients.T if coefficients.ndim == 2 else coefficients) + model.intercept_
