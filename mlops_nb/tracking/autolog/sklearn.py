"""scikit-learn: every `fit` that is not part of another one; searches with a child run for the best candidates.

scikit-learn has no callbacks that cover its estimators, so `fit`, `predict` and `score` are wrapped on the classes,
each where it is defined, also on classes that are defined later.
"""

from __future__ import annotations

import csv
import io
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.tracking import scores
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.autolog import _scores
from mlops_nb.tracking.autolog._artifacts import keep_model
from mlops_nb.tracking.autolog._data import log_fit_data
from mlops_nb.tracking.autolog._estimators import (
    FitArguments,
    describe,
    is_scoring,
    log_score,
    log_training_scores,
    only_outermost,
    remember,
    watch_predictions,
)
from mlops_nb.tracking.autolog._fit import TAG_AUTOLOG, Fit, begin, is_inside
from mlops_nb.tracking.autolog._guard import check_version, guard, when_off, wrap_function, wrap_method
from mlops_nb.tracking.autolog._hooks import when_imported
from mlops_nb.tracking.autolog._options import options_of

NAME = "sklearn"
TESTED = ("1.4", "1.10")

_FITS = ("fit", "fit_predict", "fit_transform")
# They prepare data; a run for each of them would bury those of the models. In a pipeline they are part of its run.
_PREPARATION = ("sklearn.preprocessing", "sklearn.impute", "sklearn.feature_extraction", "sklearn.feature_selection", "sklearn.compose")
_OTHERS = frozenset({"xgboost", "lightgbm", "catboost"})
_NOT_SCORES = frozenset({"check_scoring", "get_scorer", "make_scorer", "get_scorer_names"})


def install(module: ModuleType) -> None:
    """Track estimators from now on."""
    check_version(NAME, str(module.__version__), TESTED)
    when_imported("sklearn.base", _watch_classes)
    when_imported("sklearn.metrics", _watch_metrics)


def _watch_classes(base: ModuleType) -> None:
    estimator: type = base.BaseEstimator
    for kind in (base.ClassifierMixin, base.RegressorMixin):
        watch_predictions(NAME, kind)
    for kind in _all_subclasses(estimator):
        _watch_class(kind)
    original = estimator.__init_subclass__

    def init_subclass(cls: type[Any], /, **kwargs: Any) -> None:
        original.__func__(cls, **kwargs)  # type: ignore[attr-defined]
        with guard(NAME, "a class is"):
            _watch_class(cls)

    if not getattr(original, "__mlops_nb__", False):
        init_subclass.__mlops_nb__ = True  # type: ignore[attr-defined]
        defined = vars(estimator).get("__init_subclass__")
        estimator.__init_subclass__ = classmethod(init_subclass)  # type: ignore[assignment]
        when_off(lambda: setattr(estimator, "__init_subclass__", defined) if defined else delattr(estimator, "__init_subclass__"))


def _all_subclasses(kind: type[Any]) -> list[type[Any]]:
    found: dict[type[Any], None] = {}
    waiting: list[type[Any]] = [kind]
    while waiting:
        for sub in waiting.pop().__subclasses__():
            if sub not in found:
                found[sub] = None
                waiting.append(sub)
    return list(found)


def _watch_class(kind: type) -> None:
    if not _OTHERS.isdisjoint(base.__module__.partition(".")[0] for base in kind.__mro__):
        return  # they have files of their own
    for base in kind.__mro__:  # `predict` and `fit` may come from a mixin
        if base.__module__ in ("builtins", "abc"):
            continue
        # scikit-learn itself wraps `fit_transform` of others' classes once more, where a pickle of the class would find us.
        for name in _FITS if base.__module__.startswith("sklearn.") else _FITS[:2]:
            if name in vars(base):
                wrap_method(base, name, _around_fit)
        watch_predictions(NAME, base)


def _prepares_data(estimator: Any) -> bool:
    kind = type(estimator)
    if kind.__module__.startswith("sklearn."):
        return kind.__module__.startswith(_PREPARATION) and not hasattr(estimator, "predict")
    return hasattr(kind, "transform") and not hasattr(kind, "predict")


