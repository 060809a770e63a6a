"""`mlops-nb track`: every verb that is about what is stored, with the same names as `%track`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner, Result

import mlops_nb
from mlops_nb.cli import commands
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    for name in ("MLOPS_NB_TRACKING_URI", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sessions, "current", Session())
    with mlops_nb.start_run("first", params={"lr": 0.1}) as run:
        run.log(acc=0.5)
    yield lambda *arguments: CliRunner().invoke(commands, ["track", *map(str, arguments)])
    sessions.current.close()


def text_of(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def test_runs_are_archived_deleted_and_brought_back(invoke: Invoke) -> None:
    run_id = mlops_nb.get_run("first").run_id
    text_of(invoke("archive", "first"))
    assert "first" not in text_of(invoke("ls")) and "first" in text_of(invoke("ls", "--archived"))
    text_of(invoke("archive", "first", "--undo"))
    text_of(invoke("note", "first", "so *good*"))
    text_of(invoke("tag", "first", "stage=dev", "baseline"))
    text_of(invoke("delete", "first"))
    assert json.loads(text_of(invoke("ls", "--json"))) == []
    text_of(invoke("restore-run", run_id[:8]))
    tags = mlops_nb.get_run("first").tags
    assert (tags["stage"], tags["baseline"], tags["mlflow.note.content"]) == ("dev", "true", "so *good*")


def test_a_run_is_shown_by_tab_and_shared(invoke: Invoke, tmp_path: Path) -> None:
    assert "lr     0.1" in text_of(invoke("show", "first", "--tab", "params"))
    assert isinstance(invoke("show", "first", "--tab", "parms").exception, InvalidInput)
    assert "wrote out.html" in text_of(invoke("share", "first", "--static", "out.html"))
    assert "first" in (tmp_path / "out.html").read_text()
    assert isinstance(invoke("share", "first", "--static", "out.pdf").exception, InvalidInput)


def test_a_notebook_is_checked_and_the_exit_status_says_the_result(invoke: Invoke, tmp_path: Path) -> None:
    for name, cells in (("good", ["a = 1", "b = a"]), ("bad", ["b = a", "a = 1"])):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), tmp_path / f"{name}.ipynb")
    assert "no problems" in text_of(invoke("check", "good.ipynb"))
    result = invoke("check", "bad.ipynb", "--json")
    assert result.exit_code == 1 and json.loads(result.output)["findings"]
    assert isinstance(invoke("check", "none.ipynb").exception, NotFound)
    assert isinstance(invoke("restore", "first").exception, InvalidInput)  # it has no cells
    assert invoke("reproduce", "first", "--tol", "acc").exit_code == 2


def test_privacy_is_told(invoke: Invoke) -> None:
    assert "capture: source" in text_of(invoke("privacy"))
