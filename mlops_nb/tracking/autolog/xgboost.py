"""XGBoost: `xgboost.train` and the estimators; metrics of each round through its callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._artifacts import draw_importances, keep_model
from mlops_nb.tracking.autolog._data import log_fit_data
from mlops_nb.tracking.autolog._estimators import FitArguments, describe, log_training_scores, remember, watch_predictions
from mlops_nb.tracking.autolog._fit import Fit, begin
from mlops_nb.tracking.autolog._guard import check_version, wrap_function, wrap_method

NAME = "xgboost"
TESTED = ("2.0", "3.3")

_UNLOGGED = frozenset({"params", "dtrain", "evals", "obj", "feval", "evals_result", "xgb_model", "callbacks", "custom_metric"})


def install(module: ModuleType) -> None:
    """Track trainings from now on."""
    check_version(NAME, str(module.__version__), TESTED)
    wrap_function(module, "train", _around_train)
    for kind in (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, module.XGBModel)):
        for base in kind.__mro__:
            if base.__module__.startswith("xgboost") and "fit" in vars(base):
                wrap_method(base, "fit", _around_fit)
            if base.__module__.startswith("xgboost"):
                watch_predictions(NAME, base)


def _callback(fit: Fit) -> Any:
    import xgboost

    class LogRounds(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        """Logs the metrics of each round."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
            with fit.safely("the metrics of a round are"):
                for data, metrics in evals_log.items():
                    for metric, values in metrics.items():
                        last = values[-1]
                        fit.log_metrics({f"{data}-{metric}": last[0] if isinstance(last, tuple) else last}, step=epoch)
            return False

    return LogRounds()


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
        example = None
        with fit.safely("the training data are"):
            # XGBoost has made it single; a signature of that would refuse the doubles that people have.
            example = _table(given["dtrain"], slice(0, 5)).astype("float64")
        if fit.options.log_datasets:
            with fit.safely("the identity of the data is"):
                log_fit_data(fit, _table(given["dtrain"]), given["dtrain"].get_label())
        with fit.safely("the metrics of the rounds are"):
            kwargs = {**kwargs, "callbacks": [*(kwargs.get("callbacks") or ()), _callback(fit)]}
        model = original(*args, **kwargs)
        _log_best(fit, model)
        keep_model(fit, model, example, params=given.get("params"))
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
            fit.log_params(_params(estimator))
        if arguments is not None:
            log_fit_data(fit, arguments.features, arguments.target)
        theirs = estimator.callbacks
        with fit.safely("the metrics of the rounds are"):
            estimator.callbacks = [*(theirs or ()), _callback(fit)]
        try:
            result = original(*args, **kwargs)
        finally:
            estimator.callbacks = theirs
        booster = None
        with fit.safely("the model is"):
            booster = estimator.get_booster()
        if booster is not None and arguments is not None:
            _log_best(fit, booster)
            keep_model(fit, estimator, arguments.features, params=_params(estimator))
            with fit.safely("the scores are"):
                log_training_scores(fit, estimator, arguments)
            _log_importances(fit, booster)
            remember(fit, estimator)
        return result


def _params(estimator: Any) -> dict[str, Any]:
    return {name: value for name, value in estimator.get_params().items() if value is not None and name != "callbacks"}


def _log_best(fit: Fit, booster: Any) -> None:
    with fit.safely("the best round is"):
        if booster.attr("best_iteration") is not None:
            fit.log_metrics({"best_iteration": booster.best_iteration, "stopped_iteration": booster.num_boosted_rounds() - 1})


def _log_importances(fit: Fit, booster: Any) -> None:
    with fit.safely("the importance of features is"):
        if booster.feature_names is not None or booster.num_features() < 10_000:
            scores = booster.get_score(importance_type="weight")
            draw_importances(fit, list(scores), [value if isinstance(value, float) else sum(value) for value in scores.values()], "weight")


def _table(data: Any, rows: slice | None = None) -> Any:
    """Return what a DMatrix holds as a table, or an array where its columns have no names; gaps as NaN."""
    import numpy

    part = data if rows is None else data.slice(list(range(*rows.indices(data.num_row()))))
    sparse = part.get_data().tocoo()
    array = numpy.full(sparse.shape, numpy.nan, dtype=numpy.float32)
    array[sparse.row, sparse.col] = sparse.data
    if data.feature_names is None:
        return array
    import pandas

    return pandas.DataFrame(array, columns=data.feature_names)
