"""The tutorials: well-formed, runnable everywhere, and the same as what the README shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from mlops_nb.core.records import Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import RunQuery
from mlops_nb.store.open import open_store
from tests.conftest import JupyterProcess

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAPERMILL = ("-m", "papermill", "--engine", "mlops_nb")
RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own with copies of the notebooks."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    (folder / "pyproject.toml").touch()
    return folder


@pytest.fixture
def python(project: Path, tmp_path: Path) -> RunPython:
    """A function that runs Python in the project, as a user without any settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MLOPS_NB_", "JUPYTER_", "JPY_", "PYTEST_"))}
    environment = {**kept, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=150, check=False)
        assert not check or result.returncode == 0, result.stdout[-4_000:] + result.stderr[-4_000:]
        return result

    return run


def runs_of(project: Path, database: str = ".mlops/store.db") -> dict[str, Run]:
    store = open_store(f"sqlite:///{project / database}", create=False)
    assert store is not None
    try:
        return {run.name: run for run in store.search_runs(RunQuery()).items}
    finally:
        store.close()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", cell_id) for cell_id in ids), "ids are words, so that they stay"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook, indent=1).rstrip("\n") + "\n"


def test_the_quick_start_of_the_readme_is_the_one_of_the_notebook() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    cells = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    blocks = re.findall(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0] == cells


def test_the_quick_start_runs_headlessly_and_records_its_two_runs(project: Path, python: RunPython) -> None:
    python(*PAPERMILL, "quickstart.ipynb", "out.ipynb")
    runs = runs_of(project)
    assert set(runs) == {"gentle", "eager #1"}
    assert runs["eager #1"].metrics["loss"].value < runs["gentle"].metrics["loss"].value < 1
    assert all(run.status is RunStatus.FINISHED and run.notebook == "quickstart.ipynb" for run in runs.values())
    shown = (project / "out.ipynb").read_text(encoding="utf-8")
    assert "eager #1 improves on gentle" in shown


def test_the_quick_start_runs_under_jupyter_execute(project: Path, python: RunPython) -> None:
    python("-c", "from nbclient.cli import main; main()", "quickstart.ipynb")
    assert set(runs_of(project)) == {"gentle", "eager #1"}


