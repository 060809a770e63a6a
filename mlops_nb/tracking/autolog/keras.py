"""Keras 3: `Model.fit`, through its callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._artifacts import keep_model
from mlops_nb.tracking.autolog._data import log_fit_data
from mlops_nb.tracking.autolog._fit import Fit, begin
from mlops_nb.tracking.autolog._guard import check_version, wrap_method

NAME = "keras"
TESTED = ("3.0", "3.16")

_UNLOGGED = frozenset({"x", "y", "callbacks", "validation_data", "verbose", "sample_weight", "class_weight", "self"})


def install(module: ModuleType) -> None:
    """Track trainings from now on."""
    check_version(NAME, str(module.__version__), TESTED)
    for kind in module.Model.__mro__:
        if "fit" in vars(kind):
            wrap_method(kind, "fit", _around_fit)
            return


def _callback(fit: Fit) -> Any:
    import keras

    every = fit.options.log_every_n_step

    class LogProgress(keras.callbacks.Callback):  # type: ignore[misc]
        """Logs the optimizer, the structure, and the metrics of each epoch, and of single batches where asked for."""

        _batches = 0

        def on_train_begin(self, logs: Any = None) -> None:
            with fit.safely("the optimizer is"):
                fit.log_params(self.model.optimizer.get_config(), prefix="optimizer_")
            with fit.safely("the structure of the model is"):
                fit.run.log_text(fit.redact(summary_of(self.model)), "model_summary.txt")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._batches += 1
            if every and self._batches % every == 0:
                with fit.safely("the metrics of a step are"):
                    fit.log_metrics({f"batch_{name}": value for name, value in (logs or {}).items()}, step=self._batches)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with fit.safely("the metrics of an epoch are"):
                fit.log_metrics(logs or {}, step=epoch)

    return LogProgress()


def summary_of(model: Any) -> str:
    """Return the table of layers that Keras prints."""
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)


def _around_fit(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        given: dict[str, Any] = {}
        with fit.safely("the params are"):
            bound = inspect.signature(original).bind(*args, **kwargs)
            bound.apply_defaults()
            given = dict(bound.arguments)
            fit.log_params({name: value for name, value in given.items() if name not in _UNLOGGED})
            fit.run.set_tag("estimator_class", f"{type(model).__module__}.{type(model).__qualname__}")
            bound.arguments["callbacks"] = _with_ours(given["callbacks"], fit)
            args, kwargs = bound.args, bound.kwargs
        features = given.get("x") if hasattr(given.get("x"), "shape") or isinstance(given.get("x"), dict) else None
        log_fit_data(fit, features, given.get("y"))
        history = original(*args, **kwargs)
        with fit.safely("the end of the training is"):
            stopped = [callback for callback in given.get("callbacks") or () if getattr(callback, "stopped_epoch", 0)]
            if stopped:
                fit.log_metrics({"stopped_epoch": stopped[0].stopped_epoch, "best_epoch": stopped[0].best_epoch})
        keep_model(fit, model, features)
        return history


def _with_ours(theirs: Any, fit: Fit) -> Any:
    import keras

    if isinstance(theirs, keras.callbacks.CallbackList):  # the caller's own list, in which Keras wants all of them
        theirs.append(_callback(fit))
        return theirs
    return [*(theirs if isinstance(theirs, (list, tuple)) else [theirs] if theirs else ()), _callback(fit)]
