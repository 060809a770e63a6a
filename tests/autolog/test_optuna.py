"""Optuna: a child run for each trial, open while its objective runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import mlops_nb
from mlops_nb.core.records import TAG_PARENT
from mlops_nb.core.run_state import RunStatus
from tests.autolog.conftest import Records

optuna = pytest.importorskip("optuna", reason="Optuna is not installed")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    yield
    optuna.logging.set_verbosity(level)


def objective(trial: Any) -> float:
    x = trial.suggest_float("x", -1, 1)
    mlops_nb.log_metric("inside", x)
    for step in range(3):
        trial.report(x + step, step)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError("no good")
    return x * x


def test_each_trial_is_a_child_with_params_value_and_state(records: Records) -> None:
    mlops_nb.autolog()
    study = optuna.create_study(study_name="squares", sampler=optuna.samplers.RandomSampler(seed=0))
    calls: list[int] = []
    study.optimize(objective, n_trials=5, catch=(ValueError,), callbacks=[lambda _, trial: calls.append(trial.number)])
    parent = next(run for run in records.runs if TAG_PARENT not in run.tags)
    children = {int(run.tags["optuna.trial.number"]): run for run in records.children(parent)}
    assert sorted(children) == calls == [0, 1, 2, 3, 4]
    for trial in study.trials:
        child = children[trial.number]
        assert child.tags["optuna.trial.state"] == trial.state.name
        assert child.params["x"] == str(trial.params["x"]) and child.metrics["inside"].value == trial.params["x"]
        assert ("value" in child.metrics) == (trial.state.name == "COMPLETE")
    assert [children[i].status for i in range(3)] == [RunStatus.FINISHED, RunStatus.KILLED, RunStatus.FAILED]
    assert children[2].reason == "ValueError: no good" and children[1].reason == "the trial was pruned"
    assert records.points(children[0], "intermediate_value") == [(s, study.trials[0].params["x"] + s) for s in range(3)]
    assert children[0].metrics["value"].value == study.trials[0].value
    assert parent.params["best_x"] == str(study.best_params["x"]) and parent.metrics["best_value"].value == study.best_value
    assert (parent.params["study_name"], parent.params["direction"], parent.params["sampler"]) == ("squares", "MINIMIZE", "RandomSampler")
    assert parent.tags["optuna.best_trial"] == str(study.best_trial.number)


def test_a_training_in_an_objective_goes_to_the_run_of_its_trial(records: Records, table: Any) -> None:
    tree = pytest.importorskip("sklearn.tree", reason="scikit-learn is not installed")
    X, y = table
    mlops_nb.autolog(log_models=False, log_plots=False)

    def fit(trial: Any) -> float:
        return float(tree.DecisionTreeClassifier(max_depth=trial.suggest_int("depth", 1, 3)).fit(X, y).score(X, y))

    with mlops_nb.start_run("outer"):
        optuna.create_study(direction="maximize").optimize(fit, n_trials=2)
    outer = next(run for run in records.runs if run.name == "outer")
    children = records.children(outer)
    assert len(children) == 2 and len(records.runs) == 3
    assert all(run.params["max_depth"] == run.params["depth"] and "training_score" in run.metrics for run in children)


def test_trials_in_two_threads_do_not_mix(records: Records) -> None:
    mlops_nb.autolog()
    together = threading.Barrier(2)

    def meet(trial: Any) -> float:
        together.wait(30)
        mlops_nb.log_param("mine", trial.number)
        together.wait(30)
        return trial.suggest_float("x", 0, 1)

    optuna.create_study().optimize(meet, n_trials=4, n_jobs=2)
    parent = next(run for run in records.runs if TAG_PARENT not in run.tags)
    children = records.children(parent)
    assert len(children) == 4 and all(run.params["mine"] == run.tags["optuna.trial.number"] for run in children)


def test_an_error_that_is_not_caught_ends_study_and_trial_as_failed(records: Records) -> None:
    mlops_nb.autolog()

    def broken(trial: Any) -> float:
        raise OSError("disk of the objective")

    with pytest.raises(OSError, match="disk of the objective"):
        optuna.create_study().optimize(broken, n_trials=2)
    assert [run.status for run in records.runs] == [RunStatus.FAILED, RunStatus.FAILED]


def test_several_directions_have_a_value_each(records: Records) -> None:
    mlops_nb.autolog()
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.set_metric_names(["time", "score@1"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=1)
    (child,) = [run for run in records.runs if TAG_PARENT in run.tags]
    assert child.metrics["score_at_1"].value == 2.0 and str(child.metrics["time"].value) == child.params["x"]
    assert json.loads(child.tags["optuna.trial.number"]) == 0
