"""`mlops-nb runner` as somebody meets it in a terminal: what ends early, cannot be written or is not there is said plainly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """A function that starts a command in a project of its own, without a server."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").touch()
    cells = [nbformat.v4.new_code_cell("import time"), nbformat.v4.new_code_cell("for _ in range(600):\n    time.sleep(0.1)")]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), project / "long.ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=cells[:1], metadata={"kernelspec": kernel}), project / "short.ipynb")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MLOPS_NB_", "JUPYTER_", "JPY_", "AWS_"))}
    environment = {**kept, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}

    def start(*words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "mlops_nb.cli", "runner", *words]
        return subprocess.Popen(argv, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def answer(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=100)
    return process.returncode, out + err


@pytest.mark.parametrize("word", ["SIGINT", "SIGTERM"])
def test_a_notebook_that_is_broken_off_leaves_a_cancelled_job_and_no_runner(command: Command, word: str) -> None:
    running = command("run", "long.ipynb")
    assert running.stderr is not None
    deadline = time.monotonic() + 60
    while "cell 2/2" not in (line := running.stderr.readline()):
        assert line and time.monotonic() < deadline
    running.send_signal(getattr(signal, word))
    status, text = answer(running)
    assert status == 1 and "The job 'long' is cancelled" in text
    (job,) = json.loads(answer(command("jobs", "--all", "--json"))[1])
    assert job["state"] == "cancelled"
    assert json.loads(answer(command("list", "--json"))[1]) == []


def test_a_notebook_that_cannot_come_back_beside_the_original_is_said_to_be_with_its_run(command: Command, tmp_path: Path) -> None:
    class Full:
        run_id = "f" * 32

        def fetch_notebook(self) -> Path:
            raise OSError(30, "Read-only file system", ".short.partial")

    from mlops_nb.core.runner_jobs import JobState
    from mlops_nb.fluent import runner_jobs

    Full.state = JobState.DONE  # type: ignore[attr-defined]
    told: list[str] = []
    runner_jobs._brought_back(Full(), told.append, is_cell=False)  # type: ignore[arg-type]
    assert "Read-only file system. It is with its run" in told[0]
    assert told[1].split()[-4:] == ["-a", "runner/executed.ipynb", "-d", "FOLDER"]


def test_words_that_lead_nowhere_say_where_to_go_in_a_terminals_words(command: Command) -> None:
    status, text = answer(command("run", "short.ipynb", "--on", "nope"))
    assert status == 1 and "mlops-nb runner launch --for notebooks --on aws" in text and "%runner" not in text
    assert answer(command("down", "--all")) == (0, "Nothing is alive.\n")
    status, text = answer(command("estimate", "--on", "local"))
    assert status == 0 and "this machine" in text and "spot" not in text
    status, text = answer(command("launch", "--for", "notebooks", "--cloud", "local", "--dry-run"))
    assert status == 0 and "1.  this machine" in text and "local" not in text
