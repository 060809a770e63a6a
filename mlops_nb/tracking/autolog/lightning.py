"""Lightning: `Trainer.fit`, through its callbacks. For both names of the package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._artifacts import keep_model
from mlops_nb.tracking.autolog._fit import Fit, as_number, begin
from mlops_nb.tracking.autolog._guard import check_version, wrap_method

NAME = "pytorch"
TESTED = ("2.0", "2.7")


def install(module: ModuleType) -> None:
    """Track trainings from now on. `module` is `lightning.pytorch` or `pytorch_lightning`."""
    version = getattr(module, "__version__", None) or sys.modules[module.__name__.partition(".")[0]].__version__
    check_version(NAME, str(version), TESTED)
    callback = module.Callback

    def around_fit(original: Callable[..., Any], trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _around_fit(original, trainer, args, kwargs, callback)

    wrap_method(module.Trainer, "fit", around_fit)


def _callback(base: type, fit: Fit) -> Any:
    every = fit.options.log_every_n_step

    class LogProgress(base):  # type: ignore[misc]
        """Logs the optimizer, the metrics of epochs, and those of steps as often as the trainer logs them."""

        def __init__(self) -> None:
            self.example: Any = None
            self.on_steps: set[str] = set()
            self.on_epochs: set[str] = set()

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                with fit.safely("the params are"):
                    _log_params(fit, trainer, pl_module)

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if self.example is None:
                with fit.safely("the input example is"):
                    first = batch[0] if isinstance(batch, (list, tuple)) else batch
                    self.example = first[:5].detach().cpu().numpy() if hasattr(first, "detach") else False

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            step = trainer.global_step
            is_due = step % (every or trainer.log_every_n_steps) == 0
            if trainer.is_global_zero and (is_due or batch_idx == 0):
                with fit.safely("the metrics of a step are"):
                    # A value stays in there after its epoch; what is first seen within an epoch belongs to steps.
                    metrics = {name: value for name, value in trainer.logged_metrics.items() if name not in self.on_epochs}
                    self.on_steps.update(metrics)
                    if is_due:
                        fit.log_metrics(metrics, step=step)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            with fit.safely("the metrics of an epoch are"):
                if not trainer.sanity_checking:
                    self.on_epochs.update(set(trainer.logged_metrics) - self.on_steps)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero and not trainer.sanity_checking:
                with fit.safely("the metrics of an epoch are"):
                    metrics = {name: as_number(value) for name, value in trainer.callback_metrics.items() if name not in self.on_steps}
                    self.on_epochs.update(metrics)
                    fit.log_metrics(metrics, step=trainer.current_epoch)

    return LogProgress()


def _log_params(fit: Fit, trainer: Any, module: Any) -> None:
    fit.log_params({"epochs": trainer.max_epochs, "max_steps": trainer.max_steps, "precision": trainer.precision})
    if trainer.optimizers:
        optimizer = trainer.optimizers[0]
        optimizer = getattr(optimizer, "optimizer", optimizer)
        fit.log_params({"optimizer_name": type(optimizer).__name__, **optimizer.defaults})
    fit.log_params(dict(getattr(module, "hparams", None) or {}))
    fit.run.log_text(fit.redact(str(module)), "model_summary.txt")


def _around_fit(original: Callable[..., Any], trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], base: type) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        callback = None
        with fit.safely("the training is"):
            callback = _callback(base, fit)
            trainer.callbacks.append(callback)
        try:
            result = original(*args, **kwargs)
        finally:
            if callback in trainer.callbacks:
                trainer.callbacks.remove(callback)
        if trainer.is_global_zero:
            _after(fit, trainer, args[0] if args else kwargs.get("model"), callback)
        return result


def _after(fit: Fit, trainer: Any, module: Any, callback: Any) -> None:
    with fit.safely("the best checkpoint is"):
        keeper = trainer.checkpoint_callback
        best = Path(keeper.best_model_path) if keeper is not None and keeper.best_model_path else None
        if best is not None and best.is_file():
            fit.run.log_artifact(best, "checkpoints")
            fit.run.set_tag("mlops.checkpoint.best", best.name)
            score = as_number(keeper.best_model_score)
            if score is not None:
                fit.log_metrics({f"best_{keeper.monitor}": score})
    example = None if callback is None or callback.example is False else callback.example
    with fit.safely("the model is"):
        # A module that is attached to its trainer would take the trainer and its data with it.
        module.trainer = None
        try:
            keep_model(fit, module, example)
        finally:
            module.trainer = trainer
