"""Whether a notebook would give its results again: checking it, repeating a run, getting a run's cells back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops_nb.core.hygiene import Check, check
from mlops_nb.core.provenance import Notebook, Standing
from mlops_nb.core.records import Run
from mlops_nb.core.reproduction import DEFAULT_TOLERANCE, Reproduction
from mlops_nb.core.restoring import restored_names, restored_notebook
from mlops_nb.errors import AlreadyExists, InvalidInput, NotFound
from mlops_nb.execution.run_cells import RunCells, missing_sources
from mlops_nb.execution.sources import Sources
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.capture import notebook_path
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.saved import read_notebook
from mlops_nb.tracking.session import Session


def check_notebook(run: str | Run | ActiveRun | None = None, *, path: str | Path | None = None, session: Session | None = None) -> Check:
    """Check whether a notebook would give the same from top to bottom.

    Args:
        run: Checks what this run needs (a selector such as `@last`, or a run) instead of every cell.
        path: The notebook; by default the one that this kernel or the run belongs to. A notebook that nothing ran of
            here is checked by its sources alone.
        session: Whose cells; by default those of this process.

    Raises:
        InvalidInput: If there is nothing to check.
        NotFound: If there is no such run or notebook.
    """
    session = session or sessions.current
    if run is not None:
        return _check_run(run, path, session)
    history = session.history
    if path is None:
        found = notebook_path(session.user_ns)
        if found is None and not history.executions:
            raise InvalidInput("There is nothing to check: no cell ran here.", hint="Name a notebook or a run.")
        standing = history.standing()
        subject = found.name if found is not None else "this session"
        if not standing.places and not any(execution.cell_id for execution in standing.executions):
            subject = "this session (its notebook is not known)"
        return check(subject, standing)
    notebook = _notebook_at(Path(path))
    mine = notebook_path(session.user_ns) == Path(path).resolve()
    return check(Path(path).name, Standing(history.executions if mine else [], notebook, history.names if mine else Sources()))


def _notebook_at(path: Path) -> Notebook:
    notebook = read_notebook(path)
    if notebook is None:
        raise NotFound(f"'{path}' cannot be read as a notebook.", hint="Give the path of an .ipynb file.")
    return notebook


def _check_run(run: str | Run | ActiveRun, path: str | Path | None, session: Session) -> Check:
    record = find_run(session.fresh_store(), run)
    notebook = _notebook_at(Path(path)) if path is not None else read_notebook(notebook_of(record, session))
    cells = RunCells(session.store(), record, notebook)
    if not cells.executions:
        raise InvalidInput(f"Run {record.name} has no cells: it was not recorded in a notebook, or MLOPS_NB_CAPTURE was off.")
    names = session.history.names if session.user_ns is not None else Sources()
    return check(record.name, Standing(cells.executions, notebook, names, cells.injected), cells.targets)


def notebook_of(run: Run, session: Session) -> Path | None:
    """Return where a run's notebook is, if it is there."""
    if run.notebook is None:
        return None
    path = session.shipper().target.project.root / run.notebook
    return path if path.is_file() else None


def reproduce(
    run: str | Run | ActiveRun = "@last",
    tolerance: float | Mapping[str, float] = DEFAULT_TOLERANCE,
    *,
    cwd: str | Path | None = None,
    timeout: float | None = None,
    session: Session | None = None,
) -> Reproduction:
    """Run the cells that a run needs again, in a fresh kernel, and compare the final metrics.

    The repetition is a run of its own, with the tag `mlops.reproduces`; the original gets the tag `mlops.verified`.

    Args:
        run: A selector such as `@last`, or a run.
        tolerance: Relative; one for all metrics, or by key, where others get 1e-6.
        cwd: The working directory; by default that of the notebook, or the project's root for what ran without a front end.
        timeout: How long one cell may take (s).
        session: Where the run is; by default that of this process.

    Raises:
        InvalidInput: If the run has no cells, or not all of their sources are known.
    """
    from mlops_nb.execution.reproducing import reproduce_run

    session = session or sessions.current
    record = find_run(session.fresh_store(), run)
    notebook = notebook_of(record, session)
    cells = RunCells(session.store(), record, read_notebook(notebook))
    if not cells.executions:
        raise InvalidInput(f"Run {record.name} has no cells that could be run again.")
    missing = missing_sources(cells.closure)
    if missing:
        raise InvalidInput(
            f"Run {record.name} needs {len(missing)} cell version(s) whose source is not known as it was: "
            "it was not kept (MLOPS_NB_CAPTURE), is very long, or held a secret that was taken out.",
            hint=f"See what is there: %track restore {record.run_id[:8]}",
        )
    return reproduce_run(session, cells, tolerance, folder=_folder(record, notebook, session, cwd), timeout=timeout)


def _folder(run: Run, notebook: Path | None, session: Session, cwd: str | Path | None) -> Path:
    if cwd is not None:
        return Path(cwd)
    headless = "mlops.execution" in run.tags
    return session.shipper().target.project.root if headless or notebook is None else notebook.parent


def restore_notebook(run: str | Run | ActiveRun = "@last", path: str | Path | None = None, *, session: Session | None = None) -> Path:
    """Write the cells of a run, as they were, to a new notebook and return where it is. No file is ever replaced.

    Args:
        run: A selector such as `@last`, or a run.
        path: The new notebook; by default beside the run's notebook, named after both.
        session: Where the run is; by default that of this process.

    Raises:
        AlreadyExists: If there is a file at `path`.
        InvalidInput: If the run has no cells.
    """
    session = session or sessions.current
    record = find_run(session.fresh_store(), run)
    notebook = notebook_of(record, session)
    cells = RunCells(session.store(), record, read_notebook(notebook))
    if not cells.executions:
        raise InvalidInput(f"Run {record.name} has no cells to restore.")
    document = restored_notebook(record, cells.executions)
    if path is not None:
        try:
            _write_new(document, Path(path))
        except FileExistsError:
            raise AlreadyExists(f"There is a file '{path}' already.", hint="Give another name; nothing is replaced.") from None
        return Path(path)
    folder = notebook.parent if notebook is not None else Path.cwd()
    for name in restored_names(record, notebook.stem if notebook is not None else None):
        try:
            _write_new(document, folder / name)
        except FileExistsError:
            continue
        return folder / name
    raise AlreadyExists(f"There are a thousand restored notebooks of run {record.name} in {folder} already.", hint="Give a path.")


def _write_new(document: str, path: Path) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(document)
