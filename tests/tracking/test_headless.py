"""The same notebook without any server: papermill with and without our engine, nbclient, plain IPython."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mlops_nb.core.records import CellOutcome, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.open import open_store

TRACKED = [
    ("parameters", "lr = 0.1\ndepth = 3\nname = 'x'"),
    (None, "%load_ext mlops_nb"),
    (None, "%track start trained -e headless"),
    (None, "for i in range(5):\n    %track log loss=lr / (i + 1) --step i\nprint('trained')"),
    (None, "%track stop"),
]
PLAIN = [("parameters", "lr = 0.1"), (None, "total = lr * 2\nprint('total', total)"), (None, "total")]


def notebook(folder: Path, cells: list[tuple[str | None, str]], name: str = "train.ipynb") -> Path:
    document = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    for number, (tag, source) in enumerate(cells):
        cell = nbformat.v4.new_code_cell(source, id=f"cell-{number}", metadata={"tags": [tag]} if tag else {})
        document.cells.append(cell)
    path = folder / name
    nbformat.write(document, path)
    return path


def execute(*command: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=150, check=False)
    if expect is not None:
        assert done.returncode == expect, done.stderr[-3000:]
    return done


def papermill(*arguments: str, engine: bool = True, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    return execute("papermill", *(["--engine", "mlops_nb"] if engine else []), "train.ipynb", "out.ipynb", *arguments, expect=expect)


def stored(project: Path) -> tuple[TrackingStore, list[Run]]:
    # What a kernel had no time to deliver on a busy machine lies in its journal, for whoever comes next.
    subprocess.run([sys.executable, "-m", "mlops_nb.cli", "sync"], cwd=project, check=True, capture_output=True, timeout=60)
    store = open_store(f"sqlite:///{project}/.mlops/store.db", create=False)
    assert store is not None
    return store, store.search_runs(RunQuery()).items


def test_papermill_with_our_engine_knows_params_cells_outputs_and_keeps_the_notebook(project: Path) -> None:
    notebook(project, TRACKED)
    papermill("-p", "lr", "0.5")
    store, (run,) = stored(project)
    assert (run.name, run.status, run.tags["mlops.notebook"]) == ("trained", RunStatus.FINISHED, "train.ipynb")
    assert run.params == {"lr": "0.5", "depth": "3", "name": "x"}
    assert run.metrics["loss"].value == 0.1 and run.metrics["loss"].step == 4
    ledger = store.cells(run.run_id)
    assert [cell.cell_id for cell in ledger] == [None, "cell-2", "cell-3", "cell-4"]
    parameters, ledger = ledger[0], ledger[1:]
    assert parameters.source == "# Parameters\nlr = 0.5" and parameters.writes == ["lr"] and ledger[1].reads == ["lr"]
    assert next(cell for cell in ledger if cell.index == run.metrics["loss"].cell).source == TRACKED[3][1]
    assert run.tags["mlops.hygiene"] == "linear"
    assert "trained" in (ledger[1].outputs or "") and all(cell.outcome is CellOutcome.OK and cell.duration_ms > 0 for cell in ledger)
    executed = nbformat.reads(b"".join(store.read_artifact(run.run_id, "notebook/train.ipynb")).decode(), as_version=4)
    assert any("trained" in str(cell.get("outputs")) for cell in executed.cells)
    store.close()


def test_papermill_without_our_engine_still_tracks(project: Path) -> None:
    notebook(project, TRACKED)
    papermill("-p", "lr", "0.5", engine=False)
    store, (run,) = stored(project)
    assert run.status is RunStatus.FINISHED and run.metrics["loss"].value == 0.1 and run.params["lr"] == "0.5"
    assert [cell.source for cell in store.cells(run.run_id)] == ["# Parameters\nlr = 0.5", *(source for _, source in TRACKED[2:])]
    store.close()


def test_jupyter_execute_records_to_the_same_store(project: Path) -> None:
    notebook(project, TRACKED)
    execute("jupyter", "execute", "train.ipynb")
    store, (run,) = stored(project)
    assert run.status is RunStatus.FINISHED and run.metrics["loss"].step == 4
    store.close()


def test_plain_ipython_records_to_the_same_store(project: Path) -> None:
    (project / "train.ipy").write_text("\n".join(source for _, source in TRACKED))
    execute("IPython", "train.ipy")
    store, (run,) = stored(project)
    assert run.status is RunStatus.FINISHED and run.metrics["loss"].step == 4
    store.close()


def test_a_notebook_that_tracks_nothing_becomes_a_run(project: Path) -> None:
    notebook(project, PLAIN)
    papermill("-p", "lr", "0.25")
    store, (run,) = stored(project)
    assert (run.name, run.status, run.params) == ("train", RunStatus.FINISHED, {"lr": "0.25"})
    outputs = [cell.outputs for cell in store.cells(run.run_id)]
    assert outputs[-2:] == ["total 0.5", "0.5"]
    assert [a.path for a in store.list_artifacts(run.run_id, "notebook")] == ["notebook/train.ipynb"]
    store.close()


def test_a_notebook_without_a_parameters_cell_takes_parameters(project: Path) -> None:
    notebook(project, [(None, "%load_ext mlops_nb\n%track start r"), (None, "%track log m=lr\n%track stop")])
    papermill("-p", "lr", "0.5")
    store, (run,) = stored(project)
    assert run.status is RunStatus.FINISHED and run.metrics["m"].value == 0.5
    store.close()


@pytest.mark.parametrize("engine", [True, False])
@pytest.mark.parametrize(
    "cells",
    [
        pytest.param(
            [(None, "%load_ext mlops_nb\n%track start r\n%track log m=1"), (None, "raise ValueError('bad data')"), (None, "x = 1")],
            id="start",
        ),
        pytest.param([(None, "%load_ext mlops_nb"), (None, "%%track r\n%track log m=1\nraise ValueError('bad data')")], id="cell"),
    ],
)
def test_a_failing_cell_fails_the_run_and_papermill(project: Path, cells: list[Any], engine: bool) -> None:
    notebook(project, cells)
    done = papermill(engine=engine, expect=None)
    assert done.returncode != 0 and "bad data" in done.stderr
    store, (run,) = stored(project)
    assert run.status is RunStatus.FAILED and run.reason is not None and run.reason.startswith("ValueError: bad data in cell [")
    assert [cell.outcome for cell in store.cells(run.run_id)][-1] is CellOutcome.ERROR
    if engine:
        assert [a.path for a in store.list_artifacts(run.run_id, "notebook")] == ["notebook/train.ipynb"]
    store.close()


def test_a_failing_notebook_that_tracks_nothing_is_a_failed_run(project: Path) -> None:
    notebook(project, [(None, "x = 1"), (None, "1 / 0")])
    assert papermill(expect=None).returncode != 0
    store, (run,) = stored(project)
    assert run.status is RunStatus.FAILED and run.reason == "ZeroDivisionError: division by zero in cell [2]"
    store.close()


def test_a_kernel_that_dies_under_papermill_ends_the_run_with_the_cell(project: Path) -> None:
    notebook(project, [(None, "%load_ext mlops_nb\n%track start r\n%track log m=1"), (None, "import os; os.kill(os.getpid(), 9)")])
    assert papermill(expect=None).returncode != 0
    store, (run,) = stored(project)
    assert run.status is RunStatus.KILLED and run.metrics["m"].value == 1.0
    assert run.reason is not None and "died under papermill while cell [2] was running" in run.reason
    store.close()


def test_a_run_left_open_at_the_end_of_a_headless_notebook_is_finished(project: Path) -> None:
    notebook(project, [(None, "%load_ext mlops_nb\n%track start r\n%track log m=1")])
    papermill(engine=False)
    store, (run,) = stored(project)
    assert run.status is RunStatus.FINISHED
    store.close()


def test_secrets_in_the_source_are_not_stored(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "abcdef0123456789")
    source = "%load_ext mlops_nb\n%track start r"
    leaky = "api_key = 'sup3r-s3cret-value'\nprint('abcdef0123456789', 'AKIAABCDEFGHIJKLMNOP')\n%track stop"
    notebook(project, [(None, source), (None, leaky)])
    papermill()
    store, (run,) = stored(project)
    kept = "".join(f"{cell.source} {cell.outputs}" for cell in store.cells(run.run_id))
    for secret in ("sup3r-s3cret-value", "abcdef0123456789", "AKIAABCDEFGHIJKLMNOP"):
        assert secret not in kept
    assert kept.count("[redacted:") >= 3
    store.close()
    assert "sup3r-s3cret-value" not in "".join(p.read_text() for p in (project / ".mlops").rglob("*.jsonl"))


def test_capture_can_be_turned_down(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", "hash")
    notebook(
        project, [(None, "%load_ext mlops_nb\n%track start r"), (None, "x = 'private'"), ("skip-track", "y = 1"), (None, "%track stop")]
    )
    papermill()
    store, (run,) = stored(project)
    ledger = store.cells(run.run_id)
    assert [cell.source for cell in ledger] == ["", "", ""] and all(len(cell.source_hash) == 64 for cell in ledger)
    assert "cell-2" not in [cell.cell_id for cell in ledger]
    store.close()


def test_an_unwritable_state_folder_does_not_fail_a_cell(project: Path) -> None:
    (project / ".mlops").write_text("a file where the folder should be")
    notebook(project, TRACKED)
    papermill()
    assert os.path.isfile(project / ".mlops")
