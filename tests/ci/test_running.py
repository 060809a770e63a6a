"""`mlops-nb ci run` on real notebooks in a real repository: baselines, gates, what goes wrong, and what is left then."""

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

from mlops_nb.core.records import TAG_CI_DEFAULT_BRANCH, TAG_CI_EVENT, TAG_CI_GATES, TAG_GIT_BRANCH, TAG_GIT_COMMIT, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.reports.pull_request.data import PullRequestReport, read
from mlops_nb.store.base import RunQuery
from mlops_nb.store.open import open_store
from tests.ci.conftest import Cli, command, commit, git, notebook

SCORED = (
    "# parameters\nscore = 0.9",
    "import mlops_nb\nwith mlops_nb.start_run('scored') as run:\n    run.log(val_auc=score, loss=1 - score)",
)
TOKEN = "ghs_" + "0123456789abcdefghijklmnopqrstuvwxyz"
GATES = "gates:\n  - {metric: val_auc, direction: maximize, tolerance: 0.01, min: 0.5}\n"


def stored(folder: Path) -> list[Run]:
    store = open_store(f"sqlite:///{folder}/.mlops/store.db", create=False)
    assert store is not None
    try:
        return store.search_runs(RunQuery(lifecycle_stage=None)).items
    finally:
        store.close()


def reported(folder: Path) -> PullRequestReport:
    return read((folder / "report.json").read_bytes())


def write_gates(folder: Path) -> None:
    (folder / ".mlops").mkdir(exist_ok=True)
    (folder / ".mlops" / "gates.yml").write_text(GATES)


def test_a_branch_is_judged_by_the_last_run_of_main_and_its_kernel_sees_no_token(repository: Path, ci: Cli) -> None:
    notebook(repository, *SCORED, "import os\nprint(dict(os.environ))\nprint(open(f'/proc/{os.getppid()}/environ').read())")
    write_gates(repository)
    head = commit(repository)
    secret = {"GITHUB_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": TOKEN, "PROBE": "seen"}
    done = ci("run", "train.ipynb", "--pass-env", "PROBE", env=secret)
    assert "The notebooks get these variables besides the harmless ones: PROBE" in done.stderr
    assert "train.ipynb  cell 3/3" in done.stderr and "wrote report.md" in done.stdout
    (run,) = stored(repository)
    assert (run.tags[TAG_GIT_COMMIT], run.tags[TAG_GIT_BRANCH], run.tags[TAG_CI_DEFAULT_BRANCH]) == (head, "main", "main")
    executed = (repository / ".mlops" / "ci" / "train.ipynb").read_text()
    assert TOKEN not in executed and "'PROBE': 'seen'" in executed and "MLOPS_NB_TRACKING_URI" in executed
    assert sorted(git(repository, "status", "--porcelain").split()) == ["??", "??", "report.json", "report.md"]

    git(repository, "checkout", "--quiet", "-b", "feature")
    out = repository / "outputs"
    env = {"GITHUB_OUTPUT": str(out), "GITHUB_STEP_SUMMARY": str(repository / "summary.md")}
    done = ci("run", "train.ipynb", "-p", "score", "0.7", "--html", "--json", "--summary", expect=1, env=env)
    result = json.loads(done.stdout)
    assert result["verdict"] == "fail" and result["notebooks"][0]["baseline"].startswith("run scored (")
    (gate,) = result["notebooks"][0]["gates"]
    assert (gate["outcome"], gate["base"], gate["value"]) == ("fail", 0.9, 0.7)
    (part,) = reported(repository).notebooks
    assert part.verdict == "worse" and part.baseline is not None and part.baseline.commit == head and part.failure is None
    assert part.machine.duration_ms and part.machine.base_duration_ms and (part.machine.peak_memory or 0) > 10_000_000
    assert any("score = 0.7" in cell.diff for cell in part.cells), "cells are known though the notebook loads no extension"
    assert (repository / "report.md").read_text() == (repository / "summary.md").read_text()
    assert "a gate fails" in (repository / "report.md").read_text() and (repository / "report.html").stat().st_size > 2_000
    assert "verdict=fail\nexit-code=1\nreport=" in out.read_text()
    assert TAG_CI_DEFAULT_BRANCH not in stored(repository)[0].tags and stored(repository)[0].tags[TAG_CI_GATES] == "failed"


