"""scikit-learn: what a fit leaves in the store, and that it leaves nothing else."""

from __future__ import annotations

import csv
import inspect
import os
import pickle
import subprocess
import sys
import threading
import types
import warnings
from typing import Any

import pytest

import mlops_nb
from mlops_nb.core.run_state import RunStatus
from mlops_nb.models.flavors.form import TAG_FORMAT
from mlops_nb.tracking.autolog import _artifacts
from tests.autolog.conftest import Records
from tests.conftest import ROOT

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
numpy = pytest.importorskip("numpy", reason="numpy is not installed")

from sklearn import metrics  # noqa: E402
from sklearn.base import BaseEstimator, ClassifierMixin, clone  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402


class Threshold(ClassifierMixin, BaseEstimator):
    """A classifier as a notebook defines it."""

    def __init__(self, column: int = 0) -> None:
        self.column = column

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Threshold:
        self.classes_ = numpy.unique(y)
        self.middle_ = float(numpy.median(numpy.asarray(X)[:, self.column]))
        return self

    def predict(self, X: Any) -> Any:
        return self.classes_[(numpy.asarray(X)[:, self.column] > self.middle_).astype(int)]


class LouderLogistic(LogisticRegression):
    """A subclass whose fit goes on to the one it is based on."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LouderLogistic:
        super().fit(X, y, sample_weight)
        return self


class Refusing(ClassifierMixin, BaseEstimator):
    def fit(self, X: Any, y: Any) -> Refusing:
        raise ArithmeticError("these data do not suit me")


def test_switched_off_everything_is_as_it_was_before_and_on_again_it_works(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog()
    tracked = (vars(LogisticRegression)["fit"], metrics.accuracy_score, vars(BaseEstimator).get("__init_subclass__"))
    mlops_nb.autolog(disable=True)
    plain = (vars(LogisticRegression)["fit"], metrics.accuracy_score, vars(BaseEstimator).get("__init_subclass__"))
    assert isinstance(plain[0], types.FunctionType) and all(a is not b for a, b in zip(tracked, plain, strict=True))
    assert not hasattr(plain[1], "__mlops_nb__") and "mlops_nb" not in repr(plain[2])

    class Later(BaseEstimator):
        def fit(self, X: Any, y: Any) -> None: ...

    assert isinstance(vars(Later)["fit"], types.FunctionType)
    LogisticRegression().fit(X, y)
    assert records.runs == []
    mlops_nb.autolog()
    LogisticRegression().fit(X, y)
    assert records.only_run().status is RunStatus.FINISHED


def test_exclusive_leaves_the_runs_of_the_user_alone(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog(exclusive=True)
    with mlops_nb.start_run("mine"):
        LogisticRegression().fit(X, y)
    assert records.only_run().params == {}
    LogisticRegression().fit(X, y)
    assert [bool(run.params) for run in records.runs] == [False, True]


class WithKey(ClassifierMixin, BaseEstimator):
    def __init__(self, api_key: str = "", url: str = "") -> None:
        self.api_key, self.url = api_key, url

    def fit(self, X: Any, y: Any) -> WithKey:
        self.classes_ = sorted(set(y))
        return self

    def predict(self, X: Any) -> Any:
        return [self.classes_[0]] * len(X)


def test_a_fit_is_a_run_with_params_scores_plots_and_a_model(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog()
    model = LogisticRegression(C=0.5, max_iter=200).fit(X, y)
    run = records.only_run()
    assert (run.status, run.params["C"], run.params["max_iter"]) == (RunStatus.FINISHED, "0.5", "200")
    assert run.tags["estimator_name"] == "LogisticRegression" and run.tags["mlflow.autologging"] == "sklearn"
    assert run.tags["estimator_class"] == "sklearn.linear_model._logistic.LogisticRegression"
    names = ("score", "accuracy_score", "f1_score", "precision_score", "recall_score", "log_loss", "roc_auc")
    assert set(run.metrics) == {f"training_{name}" for name in names}
    assert run.metrics["training_score"].value == run.metrics["training_accuracy_score"].value == model.score(X, y)
    assert run.metrics["training_roc_auc"].value == pytest.approx(roc_auc_score(y, model.predict_proba(X)[:, 1]))
    plots = {f"training_{name}.png" for name in ("confusion_matrix", "roc_curve", "precision_recall_curve")}
    assert {"estimator.html", *plots} <= records.files(run)
    kept = records.models(run)["model"]
    assert kept.params["C"] == "0.5" and kept.tags[TAG_FORMAT] == "skops"
    answer = records.score(records.download(kept), X[:20])
    assert answer["answer"] == model.predict(X[:20]).tolist() and answer["example"]
    assert '"name": "f0"' in answer["signature"]["inputs"] and "tensor" in answer["signature"]["outputs"]


@pytest.mark.parametrize("level", ["hash", "off"])
def test_no_rows_of_the_training_data_are_kept_where_values_are_not_to_be(
    records: Records, table: Any, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", level)
    X, y = table
    mlops_nb.autolog()
    LogisticRegression().fit(X, y)
    run = records.only_run()
    folder = records.download(records.models(run)["model"])
    assert '"name": "f0"' in records.score(folder, X[:3])["signature"]["inputs"]
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    contents += [b"".join(records.store.read_artifact(run.run_id, file)) for file in records.files(run)]
    assert len(contents) > 3 and not any(repr(float(value)).encode() in content for value in X.iloc[0] for content in contents)


def test_secrets_among_params_are_masked(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog()
    WithKey(api_key="a-very-long-secret", url="https://me:pass-word@host/x").fit(X, y)
    run = records.only_run()
    assert run.params["api_key"].startswith("[redacted:api_key") and "pass-word" not in run.params["url"]
    (model,) = records.models(run).values()
    assert "very-long" not in str(model.params)
    assert not any("very-long" in records.text(run, file) for file in records.files(run) if file.endswith(".html"))


def test_a_fit_within_an_open_run_joins_it_and_what_was_logged_by_hand_stays(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.sklearn.autolog(log_models=False)
    with mlops_nb.start_run("mine", params={"C": 7, "seed": 1}) as run:
        run.log(loss=0.25, step=3)
        Ridge(alpha=2.0).fit(X, y)
        LogisticRegression(C=0.1).fit(X, y)
        assert mlops_nb.active_run() is run
    found = records.only_run()
    assert (found.params["C"], found.params["seed"], found.params["alpha"]) == ("7", "1", "2.0")
    assert found.metrics["loss"].value == 0.25 and "training_r2_score" in found.metrics and "training_f1_score" in found.metrics
    assert records.models(found) == {}


def test_scores_computed_later_go_to_the_run_of_the_model(records: Records, table: Any) -> None:
    X, y = table
    X_test, y_test = X[150:], y[150:]
    mlops_nb.autolog(log_models=False)
    model = LogisticRegression().fit(X[:150], y[:150])
    other = LinearRegression().fit(X[:150], y[:150])
    p = model.predict_proba(X_test)
    expected = {
        "accuracy_score_X_test": sklearn.metrics.accuracy_score(y_test, model.predict(X_test)),
        "roc_auc_score_X_test": sklearn.metrics.roc_auc_score(y_test, p[:, 1]),
        "accuracy_score-2_X_test": sklearn.metrics.accuracy_score(y_test, model.predict(X_test), normalize=False),
        "LogisticRegression_score_X_test": model.score(X_test, y_test),
    }
    sklearn.metrics.accuracy_score(y_test, y_test)  # no model's prediction
    wrong = sklearn.metrics.mean_absolute_error(y_test, other.predict(X_test))
    first, second = records.runs
    assert first.status is second.status is RunStatus.FINISHED
    assert {key: metric.value for key, metric in first.metrics.items() if "X_test" in key} == expected
    assert {key: metric.value for key, metric in second.metrics.items() if "X_test" in key} == {"mean_absolute_error_X_test": wrong}


def test_a_metric_that_the_notebook_has_imported_before_is_tracked_too(records: Records) -> None:
    program = """
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score as f1
import mlops_nb
mlops_nb.autolog(log_models=False)
X, y = make_classification(100, 6, random_state=0)
X_new, y_new = X[50:], y[50:]
model = LogisticRegression().fit(X[:50], y[:50])
print(accuracy_score(y_new, model.predict(X_new)), f1(y_new, model.predict(X_new)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120, env=environment)
    accuracy, f1 = map(float, done.stdout.split())
    metrics = records.only_run().metrics
    assert (metrics["accuracy_score_X_new"].value, metrics["f1_score_X_new"].value) == (accuracy, f1)


def test_a_pipeline_is_one_run_and_a_scaler_alone_none(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog()
    StandardScaler().fit_transform(X)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=3, random_state=0)).fit(X, y)
    run = records.only_run()
    assert run.params["randomforestclassifier__n_estimators"] == "3" and "standardscaler__with_mean" in run.params
    assert records.score(records.download(records.models(run)["model"]), X[:9])["answer"] == model.predict(X[:9]).tolist()


