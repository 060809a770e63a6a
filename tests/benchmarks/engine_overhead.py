"""What our papermill engine costs over papermill's own, on a notebook of realistic cells, in pairs: A B B A, and so on.

    python tests/benchmarks/engine_overhead.py [PAIRS]

Each execution is a process of its own, as a job's is. The cells read, fit, print and plot for about `WORK` seconds in all.
The goal is less than 3 % (median over pairs) of an execution of half a minute or more. Beside the time on the clock stands the
processor time of all processes, which tells more on a machine that others use too.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent.parent
WORK = 20.0
CELLS = 40
NAMES = {False: "papermill", True: "with our engine"}


def cells() -> list[str]:
    """Return the sources: imports, data, then cells that work for a fixed number of processor seconds and show something."""
    work = (
        "began = time.process_time()\nwhile time.process_time() - began < {seconds}:\n    w = X.T @ X\n"
        "print('step', {n}, float(w.trace()))\n{show}"
    )
    table = "pd.DataFrame(X[:50, :8]).describe()"
    figure = "fig, ax = plt.subplots(figsize=(4, 3)); ax.plot(X[:200, 0]); plt.show()"
    shows = ["", table, "", figure]
    begin = [
        "# parameters\nlr = 0.1",
        "import time, numpy as np, pandas as pd\nimport matplotlib.pyplot as plt\nX = np.random.default_rng(0).random((2000, 50))",
    ]
    return begin + [work.format(seconds=WORK / CELLS, n=n, show=shows[n % len(shows)]) for n in range(CELLS)]


def run(folder: Path, engine: bool) -> tuple[float, float]:
    """Execute the notebook in a process of its own and return how long that took (s), on the clock and of processors."""
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", *(["--engine", "mlops_nb"] if engine else [])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLOPS_NB_", "MLFLOW_", "JPY_"))}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [*command, "a.ipynb", "out.ipynb"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").touch()
        document = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
        document.cells = [nbformat.v4.new_code_cell(source) for source in cells()]
        nbformat.write(document, folder / "a.ipynb")
        run(folder, engine=True)  # the store is made, the files are in memory
        shares: list[tuple[float, float]] = []
        for place in range(pairs):
            order = (False, True) if place % 2 == 0 else (True, False)
            took = {engine: run(folder, engine) for engine in order}
            clock, processor = (took[True][which] / took[False][which] - 1 for which in (0, 1))
            shares.append((clock, processor))
            shown = "   ".join(f"{name} {took[engine][0]:6.2f} s ({took[engine][1]:.2f} s)" for engine, name in NAMES.items())
            print(f"{shown}   {100 * clock:+.1f} % ({100 * processor:+.1f} %)", flush=True)
        clock, processor = (100 * statistics.median(share[which] for share in shares) for which in (0, 1))
        print(
            f"median {clock:+.2f} % ({processor:+.2f} % of processor time), {pairs} pairs, {CELLS + 2} cells, load {os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
