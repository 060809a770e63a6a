"""Predicting from an array with estimators that were fitted with a table: the columns are known by their places."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from mlops_nb.models.by_position import forests, linear


def by_position(model: Any, method: str) -> Callable[[Any], Any] | None:
    """Return a function that takes a 2-d array of the columns in order; None where an estimator wants names.

    An estimator that was fitted with a table warns when it gets an array. A light copy that does not know the names is
    asked instead, which shares everything else with the model. Forests and linear models have quicker ways there to the same
    answers.
    """
    bare = _without_names(model)
    if bare is None:
        return None
    quick = linear.in_turn(bare, method) if _is_pipeline(bare) else None
    return quick or getattr(bare, method, None)


def _without_names(model: Any) -> Any:
    """Return a shallow copy of an estimator, or of a pipeline and its steps, without names; None where they are needed."""
    if isinstance(model, str) or model is None:
        return model
    if _is_pipeline(model):
        steps = [(name, _without_names(step)) for name, step in model.steps]
        if any(bare is None and step is not None for (_, bare), (_, step) in zip(steps, model.steps, strict=True)):
            return None
        twin = copy.copy(model)
        twin.steps = steps
        return twin
    package = type(model).__module__.partition(".")[0]
    if not hasattr(model, "feature_names_in_") or package in ("xgboost", "catboost"):
        # Fitted with an array, or a library that never looks at the names of what it gets.
        if _holds_estimators(model) and _inner_names(model):
            return None
        own = _own_methods(model)
        return _twin(model, own) if own else model
    if package not in ("sklearn", "lightgbm") or _inner_names(model):
        return None
    # The names may be computed: a class of its own says that there are none.
    return _twin(model, {"feature_names_in_": property(_none), **_own_methods(model)})


def _twin(model: Any, own: dict[str, Any]) -> Any:
    """Return a shallow copy whose class has these attributes of its own."""
    twin = copy.copy(model)
    kind = type(type(model).__name__, (type(model),), {"__module__": type(model).__module__, "own_here": frozenset(own)})
    for name, value in own.items():  # afterwards: scikit-learn wraps the methods that a new class comes with
        setattr(kind, name, value)
    twin.__class__ = kind
    return twin


def _own_methods(model: Any) -> dict[str, Any]:
    return forests.own_methods(model) or linear.own_methods(model)


def _is_pipeline(model: Any) -> bool:
    return type(model).__module__.startswith("sklearn.pipeline") and hasattr(model, "steps")


def _none(model: Any) -> Any:
    raise AttributeError("feature_names_in_")


def _holds_estimators(model: Any) -> bool:
    return any(hasattr(value, "fit") for value in vars(model).values()) if hasattr(model, "__dict__") else False


def _inner_names(model: Any) -> bool:
    """Return whether something within an estimator was fitted with names."""
    todo = list(vars(model).values()) if hasattr(model, "__dict__") else []
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        if id(value) in seen or len(seen) > 10_000:
            continue
        seen.add(id(value))
        if isinstance(value, (list, tuple)):
            todo += value[:50]
        elif isinstance(value, dict):
            todo += value.values()
        elif hasattr(value, "feature_names_in_"):
            return True
        elif hasattr(value, "fit") and hasattr(value, "__dict__") and not isinstance(value, type):
            todo += vars(value).values()
    return False
