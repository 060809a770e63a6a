"""Notebooks in continuous integration: run headlessly, compared with a baseline, judged by gates.

    from mlops_nb.ci import run_notebooks
    result = run_notebooks("train.ipynb", parameters={"lr": 0.1}, gates="gates.yml")
    result.passed, result.exit_code, result.notebooks[0].gates

What is used is loaded on first use: the process that executes a notebook needs next to nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_nb.ci.baseline_file import write_baseline_file
    from mlops_nb.ci.result import CiResult, Exit, NotebookResult
    from mlops_nb.ci.running import run_notebooks

__all__ = ["CiResult", "Exit", "NotebookResult", "run_notebooks", "write_baseline_file"]

_PLACES = {
    **dict.fromkeys(("CiResult", "Exit", "NotebookResult"), "result"),
    "run_notebooks": "running",
    "write_baseline_file": "baseline_file",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