def test_a_search_has_its_best_its_table_and_a_child_run_for_the_best_candidates(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog(max_tuning_runs=2)
    search = GridSearchCV(LogisticRegression(), {"C": [0.001, 0.1, 1.0]}, cv=3, n_jobs=2).fit(X, y)
    parent = next(run for run in records.runs if run.tags["estimator_name"] == "GridSearchCV")
    assert parent.metrics["best_cv_score"].value == search.best_score_ and parent.params["best_C"] == str(search.best_params_["C"])
    rows = list(csv.DictReader(records.text(parent, "cv_results.csv").splitlines()))
    assert [row["param_C"] for row in rows] == ["0.001", "0.1", "1.0"]
    children = records.children(parent)
    assert len(children) == 2 and len(records.runs) == 3
    best = next(run for run in children if run.tags["mlops.search.place"] == "1")
    assert best.params["C"] == str(search.best_params_["C"]) and best.metrics["mean_test_score"].value == search.best_score_
    assert set(records.models(parent)) == {"model", "best_estimator"}
    best_alone = records.download(records.models(parent)["best_estimator"])
    assert records.score(best_alone, X[:5])["answer"] == search.predict(X[:5]).tolist()


def test_all_candidates_of_a_random_search_can_be_child_runs(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog(max_tuning_runs=None, log_models=False)
    RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, n_iter=3, cv=2, random_state=0).fit(X, y)
    parent = next(run for run in records.runs if run.tags["estimator_name"] == "RandomizedSearchCV")
    assert sorted(run.params["alpha"] for run in records.children(parent)) == ["0.1", "1.0", "10.0"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_parts_of_an_ensemble_are_no_runs(records: Records, table: Any, n_jobs: int) -> None:
    import joblib

    X, y = table
    mlops_nb.autolog(log_models=False)
    with joblib.parallel_backend("threading"):
        VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(n_estimators=2))], n_jobs=n_jobs).fit(X, y)
        BaggingClassifier(LogisticRegression(), n_estimators=4, n_jobs=n_jobs).fit(X, y)
    assert [run.tags["estimator_name"] for run in records.runs] == ["VotingClassifier", "BaggingClassifier"]


