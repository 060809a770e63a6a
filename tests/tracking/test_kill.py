"""`kill -9` at random moments: what a log call accepted is in the store afterwards, exactly once and bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.open import open_store
from mlops_nb.tracking.recovery import recover
from tests.durability import figures

_LOGGER = """
import os, sys, time, random
import mlops_nb
pause = float(sys.argv[2])
run = mlops_nb.start_run(sys.argv[3])
side = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
values = random.Random(1)
step = 0
while True:
    value = values.gauss(0, 1)
    run.log_metric("m", value, step)
    os.write(side, f"{step} {value.hex()}\\n".encode())
    step += 1
    if pause: time.sleep(pause)
"""


def _kill_some(folder: Path, numbers: Sequence[int], pauses: Sequence[float], chance: random.Random) -> dict[str, int]:
    """Start loggers, kill each at a moment of its own, and return their process ids by the name of the run.

    They pause between two points as long (s) as `pauses` say, in turn.
    """
    processes = {}
    for number in numbers:
        command = [sys.executable, "-c", _LOGGER, str(folder / f"side-{number}"), str(pauses[number % len(pauses)]), f"victim-{number}"]
        processes[number] = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    due = {}
    while processes.keys() - due.keys() or any(process.poll() is None for process in processes.values()):
        assert time.monotonic() < deadline
        for number, process in processes.items():
            side = folder / f"side-{number}"
            if number not in due and side.exists() and side.stat().st_size:
                due[number] = time.monotonic() + chance.uniform(0.0, 0.8)
            if number in due and process.poll() is None and time.monotonic() >= due[number]:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
        time.sleep(0.002)
    return {f"victim-{number}": process.pid for number, process in processes.items()}


def _kill_and_count(project: Path, folder: Path, pauses: Sequence[float], kills: int, at_once: int) -> None:
    seed = figures.seed()
    chance = random.Random(seed)
    accepted = lost = altered = duplicated = 0
    uri = f"sqlite:///{project}/.mlops/store.db"
    journals = project / ".mlops" / "journal"
    for first in range(0, kills, at_once):
        pids = _kill_some(folder, range(first, first + at_once), pauses, chance)
        store = open_store(uri)
        assert store is not None
        deadline = time.monotonic() + 10
        while recover(journals, store, uri) or any(journals.glob("*.jsonl")):
            assert time.monotonic() < deadline, list(journals.iterdir())
            time.sleep(0.01)  # the kernel lets go of a dead process's locks a moment after it has been waited for
        runs = {run.name: run for run in store.search_runs(RunQuery(max_results=kills)).items}
        for name, pid in pids.items():
            run = runs[name]
            assert run.status is RunStatus.KILLED and run.reason is not None and str(pid) in run.reason
            assert run.end_time is not None and run.end_time >= run.start_time
            side = (folder / name.replace("victim", "side")).read_text()
            must = {int(step): value for step, _, value in (line.partition(" ") for line in side.split("\n")[:-1])}
            there = _points(store, run.run_id)
            kept = dict(there)
            duplicated += len(there) - len(kept)
            lost += len(must.keys() - kept.keys())
            altered += sum(kept.get(step, value) != value for step, value in must.items())
            accepted += len(must)
        store.close()
    figures.report(f"kill -9, pauses {pauses}", kills, lost=lost, dup=duplicated, altered=altered, seed=seed, accepted=accepted)
    assert accepted >= kills and (lost, duplicated, altered) == (0, 0, 0)


def _points(store: TrackingStore, run_id: str) -> list[tuple[int, str]]:
    return [(point.step, point.value.hex()) for point in store.metric_history(run_id, "m").items]


def test_a_killed_process_loses_nothing_that_was_accepted(project: Path, tmp_path: Path) -> None:
    _kill_and_count(project, tmp_path, [0.01, 0.001, 0.0], kills=6, at_once=6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("pause", [0.01, 0.001, 0.0])
def test_a_hundred_killed_processes_lose_nothing(project: Path, tmp_path: Path, pause: float) -> None:
    _kill_and_count(project, tmp_path, [pause], kills=100, at_once=5)
