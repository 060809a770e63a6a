"""Notebooks and cells on runners, as people ask for them: from Python, by magics, on the command line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from mlops_nb.core.runner_jobs import JobState
from mlops_nb.core.runners import AgentWish, RunnerState
from mlops_nb.errors import IllegalTransition, InvalidInput, NotFound, NotSupported
from mlops_nb.execution import kernel_state
from mlops_nb.fluent import runner_jobs
from mlops_nb.magics.runner_jobs import RunnerJobs, cells_of, jobs_text
from mlops_nb.runners.jobs.changing import cancel
from mlops_nb.runners.jobs.handle import JobFailed, RemoteJob
from mlops_nb.runners.jobs.work import work_at
from mlops_nb.runners.machine.site import Site
from tests.runners.jobs.conftest import World, wait_for, write_notebook

ROOT = Path(__file__).parents[3]


def command(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server_ext")]), "PASSWORD_OF_CI": "not-for-jobs"}
    return subprocess.run(
        [sys.executable, "-m", "mlops_nb.cli", "runner", *words],
        capture_output=True, text=True, cwd=world.folder, env=environment, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_line_executes_a_notebook_in_a_fresh_process_and_brings_it_back(world: World) -> None:
    (world.folder / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    notebook = write_notebook(
        world.folder / "train.ipynb",
        "import os, helper\nprint(helper.double(lr), os.environ.get('PASSWORD_OF_CI'))",
        "skipped = True",
        "open('made.txt', 'w').write('here'); print('skipped' in globals())",
        parameters="lr = 1",
    )
    before = notebook.read_bytes()
    done = command(world, "run", "train.ipynb", "-p", "lr=21", "--json", "--cells", "1..4")
    assert done.returncode == 0, done.stderr
    job = runner_jobs.job(json.loads(done.stdout)["id"])
    assert [output.text for output in job.outputs()] == ["42 None\n", "True\n"]
    assert job.files() == ["made.txt"] and not (world.folder / "made.txt").exists()
    assert notebook.read_bytes() == before
    assert (world.folder / f"train-{job.id[:8]}.ipynb").is_file()
    assert job.run().params["lr"] == "21"
    runner = world.ledger.get(job.job.runner_id)
    assert runner.state is RunnerState.GONE and list((world.folder / ".mlops" / "runners").iterdir()) == []
    assert "cell 5/5" in job.logs()[0] or "cell 4/4" in job.logs()[0]
    listed = command(world, "jobs", "--all")
    assert "train" in listed.stdout and "done" in listed.stdout


def test_a_kernel_in_an_environment_of_the_lock_still_tracks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(world.folder / "cache"))
    cells = ("import sys; print(sys.prefix)", "import mlops_nb\nwith mlops_nb.start_run('inner') as run:\n    run.log(a=1)")
    job = runner_jobs.submit_notebook(write_notebook(world.folder / "n.ipynb", *cells), env="lock")
    assert job.outputs()[0].text.startswith(str(world.folder / "cache" / "mlops_nb" / "job-environments"))
    assert world.child(job.job, "inner").metrics["a"].value == 1
    assert job.job.cell == 2


def test_a_job_that_fails_says_where_and_its_notebook_comes_back_all_the_same(world: World) -> None:
    notebook = write_notebook(world.folder / "bad.ipynb", "x = 1", "raise ValueError('too bad')")
    with pytest.raises(JobFailed, match=r"ValueError: too bad in cell 2 of 2"):
        runner_jobs.submit_notebook(notebook)
    (executed,) = world.folder.glob("bad-*.ipynb")
    assert "too bad" in executed.read_text()
    (job,) = runner_jobs.jobs(everything=True)
    assert job.state is JobState.FAILED
    assert world.store.get_run(job.run_id).reason == "ValueError: too bad in cell 2 of 2"


def test_a_job_that_runs_is_cancelled_and_the_machine_takes_the_next_one(world: World) -> None:
    long = world.submit(write_notebook(world.folder / "long.ipynb", "import time; time.sleep(600)"))
    quick = world.submit(write_notebook(world.folder / "quick.ipynb", "1"))
    waiting = world.submit(write_notebook(world.folder / "waiting.ipynb", "1"))
    assert cancel(world.ledger, waiting.id).state is JobState.CANCELLED  # at once, as it has not begun
    work = world.work(single=False)
    wait_for(lambda: world.ledger.job(long.id).cell == 1, "it runs")
    cancel(world.ledger, long.id)
    wait_for(lambda: world.ledger.job(quick.id).state is JobState.DONE, "the next one is done")
    assert world.ledger.job(long.id).state is JobState.CANCELLED
    with pytest.raises(IllegalTransition):
        cancel(world.ledger, quick.id)
    work.drain()
    wait_for(lambda: work.poll().finished, "it has drained")
    assert work.poll().jobs == 2


class _Shell:
    """As much of a shell as the magic needs."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.user_ns = variables

    def ev(self, expression: str) -> Any:
        return eval(expression, self.user_ns)


