"""The tutorial of tracking, from top to bottom in a kernel of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import RunQuery
from mlops_nb.store.open import open_store

ROOT = Path(__file__).parents[2]


def test_the_tutorial_runs_and_shows_what_it_says(project: Path) -> None:
    shutil.copy(ROOT / "notebooks" / "tracking.ipynb", project)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "papermill", "--engine", "mlops_nb", "--no-progress-bar", "tracking.ipynb", "out.ipynb"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-4000:]
    store = open_store(f"sqlite:///{project}/.mlops/store.db", create=False)
    assert store is not None
    runs = {run.name: run for run in store.search_runs(RunQuery()).items}
    assert {"digits #1", "digits #2", "watched", "search", "alpha=0.0001", "alpha=0.01"} <= set(runs)
    assert all(run.status is RunStatus.FINISHED for run in runs.values())
    fast = runs["digits #2"]
    assert fast.metrics["val_acc"].value > 0.9 and fast.params["lr"] == "0.2" and fast.outputs and fast.inputs.datasets
    assert runs["watched"].metrics["best_acc"].value > 0.9 and runs["watched"].params["kind"] == "linear"
    store.close()
    executed = [cell for cell in nbformat.read(project / "out.ipynb", as_version=4).cells if cell.cell_type == "code"]
    shown = {cell.id: str(cell.outputs) for cell in executed}
    assert "digits #2 finished" in shown["train-faster"]
    assert "partial_fit" in shown["cells"] or "%%track digits" in shown["cells"]
    listed = next(cell.outputs[-1].data["text/plain"] for cell in executed if cell.id == "archive")
    assert "search" in listed and "watched" not in listed
    assert "capture: source" in shown["privacy"]
    assert (project / "digits.html").stat().st_size < 5_000_000
