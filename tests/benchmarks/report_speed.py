"""How long the report of a pull request takes once its notebook has run: 60 cells, 40 plots, against the run of the base.

    python tests/benchmarks/report_speed.py [--keep FOLDER]

Executes the notebook twice by papermill with our engine, then makes the report as `mlops-nb report show` does, in a process
of its own, so that imports count. The aim is 3 s.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

CELLS, PLOTS = 60, 40
_SETUP = """%load_ext mlops_nb
import numpy as np
import matplotlib.pyplot as plt
import mlops_nb
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 6)); y = (X @ [1, -1, .5, 0, 0, .2] + rng.normal(size=4000) > 0).astype(int)
mlops_nb.start_run("train", params={"C": C})"""
_TRAIN = """model = LogisticRegression(C=C).fit(X[:1500, :columns], y[:1500])
p = model.predict_proba(X[1500:, :columns])[:, 1]
mlops_nb.log_predictions(y[1500:], p)
for step in range(50): mlops_nb.log_metric("loss", 1 / (step + 1 + columns), step=step)
mlops_nb.log_metrics({"val_auc": roc_auc_score(y[1500:], p), "val_log_loss": log_loss(y[1500:], p)})"""
_PLOT = """plt.figure(figsize=(6, 4)); plt.scatter(X[:600, {a}], p[:600] + {n} / 100, s=9, c=y[:600]); plt.title("plot {n}"); plt.show()"""


def notebook(columns: int) -> nbformat.NotebookNode:
    """Return the notebook; with more columns the model is better, and every plot is another."""
    plots = [_PLOT.format(a=n % 6, n=n) for n in range(PLOTS)]
    rest = [f"print('rows', {n}, 'mean', float(p.mean()))" for n in range(CELLS - PLOTS - 4)]
    sources = [f"C = 1.0\ncolumns = {columns}", _SETUP, _TRAIN, *plots, *rest, "mlops_nb.stop_run()"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    return nbformat.v4.new_notebook(metadata=metadata, cells=cells)


def run(folder: Path, *words: str) -> float:
    """Run a command of Python; return how long it took (s)."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="work here and leave it there")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pyproject.toml").touch()
        (folder / ".mlops").mkdir(exist_ok=True)
        (folder / ".mlops" / "gates.yml").write_text("gates:\n  - {metric: val_auc, direction: maximize, tolerance: 0.002}\n")
        os.environ.pop("MLOPS_NB_TRACKING_URI", None)
        # What pip installs is compiled; a source tree is when it is first imported.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder / "compiled"))
        for columns in (3, 6):
            nbformat.write(notebook(columns), folder / "train.ipynb")
            took = run(folder, "papermill", "--engine", "mlops_nb", "train.ipynb", "out.ipynb")
            print(f"notebook of {CELLS} cells and {PLOTS} plots      {took:7.2f} s")
        show = ("mlops_nb.cli", "report", "show", "@last", "--vs", "@last~1")
        print(f"import and nothing else               {run(folder, 'mlops_nb.cli', 'report', 'show', '--help'):7.2f} s")
        everything = ("-m", "report.md", "--html", "report.html", "--json", "report.json")
        for _ in range(3):
            print(f"report: Markdown, page, data, pictures {run(folder, *show, *everything):6.2f} s")
        sizes = ", ".join(f"{name} {(folder / name).stat().st_size:,} bytes" for name in ("report.md", "report.html", "report.json"))
        print(sizes, f"and {len(list((folder / 'report_files').iterdir()))} pictures")


if __name__ == "__main__":
    main()