@pytest.mark.slow
def test_files_beside_a_notebook_are_its_modules_and_not_ours(repository: Path, ci: Cli) -> None:
    (repository / "papermill.py").write_text("raise SystemExit('taken from the folder of the notebook')")
    (repository / "churn.py").write_text("rows = 42")
    notebook(repository, "import churn\nassert churn.rows == 42")
    commit(repository)
    ci("run", "train.ipynb", expect=0)


def test_each_way_to_fail_has_its_exit_status_and_the_report_names_the_cell(repository: Path, ci: Cli) -> None:
    fails_path = notebook(repository, "", "x = 1", f"raise ValueError('no {TOKEN}')", "never = 1", name="fails.ipynb")
    notebook(repository, "x = 1", "print('so far')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", name="sub/dies.ipynb")
    notebook(repository, "x = 1", "import time\nprint('so far', flush=True)\ntime.sleep(60)", name="slow.ipynb")
    commit(repository)
    done = ci(
        "run",
        "fails.ipynb",
        "sub/dies.ipynb",
        "slow.ipynb",
        "--cell-timeout",
        "4",
        expect=5,
        env={"GITHUB_TOKEN": TOKEN, "GITHUB_ACTIONS": "true"},
    )
    parts = {part.key: part for part in reported(repository).notebooks}
    fails, dies, slow = (parts[name].failure for name in ("fails.ipynb", "sub/dies.ipynb", "slow.ipynb"))
    assert fails is not None and fails.cell == 2 and fails.reason.startswith("ValueError: no ")
    line = next(n for n, text in enumerate(fails_path.read_text().splitlines(), start=1) if "raise ValueError" in text)
    assert f"::error file=fails.ipynb,line={line},title=fails.ipynb%3A cell 2::failed: ValueError: no" in done.stderr
    assert all(part.machine.is_fresh is None for part in parts.values()), "none ran from top to bottom"
    assert "raise ValueError" in fails.source and "ValueError" in fails.traceback
    assert dies is not None and dies.cell == 3 and dies.reason.startswith("the kernel died in cell 3 of 3")
    assert slow is not None and slow.cell == 2 and "longer than it may" in slow.reason and "--cell-timeout" in slow.hint
    by_notebook = {run.notebook: run for run in stored(repository)}
    assert {name: run.status for name, run in by_notebook.items()} == {
        "fails.ipynb": RunStatus.FAILED,
        "sub/dies.ipynb": RunStatus.KILLED,
        "slow.ipynb": RunStatus.FAILED,
    }
    everything = done.stdout + done.stderr + (repository / "report.md").read_text() + (repository / "report.json").read_text()
    assert TOKEN not in everything
    assert "so far" in (repository / ".mlops" / "ci" / "sub" / "dies.ipynb").read_text()
    assert "✗ slow.ipynb timed out in cell 2 of 2" in done.stderr


