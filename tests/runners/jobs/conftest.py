"""A project of its own for each test, with a store, a ledger, and notebooks to execute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from mlops_nb.core.runner_jobs import Job
from mlops_nb.runners.jobs.attempt import Tracking
from mlops_nb.runners.jobs.preflight import preflight, read_notebook
from mlops_nb.runners.jobs.submitting import Order, submit
from mlops_nb.runners.jobs.work import NotebookWork
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.runners.jobs.machines import new_runner

SECONDS = 90.0


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> object:
    """Return what a condition gives when that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not after {seconds:g} s: {what}")


def write_notebook(path: Path, *cells: str, parameters: str | None = None) -> Path:
    """Write a notebook of code cells; `parameters` is tagged so."""
    made = [nbformat.v4.new_code_cell(source) for source in cells]
    if parameters is not None:
        made.insert(0, nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=metadata), path)
    return path


class World:
    """A project with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = sessions.current
        self.store: TrackingStore = self.session.store()
        self.ledger: RunnerLedger = self.store.runners
        self.lines: list[str] = []
        self.works: list[NotebookWork] = []

    def submit(self, notebook: Path, **order: object) -> Job:
        """Submit a notebook for any runner."""
        document = read_notebook(notebook)
        found = preflight(notebook, document)
        return submit(self.store, self.ledger, found, document, Order(**{"name": notebook.stem, **order}))  # type: ignore[arg-type]

    def work(self, *, single: bool = True) -> NotebookWork:
        """Begin the work of a new machine, in a folder of its own."""
        runner = new_runner(self.ledger)
        tracking = Tracking(uri=self.session.shipper().target.store_uri)
        folder = self.folder / ".mlops" / "machines" / runner.name
        made = NotebookWork(self.ledger, runner.id, self.store, folder, tracking, single=single, tell=self.lines.append, pause=0.1)
        self.works.append(made)
        made.start()
        return made

    def child(self, job: Job, name: str):  # type: ignore[no-untyped-def]
        """Return the run of this name that the job's notebook has started, or None."""
        query = RunQuery(filter=f"tags.`mlops.execution` = '{job.id[:16]}'")
        return next((run for run in self.store.search_runs(query).items if run.name == name), None)

    def points(self, job: Job, name: str, key: str) -> list[tuple[int, float]]:
        """Return the points of a metric of a run of the notebook, by step."""
        run = self.child(job, name)
        return [] if run is None else [(point.step, point.value) for point in self.store.metric_history(run.run_id, key).items]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A new project, whose machines are ended in the end."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    for name in ("MLOPS_NB_TRACKING_URI", "MLFLOW_TRACKING_URI", "MLOPS_NB_TRACKING_TOKEN", "JPY_PARENT_PID", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sessions, "current", Session())
    made = World(tmp_path)
    yield made
    for work in made.works:
        work.stop(20)
    made.session.close()
    made.store.close()