def test_a_cell_runs_there_and_its_names_come_back(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    variables: dict[str, Any] = {"np": np, "X": np.arange(4.0), "__name__": "__main__"}
    exec("def scaled(x):\n    return x * factor\nfactor = 3", variables)
    shell = _Shell(variables)
    with pytest.raises(InvalidInput, match="--in X"):
        RunnerJobs(shell).cell("--out total", "total = scaled(np.sum(X))")
    RunnerJobs(shell).cell("--in X,factor --out total,again", "print('there'); total = scaled(np.sum(X))\nagain = lambda: scaled(1)")
    assert variables["total"] == 18.0
    assert "there\n" in capsys.readouterr().out
    variables["factor"] = 5
    assert variables["again"]() == 5  # what comes back lives in this notebook


def test_names_that_cannot_come_back_or_be_sent_are_named(world: World) -> None:
    with pytest.raises(InvalidInput, match="`gen` cannot be sent"):
        runner_jobs.prepare_cell("next(gen)", {"gen": (x for x in [1])}, ["gen"])
    with pytest.raises(InvalidInput, match="no variable `nope`"):
        runner_jobs.prepare_cell("nope", {}, ["nope"])
    found = kernel_state.save_values({"a": 1, "g": (x for x in [1])}, ["a", "g", "none"], world.folder / "values", limit=1 << 20)
    assert found["a"].problem == "" and "pickle" in found["g"].problem and "not given" in found["none"].problem


def test_the_variables_of_a_notebook_are_the_same_in_another_one(tmp_path: Path) -> None:
    first, second = InteractiveShell(), InteractiveShell()
    first.run_cell(
        "shared = [1]\nalso = shared\nlr = 1\ndef rate():\n    return lr\nclass Thing:\n    pass\nthing = Thing()\ng = (x for x in [1])"
    )
    saved = kernel_state.save(first, tmp_path / "state", limit=1 << 20)
    assert list(saved.left_out) == ["g"] and saved.size > 0
    kernel_state.restore(second, tmp_path / "state")
    names = second.user_ns
    assert names["shared"] is names["also"] and isinstance(names["thing"], names["Thing"])
    second.run_cell("lr = 2")
    assert names["rate"]() == 2  # the function sees this notebook, not a copy of the other one
    with pytest.raises(kernel_state.TooLarge):
        kernel_state.save(first, tmp_path / "small", limit=10)
    assert not list(tmp_path.glob("small*"))
    (tmp_path / "broken").write_bytes(b"\x80\x04K")
    with pytest.raises(InvalidInput):
        kernel_state.restore(second, tmp_path / "broken")


def test_what_cannot_be_is_said_with_what_to_do(world: World) -> None:
    notebook = write_notebook(world.folder / "n.ipynb", "1")
    work = runner_jobs.prepare(notebook)
    for options, kind, says in (
        ({"detach": True}, InvalidInput, "--on local"),
        ({"on": "nobody"}, NotFound, "There is no runner"),
        ({"cells": (2, 9)}, InvalidInput, "1..1"),
        ({"env": "other"}, InvalidInput, "auto, own or lock"),
    ):
        with pytest.raises(kind, match=says):
            runner_jobs.run(work, **options)  # type: ignore[arg-type]
    assert runner_jobs.jobs(everything=True) == []
    assert cells_of("3..7") == (3, 7) and cells_of("3") == (3, 3) and cells_of(None) is None
    with pytest.raises(InvalidInput):
        cells_of("a..b")
    with pytest.raises(NotFound):
        runner_jobs.job("none")
    site = Site(
        runner_id="a" * 32, name="n", agent=AgentWish(), secret=b"", store=None, folder=world.folder, user="", log=print, environment={}
    )
    with pytest.raises(NotSupported, match="tracking server"):
        work_at(site)


def test_jobs_are_shown_on_one_line_each_whatever_they_are_called(world: World) -> None:
    job = world.submit(write_notebook(world.folder / "n.ipynb", "1"), name="<b>na\u001b[31mme</b>")
    found = RemoteJob(world.ledger, world.store, job)
    assert "queued" in found.status_line() and "<b>" not in found._repr_mimebundle_()["text/html"]
    assert len(jobs_text([job]).splitlines()) == 2 and "\u001b" not in jobs_text([job])
    assert jobs_text([]).startswith("No jobs.")
    assert nbformat.reads(io.StringIO((world.folder / "n.ipynb").read_text()).read(), as_version=4).cells