def sleeping(folder: Path) -> Path:
    return notebook(folder, *SCORED, "import time, pathlib\nprint('so far', flush=True)\npathlib.Path('begun').touch()\ntime.sleep(120)")


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `ci run` and return when the notebook is in the cell that sleeps."""
    process = subprocess.Popen(
        command("run", "train.ipynb", *arguments), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_until(lambda: (folder / "begun").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    return process


def wait_until(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def kernels_of(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and int(process.name) != os.getpid():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_leaves_report_run_and_notebook_within_seconds_and_no_process(repository: Path, number: signal.Signals) -> None:
    sleeping(repository)
    commit(repository)
    process = started(repository)
    began = time.monotonic()
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    took = time.monotonic() - began
    assert process.returncode == 128 + number, output
    assert took < 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), f"{took:.1f} s"
    (part,) = reported(repository).notebooks
    assert part.failure is not None and part.failure.cell == 3 and part.failure.reason == f"stopped by {number.name} in cell 3 of 3"
    assert "so far" in (repository / ".mlops" / "ci" / "train.ipynb").read_text()
    assert stored(repository)[0].status is RunStatus.FINISHED and "mlops.ci" in stored(repository)[0].tags
    wait_until(lambda: not kernels_of(repository), 20)


@pytest.mark.slow
def test_the_time_for_all_ends_a_notebook_and_those_after_it_do_not_begin(repository: Path, ci: Cli) -> None:
    notebook(repository, "x = 1", "import time\ntime.sleep(200)")
    notebook(repository, "x = 1", name="next.ipynb")
    commit(repository)
    began = time.monotonic()
    ci("run", "train.ipynb", "next.ipynb", "--timeout", "45", expect=4)
    assert time.monotonic() - began < 100
    first, second = (part.failure for part in reported(repository).notebooks)
    assert first is not None and first.cell == 2 and "the time for all of it was over" in first.reason
    assert second is not None and second.reason == "not run: the time for all of it was over"
    (run,) = stored(repository)
    assert run.status is RunStatus.KILLED and "the time for all of it was over" in (run.reason or "")


@pytest.mark.slow
def test_main_is_run_again_in_a_tree_of_its_own(repository: Path, ci: Cli) -> None:
    (repository / "helper.py").write_text("SCORE = 0.9\n")
    notebook(
        repository,
        "# parameters\nshift = 0.0",
        "import helper, mlops_nb\nmlops_nb.start_run('r')\nmlops_nb.log_metric('val_auc', helper.SCORE + shift)",
    )
    write_gates(repository)
    main = commit(repository)
    git(repository, "checkout", "--quiet", "-b", "feature")
    (repository / "helper.py").write_text("SCORE = 0.8\n")
    commit(repository)
    (repository / "helper.py").write_text("SCORE = 0.6  # not committed\n")
    env = {"PYTHONPATH": os.pathsep.join([str(repository), os.environ["PYTHONPATH"]])}
    done = ci("run", "train.ipynb", "--baseline", "rerun", "-p", "shift", "0.01", expect=1, env=env)
    (part,) = reported(repository).notebooks
    (metric,) = part.metrics
    assert (metric.base, metric.this) == (0.91, 0.61)
    assert part.baseline is not None and part.baseline.commit == main and "run again in this job" in part.baseline.words
    assert "main:train.ipynb  cell" in done.stderr
    assert (repository / "helper.py").read_text() == "SCORE = 0.6  # not committed\n"
    assert git(repository, "worktree", "list").count("\n") == 0
    events = {run.tags.get(TAG_CI_EVENT, ""): run for run in stored(repository)}
    assert events["baseline"].status is RunStatus.FINISHED and TAG_CI_DEFAULT_BRANCH not in events["baseline"].tags


@pytest.mark.slow
def test_main_that_fails_when_it_is_run_again_is_said_and_bounds_still_apply(repository: Path, ci: Cli) -> None:
    notebook(repository, "1 / 0")
    write_gates(repository)
    commit(repository)
    git(repository, "checkout", "--quiet", "-b", "feature")
    notebook(repository, *SCORED)
    commit(repository)
    ci("run", "train.ipynb", "--baseline", "rerun", "-p", "score", "0.4", expect=1)
    (part,) = reported(repository).notebooks
    assert part.baseline is not None and "main could not be run again: it failed in cell 2: ZeroDivisionError" in part.baseline.words
    assert part.metrics[0].gates[0].reason == "'val_auc' is 0.4000, below 0.5000."


@pytest.mark.slow
def test_a_committed_baseline_serves_where_the_store_is_not_shared(repository: Path, ci: Cli) -> None:
    notebook(repository, *SCORED)
    write_gates(repository)
    commit(repository)
    ci("run", "train.ipynb")
    assert "train.ipynb: run scored (" in ci("baseline", "write").stdout
    commit(repository)
    assert git(repository, "ls-files", ".mlops").split() == [".mlops/baseline.json", ".mlops/gates.yml"]
    clone = repository.parent / "clone"
    git(repository, "clone", "--quiet", str(repository), str(clone))
    done = subprocess.run(command("run", "train.ipynb", "-p", "score", "0.8"), cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (part,) = reported(clone).notebooks
    assert part.baseline is not None and part.baseline.words.startswith("baseline.json: run scored of main")
    assert {metric.key: metric.base for metric in part.metrics} == {"val_auc": 0.9, "loss": pytest.approx(0.1)}


@pytest.mark.slow
@pytest.mark.parametrize("k", range(1, 21))
def test_a_kernel_that_dies_in_any_cell_is_found_in_that_cell(repository: Path, ci: Cli, k: int) -> None:
    cells = [f"import os, signal\nprint('cell {n}')" + ("\nos.kill(os.getpid(), signal.SIGKILL)" if n == k else "") for n in range(1, 21)]
    notebook(repository, *cells)
    commit(repository)
    ci("run", "train.ipynb", expect=5)
    (part,) = reported(repository).notebooks
    assert part.failure is not None and part.failure.cell == k
    (run,) = stored(repository)
    assert run.status is RunStatus.KILLED
    executed = nbformat.read(repository / ".mlops" / "ci" / "train.ipynb", as_version=4)
    shown = [n for n, cell in enumerate(executed.cells, start=1) if any(f"cell {n}" in str(o) for o in cell.get("outputs", []))]
    assert shown == list(range(1, k)) or shown == list(range(1, k + 1))


@pytest.mark.slow
def test_a_cell_that_uses_up_the_memory_and_a_process_that_is_killed_are_told_apart(repository: Path, ci: Cli) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))"
    notebook(repository, limit, "data = bytearray(8 << 30)")
    notebook(repository, "x = 1", "import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)", name="orphan.ipynb")
    commit(repository)
    ci("run", "train.ipynb", "orphan.ipynb", expect=5)
    memory, orphan = (part.failure for part in reported(repository).notebooks)
    assert memory is not None and memory.cell == 2 and memory.reason.startswith("MemoryError")
    assert orphan is not None and orphan.cell == 2 and "the process that executes was ended by SIGKILL in cell 2 of 2" in orphan.reason
    statuses = {run.notebook: run.status for run in stored(repository)}
    assert statuses == {"train.ipynb": RunStatus.FAILED, "orphan.ipynb": RunStatus.KILLED}
    wait_until(lambda: not kernels_of(repository), 20)


@pytest.mark.slow
def test_an_unknown_kernel_and_a_store_that_does_not_answer_are_said(repository: Path, ci: Cli) -> None:
    notebook(repository, "x = 1")
    done = ci("run", "train.ipynb", "-k", "no-such-kernel", expect=3)
    (part,) = reported(repository).notebooks
    assert part.failure is not None and "No such kernel named no-such-kernel" in part.failure.reason and "--kernel" in part.failure.hint
    assert "could not be run" in done.stderr
    done = ci("run", "train.ipynb", expect=6, env={"MLOPS_NB_TRACKING_URI": "http://127.0.0.1:9/mlops"})
    assert done.stderr.startswith("✗ ") and "127.0.0.1:9" in done.stderr and done.stderr.count("\n") == 1


def test_wrong_usage_is_one_line_and_status_2(repository: Path, ci: Cli) -> None:
    notebook(repository, "1")
    (repository / "gates.yml").write_text("gates:\n- metrc: a\n")
    done = ci("run", "train.ipynb", "--gates", "gates.yml", expect=2)
    assert done.stderr == "✗ gates.yml, line 2: A gate has no 'metrc'. Did you mean 'metric'?\n"
    assert ci("baseline", "write", expect=1).stderr.startswith("✗ Nothing has been recorded")


def test_help_of_ci_run_comes_without_loading_anything_heavy() -> None:
    program = (
        "import sys\nfrom mlops_nb import cli\ntry:\n    cli.commands(['ci', 'run', '--help'])\n"
        "except SystemExit:\n    pass\nprint(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.strip("[]' ").split(".")[0] for name in done.stdout.splitlines()[-1].split(",")}
    assert "Exit status" in done.stdout and loaded & {"papermill", "numpy", "nbformat", "rich", "sqlalchemy", "yaml"} == set()
