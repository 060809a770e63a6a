"""Model folders: what is in them is what MLflow would have written."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

import mlops_nb
from mlops_nb.errors import InvalidInput
from mlops_nb.models import infer_signature, save_model
from tests.autolog.conftest import Records

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: nothing to compare with")

DATA = {
    "array": numpy.zeros((4, 3), "float32"),
    "numbers": numpy.arange(4),
    "words": numpy.array(["a", "bcd"]),
    "arrays": {"a": numpy.zeros((2, 2)), "b": numpy.zeros(2, "int8")},
    "sparse": sparse.csr_matrix(numpy.eye(3)),
    "table": pandas.DataFrame(
        {
            "int64": [1, 2],
            "int32": numpy.array([1, 2], "int32"),
            "uint8": numpy.array([1, 2], "uint8"),
            "uint32": numpy.array([1, 2], "uint32"),
            "gaps": [1.0, None],
            "single": numpy.array([1, 2], "float32"),
            "text": ["a", None],
            "truth": [True, False],
            "time": pandas.to_datetime(["2020-01-01", "2021-05-05"]),
            "kind": pandas.Categorical(["x", "y"]),
            "bytes": [b"1", b"2"],
        }
    ),
    "objects": pandas.DataFrame({"i": pandas.Series([1, 2], dtype=object), "s": pandas.Series(["a", "b"], dtype=object)}),
    "series": pandas.Series([1.0, 2.0], name="z"),
    "numbered columns": pandas.DataFrame(numpy.zeros((2, 2))),
    "list": [1, 2, 3],
    "words in a list": ["a", "b"],
    "mapping": {"text": "a", "number": 1.5},
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.filterwarnings("ignore")
def test_a_signature_is_the_one_that_mlflow_infers(name: str) -> None:
    theirs = mlflow.models.infer_signature(DATA[name], DATA[name]).to_dict()
    ours = infer_signature(DATA[name], DATA[name]).to_dict()
    assert {key: json.loads(text) for key, text in ours.items() if text} == {key: json.loads(text) for key, text in theirs.items() if text}


def test_a_signature_of_mlflow_is_taken_as_it_is(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X = pandas.DataFrame({"a": [0.0, 1.0, 2.0]})
    model = sklearn.LinearRegression().fit(X, [0.0, 1.0, 2.0])
    theirs = mlflow.models.infer_signature(X, model.predict(X), params={"scale": 2.0})
    info = save_model(model, tmp_path / "m", signature=theirs)
    assert mlflow.models.Model.load(str(tmp_path / "m")).signature == theirs and info.signature is not None
    with pytest.raises(InvalidInput, match="is no signature"):
        save_model(model, tmp_path / "n", signature="a, b")


@pytest.mark.parametrize(
    "example",
    [
        pandas.DataFrame({"a": [1.5, None], "when": [datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1)], "text": ["x", None]}),
        numpy.arange(6, dtype="float64").reshape(3, 2),
    ],
    ids=["table", "array"],
)
def test_an_input_example_is_read_back_by_mlflow(example: Any, tmp_path: Path) -> None:
    tree = pytest.importorskip("sklearn.dummy", reason="scikit-learn is not installed")
    model = tree.DummyRegressor().fit([[0.0]], [1.0])
    save_model(model, tmp_path / "m", input_example=example)
    read = mlflow.models.Model.load(str(tmp_path / "m")).load_input_example(str(tmp_path / "m"))
    if isinstance(example, numpy.ndarray):
        assert (numpy.asarray(read) == example).all()
    else:
        assert list(read.columns) == list(example.columns) and read["a"].isna().tolist() == [False, True]
        assert pandas.to_datetime(read["when"]).tolist() == example["when"].tolist()


def test_a_folder_has_what_a_server_needs_to_build_the_environment(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    sklearn = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    model = sklearn.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    info = mlops_nb.sklearn.save_model(model, tmp_path / "m", metadata={"team": "risk"}, extra_pip_requirements=["left-pad==1"])
    files = {path.name for path in (tmp_path / "m").iterdir()}
    assert files == {"MLmodel", "model.skops", "requirements.txt", "python_env.yaml", "conda.yaml"}
    required = (tmp_path / "m" / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("mlflow==") for line in required) and any(line.startswith("scikit-learn==") for line in required)
    assert required[-1] == "left-pad==1"
    assert yaml.safe_load((tmp_path / "m" / "conda.yaml").read_text())["dependencies"][-1] == {"pip": required}
    loaded = mlflow.models.Model.load(str(tmp_path / "m"))
    assert (
        loaded.metadata == {"team": "risk"}
        and loaded.model_uuid == info.model_uuid
        and set(loaded.flavors) == {"sklearn", "python_function"}
    )
    with pytest.raises(InvalidInput, match="is not empty"):
        save_model(model, tmp_path / "m")


def test_what_no_framework_made_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no model that can be kept.*xgboost"):
        save_model(object(), tmp_path / "m")
    with pytest.raises(InvalidInput, match="Did you mean 'sklearn'"):
        save_model(object(), tmp_path / "n", flavor="sklearns")
    with pytest.raises(InvalidInput, match="optuna makes no models"):
        mlops_nb.optuna.log_model(object(), name="m")


def test_a_script_written_for_mlflow_logs_a_model(records: Records, table: Any) -> None:
    import mlops_nb as mlflow

    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    X, y = table
    with mlflow.start_run():
        model = linear.LogisticRegression().fit(X, y)
        signature = mlflow.models.infer_signature(X, model.predict(X))
        info = mlflow.sklearn.log_model(model, name="m", input_example=X[:3], signature=signature, registered_model_name="never mind")
        older = mlflow.sklearn.log_model(model, "by-path", pyfunc_predict_fn="predict_proba", input_example=X)
    run = records.only_run()
    kept = records.models(run)
    assert kept["m"].model_id == info.model_id and info.model_uri == f"models:/{info.model_id}" and info.run_id == run.run_id
    assert [output.model_id for output in run.outputs] == [info.model_id, older.model_id]
    answer = records.score(records.download(kept["m"]), X[:4])
    assert answer["answer"] == model.predict(X[:4]).tolist() and answer["example"] == 3
    probable = records.score(records.download(kept["by-path"]), X[:4])
    assert probable["answer"] == pytest.approx(numpy.asarray(model.predict_proba(X[:4])))
