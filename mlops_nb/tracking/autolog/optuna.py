"""Optuna: `Study.optimize`; a child run for each trial, which is open while the objective runs."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.autolog._fit import TAG_AUTOLOG, Fit, clean_key
from mlops_nb.tracking.autolog._guard import check_version, guard, wrap_method
from mlops_nb.tracking.autolog._options import options_of
from mlops_nb.tracking.endings import ending_of
from mlops_nb.tracking.run import ActiveRun

NAME = "optuna"
TESTED = ("3.0", "5.1")

_ENDINGS = {"COMPLETE": ("FINISHED", None), "PRUNED": ("KILLED", "the trial was pruned"), "FAIL": ("FAILED", "the trial failed")}


def install(module: ModuleType) -> None:
    """Track studies from now on."""
    check_version(NAME, str(module.__version__), TESTED)
    wrap_method(module.Study, "optimize", _around_optimize)


class _Trials:
    """The runs of the trials of one call of `optimize`. Trials may run in several threads."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._runs: dict[int, ActiveRun] = {}

    def around(self, objective: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return an objective that has a run open while it works; trainings in it join that run."""

        @functools.wraps(objective)
        def tracked(trial: Any) -> Any:
            with self._fit.safely("a trial is"):
                self._runs[trial.number] = sessions.current.start(
                    f"trial {trial.number}",
                    nested=True,
                    parent_id=self._fit.run.run_id,
                    experiment=self._fit.run.experiment,
                    tags={TAG_AUTOLOG: NAME, "optuna.trial.number": trial.number},
                    thread=threading.get_ident(),
                )
            try:
                return objective(trial)
            except BaseException as error:
                import optuna

                if not isinstance(error, optuna.TrialPruned):
                    with self._fit.safely("a trial is"):
                        self._log_params(trial)
                        self._end(trial.number, "FAIL", error)
                raise

        return tracked

    def _log_params(self, trial: Any) -> None:
        self._fit.log_params(trial.params, run=self._runs[trial.number])

    def _end(self, number: int, state: str, error: BaseException | None = None) -> None:
        run = self._runs.pop(number)
        run.set_tag("optuna.trial.state", state)
        run.stop(*(_ENDINGS[state] if error is None else ending_of(error)))

    def after(self, study: Any, trial: Any) -> None:
        """Optuna's callback: log what a trial has come to, and the best one so far."""
        run = self._runs.get(trial.number)
        if run is not None:
            with self._fit.safely("a trial is"):
                self._log_params(trial)
                for step, value in trial.intermediate_values.items():
                    run.log_metric("intermediate_value", value, step)
                values = trial.values if trial.state.name == "COMPLETE" else None  # of a pruned one it is an intermediate one
                for name, value in zip(_value_names(study), values or (), strict=False):
                    run.log_metric(name, value, 0)
                self._end(trial.number, trial.state.name)
        with self._fit.safely("the best trial is"):
            if trial.state.name == "COMPLETE" and len(study.directions) == 1:
                self._fit.log_metrics({"best_value": study.best_value}, step=trial.number)

    def end_all(self) -> None:
        """End what an exception has left open."""
        for number in list(self._runs):
            with self._fit.safely("a trial is"):
                self._end(number, "FAIL")


def _value_names(study: Any) -> list[str]:
    names = study.metric_names
    if names:
        return [clean_key(name) for name in names]
    return ["value"] if len(study.directions) == 1 else [f"value_{i}" for i in range(len(study.directions))]


def _around_optimize(original: Callable[..., Any], study: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    options = options_of(NAME)
    if options is None:
        return original(*args, **kwargs)
    fit = None
    with guard(NAME, "the study is"):
        fit = Fit(NAME, options)
    if fit is None:
        return original(*args, **kwargs)
    trials = _Trials(fit)
    with fit.around_parts():
        with fit.safely("the study is"):
            bound = inspect.signature(original).bind(*args, **kwargs)
            given = bound.arguments
            fit.log_params({name: given[name] for name in ("n_trials", "timeout", "n_jobs") if name in given})
            fit.log_params(
                {
                    "study_name": study.study_name,
                    "direction": ",".join(direction.name for direction in study.directions),
                    "sampler": type(study.sampler).__name__,
                    "pruner": type(study.pruner).__name__,
                }
            )
            given["func"] = trials.around(given["func"])
            given["callbacks"] = [*(given.get("callbacks") or ()), trials.after]
            args, kwargs = bound.args, bound.kwargs
        try:
            return original(*args, **kwargs)
        finally:
            trials.end_all()
            _log_best(fit, study)


def _log_best(fit: Fit, study: Any) -> None:
    with fit.safely("the best trial is"):
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        if not done or len(study.directions) != 1:
            return
        best = study.best_trial
        fit.run.set_tag("optuna.best_trial", best.number)
        fit.log_params(best.params, prefix="best_")
