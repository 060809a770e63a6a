"""Many who log to one run: processes, forked workers, threads; and a disk that takes no journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store
from tests.durability.figures import report
from tests.team import TOKEN, TeamProcess


def store_of(project: Path) -> TrackingStore:
    store = open_store(f"sqlite:///{project}/.mlops/store.db")
    assert store is not None
    return store


def program(code: str, *arguments: str, timeout: float = 120, **variables: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_CROWD = """
import multiprocessing, sys, threading
import mlops_nb

def work(number, count=200):
    for step in range(count):
        run.log_metric(f"{kind}-{number}", float(step), step)

run = mlops_nb.start_run("crowd")
kind = "child"
children = [multiprocessing.get_context("fork").Process(target=work, args=(i,)) for i in range(8)]
for child in children: child.start()
for child in children: child.join()
kind = "thread"
threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
for thread in threads: thread.start()
for thread in threads: thread.join()
run.stop(timeout=60)
print(run.run_id)
"""


def test_eight_children_and_thirty_two_threads_keep_all_points_in_order(project: Path) -> None:
    run_id = program(_CROWD)
    store = store_of(project)
    found = store.get_run(run_id)
    lost = unordered = 0
    for kind, count in (("child", 8), ("thread", 32)):
        for number in range(count):
            steps = [point.step for point in store.metric_history(run_id, f"{kind}-{number}").items]
            lost += 200 - len(steps)
            unordered += steps != list(range(200))
    store.close()
    report("8 children, 32 threads", 40 * 200, lost=lost, unordered=unordered)
    assert (lost, unordered, found.status) == (0, 0, RunStatus.FINISHED)
    assert not list((project / ".mlops" / "journal").iterdir())


_WORKERS = """
import os, signal, sys
import mlops_nb
run = mlops_nb.start_run("loader")
for epoch in range(int(sys.argv[1])):
    pids = []
    for worker in range(4):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            if worker == 0:
                run.log_metric("worker", 1.0, epoch)
            os._exit(0)
        pids.append(pid)
        run.log_metric("loss", 1.0, epoch * 4 + worker)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
run.stop(timeout=60)
print(run.run_id)
"""


def _fork_workers(project: Path, epochs: int) -> None:
    run_id = program(_WORKERS, str(epochs), timeout=900)
    store = store_of(project)
    kept = {key: len(store.metric_history(run_id, key).items) for key in ("worker", "loss")}
    status = store.get_run(run_id).status
    store.close()
    report(f"{4 * epochs} forked workers", 5 * epochs, lost=5 * epochs - sum(kept.values()))
    assert kept == {"worker": epochs, "loss": 4 * epochs} and status is RunStatus.FINISHED


def test_workers_that_are_forked_each_epoch_hang_neither_themselves_nor_the_run(project: Path) -> None:
    _fork_workers(project, 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_forked_workers_never_hang(project: Path) -> None:
    _fork_workers(project, 250)


_PARTNER = """
import sys, time
import mlops_nb
run = mlops_nb.start_run(resume=sys.argv[1])
print("open", flush=True)
for step in range(500):
    run.log_metric(sys.argv[2], float(step), step)
    run.log_metric("both", step + len(sys.argv[2]) / 100, step)  # equal points of one moment are one point
    time.sleep(0.0005)
run.stop(timeout=60)
"""


def test_two_processes_on_one_run_keep_the_points_of_both(project: Path) -> None:
    run_id = program("import mlops_nb\nrun = mlops_nb.start_run('shared')\nrun.stop(timeout=60)\nprint(run.run_id)")
    commands = [[sys.executable, "-c", _PARTNER, run_id, name] for name in ("first", "second")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    store = store_of(project)
    kept = {key: len(store.metric_history(run_id, key).items) for key in ("first", "second", "both")}
    status = store.get_run(run_id).status
    store.close()
    report("two processes, one run", 2000, lost=2000 - sum(kept.values()))
    assert kept == {"first": 500, "second": 500, "both": 1000} and status is RunStatus.FINISHED


# -- no place for the journal

_WITHOUT_JOURNAL = """
import json, logging, time
import mlops_nb
from mlops_nb.tracking import session
told = []
class Told(logging.Handler):
    def emit(self, record): told.append(record.getMessage())
logging.getLogger("mlops_nb").addHandler(Told(logging.WARNING))
run = mlops_nb.start_run("homeless")
for step in range(2000):
    run.log_metric("m", float(step), step)
for number in range(5):
    run.log_text("x" * 100_000, f"{number}.txt")
run.log_param("p", 1)
run.stop(timeout=60)
print(json.dumps({"run_id": run.run_id, "told": told}))
"""


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A function that makes a small file system, full or read-only."""
    made: list[Path] = []

    def make(kind: str) -> Path:
        place = tmp_path / f"small-{len(made)}"
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=False, capture_output=True).returncode:
            pytest.skip("this machine does not let tests mount a file system")
        made.append(place)
        (place / "pyproject.toml").touch()
        if kind == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        else:
            with (place / "filler").open("wb", buffering=0) as filler:
                try:
                    while filler.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
        return place

    yield make
    for place in made:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_training_goes_on_without_a_place_for_the_journal_and_one_warning_says_why(
    project: Path, tmp_path: Path, team: TeamProcess, mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = mounted(kind)
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(place)
    variables = {
        "HOME": str(place),
        "TMPDIR": str(tmp_path / "temporary"),
        "MLOPS_NB_TRACKING_URI": team.url,
        "MLOPS_NB_TRACKING_TOKEN": TOKEN,
    }
    answer = json.loads(program(_WITHOUT_JOURNAL, **variables))
    run = team.request("GET", f"/api/v1/runs/{answer['run_id']}").json()["run"]
    total = team.request("GET", f"/api/v1/runs/{answer['run_id']}/series").json()["series"][0]["total"]
    report(f"journal's disk {kind}", 2000, lost=2000 - total, told=answer["told"])
    assert total == 2000 and run["status"] == "FINISHED" and run["params"] == {"p": "1"}
    about_files = [text for text in answer["told"] if "artifact" in text]
    others = [text for text in answer["told"] if text not in about_files]
    if kind == "full":
        cause = "No space left on device"
        assert len(others) == 1 and "journal" in others[0] and cause in others[0]
        assert len(about_files) == 1 and cause in about_files[0]
    else:  # there is another place for the journal, which takes files too
        assert about_files == [] and len(others) == 1 and f"{place} cannot be written; its runs are kept in" in others[0]