def _around_fit(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if options_of(NAME) is None or is_inside() or _prepares_data(estimator):
        return original(*args, **kwargs)
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        arguments: FitArguments | None = None
        with fit.safely("the params are"):
            arguments = FitArguments(original, args, kwargs)
            describe(fit, estimator)
            fit.log_params(_params(estimator))
        if arguments is not None:
            log_fit_data(fit, arguments.features, arguments.target)
        result = original(*args, **kwargs)
        if arguments is not None:
            _after(fit, estimator, arguments)
        return result


def _params(estimator: Any) -> dict[str, Any]:
    """Return the params; of a search those of the search, whose inner estimator is only where it starts from."""
    params: dict[str, Any] = estimator.get_params(deep=not _is_search(estimator))
    return params


def _is_search(estimator: Any) -> bool:
    search = sys.modules.get("sklearn.model_selection._search")
    return search is not None and isinstance(estimator, search.BaseSearchCV)


def _after(fit: Fit, estimator: Any, arguments: FitArguments) -> None:
    with fit.safely("the model is"):
        keep_model(fit, estimator, arguments.features, params=_params(estimator))
    with fit.safely("the scores are"):
        log_training_scores(fit, estimator, arguments)
    with fit.safely("the picture of the estimator is"):
        from sklearn.utils import estimator_html_repr

        body = fit.redact(estimator_html_repr(estimator))
        fit.run.log_text(f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{body}</body></html>', _HTML)
    if _is_search(estimator):
        with fit.safely("the search is"):
            _log_search(fit, estimator, arguments)
    remember(fit, estimator)


_HTML = "estimator.html"


# -- searches


def _log_search(fit: Fit, search: Any, arguments: FitArguments) -> None:
    if hasattr(search, "best_score_"):
        fit.log_metrics({"best_cv_score": search.best_score_})
    if hasattr(search, "best_params_"):
        fit.log_params(search.best_params_, prefix="best_")
    if hasattr(search, "best_estimator_"):
        best = search.best_estimator_
        keep_model(fit, best, arguments.features, name="best_estimator", params=best.get_params())
        remember(fit, best)
    results = search.cv_results_
    fit.run.log_text(fit.redact(_as_csv(results)), "cv_results.csv")
    rank = next((results[name] for name in ("rank_test_score", *results) if name in results and name.startswith("rank_test_")), None)
    order = range(len(results["params"])) if rank is None else sorted(range(len(rank)), key=lambda i: rank[i])
    base = search.estimator.get_params(deep=not _is_search(search.estimator))
    for place, i in enumerate(list(order)[: fit.options.max_tuning_runs]):
        _log_candidate(fit, search, f"candidate {i}", place, {**base, **results["params"][i]}, {k: v[i] for k, v in results.items()})


def _log_candidate(fit: Fit, search: Any, name: str, place: int, params: dict[str, Any], row: dict[str, Any]) -> None:
    kind = type(search.estimator)
    tags = {
        TAG_AUTOLOG: NAME,
        "estimator_name": kind.__name__,
        "estimator_class": f"{kind.__module__}.{kind.__qualname__}",
        "mlops.search.place": str(place + 1),
    }
    run = sessions.current.start(name, tags=tags, nested=True, parent_id=fit.run.run_id, thread=threading.get_ident())
    try:
        fit.log_params(params, run=run)
        for key, value in row.items():
            if not key.startswith(("param", "split")) and value == value:
                run.log_metric(key, float(value), 0)
    finally:
        run.stop()


def _as_csv(results: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(results)
    writer.writerows(zip(*results.values(), strict=True))
    return text.getvalue()


# -- scores


def _watch_metrics(metrics: ModuleType) -> None:
    rebound = {}
    for name in metrics.__all__:
        function = getattr(metrics, name)
        if name in _NOT_SCORES or isinstance(function, type) or not callable(function):
            continue
        wrap_function(metrics, name, _around_metric)
        rebound[id(function)] = (function, getattr(metrics, name))
    # Notebooks import the functions before anybody says `autolog`; their names shall mean the tracked ones too.
    namespace = vars(sys.modules["__main__"])
    _rebind(namespace, rebound)
    when_off(lambda: _rebind(namespace, {id(tracked): (tracked, plain) for plain, tracked in rebound.values()}))


def _rebind(namespace: dict[str, Any], functions: dict[int, tuple[Any, Any]]) -> None:
    """Let names that mean the first of a pair of functions mean the second."""
    for name, value in list(namespace.items()):
        known = functions.get(id(value))
        if known is not None and known[0] is value:
            namespace[name] = known[1]


def _around_metric(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if options_of(NAME) is None or is_inside() or is_scoring():
        return original(*args, **kwargs)
    with only_outermost():
        score = original(*args, **kwargs)
    with guard(NAME, "a later score is"):
        prediction = _scores.prediction_among((*args, *kwargs.values()))
        if prediction is None:
            scores.saw(original, args, kwargs, score)
        else:
            # Before it is logged: whoever logs this value tells what it is of.
            scores.saw(original, args, kwargs, score, name=prediction.data_name, features=prediction.data)
            log_score(prediction.trained, original.__name__, prediction.data_name, score)
    return score
