"""The status of a run is true: killed processes are found out, stopped ones come back, and living ones are never called lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.durability.figures import report
from tests.durability.fleet import wait_until
from tests.team import TOKEN, TeamProcess

# Runs that log seldom, so that their leases live of the signs of life; those come more often here, as the lease is shorter.
_LOGGER = """
import os, sys, time
import mlops_nb
from mlops_nb.tracking import shipper
shipper.SIGN_OF_LIFE_SECONDS = 0.4
run = mlops_nb.start_run(sys.argv[1])
side = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
step = 0
while not os.path.exists("stop"):
    run.log_metric("m", float(step), step)
    os.write(side, b"%d\\n" % step)
    step += 1
    time.sleep(0.05)
run.stop()
"""


@dataclass
class _Watch:
    """What was seen of the runs: the states that each went through, and when it was first lost."""

    server: TeamProcess
    lease: float
    states: dict[str, list[str]] = field(default_factory=dict)
    lost_at: dict[str, float] = field(default_factory=dict)

    def look(self) -> dict[str, dict[str, Any]]:
        self.server.request("POST", "/api/v1/leases/expire", json={"older_than_seconds": self.lease})
        runs = self.server.request("POST", "/api/v1/runs/search", json={"max_results": 200}).json()["runs"]
        for run in runs:
            states = self.states.setdefault(run["name"], [])
            if not states or states[-1] != run["status"]:
                states.append(run["status"])
            if run["status"] == "LOST":
                self.lost_at.setdefault(run["name"], time.monotonic())
        return {run["name"]: run for run in runs}


def _status_is_true(server: TeamProcess, folder: Path, count: int, lease: float) -> None:
    (folder / "pyproject.toml").touch()
    environment = os.environ | {"MLOPS_NB_TRACKING_URI": server.url, "MLOPS_NB_TRACKING_TOKEN": TOKEN}
    names = [f"{kind}-{number}" for kind in ("killed", "stopped", "normal") for number in range(count)]
    processes = {name: subprocess.Popen([sys.executable, "-c", _LOGGER, name], cwd=folder, env=environment) for name in names}
    of = {kind: [name for name in names if name.startswith(kind)] for kind in ("killed", "stopped", "normal")}
    watch = _Watch(server, lease)
    try:
        _all_run(watch, names)
        watch.states.clear()  # what a crowd that starts on a small machine looked like is not the question
        watch.lost_at.clear()
        gone_at = {}
        for name in of["killed"] + of["stopped"]:
            processes[name].send_signal(signal.SIGKILL if name in of["killed"] else signal.SIGSTOP)
            gone_at[name] = (time.monotonic(), time.time())
        wait_until(lambda: all(watch.look()[name]["status"] == "LOST" for name in gone_at), lease + 30, "all that went are lost")
        found_out = [watch.lost_at[name] - gone_at[name][0] for name in gone_at]
        ends = [watch.look()[name]["end_time"] / 1000 - gone_at[name][1] for name in gone_at]
        for name in of["stopped"]:
            processes[name].send_signal(signal.SIGCONT)
        wait_until(lambda: all(watch.look()[name]["status"] == "RUNNING" for name in of["stopped"]), 30, "the stopped ones are back")
        (folder / "stop").touch()
        for name in of["stopped"] + of["normal"]:
            assert processes[name].wait(60) == 0
        sync = [sys.executable, "-m", "mlops_nb.cli", "sync"]
        subprocess.run(sync, cwd=folder, env=environment, check=True, capture_output=True)
        runs = watch.look()
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    lost = 0
    for name in names:
        accepted = len((folder / name).read_text().splitlines())
        series = server.request("GET", f"/api/v1/runs/{runs[name]['run_id']}/series").json()["series"]
        lost += max(0, accepted - series[0]["total"])
    false_lost = sum("LOST" in watch.states[name] for name in of["normal"])
    report(
        f"{count} killed, {count} stopped, {count} normal",
        3 * count,
        lost=lost,
        seconds=found_out,
        lease=lease,
        false_lost=false_lost,
        end_error_s=round(max(map(abs, ends)), 2),
    )
    assert lost == 0 and false_lost == 0
    assert max(found_out) <= lease + 10 and all(-lease <= end <= 1.0 for end in ends)
    assert all(watch.states[name][-1] == "KILLED" for name in of["killed"])
    assert all(watch.states[name] == ["RUNNING", "LOST", "RUNNING", "FINISHED"] for name in of["stopped"])
    assert all(watch.states[name] == ["RUNNING", "FINISHED"] for name in of["normal"])


def _all_run(watch: _Watch, names: list[str]) -> None:
    def ready() -> bool:
        runs = watch.look()
        return all(name in runs and runs[name]["status"] == "RUNNING" and runs[name]["metrics"] for name in names)

    wait_until(ready, 120, "all run")


def test_killed_stopped_and_normal_runs_are_told_apart(start_team: Callable[..., TeamProcess], tmp_path: Path) -> None:
    _status_is_true(start_team(), tmp_path, 2, 1.5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_of_each_are_told_apart(start_team: Callable[..., TeamProcess], tmp_path: Path) -> None:
    _status_is_true(start_team(), tmp_path, 20, 15.0)
