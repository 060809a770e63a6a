"""Memory that runs out: the system ends the process, and the run says so, with the figure, and has all its points."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import RunQuery
from mlops_nb.store.open import open_store
from mlops_nb.tracking.recovery import recover
from tests.durability.figures import report

_HOARDER = """
import os, sys
import mlops_nb
run = mlops_nb.start_run("hoarder")
side = os.open("side", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
hoard = []
for step in range(10_000):
    run.log_metric("m", float(step), step)
    os.write(side, b"%d\\n" % step)
    hoard.append(b"x" * 1_000_000)
"""


def test_a_program_that_memory_ran_out_for_has_all_its_points_and_the_figure(project: Path, memory_group: Path) -> None:
    def enter() -> None:
        (memory_group / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run([sys.executable, "-c", _HOARDER], preexec_fn=enter, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    uri = f"sqlite:///{project}/.mlops/store.db"
    store = open_store(uri)
    assert store is not None
    assert len(recover(project / ".mlops" / "journal", store, uri)) == 1
    (run,) = store.search_runs(RunQuery()).items
    accepted = len((project / "side").read_text().splitlines())
    kept = len(store.metric_history(run.run_id, "m").items)
    store.close()
    report("out of memory", accepted, lost=max(0, accepted - kept), reason=run.reason)
    assert run.status is RunStatus.KILLED and accepted <= kept <= accepted + 1
    assert run.reason is not None and re.search(r"\(memory ran out: 200 MB are allowed to it", run.reason)
