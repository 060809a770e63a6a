"""`mlops-nb models ...`, in processes of their own as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.models import save_model
from tests.models import corpus
from tests.tracking.conftest import project  # noqa: F401 - a fixture

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")


def run(*arguments: str, given: str | None = None, fails: bool = False) -> str:
    command = [sys.executable, "-m", "mlops_nb.cli", "models", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture
def folder(project: Path) -> Path:  # noqa: F811 - the fixture
    table = pandas.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]})
    save_model(linear.LinearRegression().fit(table, table.a + table.b), project / "model", input_example=table)
    return project / "model"


def test_predict_reads_files_and_standard_input(folder: Path, project: Path) -> None:  # noqa: F811 - the fixture
    (project / "in.csv").write_text("a,b\n1,2\n3,4\n")
    assert json.loads(run("predict", "-m", str(folder), "-i", "in.csv", "--no-progress")) == {
        "predictions": [pytest.approx(3), pytest.approx(7)]
    }
    given = json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 1]]}})
    assert json.loads(run("predict", "-m", str(folder), given=given)) == {"predictions": [pytest.approx(2)]}
    assert run("predict", "-m", str(folder), "-i", "in.csv", "-o", "out.jsonl") == ""
    answers = [json.loads(line)["predictions"] for line in (project / "out.jsonl").read_text().splitlines()]
    assert answers == [pytest.approx(3), pytest.approx(7)]


def test_errors_are_one_line(folder: Path, project: Path, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    (project / "in.csv").write_text("a\n1\n")
    told = run("predict", "-m", str(folder), "-i", "in.csv", fails=True)
    assert told.startswith("✗ Rows 0 to 0: The data lack the column 'b'") and len(told.splitlines()) == 1
    canary = tmp_path / "canary"
    evil = project / "evil"
    corpus.write(
        evil,
        "MLmodel",
        b"flavors: {python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}, sklearn: {pickled_model: model.pkl}}",
    )
    corpus.write(evil, "model.pkl", corpus.plain(f"touch {canary}"))
    told = run("predict", "-m", "evil", "-i", "in.csv", fails=True)
    assert "model.pkl: loading it runs or looks up posix.system" in told and "--allow-unsafe" in told and not canary.exists()
    assert "There is no model at" in run("predict", "-m", "nowhere", "-i", "in.csv", fails=True)


def test_register_list_and_alias(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811 - the fixture
    import mlops_nb
    from mlops_nb.tracking import session as sessions
    from mlops_nb.tracking.session import Session

    monkeypatch.setattr(sessions, "current", Session())
    with mlops_nb.start_run():
        info: Any = mlops_nb.sklearn.log_model(linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), name="m", signature=False)
    sessions.current.fresh_store()
    sessions.current.close()
    told = json.loads(run("register", "-m", f"models:/{info.model_id}", "-n", "churn", "--alias", "prod", "--json"))
    assert told == {"name": "churn", "version": 1, "aliases": ["prod"]}
    assert "churn" in run("list") and "@prod=1" in run("list") and f"models:/{info.model_id}" in run("list", "churn")
    shown = json.loads(run("show", "churn@prod", "--json"))
    assert (shown["name"], shown["version"], shown["model_id"], shown["run_id"]) == ("churn", 1, info.model_id, info.run_id)
    assert f"Model id:     {info.model_id}" in run("show", "churn")
    assert json.loads(run("list", "churn", "--json"))[0]["run"] == shown["run"] in run("list", "churn")
    assert "nobody" in run("show", "churn@nobody", fails=True)
    assert run("alias", "churn", "best", "1") == "models:/churn@best is version 1.\n"
    assert run("alias", "churn", "best", "--delete") == "models:/churn@best is gone.\n"
    (project / "in.json").write_text("[[4.0]]")
    assert json.loads(run("predict", "-m", "models:/churn@prod", "-i", "in.json"))["predictions"] == [pytest.approx(4)]
    assert "# Model card: m\n" in run("card", "-m", "models:/churn@prod")
    assert run("generate-dockerfile", "-m", "models:/churn@prod", "-d", "image").startswith("wrote image")
    assert "do not change" in run("update-pip-requirements", "-m", "models:/churn/1", "add", "x==1", fails=True)
