"""CatBoost: `fit` of its models; metrics of each iteration through its callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._artifacts import draw_importances, keep_model
from mlops_nb.tracking.autolog._data import log_fit_data
from mlops_nb.tracking.autolog._estimators import FitArguments, describe, log_training_scores, remember, watch_predictions
from mlops_nb.tracking.autolog._fit import Fit, begin
from mlops_nb.tracking.autolog._guard import check_version, wrap_method

NAME = "catboost"
TESTED = ("1.2", "1.3")


def install(module: ModuleType) -> None:
    """Track trainings from now on."""
    check_version(NAME, str(module.__version__), TESTED)
    for kind in (module.CatBoost, module.CatBoostClassifier, module.CatBoostRegressor, module.CatBoostRanker):
        if "fit" in vars(kind):
            wrap_method(kind, "fit", _around_fit)
        watch_predictions(NAME, kind)


class _LogIterations:
    """CatBoost's callback: logs the metrics of each iteration."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    def after_iteration(self, info: Any) -> bool:
        with self._fit.safely("the metrics of an iteration are"):
            for data, metrics in (info.metrics or {}).items():
                for metric, values in metrics.items():
                    self._fit.log_metrics({f"{data}-{metric}": values[-1]}, step=info.iteration - 1)
        return True


def _around_fit(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        arguments: FitArguments | None = None
        with fit.safely("the params are"):
            arguments = FitArguments(original, args, kwargs)
            pool: Any = arguments.features
            if type(pool).__name__ == "Pool":
                arguments.target = pool.get_label()
                arguments.features = pool.get_features() if not pool.get_cat_feature_indices() else None
            describe(fit, model)
            fit.log_params(model.get_params())
        if arguments is not None:
            log_fit_data(fit, arguments.features, arguments.target)
        with fit.safely("the metrics of the iterations are"):
            if model.get_params().get("task_type") != "GPU":  # there CatBoost takes no callbacks
                bound = inspect.signature(original).bind(*args, **kwargs)
                bound.arguments["callbacks"] = [*(bound.arguments.get("callbacks") or ()), _LogIterations(fit)]
                args, kwargs = bound.args, bound.kwargs
        result = original(*args, **kwargs)
        with fit.safely("the best iteration is"):
            if model.get_best_iteration() is not None:
                fit.log_metrics({"best_iteration": model.get_best_iteration(), "stopped_iteration": model.tree_count_})
        if arguments is not None:
            keep_model(fit, model, arguments.features, params=model.get_params())
            with fit.safely("the scores are"):
                log_training_scores(fit, model, arguments)
        with fit.safely("the importance of features is"):
            draw_importances(fit, model.feature_names_, list(model.get_feature_importance()), "prediction_change")
        remember(fit, model)
        return result
