"""`kill -9` at random moments: what a log call accepted is in the store afterwards, exactly once and bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.open import open_store
from mlops_nb.tracking.recovery import recover

_LOGGER = """
import os, sys, time, random
import mlops_nb
pause = float(sys.argv[2])
run = mlops_nb.start_run("victim")
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


@pytest.mark.parametrize("pause", [0.01, 0.001, 0.0])
def test_a_killed_process_loses_nothing_that_was_accepted(project: Path, tmp_path: Path, pause: float) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    kills = 7 if pause else 6
    accepted_total = lost = altered = duplicated = 0
    uri = f"sqlite:///{project}/.mlops/store.db"
    for number in range(kills):
        side = tmp_path / f"side-{number}"
        process = subprocess.Popen([sys.executable, "-c", _LOGGER, str(side), str(pause)])
        deadline = time.monotonic() + 30
        while not (side.exists() and side.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.8))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        store = open_store(uri)
        assert store is not None
        deadline = time.monotonic() + 5
        while not (recovered := recover(project / ".mlops" / "journal", store, uri)) and time.monotonic() < deadline:
            time.sleep(0.01)  # the kernel lets go of a dead process's locks a moment after it has been waited for
        assert len(recovered) == 1, (recovered, os.listdir(project / ".mlops" / "journal"))
        run_id = recovered[0]
        run = store.get_run(run_id)
        assert run.status is RunStatus.KILLED and run.reason is not None and str(process.pid) in run.reason
        accepted = [line.split() for line in side.read_text().splitlines() if line.count(" ") == 1]
        points = store.metric_history(run_id, "m").items
        kept = {point.step: point.value.hex() for point in points}
        duplicated += len(points) - len(kept)
        lost += sum(int(step) not in kept for step, _ in accepted)
        altered += sum(kept.get(int(step), value) != value for step, value in accepted)
        accepted_total += len(accepted)
        store.close()
    print(
        json.dumps(
            {
                "test": f"kill-{pause}",
                "n": kills,
                "accepted": accepted_total,
                "lost": lost,
                "dup": duplicated,
                "altered": altered,
                "seed": seed,
            }
        )
    )
    assert accepted_total > 0 and (lost, duplicated, altered) == (0, 0, 0)