@pytest.mark.slow
def test_both_notebooks_pass_nbval(python: RunPython) -> None:
    result = python("-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "quickstart.ipynb", "train.ipynb")
    assert re.search(r"\d+ passed", result.stdout)


def test_the_training_takes_parameters_and_records_curves_scores_and_a_figure(project: Path, python: RunPython) -> None:
    parameters = ["-p", "run_name", "eager", "-p", "learning_rate", "0.4", "-p", "max_depth", "5"]
    python(*PAPERMILL, "train.ipynb", "out.ipynb", *parameters)
    run = runs_of(project)["eager"]
    assert run.status is RunStatus.FINISHED
    assert (run.params["learning_rate"], run.params["max_depth"], run.params["model_kind"]) == ("0.4", "5", "boosting")
    assert run.metrics["val_auc"].value > 0.97
    store = open_store(f"sqlite:///{project / '.mlops' / 'store.db'}", create=False)
    assert store is not None
    curves = {series.key: series for series in store.series(run.run_id)}
    assert [curves[key].total for key in ("train_log_loss", "val_log_loss", "val_accuracy")] == [120, 120, 120]
    assert b"".join(store.read_artifact(run.run_id, "confusion.png")).startswith(b"\x89PNG")
    assert any("roc_auc_score" in cell.source for cell in store.cells(run.run_id))
    store.close()


@pytest.mark.slow
def test_the_training_knows_forests_too(project: Path, python: RunPython) -> None:
    python("-m", "papermill", "train.ipynb", "out.ipynb", "-p", "run_name", "trees", "-p", "model_kind", "forest")
    run = runs_of(project)["trees"]
    assert run.metrics["val_auc"].value > 0.97
    assert "learning_rate" not in run.params


def test_a_training_that_fails_leaves_a_failed_run_with_the_reason(project: Path, python: RunPython) -> None:
    result = python(*PAPERMILL, "train.ipynb", "out.ipynb", "-p", "run_name", "odd", "-p", "model_kind", "magic", check=False)
    assert result.returncode != 0
    run = runs_of(project)["odd"]
    assert run.status is RunStatus.FAILED
    assert "model_kind is 'boosting' or 'forest', not 'magic'" in (run.reason or "")


def test_the_team_server_serves_mlflows_client_and_lets_everything_out(project: Path, python: RunPython) -> None:
    pytest.importorskip("mlflow", reason="The notebook is about MLflow's client.")
    python("-m", "papermill", "team_server.ipynb", "out.ipynb")
    cells = {cell.id: cell for cell in nbformat.read(project / "out.ipynb", as_version=4).cells}
    assert "True" in str(cells["register"].outputs[-1])
    assert "runs.parquet" in str(cells["export"].outputs)
    runs = runs_of(project, "team/store.db")
    assert {run.name for run in runs.values()} == {"C=0.01", "C=0.1", "C=1.0"}
    assert all(run.inputs.datasets[0].dataset.name == "iris" for run in runs.values())


def test_the_views_and_figures_run_headlessly_and_leave_static_forms(project: Path, python: RunPython) -> None:
    python(*PAPERMILL, "explore.ipynb", "out.ipynb")
    notebook = nbformat.read(project / "out.ipynb", as_version=4)
    last = {cell.id: cell.outputs[-1] for cell in notebook.cells if cell.cell_type == "code" and cell.outputs}
    shown = {name: output.data for name, output in last.items() if "data" in output}
    for name in ("curves", "seeds", "parallel", "importance", "keep"):
        assert {"application/vnd.plotly.v1+json", "image/svg+xml", "text/plain"} == set(shown[name]), name
    assert "lr=0.05 (4 runs)" in shown["seeds"]["text/plain"]
    assert "descent lr=0.45" in shown["table"]["text/html"] and "val_acc" in shown["explorer"]["text/html"]
    assert "descent lr=0.2" in shown["state"]["text/plain"]
    assert len(runs_of(project)) == 3  # by name
    python("-m", "nbconvert", "--to", "html", "out.ipynb")
    page = (project / "out.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img[^>]*src="data:image/svg\+xml;base64,', page)) == 5
    assert (project / "out.ipynb").stat().st_size < 800_000


def test_the_comparison_tells_noise_from_a_real_gain(project: Path, python: RunPython) -> None:
    python(*PAPERMILL, "compare.ipynb", "out.ipynb")
    cells = {cell.id: cell for cell in nbformat.read(project / "out.ipynb", as_version=4).cells}
    assert "≈ noise" in cells["noise"].outputs[0].data["text/plain"]
    better = cells["better"].outputs[0].data
    assert "▲ better" in better["text/plain"] and "exact McNemar, n=285" in better["text/plain"]
    assert "<svg" in better["text/html"] and "<script" not in better["text/html"]
    assert "Welch, 5 and 5 runs" in cells["by-seed"].outputs[0].data["text/plain"]
    assert "▲ better" in (project / "comparison.html").read_text(encoding="utf-8")


def test_the_models_notebook_keeps_opens_and_scores(project: Path, python: RunPython) -> None:
    pytest.importorskip("cloudpickle", reason="The state of its class is pickled.")
    python(*PAPERMILL, "models.ipynb", "out.ipynb")
    (run,) = runs_of(project).values()
    assert run.name == "iris" and run.status == RunStatus.FINISHED
    answers = (project / "answers.csv").read_text().splitlines()
    assert len(answers) == 151 and set(answers[1:]) == {"setosa", "versicolor", "virginica"}
    told = [str(cell.outputs) for cell in nbformat.read(project / "out.ipynb", 4).cells if cell.cell_type == "code"]
    assert any("class Named:" in text and "LABELS = " in text for text in told)
    assert any("lack the column 'petal width (cm)'" in text and "Did you mean" in text for text in told)


@pytest.mark.slow
def test_the_ci_notebook_judges_a_worse_training_by_its_gates(project: Path, python: RunPython) -> None:
    python(*PAPERMILL, "ci.ipynb", "out.ipynb")
    cells = {cell.id: str(cell.get("outputs")) for cell in nbformat.read(project / "out.ipynb", 4).cells}
    assert "✓ checked.ipynb · no baseline" in cells["run-first"] and "baseline: none" in cells["run-first"]
    assert "✗ checked.ipynb · worse" in cells["run-second"] and "baseline.json" in cells["run-second"]
    report = (project / "report.md").read_text(encoding="utf-8")
    assert "a gate fails: `val_auc`" in report and "paired bootstrap, n=285" in report and "`1.0` → `1e-05`" in report
    assert (project / "report.html").stat().st_size > 2_000


def test_a_variable_is_served_watched_and_packaged_where_a_jupyter_server_runs(
    project: Path, start_jupyter: Callable[..., JupyterProcess]
) -> None:
    pytest.importorskip("uvicorn", reason="The extra `serve` has it.")
    server = start_jupyter(project)
    command = [sys.executable, "-m", "papermill", "serve.ipynb", "out.ipynb"]
    done = subprocess.run(command, cwd=project, env=server.environment(), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    cells = {cell.id: str(cell.get("outputs", "")) for cell in nbformat.read(project / "out.ipynb", as_version=4).cells}
    assert "tumours v1 ready" in cells["serve"] and "parity 426/426 rows equal" in cells["serve"]
    assert "requests in" in cells["load"] and "no errors" in cells["load"]
    assert '"predictions"' in cells["test"]
    assert "canary v2 ready · 30% of the requests" in cells["canary"]
    assert "tumours v2 ready" in cells["promote"] and "tumours v1 ready" in cells["rollback"]
    assert "drift · " in cells["monitor"] and "286 rows" in cells["monitor"]
    assert "('mean radius', 'drift')" in cells["report"] and "('mean smoothness', 'ok')" in cells["report"]
    assert (project / "tumours-model" / "MLmodel").is_file()
    assert server.request("GET", "/api/v1/endpoints").json() == {"endpoints": []}


def test_a_notebook_and_a_cell_are_executed_by_runners_on_this_machine(project: Path, python: RunPython) -> None:
    pytest.importorskip("cloudpickle", reason="Values travel pickled.")
    python("-m", "papermill", "runners.ipynb", "out.ipynb")
    cells = {cell.id: str(cell.get("outputs")) for cell in nbformat.read(project / "out.ipynb", as_version=4).cells}
    assert "No runners." in cells["load"]
    assert "gpu-1 would be" in cells["dry"] and "this machine" in cells["dry"] and "2 h 00 min, $0.00" in cells["dry"]
    assert "✓ code" in cells["preflight-dry"] and "small.ipynb" not in cells["preflight-dry"]
    assert "small · done" in cells["run"] and "The executed notebook: small-" in cells["run"]
    (back,) = project.glob("small-*.ipynb")
    assert "depth 4: 0.9" in back.read_text(encoding="utf-8")
    assert "100 numbers" in cells["cell-there"] and "328350" in cells["total"]
    assert "small" in cells["jobs"] and "done" in cells["jobs"] and "cell" in cells["jobs"]
    assert {run.params.get("depth") for run in runs_of(project).values()} & {"4"}
