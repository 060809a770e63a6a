"""One attempt at a job on this machine: unpack, execute in a process of its own, keep checkpoints where the next attempt finds them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import nbformat

from mlops_nb.ci.environment import kernel_environment
from mlops_nb.ci.execution import Execution, execute
from mlops_nb.ci.protocol import CellEnded, CellStarted, Ending, Event, Printed
from mlops_nb.ci.protocol import Job as Task
from mlops_nb.core.formatting import format_bytes, format_duration
from mlops_nb.core.records import Record
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.runner_jobs import BUNDLE, CHECKPOINT, Job, JobState
from mlops_nb.errors import MlopsError, NotFound, StoreDamaged
from mlops_nb.execution.checkpoints import NOTEBOOK, STATE, is_code
from mlops_nb.execution.course import Checkpoint, Course
from mlops_nb.runners.jobs.bundle import Manifest, snapshot, unpack
from mlops_nb.runners.jobs.changing import after_interruption, change
from mlops_nb.runners.jobs.delivering import deliver
from mlops_nb.runners.jobs.environment import python_for
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.runners import RunnerLedger

GRACE_SECONDS = 10.0
"""How long an execution may take to end after it was told to: what it has logged goes out meanwhile."""
PATIENCE_SECONDS = 600.0
"""How long a server that does not answer is asked again for what has to be told."""
_LOOK_SECONDS = 1.0
Why = Literal["interrupted", "cancelled"]


class Tracking(Record, frozen=True, kw_only=True):
    """Where the runs of jobs go, as `MLOPS_NB_TRACKING_URI` and `MLOPS_NB_TRACKING_TOKEN` say it."""

    uri: str
    token: str = ""

    def __repr__(self) -> str:
        return f"Tracking(uri={self.uri!r}, …)"


class Attempt:
    """One attempt at a job. `run` blocks; the other methods are for other threads.

    Args:
        job: As it was claimed.
        ledger, store: Where it, its run and its files are.
        folder: A new folder of its own; it is removed in the end.
        tracking: What its kernel is told of the store.
        tell: Gets lines for the machine's log.
        environment: Variables of which the harmless ones are passed on.
    """

    def __init__(
        self,
        job: Job,
        ledger: RunnerLedger,
        store: TrackingStore,
        folder: Path,
        tracking: Tracking,
        *,
        tell: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.job = job
        self.received: signal.Signals | None = None
        self._ledger, self._store = ledger, store
        self._folder = folder
        self._tracking = tracking
        self._tell = tell
        self._environment = dict(os.environ if environment is None else environment)
        self._why: Why | None = None
        self._notice = ""
        self._patience = PATIENCE_SECONDS
        self._over = threading.Event()
        self._cell, self._count = job.cell, job.cells_total
        self._told = (self._cell, self._count)
        self._keeper = _Keeper(self)

    def __str__(self) -> str:
        return f"{self.job.name} · cell {self._cell}/{self._count}" if self._cell else self.job.name

    def end(self, why: Why, notice: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Let it end now; it is tried again elsewhere if it was interrupted. `seconds` is how long this machine is there."""
        if self._why is None:
            self._why, self._notice = why, notice
        self._patience = min(self._patience, seconds)
        self._over.set()
        self.received = signal.SIGTERM

    def run(self) -> Job:
        """Execute the job and return it as it is then; what goes wrong is in its reason."""
        try:
            shutil.rmtree(self._folder, ignore_errors=True)  # of an agent that died
            self._folder.mkdir(mode=0o700, parents=True)
            fields = self._run()
        except MlopsError as error:
            fields = self._ended_by(str(error))
        except OSError as error:
            fields = self._ended_by(f"the machine cannot: {error}")
        except Exception as error:  # noqa: BLE001  # a fault of ours ends this job, with its name, and not the machine
            fields = self._ended_by(f"internal error: {type(error).__name__}: {error}")
        finally:
            self._over.set()
            self._keeper.join(min(self._patience, 15.0))
        self._clean()
        return change(self._ledger, self.job.id, lambda now: {} if now.state.is_over else fields(now), patience=self._patience)

    # -- the steps

    def _run(self) -> Callable[[Job], dict[str, Any]]:
        job = self.job
        pieces = self._store.read_artifact(job.run_id, BUNDLE)
        manifest, tree, state = unpack(pieces, job.digest, self._folder, go_on=self._go_on)
        kept = self._folder / "checkpoints"
        kept.mkdir()
        if state is not None:
            state.rename(kept / STATE.format(0))
        resume = self._fetch_checkpoint(kept)
        chosen = python_for(manifest, self._folder, saying=self._tell, over=self._over)
        if chosen.told:
            self._tell(f"! {chosen.told}")
        (tree / ".mlops").mkdir(mode=0o700, exist_ok=True)  # so that paths in the runs count from here
        before = snapshot(tree)
        notebook = tree / manifest.notebook
        task = Task(
            notebook=str(notebook),
            output=str(self._folder / "executed.ipynb"),
            execution_id=job.id[:16],
            parameters=dict(job.parameters),
            cwd=str(notebook.parent),
            kernel=chosen.kernel,
            course=self._course(notebook, kept, resume),
            prints=True,
        )
        self._go_on()
        self._keeper.start()
        done = execute(
            task,
            self._variables(tree, manifest, chosen.variables),
            folder=notebook.parent,
            signals=self,
            told=self._event,
            grace=GRACE_SECONDS,
        )
        return self._conclude(done, tree, kept, before)

    def _go_on(self) -> None:
        if self._over.is_set():
            raise MlopsError(self._notice or "The machine ends.")

    def _course(self, notebook: Path, kept: Path, resume: int) -> Course:
        skip: list[str] = []
        if self.job.cells is not None:
            first, last = self.job.cells
            code = [cell for cell in nbformat.read(notebook, as_version=4).cells if is_code(cell)]  # type: ignore[no-untyped-call]
            skip = [cell.id for number, cell in enumerate(code, start=1) if not first <= number <= last]
        return Course(
            run_id=self.job.run_id, skip=skip, folder=str(kept), resume=resume, returns=self.job.returns, is_again=self.job.attempts > 1
        )

    def _variables(self, tree: Path, manifest: Manifest, more: Mapping[str, str]) -> dict[str, str]:
        known = kernel_environment(self._environment)
        paths = [str(tree / path) for path in manifest.paths]
        before = known.get("PYTHONPATH", "")
        variables = {**known, **more, "MLOPS_NB_TRACKING_URI": self._tracking.uri}
        if manifest.experiment:
            variables["MLOPS_NB_EXPERIMENT"] = manifest.experiment
        variables["PYTHONPATH"] = os.pathsep.join([*paths, *([before] if before else [])])
        for name in ("MLOPS_NB_TRACKING_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI"):
            variables.pop(name, None)
        if self._tracking.token:
            variables["MLOPS_NB_TRACKING_TOKEN"] = variables["MLFLOW_TRACKING_TOKEN"] = self._tracking.token
        if self._tracking.uri.startswith(("http://", "https://")):  # what the notebook logs by MLflow's client goes there, too
            variables["MLFLOW_TRACKING_URI"] = self._tracking.uri
        return variables

    def _fetch_checkpoint(self, kept: Path) -> int:
        """Fetch what the attempt before has kept, and return the number of its last cell; 0 where it cannot be used."""
        number = self.job.checkpoint_cell
        if not number:
            return 0
        try:
            for suffix, name in ((".pkl", STATE), (".ipynb", NOTEBOOK)):
                path = f"{CHECKPOINT}-{number:04d}{suffix}"
                found = hashlib.sha256()
                with (kept / name.format(number)).open("wb") as file:
                    for piece in self._store.read_artifact(self.job.run_id, path):
                        found.update(piece)
                        file.write(piece)
                        self._go_on()
                if found.hexdigest() != self.job.digests.get(path):
                    raise StoreDamaged(f"'{path}' is not what the machine before has kept.")
        except (NotFound, StoreDamaged) as error:
            self._tell(f"! It begins at the first cell: {error.message}")
            return 0
        self._tell(f"It goes on behind cell {number}.")
        return number

    def _event(self, event: Event) -> None:
        if isinstance(event, CellStarted):
            self._cell, self._count = event.number, event.count
            self._tell(f"cell {event.number}/{event.count}")
        elif isinstance(event, Printed):
            self._tell(event.text.rstrip("\n"))
        elif isinstance(event, CellEnded) and event.is_failed:
            self._tell(f"cell {event.number}/{event.count} failed after {format_duration(event.seconds * 1000)}")
        elif isinstance(event, Checkpoint):
            self._keeper.put(event)

    # -- the end

    def _conclude(self, done: Execution, tree: Path, kept: Path, before: Mapping[str, tuple[int, int]]) -> Callable[[Job], dict[str, Any]]:
        if done.ending is Ending.STOPPED and self._why is not None:
            return self._ended_by(self._notice)
        self._over.set()
        self._keeper.join(PATIENCE_SECONDS)
        where = f" in cell {done.cell} of {done.count}" if done.cell else ""
        reason = f"{done.reason}{where}" if done.reason else ""
        problem = deliver(self._store, self.job, done.output, kept / "values", tree, before, tell=self._tell)
        now = time.time()
        if done.ending is Ending.FINISHED:
            self._forget_checkpoints()
            return lambda _: {"state": JobState.DONE, "reason": problem, "ended": now, "cell": done.count, "cells_total": done.count}
        self._close_run(RunStatus.FAILED, reason)
        return lambda _: {"state": JobState.FAILED, "reason": reason[:500], "ended": now, **self._progress()}

    def _ended_by(self, reason: str) -> Callable[[Job], dict[str, Any]]:
        """Return what becomes of the job when it did not come to its end by itself."""
        if self._why == "interrupted":
            self._close_run(RunStatus.KILLED, f"interrupted: {reason}")
            self._tell(f"{self.job.name} is interrupted: {reason}")
            return lambda now: {**self._progress(), **after_interruption(now, reason)}
        now_ = time.time()
        if self._why == "cancelled":
            self._close_run(RunStatus.KILLED, reason)
            return lambda _: {"state": JobState.CANCELLED, "reason": reason, "ended": now_, **self._progress()}
        self._close_run(RunStatus.FAILED, reason)
        return lambda _: {"state": JobState.FAILED, "reason": reason[:500], "ended": now_, **self._progress()}

    def _progress(self) -> dict[str, Any]:
        return {"cell": self._cell, "cells_total": self._count}

    def _close_run(self, status: RunStatus, reason: str) -> None:
        """Say of the run how it ended; the execution says so, too, but knows less of why."""
        try:
            self._store.update_run(self.job.run_id, status=status, end_time=time.time_ns() // 1_000_000, reason=reason[:500])
        except MlopsError as error:
            self._tell(f"! The run does not say how it ended: {error}")

    def _forget_checkpoints(self) -> None:
        with contextlib.suppress(MlopsError):  # they take room, and nothing else
            for path in list(self._keeper.kept):
                self._store.delete_artifact(self.job.run_id, path)

    def _clean(self) -> None:
        """Remove the folder, but for what was logged and could not be sent."""
        left = [path for path in self._folder.rglob("journal/*.jsonl") if path.is_file()]
        if left:
            self._tell(f"! What was logged could not all be sent; it stays in {left[0].parent}. Send it: mlops-nb sync")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- for the keeper

    def tend(self) -> None:
        """Tell the ledger how far it is, and see whether somebody has asked that it ends."""
        state = (self._cell, self._count)
        try:
            job = change(self._ledger, self.job.id, lambda _: self._progress() if state != self._told else {})
        except MlopsError:  # told again a second later
            return
        self._told = state
        if (job.cancel or job.state is JobState.CANCELLED) and self._why is None:
            self.end("cancelled", "somebody has cancelled it")

    def keep(self, checkpoint: Checkpoint) -> list[str]:
        """Put a checkpoint where the next attempt finds it, and return the paths of its files."""
        folder = self._folder / "checkpoints"
        digests = {}
        for suffix, name in ((".pkl", checkpoint.state), (".ipynb", checkpoint.notebook)):
            path = f"{CHECKPOINT}-{checkpoint.number:04d}{suffix}"
            with (folder / name).open("rb") as file:
                digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                self._store.write_artifact(self.job.run_id, path, file)
        # Only now does the ledger name it: one that is there in part is never gone on from.
        fields = {"checkpoint_cell": checkpoint.number, "digests": digests}
        change(self._ledger, self.job.id, lambda now: {} if now.state.is_over else fields, patience=self._patience)
        self._tell(f"checkpoint after cell {checkpoint.number}, {format_bytes(checkpoint.size)}")
        return list(digests)

    def drop(self, paths: list[str], before: Checkpoint | None) -> None:
        """Remove a checkpoint that a newer one has taken the place of."""
        for path in paths:
            self._store.delete_artifact(self.job.run_id, path)
        if before is not None:
            for name in (before.state, before.notebook):
                (self._folder / "checkpoints" / name).unlink(missing_ok=True)

    def interruptions(self) -> Iterator[None]:
        """Yield once a second while it goes on."""
        while not self._over.wait(_LOOK_SECONDS):
            yield

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def complain(self, text: str) -> None:
        """Tell the log of something that went wrong beside the execution."""
        self._tell(f"! {text}")


class _Keeper:
    """Two threads beside an execution: one tells the ledger how far it is, one brings checkpoints to the store, the newest first."""

    def __init__(self, attempt: Attempt) -> None:
        self.kept: list[str] = [f"{CHECKPOINT}-{attempt.job.checkpoint_cell:04d}{end}" for end in (".pkl", ".ipynb")]
        self.kept = self.kept if attempt.job.checkpoint_cell else []
        self._attempt = attempt
        self._next: Checkpoint | None = None
        self._some = threading.Condition()
        self._threads = [
            threading.Thread(target=work, name=f"mlops-job-{name}", daemon=True)
            for name, work in (("progress", self._tell), ("checkpoints", self._bring))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def put(self, checkpoint: Checkpoint) -> None:
        """Bring this checkpoint next; one that still waits is no longer wanted."""
        with self._some:
            self._next = checkpoint
            self._some.notify()

    def join(self, seconds: float) -> None:
        """Wait until what was begun is done."""
        with self._some:
            self._some.notify()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.1, deadline - time.monotonic()))

    def _tell(self) -> None:
        for _ in self._attempt.interruptions():
            self._attempt.tend()

    def _bring(self) -> None:
        before: Checkpoint | None = None
        while True:
            with self._some:
                while self._next is None and not self._attempt.is_over:
                    self._some.wait(_LOOK_SECONDS)
                checkpoint, self._next = self._next, None
            if checkpoint is None:
                return
            try:
                old, self.kept = self.kept, self._attempt.keep(checkpoint)
                self._attempt.drop([path for path in old if path not in self.kept], before)
                before = checkpoint
            except (MlopsError, OSError) as error:
                self._attempt.complain(f"The checkpoint after cell {checkpoint.number} could not be kept: {error}")
