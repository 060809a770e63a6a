"""LightGBM: `lightgbm.train` and the estimators; metrics of each round through its callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._artifacts import draw_importances, keep_model
from mlops_nb.tracking.autolog._data import log_fit_data
from mlops_nb.tracking.autolog._estimators import FitArguments, describe, log_training_scores, remember, watch_predictions
from mlops_nb.tracking.autolog._fit import Fit, begin
from mlops_nb.tracking.autolog._guard import check_version, wrap_function, wrap_method

NAME = "lightgbm"
TESTED = ("4.0", "4.8")

_UNLOGGED = frozenset({"params", "train_set", "valid_sets", "valid_names", "feval", "init_model", "callbacks", "keep_training_booster"})


def install(module: ModuleType) -> None:
    """Track trainings from now on."""
    check_version(NAME, str(module.__version__), TESTED)
    wrap_function(module, "train", _around_train)
    for kind in (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, module.LGBMModel)):
        if kind.__module__ != "lightgbm.sklearn":  # those for Dask train elsewhere
            continue
        if "fit" in vars(kind):
            wrap_method(kind, "fit", _around_fit)
        watch_predictions(NAME, kind)


def _callback(fit: Fit) -> Callable[[Any], None]:
    def log_round(env: Any) -> None:
        with fit.safely("the metrics of a round are"):
            for data, metric, value, *_ in env.evaluation_result_list or ():
                fit.log_metrics({f"{data}-{metric}": value}, step=env.iteration)

    log_round.order = 15  # type: ignore[attr-defined]  # before early stopping, which ends the round with an exception
    return log_round


def _around_train(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        given: dict[str, Any] = {}
        with fit.safely("the params are"):
            bound = inspect.signature(original).bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            fit.log_params(given["params"])
            fit.log_params({name: value for name, value in given.items() if name not in _UNLOGGED})
        features = target = None
        with fit.safely("the training data are"):
            # Asked before the training: LightGBM lets go of them then.
            features, target = given["train_set"].data, given["train_set"].label
            features = None if isinstance(features, str) or type(features).__name__ == "PosixPath" else features
        log_fit_data(fit, features, target)
        with fit.safely("the metrics of the rounds are"):
            bound.arguments["callbacks"] = [*(given["callbacks"] or ()), _callback(fit)]
            args, kwargs = bound.args, bound.kwargs
        model = original(*args, **kwargs)
        with fit.safely("the best round is"):
            if model.best_iteration > 0:
                fit.log_metrics({"best_iteration": model.best_iteration, "stopped_iteration": model.current_iteration()})
        keep_model(fit, model, features, params=given.get("params"))
        _log_importances(fit, model)
        return model


def _around_fit(original: Callable[..., Any], estimator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        arguments: FitArguments | None = None
        with fit.safely("the params are"):
            arguments = FitArguments(original, args, kwargs)
            describe(fit, estimator)
            fit.log_params(estimator.get_params())
        if arguments is not None:
            log_fit_data(fit, arguments.features, arguments.target)
        with fit.safely("the metrics of the rounds are"):
            if arguments is not None:
                bound = inspect.signature(original).bind(*args, **kwargs)
                bound.arguments["callbacks"] = [*(arguments.given.get("callbacks") or ()), _callback(fit)]
                args, kwargs = bound.args, bound.kwargs
        result = original(*args, **kwargs)
        if arguments is not None:
            with fit.safely("the best round is"):
                if estimator.best_iteration_:
                    fit.log_metrics({"best_iteration": estimator.best_iteration_, "stopped_iteration": estimator.n_iter_})
            keep_model(fit, estimator, arguments.features, params=estimator.get_params())
            with fit.safely("the scores are"):
                log_training_scores(fit, estimator, arguments)
            _log_importances(fit, estimator.booster_)
            remember(fit, estimator)
        return result


def _log_importances(fit: Fit, booster: Any) -> None:
    with fit.safely("the importance of features is"):
        for kind in ("split", "gain"):
            draw_importances(fit, booster.feature_name(), list(booster.feature_importance(importance_type=kind)), kind)