def test_fits_in_threads_of_the_user_are_runs_side_by_side(records: Records, table: Any) -> None:
    X, y = table
    mlops_nb.autolog(log_models=False, log_plots=False)
    together = threading.Barrier(3)

    class Meeting(Threshold):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Threshold:
            together.wait(30)  # all three are within fit at the same time
            return super().fit(X, y)

    threads = [threading.Thread(target=Meeting(column=column).fit, args=(X, y)) for column in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(run.params["column"] for run in records.runs) == ["0", "1", "2"]
    assert all(run.status is RunStatus.FINISHED and "training_score" in run.metrics for run in records.runs)
    assert not any("mlflow.parentRunId" in run.tags for run in records.runs)


def test_an_exception_of_the_fit_reaches_the_user_and_fails_the_run(records: Records, table: Any) -> None:
    mlops_nb.autolog()
    with pytest.raises(ArithmeticError, match="do not suit me"):
        Refusing().fit(*table)
    run = records.only_run()
    assert (run.status, run.reason) == (RunStatus.FAILED, "ArithmeticError: these data do not suit me")


def test_a_subclass_that_calls_the_fit_it_is_based_on_is_one_run(records: Records, table: Any) -> None:
    mlops_nb.autolog(log_models=False)
    assert isinstance(LouderLogistic().fit(*table), LouderLogistic)
    assert records.only_run().tags["estimator_name"] == "LouderLogistic"


def test_a_class_of_the_notebook_is_kept_as_a_pickle_that_says_so_and_needs_nothing_of_us(records: Records, table: Any) -> None:
    import cloudpickle

    X, y = table
    mlops_nb.autolog()
    namespace: dict[str, Any] = {
        "__name__": "__main__",
        "BaseEstimator": BaseEstimator,
        "ClassifierMixin": ClassifierMixin,
        "numpy": numpy,
        "Any": Any,
    }
    exec(f"from __future__ import annotations\n{inspect.getsource(Threshold)}", namespace)
    model = namespace["Threshold"](column=1).fit(X, y)
    kept = records.models(records.only_run())["model"]
    assert kept.tags[TAG_FORMAT] == "cloudpickle"
    folder = records.download(kept)
    assert b"mlops_nb" not in (folder / "model.pkl").read_bytes()
    assert records.score(folder, X[:30])["answer"] == model.predict(X[:30]).tolist()
    assert b"mlops_nb" not in cloudpickle.dumps(type(model))


def test_fit_keeps_its_signature_and_estimators_their_state(records: Records, table: Any) -> None:
    X, y = table
    plain = inspect.signature(inspect.unwrap(LogisticRegression.fit))
    mlops_nb.autolog(log_models=False)
    assert inspect.signature(LogisticRegression.fit) == plain
    assert list(inspect.signature(LogisticRegression().fit).parameters) == ["X", "y", "sample_weight"]
    model = LogisticRegression(C=3.0)
    assert model.fit(X, y) is model
    with mlops_nb.tracking.autolog.suppressed():
        untracked = LogisticRegression(C=3.0).fit(X, y)
    assert set(vars(model)) == set(vars(untracked)) and clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(X) == model.predict(X)).all()
    assert pickle.loads(pickle.dumps(model.fit)).__self__.C == 3.0
    scorer = sklearn.metrics.make_scorer(sklearn.metrics.f1_score)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == sklearn.metrics.get_scorer("f1")(model, X, y)
    assert pickle.loads(pickle.dumps(sklearn.metrics.get_scorer("accuracy")))(model, X, y) == model.score(X, y)
    assert not hasattr(StandardScaler, "predict") and not hasattr(make_pipeline(StandardScaler()), "predict")


