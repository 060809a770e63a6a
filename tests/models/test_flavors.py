"""What we write MLflow loads and scores equally, and what MLflow writes we load and score equally: every framework, both ways."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.errors import MlopsError
from mlops_nb.models import load_model, save_model

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: nothing to compare with")

from tests.models.frameworks import CASES, case_of  # noqa: E402 - needs numpy and pandas

pytestmark = pytest.mark.filterwarnings("ignore")


def same(one: Any, other: Any) -> bool:
    """Return whether two answers are the same, in form and type too."""
    assert type(one) is type(other), f"{type(one)} is not {type(other)}"
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if hasattr(one, "columns"):
        pandas.testing.assert_frame_equal(one, other, rtol=1e-6, atol=1e-7)
        return True
    if hasattr(one, "index") and not isinstance(one, list):
        pandas.testing.assert_series_equal(one, other, rtol=1e-6)
        return True
    if isinstance(one, list):
        return one == other
    return one.dtype == other.dtype and numpy.allclose(one, other, rtol=1e-6)


def theirs_of(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlflow.pyfunc.load_model(str(folder))


@pytest.mark.parametrize("name", CASES)
def test_mlflow_scores_what_we_write_as_we_do(name: str, tmp_path: Path) -> None:
    case = case_of(name, tmp_path)
    save_model(case.model, tmp_path / "m", **case.ours)
    ours, theirs = load_model(tmp_path / "m"), theirs_of(tmp_path / "m")
    assert ours.verdict.is_known and same(ours.predict(case.data), theirs.predict(case.data))


@pytest.mark.parametrize("name", CASES)
def test_we_score_what_mlflow_writes_as_it_does(name: str, tmp_path: Path) -> None:
    case = case_of(name, tmp_path)
    module = importlib.import_module(f"mlflow.{case.flavor}")
    module.save_model(case.model, str(tmp_path / "m"), pip_requirements=[], **case.theirs)
    try:
        ours = load_model(tmp_path / "m")
    except MlopsError as error:
        # Of a stranger: pickles of statsmodels and of whole modules could be anything.
        assert name in ("statsmodels ols", "statsmodels series", "pytorch exported"), error
        ours = load_model(tmp_path / "m", allow_unsafe=True)
    assert same(ours.predict(case.data), theirs_of(tmp_path / "m").predict(case.data))
    assert ours.native is not None and case.flavor in ours.metadata.flavors


@pytest.mark.parametrize("name", [name for name in CASES if name.split()[0] in ("sklearn", "xgboost", "lightgbm", "catboost", "keras")])
def test_arrays_give_what_tables_give_without_a_warning(name: str, tmp_path: Path) -> None:
    case = case_of(name, tmp_path)
    example = case.data if hasattr(case.data, "columns") else pandas.DataFrame(case.data)
    options = {**case.ours, "input_example": example}
    if name == "keras sequential":
        options["signature"] = mlflow.models.infer_signature(example)
    save_model(case.model, tmp_path / "m", **options)
    loaded = load_model(tmp_path / "m")
    expected = loaded.predict(example)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        answer = loaded.predict_array(example.to_numpy())
    assert numpy.allclose(numpy.asarray(expected).reshape(-1), numpy.asarray(answer).reshape(-1), rtol=1e-5)
