"""XGBoost, LightGBM and CatBoost: metrics of each round while it runs, importances, models that MLflow scores."""

from __future__ import annotations

import inspect
import json
import pickle
from typing import Any

import pytest

import mlops_nb
from mlops_nb.core.run_state import RunStatus
from mlops_nb.models.flavors.form import TAG_FORMAT
from tests.autolog.conftest import Records

numpy = pytest.importorskip("numpy", reason="numpy is not installed")


def test_xgboost_train_logs_each_round_and_a_model_with_signature(records: Records, table: Any) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    X, y = table
    mlops_nb.autolog()
    data = xgboost.DMatrix(X, y)
    history: dict[str, Any] = {}
    params = {"objective": "binary:logistic", "max_depth": 2, "eval_metric": ["logloss", "ams@0.1"]}
    seen: list[int] = []

    class Watching(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            seen.append(len(mlops_nb.active_run().latest))
            return False

    callbacks = [Watching()]
    booster = xgboost.train(params, data, 12, evals=[(data, "train")], evals_result=history, verbose_eval=False, callbacks=callbacks)
    run = records.only_run()
    assert (run.status, run.params["max_depth"], run.params["num_boost_round"]) == (RunStatus.FINISHED, "2", "12")
    assert records.points(run, "train-logloss") == list(enumerate(history["train"]["logloss"]))
    assert len(records.points(run, "train-ams_at_0.1")) == 12
    assert len(callbacks) == 1 and seen[-1] >= 2  # during the training the metrics are there already
    assert json.loads(records.text(run, "feature_importance_weight.json")) == booster.get_score(importance_type="weight")
    assert "feature_importance_weight.png" in records.files(run)
    kept = records.models(run)["model"]
    answer = records.score(records.download(kept), X[:20])
    assert answer["answer"] == pytest.approx(booster.predict(data)[:20].tolist(), rel=1e-6) and answer["example"] == 5
    assert '"name": "f0"' in answer["signature"]["inputs"] and kept.tags[TAG_FORMAT] == "ubj"


def test_xgboost_says_when_it_stopped_early(records: Records, table: Any) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    X, y = table
    mlops_nb.xgboost.autolog(log_models=False)
    train, test = xgboost.DMatrix(X[:100], y[:100]), xgboost.DMatrix(X[100:], 1 - y[100:])
    booster = xgboost.train(
        {"objective": "binary:logistic"}, train, 50, evals=[(test, "test")], early_stopping_rounds=3, verbose_eval=False
    )
    metrics = records.only_run().metrics
    assert metrics["best_iteration"].value == booster.best_iteration < 49
    assert metrics["stopped_iteration"].value == booster.num_boosted_rounds() - 1


def test_an_estimator_of_xgboost_is_left_as_it_was(records: Records, table: Any) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    from sklearn.base import clone

    X, y = table
    plain = inspect.signature(inspect.unwrap(xgboost.XGBClassifier.fit))
    mlops_nb.autolog()
    model = xgboost.XGBClassifier(n_estimators=4, max_depth=2)
    assert model.fit(X, y, eval_set=[(X, y)], verbose=False) is model
    assert model.callbacks is None and clone(model).get_params() == model.get_params()
    assert inspect.signature(xgboost.XGBClassifier.fit) == plain
    assert (pickle.loads(pickle.dumps(model)).predict(X) == model.predict(X)).all()
    score = model.score(X, y)
    run = records.only_run()
    assert records.points(run, "validation_0-logloss") == list(enumerate(model.evals_result()["validation_0"]["logloss"]))
    assert run.metrics["training_accuracy_score"].value == run.metrics["XGBClassifier_score_X"].value == score
    assert run.params["n_estimators"] == "4" and run.tags["estimator_name"] == "XGBClassifier"
    assert records.score(records.download(records.models(run)["model"]), X[:9])["answer"] == model.predict(X[:9]).tolist()


def test_xgboost_in_a_search_is_one_search(records: Records, table: Any) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed")
    from sklearn.model_selection import GridSearchCV

    X, y = table
    mlops_nb.autolog(max_tuning_runs=1)
    search = GridSearchCV(xgboost.XGBClassifier(n_estimators=2), {"max_depth": [1, 2]}, cv=2).fit(X, y)
    parent = next(run for run in records.runs if run.tags["estimator_name"] == "GridSearchCV")
    assert len(records.children(parent)) == 1 and len(records.runs) == 2
    kept = records.models(parent)
    assert kept["model"].tags[TAG_FORMAT] == "skops"
    assert records.score(records.download(kept["model"]), X[:9])["answer"] == search.predict(X[:9]).tolist()


def test_lightgbm_train_logs_each_round_and_a_model_as_text(records: Records, table: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    X, y = table
    mlops_nb.autolog()
    data = lightgbm.Dataset(X, y)
    history: dict[str, Any] = {}
    callbacks = [lightgbm.record_evaluation(history)]
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_leaves": 4}, data, 10, valid_sets=[data], callbacks=callbacks)
    run = records.only_run()
    assert (run.params["num_leaves"], run.params["num_boost_round"], len(callbacks)) == ("4", "10", 1)
    assert records.points(run, "training-binary_logloss") == list(enumerate(history["training"]["binary_logloss"]))
    assert {"feature_importance_gain.json", "feature_importance_split.png"} <= records.files(run)
    kept = records.models(run)["model"]
    folder = records.download(kept)
    assert (folder / "model.lgb").read_text().startswith("tree") and kept.tags[TAG_FORMAT] == "text"
    answer = records.score(folder, X[:20])
    assert answer["answer"] == pytest.approx(booster.predict(X[:20]).tolist()) and answer["example"] == 5


def test_lightgbm_stopped_early_has_all_its_rounds(records: Records, table: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    X, y = table
    mlops_nb.lightgbm.autolog(log_models=False)
    train = lightgbm.Dataset(X[:100], y[:100])
    test = lightgbm.Dataset(X[100:], 1 - y[100:], reference=train)
    stop = [lightgbm.early_stopping(3, verbose=False)]
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, train, 40, valid_sets=[test], valid_names=["test"], callbacks=stop)
    run = records.only_run()
    assert run.metrics["best_iteration"].value == booster.best_iteration < 40
    assert len(records.points(run, "test-binary_logloss")) == booster.best_iteration + 3


def test_an_estimator_of_lightgbm_is_tracked(records: Records, table: Any) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    X, y = table
    mlops_nb.autolog()
    model = lightgbm.LGBMRegressor(n_estimators=4, verbose=-1).fit(X, y, eval_X=X, eval_y=y)
    run = records.only_run()
    assert len(records.points(run, next(key for key in run.metrics if key.endswith("-l2")))) == 4
    assert "training_r2_score" in run.metrics and run.params["n_estimators"] == "4"
    answer = records.score(records.download(records.models(run)["model"]), X[:9])
    assert answer["answer"] == pytest.approx(model.predict(X[:9]).tolist())


def test_catboost_logs_each_iteration_and_its_own_format(records: Records, table: Any) -> None:
    catboost = pytest.importorskip("catboost", reason="CatBoost is not installed (extra autolog)")
    X, y = table
    mlops_nb.autolog()
    model = catboost.CatBoostClassifier(iterations=7, depth=2, verbose=0, allow_writing_files=False, random_seed=0)
    assert model.fit(X, y, eval_set=(X, y)) is model
    run = records.only_run()
    assert (run.params["iterations"], run.params["depth"]) == ("7", "2")
    steps = [step for step, _ in records.points(run, "learn-Logloss")]
    assert steps == list(range(7)) and len(records.points(run, "validation-Logloss")) == 7
    assert run.metrics["training_accuracy_score"].value == model.score(X, y)
    assert "feature_importance_prediction_change.json" in records.files(run)
    answer = records.score(records.download(records.models(run)["model"]), X[:20])
    assert answer["answer"] == model.predict(X[:20]).tolist() and answer["example"] == 5