def test_a_fault_of_ours_does_not_reach_the_fit_and_is_said_once(
    records: Records, table: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(_artifacts, "log_model", broken)
    mlops_nb.autolog()
    with caplog.at_level("WARNING", logger="mlops_nb"):
        for _ in range(3):
            assert LogisticRegression().fit(*table).coef_.shape == (1, 6)
    assert [record.getMessage() for record in caplog.records if "ours" in record.getMessage()] == [
        "autolog sklearn: the model is not logged (ZeroDivisionError: ours). Your code is unaffected."
    ]
    assert len(records.runs) == 3 and all("training_score" in run.metrics for run in records.runs)


def test_estimators_without_a_target_are_tracked_too(records: Records, table: Any) -> None:
    X, _ = table
    mlops_nb.autolog()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KMeans(n_clusters=2, n_init=1, random_state=0)
        labels = model.fit_predict(X)
    run = records.only_run()
    assert run.params["n_clusters"] == "2" and run.metrics == {}
    assert records.score(records.download(records.models(run)["model"]), X[:10])["answer"] == labels[:10].tolist()


def test_switched_off_nothing_is_logged(records: Records, table: Any) -> None:
    mlops_nb.autolog()
    mlops_nb.autolog(disable=True)
    LogisticRegression().fit(*table)
    mlops_nb.xgboost.autolog()  # another framework alone
    LogisticRegression().fit(*table)
    assert records.runs == []
