"""Clocks that are set while a run goes on: nothing is lost or out of order, no duration is negative, and nobody seems dead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_nb.core.events import RunStarted
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.open import open_store
from tests.durability.figures import report
from tests.team import TOKEN, TeamProcess

_HOUR = 3600
_TO_2038 = 2**31 - 1_700_000_000 + 10**8
_LOOP = """
import os, time
from pathlib import Path
import mlops_nb
run = mlops_nb.start_run("clocked")
for step in range(400):
    if step == 200:
        Path(os.environ["SET_CLOCK"]).write_text(os.environ["SHIFT"])
    run.log_metric("m", float(step), step)
    time.sleep(0.002)
run.stop()
print(run.run_id)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that moves the clock of whoever it is preloaded into."""
    path = tmp_path_factory.mktemp("library") / "set_clock.so"
    done = subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(Path(__file__).with_name("set_clock.c"))], check=False)
    if done.returncode != 0:
        pytest.skip("there is no C compiler here")
    return path


def test_a_clock_that_is_set_during_a_run_hurts_neither_order_nor_durations(project: Path, library: Path, tmp_path: Path) -> None:
    processes = []
    for number, shift in enumerate((-_HOUR, _TO_2038)):
        offset = tmp_path / f"offset-{number}"
        offset.write_text("0")
        environment = os.environ | {"LD_PRELOAD": str(library), "SET_CLOCK": str(offset), "SHIFT": str(shift)}
        command = [sys.executable, "-c", _LOOP]
        processes.append((shift, time.monotonic(), subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)))
    lost = 0
    for shift, began, process in processes:
        output, _ = process.communicate(timeout=60)
        took = (time.monotonic() - began) * 1000
        assert process.returncode == 0
        store = open_store(f"sqlite:///{project}/.mlops/store.db")
        assert store is not None
        run = store.get_run(output.strip())
        points = store.metric_history(run.run_id, "m").items
        store.close()
        lost += 400 - len(points)
        assert [point.step for point in points] == list(range(400)), shift
        assert run.status is RunStatus.FINISHED and run.duration_ms is not None and 800 <= run.duration_ms <= took, shift
        jumped = points[200].timestamp - points[199].timestamp
        assert abs(jumped / 1000 - shift) < 60, "the clock was not set"
    report("clock set during a run", 2 * 400, lost=lost)


@pytest.mark.parametrize("shift", [_HOUR, -_HOUR])
def test_leases_do_not_run_out_because_the_clock_is_set(project: Path, monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    store = open_store(f"sqlite:///{project}/store.db")
    assert store is not None
    alive, dead = "a" * 32, "d" * 32
    for run_id in (alive, dead):
        store.ingest(run_id, run_id, [RunStarted(seq=1, ts=1, experiment="e", name="n")])
    assert store.expire_leases(older_than_seconds=1) == []
    day, day_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: day() + shift)
    monkeypatch.setattr(time, "time_ns", lambda: day_ns() + shift * 10**9)
    assert store.expire_leases(older_than_seconds=1) == []  # nobody is dead because it is an hour later
    time.sleep(1.1)
    store.heartbeat([alive])
    assert store.expire_leases(older_than_seconds=1) == [dead]  # whoever gives no sign of life since then is
    assert store.get_run(alive).status is RunStatus.RUNNING
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("shift", [_HOUR, -_HOUR, 24 * _HOUR])
def test_a_server_whose_clock_is_set_calls_no_living_run_lost(
    start_team: Callable[..., TeamProcess], library: Path, tmp_path: Path, shift: int
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    server = start_team(LD_PRELOAD=str(library), SET_CLOCK=str(offset))
    (tmp_path / "pyproject.toml").touch()
    code = (
        "import mlops_nb, time\nrun = mlops_nb.start_run('r')\nfor i in range(180):\n    run.log(m=i)\n    time.sleep(0.1)\n"
        "run.stop()\nprint(run.run_id)"
    )
    environment = os.environ | {"MLOPS_NB_TRACKING_URI": server.url, "MLOPS_NB_TRACKING_TOKEN": TOKEN}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    seen = set()
    began = time.monotonic()
    while process.poll() is None:
        if time.monotonic() - began > 9:
            offset.write_text(str(shift))
        runs = server.request("POST", "/api/v1/runs/search", json={}).json()["runs"]
        seen |= {run["status"] for run in runs}
        time.sleep(0.05)
    runs = server.request("POST", "/api/v1/runs/search", json={}).json()["runs"]
    total = server.request("GET", f"/api/v1/runs/{runs[0]['run_id']}/series").json()["series"][0]["total"]
    report(f"server's clock set by {shift} s", 180, lost=180 - total, states=sorted(seen))
    assert total == 180 and seen <= {"RUNNING", "FINISHED"} and runs[0]["status"] == "FINISHED"
