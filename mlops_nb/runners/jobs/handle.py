"""A job as its owner sees it: how far it is, what it says, what it gives; and what can be done about it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.core.formatting import format_duration, format_number, one_line
from mlops_nb.core.records import TAG_EXECUTION, Run
from mlops_nb.core.runner_jobs import EXECUTED, RESULTS, Job, JobState
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, StoreDamaged, StoreUnreachable
from mlops_nb.execution.course import Value
from mlops_nb.runners.jobs import changing
from mlops_nb.runners.jobs.delivering import FILES, VALUES
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.runners import RunnerLedger

PAUSE_SECONDS = 1.0
_SIGNS = {
    JobState.QUEUED: "◌",
    JobState.RUNNING: "▶",
    JobState.INTERRUPTED: "⏸",
    JobState.DONE: "✓",
    JobState.FAILED: "✗",
    JobState.CANCELLED: "■",
}
_MOST_METRICS = 3


class JobFailed(MlopsError):
    """A job that did not come to its end. `job` is its record."""

    def __init__(self, job: Job) -> None:
        reason = f": {one_line(job.reason).rstrip('.')}" if job.reason else ""
        verb = "has failed" if job.state is JobState.FAILED else f"is {job.state}"
        super().__init__(
            f"The job '{one_line(job.name)}' {verb}{reason}.",
            hint="Its executed notebook says more." if job.kind == "notebook" else None,
        )
        self.job = job


class RemoteJob:
    """A job that was submitted; `await job` and `job.wait()` return when it is over.

    Args:
        ledger, store: Where it and its run are.
        job: Its record.
        original: The notebook here that it was made of; None: not known.
        variables: What functions that come back see as their notebook's variables.
    """

    def __init__(
        self, ledger: RunnerLedger, store: TrackingStore, job: Job, *, original: Path | None = None, variables: dict[str, Any] | None = None
    ) -> None:
        self._ledger, self._store = ledger, store
        self.job = job
        self.original = original
        self._variables = variables

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def run_id(self) -> str:
        """The run that the job is."""
        return self.job.run_id

    @property
    def state(self) -> JobState:
        """How it was when it was last looked at."""
        return self.job.state

    def refresh(self) -> Job:
        """Return it as it is now.

        Raises:
            StoreError: If it cannot be asked.
        """
        self.job = self._ledger.job(self.job.id)
        return self.job

    def run(self) -> Run:
        """Return its run as the store has it."""
        return self._store.get_run(self.run_id)

    def runs(self) -> list[Run]:
        """Return its run and those that the notebook has started, the newest first."""
        query = RunQuery(filter=f"tags.`{TAG_EXECUTION}` = '{self.id[:16]}'", lifecycle_stage=None, max_results=100)
        return self._store.search_runs(query).items

    def cancel(self) -> Job:
        """Ask that it ends."""
        self.job = changing.cancel(self._ledger, self.id)
        return self.job

    def logs(self, *, after: int = 0) -> tuple[str, int]:
        """Return what its machine has said from a byte on, and where that ends. Other jobs of the machine are in it, too."""
        if not self.job.runner_id:
            return "", after
        page = self._ledger.log(self.job.runner_id, after=after)
        return page.text, page.end

    def wait(self, timeout: float | None = None, *, told: Callable[[RemoteJob], None] = lambda _: None, check: bool = True) -> RemoteJob:
        """Return when it is over. A server that does not answer for a while is asked again.

        Args:
            timeout: How long at most (s); None: as long as it takes.
            told: Called about once a second, and in the end.
            check: Raise if it did not come to its end.

        Raises:
            JobFailed: If it failed or was cancelled.
            TimeoutError: If it still goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with contextlib.suppress(StoreUnreachable):
                self.refresh()
            told(self)
            if self.state.is_over:
                if check and self.state is not JobState.DONE:
                    raise JobFailed(self.job)
                return self
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"The job '{self.name}' is {self.state} after {timeout:g} s; it goes on.")
            time.sleep(PAUSE_SECONDS)

    def __await__(self) -> Generator[Any, None, RemoteJob]:
        return asyncio.to_thread(self.wait).__await__()

    # -- what it gives

    def fetch_notebook(self, path: Path | None = None) -> Path:
        """Write the executed notebook beside the original and return its path. No other file that is there is changed.

        Raises:
            NotFound: If there is none yet.
        """
        if path is None:
            here = self.original or Path.cwd() / Path(self.job.notebook).name
            path = here.with_name(f"{here.stem}-{self.id[:8]}.ipynb")
        partial = path.with_name(f".{path.name}.partial")
        pieces = self._store.read_artifact(self.run_id, EXECUTED)
        try:
            with partial.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    def values(self) -> dict[str, Any]:
        """Return the variables that were wanted back, by name.

        They are read as pickles are: what the machine has written may run code here. It ran your job on your behalf, by a token of
        its own, and the digests of what it has sent are checked.

        Raises:
            NotFound: If there are none.
            InvalidInput: If one could not be sent, or cannot be read here: it says which, and why.
        """
        listed = b"".join(self._store.read_artifact(self.run_id, VALUES))
        found: Mapping[str, Value] = msgspec.json.decode(listed, type=dict[str, Value])
        # A machine gives no names that nobody has asked for.
        found = {name: value for name, value in found.items() if name in self.job.returns}
        problems = [f"`{name}`: {value.problem}" for name, value in found.items() if value.problem]
        if problems:
            raise InvalidInput(
                f"Not all names came back: {'; '.join(problems)}.", hint="Give back what can be pickled: arrays, not handles."
            )
        return {name: self._value(name, value) for name, value in found.items()}

    def _value(self, name: str, value: Value) -> Any:
        from mlops_nb.execution.kernel_state import load_value

        content = b"".join(self._store.read_artifact(self.run_id, f"{RESULTS}/{value.file}"))
        if hashlib.sha256(content).hexdigest() != value.sha256:
            raise StoreDamaged(f"`{name}` was damaged on its way.", hint="Fetch it again.")
        try:
            return load_value(content, self._variables)
        except Exception as error:
            raise InvalidInput(
                f"`{name}` ({value.kind}) cannot be read here: {type(error).__name__}: {error}"[:400],
                hint="This Python needs the packages that it is made of, in the same versions.",
            ) from error

    def outputs(self) -> list[Any]:
        """Return what the cells have shown there, in order, as nbformat has it; nothing if it did not come so far."""
        import nbformat

        try:
            content = b"".join(self._store.read_artifact(self.run_id, EXECUTED))
        except NotFound:
            return []
        document = nbformat.reads(content.decode(), as_version=4)  # type: ignore[no-untyped-call]
        return [output for cell in document.cells for output in cell.get("outputs", [])]

    def files(self) -> list[str]:
        """Return the paths of the files that the notebook wrote there; they are files of the run, below `runner/files`."""
        return [file.path.removeprefix(f"{FILES}/") for file in self._store.list_artifacts(self.run_id, FILES, recursive=True)]

    # -- shown

    def status_line(self, *, hourly: float | None = None) -> str:
        """Return how it is in one line: `▶ train · cell 4/9 · 42.1 s · val_auc 0.9203`."""
        job = self.job
        parts = [f"{_SIGNS[job.state]} {one_line(job.name)}", job.state.value if job.state is not JobState.RUNNING else ""]
        if job.cell and job.state is not JobState.DONE:
            parts.append(f"cell {job.cell}/{job.cells_total}")
        if job.started:
            seconds = (job.ended or time.time()) - job.started
            parts.append(format_duration(max(0.0, seconds) * 1000))
            if hourly:
                parts.append(f"${seconds / 3600 * hourly:.2f}")
        if job.attempts > 1:
            parts.append(f"attempt {job.attempts}")
        if job.reason and job.state is not JobState.RUNNING:
            parts.append(one_line(job.reason)[:160])
        return " · ".join(part for part in (*parts, *self._metrics()) if part)

    def _metrics(self) -> list[str]:
        if self.job.started is None:
            return []
        with contextlib.suppress(MlopsError):
            latest = {key: metric.value for run in self.runs() for key, metric in run.metrics.items() if not key.startswith("system/")}
            return [f"{one_line(key)[:30]} {format_number(value)}" for key, value in list(latest.items())[:_MOST_METRICS]]
        return []

    def __repr__(self) -> str:
        return f"<Job {one_line(self.name)} {self.id[:8]} {self.state.value}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from html import escape

        line = self.status_line()
        return {"text/plain": line, "text/html": f"<div><code>{escape(line)}</code></div>"}


def find_job(ledger: RunnerLedger, store: TrackingStore, job: str) -> RemoteJob:
    """Return the job of an id, a beginning of it, or a name.

    Raises:
        NotFound: If there is none.
    """
    try:
        return RemoteJob(ledger, store, ledger.job(job))
    except NotFound:
        raise NotFound(f"There is no job '{job[:80]}'.", hint="See what there is: mlops-nb runner jobs") from None
