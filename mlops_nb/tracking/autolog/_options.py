"""What autolog is to log, by framework."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to log of a framework.

    Attributes:
        log_models: Keep the model at the end of a training.
        log_datasets: Note what data it was trained with.
        log_input_examples: Keep a few rows of the training data with the model.
        log_model_signatures: Keep the form of input and output with the model.
        log_post_training_metrics: Log scores that are computed of a tracked model's predictions (scikit-learn).
        log_plots: Draw confusion matrix, curves and importances.
        max_tuning_runs: How many child runs a search makes, the best first; None: all (scikit-learn).
        log_every_n_step: Log metrics of single steps every so many of them; 0: only those of epochs (Lightning, Keras).
        exclusive: Log nothing to runs that the user has started, only to those that autolog makes.
        silent: Give no warnings.
        extra_tags: Tags of the runs that are started.
    """

    log_models: bool = True
    log_datasets: bool = True
    log_input_examples: bool = True
    log_model_signatures: bool = True
    log_post_training_metrics: bool = True
    log_plots: bool = True
    max_tuning_runs: int | None = 5
    log_every_n_step: int = 0
    exclusive: bool = False
    silent: bool = False
    extra_tags: tuple[tuple[str, str], ...] = ()


enabled: dict[str, Options] = {}
"""The frameworks that autolog is on for."""

_suppressed = threading.local()


def options_of(framework: str) -> Options | None:
    """Return what to log of a framework; None: nothing, here and now."""
    depth: int = getattr(_suppressed, "depth", 0)
    if not enabled or depth > 0:
        return None
    return enabled.get(framework)


class suppressed:  # used as a context manager
    """Switch autolog off in this thread for a while."""

    def __enter__(self) -> None:
        _suppressed.depth = getattr(_suppressed, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _suppressed.depth -= 1
