"""transformers: `Trainer.train`, through its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.models.flavors.transformers import task_of
from mlops_nb.tracking.autolog._artifacts import keep_model
from mlops_nb.tracking.autolog._fit import Fit, begin
from mlops_nb.tracking.autolog._guard import check_version, wrap_method

NAME = "transformers"
TESTED = ("4.40", "5.24")


def install(module: ModuleType) -> None:
    """Track trainings from now on. `module` is `transformers.trainer`."""
    import transformers

    check_version(NAME, str(transformers.__version__), TESTED)
    wrap_method(module.Trainer, "train", _around_train)


def _callback(fit: Fit) -> Any:
    from transformers import TrainerCallback

    class LogProgress(TrainerCallback):  # type: ignore[misc]
        """Logs the arguments of the training and what the trainer logs, at its step."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                with fit.safely("the params are"):
                    fit.log_params(args.to_sanitized_dict())
                    config = getattr(kwargs.get("model"), "config", None)
                    if config is not None:
                        fit.log_params(config.to_diff_dict(), prefix="model_config/")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if state.is_world_process_zero:
                with fit.safely("the metrics are"):
                    fit.log_metrics(logs or {}, step=state.global_step)

    return LogProgress()


def _around_train(original: Callable[..., Any], trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    fit = begin(NAME)
    if fit is None:
        return original(*args, **kwargs)
    with fit:
        callback = None
        with fit.safely("the training is"):
            callback = _callback(fit)
            trainer.add_callback(callback)
        try:
            result = original(*args, **kwargs)
        finally:
            if callback is not None:
                trainer.remove_callback(callback)
        if trainer.is_world_process_zero():
            _after(fit, trainer)
        return result


def _after(fit: Fit, trainer: Any) -> None:
    with fit.safely("the best checkpoint is"):
        if trainer.state.best_model_checkpoint:
            fit.run.set_tag("mlops.checkpoint.best", trainer.state.best_model_checkpoint)
    tokenizer = getattr(trainer, "processing_class", None) or getattr(trainer, "tokenizer", None)
    if task_of(trainer.model) is None or tokenizer is None:
        return  # without them there is no pipeline; the trainer's own checkpoints hold the weights
    keep_model(fit, {"model": trainer.model, "tokenizer": tokenizer}, None, flavor=NAME)
