"""Whether the cells that a result needs are all found, however they depend on each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mlops_nb.core.provenance import Hygiene, closure
from mlops_nb.execution.checking import check_notebook
from tests.tracking.hidden_state_notebooks import NOTEBOOKS
from tests.tracking.live_notebook import LiveNotebook


def played(path: Path, sources: list[str]) -> tuple[LiveNotebook, str]:
    live = LiveNotebook(InteractiveShell.instance(), path, sources)
    for cell_id, source in live.cells:
        with capture_output():
            live.shell.run_cell(source, store_history=True, cell_id=cell_id)
    live.save()
    return live, repr(live.shell.user_ns.get("result", "missing"))


def wrong_with(path: Path, sources: list[str]) -> list[str]:
    """Return what the ledger gets wrong of a notebook that ran from top to bottom."""
    live, expected = played(path, sources)
    try:
        executions = live.session.history.executions
        needed = closure(executions, [executions[-1].index])
        check = check_notebook(session=live.session)
        grade = live.session.history.grade([executions[-1].index])
        wrong = [f"{live.ledger.faults} faults"] if live.ledger.faults else []
        wrong += [] if check.ok else [str(check)]
        wrong += [] if grade is Hygiene.LINEAR else [f"graded {grade}"]
    finally:
        live.close()
    again, result = played(path, [execution.source for execution in executions if execution.index in needed])
    again.close()
    return [*wrong, *([] if result == expected else [f"{result} instead of {expected} from cells {needed}"])]


def test_what_a_result_needs_gives_it_again(project: Path) -> None:
    # Some of the notebooks change settings of libraries: they run in a process of their own.
    command = [sys.executable, "-m", "tests.tracking.test_hidden_state", str(project / "work.ipynb")]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures))
    assert figures["notebooks"] >= 180 and figures["wrong"] == {}


if __name__ == "__main__":
    wrong = {name: found for name, sources in NOTEBOOKS.items() if (found := wrong_with(Path(sys.argv[1]), sources))}
    print(json.dumps({"test": "hidden state", "notebooks": len(NOTEBOOKS), "right": len(NOTEBOOKS) - len(wrong), "wrong": wrong}))
