"""statsmodels: `fit` of its models, which has no callbacks for results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._artifacts import keep_model
from mlops_nb.tracking.autolog._data import log_fit_data
from mlops_nb.tracking.autolog._fit import Fit, begin
from mlops_nb.tracking.autolog._guard import check_version, guard, when_off, wrap_method

NAME = "statsmodels"
TESTED = ("0.14", "0.16")

METRICS = (
    "aic",
    "bic",
    "centered_tss",
    "condition_number",
    "df_model",
    "df_resid",
    "ess",
    "f_pvalue",
    "fvalue",
    "llf",
    "mse_model",
    "mse_resid",
    "mse_total",
    "rsquared",
    "rsquared_adj",
    "scale",
    "ssr",
    "uncentered_tss",
)
"""What MLflow logs of results, as far as they have it."""


def install(module: ModuleType) -> None:
    """Track fits from now on, also of models that are defined or imported later. `module` is `statsmodels.base.model`."""
    import statsmodels

    check_version(NAME, str(statsmodels.__version__), TESTED)
    waiting = [module.Model]
    while waiting:
        kind = waiting.pop()
        _watch(kind)
        waiting.extend(kind.__subclasses__())
    previous = module.Model.__init_subclass__

    def init_subclass(cls: type[Any], /, **kwargs: Any) -> None:
        previous(**kwargs)
        with guard(NAME, "a class is"):
            _watch(cls)

    if "__init_subclass__" not in vars(module.Model):  # it has none of its own
        module.Model.__init_subclass__ = classmethod(init_subclass)
        when_off(lambda: delattr(module.Model, "__init_subclass__"))


def _watch(kind: type) -> None:
    for name in ("fit", "fit_regularized"):
        if name in vars(kind):
            wrap_method(kind, name, _around_fit)


def _around_fit(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        with fit.safely("the params are"):
            bound = inspect.signature(original).bind(*args, **kwargs)
            bound.apply_defaults()
            fit.log_params({name: value for name, value in bound.arguments.items() if name != "kwargs"})
            more = bound.arguments.get("kwargs")
            fit.log_params(more if isinstance(more, dict) else {})
            formula = getattr(model, "formula", None)
            fit.log_params({"formula": formula} if formula else {})
            kind = type(model)
            fit.run.set_tags({"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__qualname__}"})
        features, target = _data_of(model)
        log_fit_data(fit, features, target)
        results = original(*args, **kwargs)
        _after(fit, results, features)
        return results


def _data_of(model: Any) -> tuple[Any, Any]:
    data = getattr(model, "data", None)
    frame = getattr(data, "frame", None)  # what a formula was applied to: the results predict from such a table
    features = frame if frame is not None else getattr(data, "orig_exog", None)
    if features is None:
        features = getattr(data, "exog", None)
    target = getattr(data, "orig_endog", None)
    return features, target if target is not None else getattr(data, "endog", None)


def _after(fit: Fit, results: Any, features: Any) -> None:
    for name in METRICS:
        with fit.safely(f"the metric {name} is"):
            fit.log_metrics({name: getattr(results, name, None)})
    with fit.safely("the summary is"):
        if hasattr(results, "summary"):
            fit.run.log_text(results.summary().as_text(), "model_summary.txt")
    if hasattr(results, "save"):
        keep_model(fit, results, features, flavor=NAME)
