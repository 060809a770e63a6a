"""`%serve monitor`, `package`, `--gpu`, `--route` and `--on` in a notebook of a Jupyter server, and what they say when they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_nb.serving import devices
from tests.conftest import JupyterProcess
from tests.serving.test_in_jupyter import Notebook


@pytest.fixture(scope="module")
def out(jupyter: JupyterProcess) -> str:
    """What a notebook prints that does all of it."""
    return Notebook(jupyter).run("""
import time
with __import__("mlops_nb").start_run(name="teacher") as run:
    __import__("mlops_nb").log_input(X, context="training")
    shell.user_ns["logged"] = __import__("mlops_nb").log_model(model, name="m", input_example=X[:3])
def until(what):
    deadline = time.monotonic() + 60
    while not what() and time.monotonic() < deadline: time.sleep(0.1)
print("== gpu"); cell("%serve model --name g --example X[:5] --gpu")
print("== on"); cell("%serve model --on aws")
print("== openai"); cell("%serve model --name chat --example X[:5] --route openai")
print("== ls"); cell("%serve ls")
print("== clash"); cell("%serve model --name 'no/name' --example X[:5]")
print("== bare"); shell.run_cell("array_model = LinearRegression().fit(X.to_numpy(), y)"); cell("%serve array_model")
print("== run"); cell("ep = %serve logged --name churn --route v2\\nprint(ep.info().state)")
ep = shell.user_ns["ep"]
print("== trained"); print(ep.monitor().drift.reference)
print("== v2"); cell("%serve code churn curl --route v2")
shell.user_ns["shifted"] = X.assign(tenure=X.tenure + 3)
ep.predict(shell.user_ns["shifted"][:500])
until(lambda: ep.monitor().drift.rows)
print("== drift"); cell("%serve monitor churn")
print("== ref"); cell("%serve monitor churn --ref shifted")
ep.predict(shell.user_ns["shifted"][:500]); until(lambda: ep.monitor().drift.rows)
print(ep.monitor().drift.verdict, [one.verdict.value for one in ep.monitor().drift.outputs])
print("== back"); cell("%serve monitor churn --ref teacher"); print(ep.monitor().drift.reference)
print("== wrong"); cell("%serve monitor churn --ref X[['tenure']]")
cell("%serve monitor churn --ref nothing_here"); cell("%serve monitor nope")
print("== kserve"); cell("%serve package churn --kserve k")
print("== packages"); cell("%serve package churn --mlflow there"); cell("%serve package churn --mlflow there")
cell("%serve package churn --docker image"); cell("%serve package churn --kserve k --storage-uri s3://b/m")
print("== python", [path.name for path in ep.package("ray", "ray")])
print("== end")
""")


def part(out: str, name: str) -> str:
    return out.partition(f"== {name}")[2].partition("\n== ")[0]


def test_options_that_cannot_be_had_are_refused_and_leave_nothing_behind(out: str) -> None:
    if not devices.visible_gpus():
        assert "ERROR NotSupported No GPU is visible" in part(out, "gpu")
    assert "not on runners" in part(out, "on") and "%serve package NAME --docker DIR" in part(out, "on")
    assert "is no chat model" in part(out, "openai") and "It has been ended." in part(out, "openai")
    assert "No endpoints here" in part(out, "ls")
    assert "'no/name' can be no endpoint's name" in part(out, "clash")
    assert "`array_model` needs an example row" in part(out, "bare")


def test_requests_are_held_against_what_the_model_was_trained_on_a_variable_or_a_run(out: str) -> None:
    assert "training data of teacher, 2,500 rows" in part(out, "trained"), out
    drift = part(out, "drift")
    assert "drift" in drift and "tenure: drift · PSI" in drift and "p50, p95, p99" in drift and "größe: ok" in drift
    assert "too few rows: 0 rows" in part(out, "ref") and "`shifted`, 2,500 rows" in part(out, "ref")
    assert "ok ['ok']" in part(out, "ref")
    assert "training data of teacher" in part(out, "back")
    wrong = part(out, "wrong")
    assert "The reference has no column 'größe' and lacks 1 more." in wrong and "There is no endpoint 'nope'" in wrong
    assert wrong.count("ERROR") == 3


def test_code_and_packages_are_written_for_other_engines(out: str, jupyter: JupyterProcess) -> None:
    assert "/v2/models/churn/infer" in part(out, "v2") and '"datatype": "FP64"' in part(out, "v2")
    assert "--storage-uri s3://" in part(out, "kserve")
    packages = part(out, "packages")
    assert "not an empty folder" in packages and "docker build -t NAME image" in packages and "kubectl apply -f k/" in packages
    project = Path(jupyter.project)
    assert (project / "there" / "MLmodel").is_file() and (project / "image" / "Dockerfile").is_file()
    assert (project / "k" / "inferenceservice.yaml").is_file() and (project / "ray" / "app.py").is_file()


def test_the_command_line_monitors_and_packages_too(out: str, jupyter: JupyterProcess) -> None:
    from tests.serving.conftest import run_python

    assert "== end" in out
    code = "import sys; from mlops_nb.cli import main; sys.argv = ['mlops-nb', 'serve', {}]; main()"
    kept = {name: value for name, value in jupyter.environment().items() if name in ("HOME", "JUPYTER_RUNTIME_DIR")}
    told = run_python(code.format("'monitor', 'churn'"), jupyter.project, **kept)
    assert "requests in the last minute" in told and "training data of teacher" in told
    assert '"verdict"' in run_python(code.format("'monitor', 'churn', '--json'"), jupyter.project, **kept)
    assert "wrote cli/MLmodel" in run_python(code.format("'package', 'churn', '--mlflow', 'cli'"), jupyter.project, **kept)


def test_a_process_on_the_gpu_is_told_the_device_and_a_processors_model_says_so(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.errors import InvalidInput
    from mlops_nb.serving.process import _environment

    monkeypatch.delenv("MLFLOW_DEFAULT_PREDICTION_DEVICE", raising=False)
    assert _environment(1, gpu=True)["MLFLOW_DEFAULT_PREDICTION_DEVICE"] == "cuda"
    assert "MLFLOW_DEFAULT_PREDICTION_DEVICE" not in _environment(1)
    with pytest.raises(InvalidInput, match="sklearn computes on the processor alone"):
        devices.settings_of(str(models / "numbers"))
