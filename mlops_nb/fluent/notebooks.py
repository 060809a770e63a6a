"""Notebooks and what runs need of them: checking, reproducing, restoring, sharing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_nb.core.records import Run
from mlops_nb.fluent.stored import get_run
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun

if TYPE_CHECKING:
    from mlops_nb.core.hygiene import Check
    from mlops_nb.core.reproduction import Reproduction


def check_notebook(run: str | Run | ActiveRun | None = None, *, path: str | Path | None = None) -> Check:
    """Return what keeps a notebook, or what a run needs of it, from running top to bottom.

    Args:
        run: Check what this run needs, instead of every cell.
        path: The notebook; the one of this kernel or of the run by default.

    Raises:
        InvalidInput: If there is nothing to check.
        NotFound: If there is no such run or notebook.
    """
    from mlops_nb.execution import checking

    return checking.check_notebook(run, path=path)


def reproduce(run: str | Run | ActiveRun = "@last", tolerance: float | Mapping[str, float] | None = None) -> Reproduction:
    """Run again, in a fresh kernel, the cells that explain a run, and stamp it verified if the metrics agree.

    Args:
        run: The run.
        tolerance: How far apart a metric may be, relative; one for all, or by name.

    Raises:
        InvalidInput: If the run has no cells, or not all of their sources are known.
    """
    from mlops_nb.execution import checking

    return checking.reproduce(run) if tolerance is None else checking.reproduce(run, tolerance)


def restore_notebook(run: str | Run | ActiveRun = "@last", path: str | Path | None = None) -> Path:
    """Write the cells of a run as a new notebook and return where it is. No file that is there is changed.

    Args:
        run: The run.
        path: The new notebook; named after the run by default.

    Raises:
        AlreadyExists: If there is a file at `path`.
        InvalidInput: If the run has no cells.
    """
    from mlops_nb.execution import checking

    return checking.restore_notebook(run, path)


def share_run(selector: str | Run | ActiveRun, path: str | Path) -> Path:
    """Write a run as one HTML file to be passed on: charts, params, cells, environment, small images; no script, no secret.

    Args:
        selector: The run.
        path: The file to write.

    Returns:
        The file, smaller than 5 MB.
    """
    from mlops_nb.reports.sharing import write_run_page

    run = get_run(selector)
    return write_run_page(sessions.current.store(), run, Path(path))
