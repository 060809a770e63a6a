"""Autolog: trainings are logged without a line about it. One file per framework.

A framework is hooked into when it is imported, or at once if it has been; one that is not there costs nothing. What
goes wrong in here ends here, with one warning: the training does not notice.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.tracking.autolog._guard import restore_all, warn_once
from mlops_nb.tracking.autolog._hooks import when_imported
from mlops_nb.tracking.autolog._options import Options, enabled, suppressed

__all__ = ["FRAMEWORKS", "Options", "autolog", "enabled", "suppressed"]

FRAMEWORKS: dict[str, dict[str, str]] = {
    "sklearn": {"sklearn": "sklearn"},
    "xgboost": {"xgboost": "xgboost"},
    "lightgbm": {"lightgbm": "lightgbm"},
    "catboost": {"catboost": "catboost"},
    "keras": {"keras": "keras"},
    "pytorch": {"torch": "pytorch", "lightning.pytorch": "lightning", "pytorch_lightning": "lightning"},
    "statsmodels": {"statsmodels.base.model": "statsmodels"},
    "transformers": {"transformers.trainer": "transformers"},
    "optuna": {"optuna": "optuna"},
}
"""By framework: the module after whose import it is hooked into, and the file here that does it."""

_ALIASES = {"scikit-learn": "sklearn", "lightning": "pytorch", "pytorch_lightning": "pytorch", "torch": "pytorch"}
_MLFLOWS_OWN = frozenset({"disable_for_unsupported_versions", "registered_model_name", "log_traces", "checkpoint"})
_installed: set[str] = set()


def autolog(
    disable: bool = False,
    log_models: bool = True,
    log_datasets: bool = True,
    log_input_examples: bool = True,
    log_model_signatures: bool = True,
    *,
    frameworks: str | Iterable[str] | None = None,
    silent: bool = False,
    extra_tags: Mapping[str, str] | None = None,
    **more: Any,
) -> None:
    """Log trainings of supported frameworks from now on: params, metrics of each step, model, data.

    A training goes to the open run, or to a run of its own that ends with it. Calling this again changes what is logged.

    Args:
        disable: Stop it. When it is off for all of them, the frameworks are as they were before.
        log_models: Keep the trained models.
        log_datasets: Note what data was trained with.
        log_input_examples: Keep a few rows of the training data with each model.
        log_model_signatures: Keep the form of input and output with each model.
        frameworks: Only these; all of `FRAMEWORKS` by default.
        silent: Give no warnings.
        extra_tags: For the runs that are started.
        **more: Other attributes of `Options`, such as `max_tuning_runs`.

    Raises:
        InvalidInput: If there is no such framework or option.
    """
    names = _chosen(frameworks)
    if disable:
        for name in names:
            enabled.pop(name, None)
        if not enabled:
            _installed.clear()
            restore_all()
        return
    ignored = {key for key in more if key in _MLFLOWS_OWN}
    unknown = set(more) - ignored - set(Options.__dataclass_fields__)
    if unknown:
        word = sorted(unknown)[0]
        raise InvalidInput(f"autolog has no option '{word}'.", hint=did_you_mean(word, Options.__dataclass_fields__))
    options = Options(
        log_models=log_models,
        log_datasets=log_datasets,
        log_input_examples=log_input_examples,
        log_model_signatures=log_model_signatures,
        silent=silent,
        extra_tags=tuple((extra_tags or {}).items()),
        **{key: value for key, value in more.items() if key not in ignored},
    )
    for name in names:
        enabled[name] = options
        if any(more[key] for key in ignored):
            warn_once(name, "options", f"MLflow's options {', '.join(sorted(ignored))} have no meaning here.")
        if name not in _installed:
            _installed.add(name)
            for module, file in FRAMEWORKS[name].items():
                _hook(module, file)


def _hook(module: str, file: str) -> None:
    def install(imported: ModuleType) -> None:
        importlib.import_module(f"{__name__}.{file}").install(imported)

    when_imported(module, install)


def _chosen(frameworks: str | Iterable[str] | None) -> list[str]:
    if frameworks is None:
        return list(FRAMEWORKS)
    chosen = [_ALIASES.get(name, name) for name in ([frameworks] if isinstance(frameworks, str) else frameworks)]
    for name in chosen:
        if name not in FRAMEWORKS:
            raise InvalidInput(f"Autolog knows no '{name}'.", hint=did_you_mean(name, FRAMEWORKS) or f"It knows: {', '.join(FRAMEWORKS)}.")
    return chosen
