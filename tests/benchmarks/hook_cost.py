"""What the cell hooks cost: `python tests/benchmarks/hook_cost.py --names 500`. Prints one JSON line a measurement.

The cells run in a real IPython shell; only the time within the hooks counts. Figures are not among them; nothing fails on time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

CELLS = [
    "import numpy as np\nimport pandas as pd",
    "df = pd.DataFrame({'a': range(1000), 'b': range(1000)})",
    "def clean(frame):\n    frame = frame.dropna()\n    return frame[frame['a'] > threshold]",
    "threshold = {n}",
    "df2 = clean(df)\ndf2['c'] = df2['a'] * {n}",
    "class Model:\n    def fit(self, X):\n        self.mean = np.mean(X) + threshold\n        return self\nmodel = Model()",
    "model.fit(df2['c'])",
    "for i in range(3):\n    rows.append(i)\ntotal = sum(rows) + name_3 + name_499",
    "# a long cell\n" + "\n".join(f"value_{i} = name_{2 * i + 1} + {{n}}" for i in range(40)),
    "scores = [name_1 * 2 for _ in range(5)]\nbest = max(scores)\nprint(best)",
]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=500, help="how many variables the notebook has")
    parser.add_argument("--cells", type=int, default=500, help="how many cells are run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for is_open in (False, True):
            measure(options.names, options.cells, is_open=is_open)
        os.chdir("/")


def measure(names: int, cells: int, *, is_open: bool) -> None:
    """Run cells, each of them new, and print what the hooks took."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    from mlops_nb.execution.ledger import CellLedger
    from mlops_nb.tracking.session import Session

    shell = InteractiveShell.instance()
    shell.reset()
    shell.user_ns.update({f"name_{i}": i if i % 2 else [i] for i in range(names)}, name_3=3, name_499=499, rows=[])
    session = Session()
    ledger = CellLedger(shell, session)
    costs: list[tuple[float, float]] = []
    timed(ledger, costs)
    ledger.install()
    if is_open:
        session.start("cost")
        time.sleep(3)  # the shipper's imports are over
    costs.clear()
    for number in range(cells):
        with capture_output():
            result = shell.run_cell(CELLS[number % len(CELLS)].replace("{n}", str(number)), store_history=True, cell_id=f"c{number % 40}")
        result.raise_error()
    ledger.uninstall()
    for run in list(session.runs):
        run.stop()
    figures = {}
    for at, kind in enumerate(("", "cpu_")):  # what the machine is busy with besides does not count for the second
        per_cell = sorted(before[at] + after[at] for before, after in zip(costs[::2], costs[1::2], strict=False))
        figures |= {f"{kind}p{p}_ms": round(per_cell[min(len(per_cell) - 1, len(per_cell) * p // 100)] * 1000, 3) for p in (50, 95, 99)}
    print(json.dumps({"test": "cell hooks", "names": names, "n": cells, "run open": is_open, "faults": ledger.faults, **figures}))


def timed(ledger: Any, costs: list[tuple[float, float]]) -> None:
    """Measure the hooks from outside."""

    def around(hook: Callable[[Any], None]) -> Callable[[Any], None]:
        def measured(argument: Any) -> None:
            began, worked = time.perf_counter(), time.thread_time()
            hook(argument)
            costs.append((time.perf_counter() - began, time.thread_time() - worked))

        return measured

    ledger._before, ledger._after = around(ledger._before), around(ledger._after)


if __name__ == "__main__":
    main()
