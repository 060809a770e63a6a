"""The work of a machine for `%runner run`: it takes the jobs that wait for its runner, one after the other, and executes them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_nb.core.runner_jobs import Job
from mlops_nb.errors import MlopsError, NotSupported, PermissionDenied, StoreUnreachable
from mlops_nb.runners.jobs.attempt import Attempt, Tracking
from mlops_nb.runners.machine.site import Site
from mlops_nb.runners.machine.work import WorkStatus
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.runners import RunnerLedger

PAUSE_SECONDS = 2.0
_LONGEST_PAUSE = 30.0


class NotebookWork:
    """Executes jobs. It is a `Work`; see there for threads and errors.

    Args:
        ledger: Where jobs are taken from: of the server, by the agent's token, or the store's own.
        runner_id: Whose jobs.
        store: Where their runs and files are.
        folder: Of this work alone.
        tracking: What the kernels are told of the store.
        single: End after one job.
        tell: Gets lines for the machine's log, from several threads.
        environment: Variables of which the harmless ones are passed on; None: of this process.
        pause: Seconds between two looks for a job.
    """

    def __init__(
        self,
        ledger: RunnerLedger,
        runner_id: str,
        store: TrackingStore,
        folder: Path,
        tracking: Tracking,
        *,
        single: bool = False,
        tell: Callable[[str], None] = lambda line: None,
        environment: Mapping[str, str] | None = None,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._runner_id = runner_id
        self._store = store
        self._folder = folder
        self._tracking = tracking
        self._single = single
        self._tell = tell
        self._environment = environment
        self._pause = pause
        self._lock = threading.Lock()
        self._attempt: Attempt | None = None
        self._jobs = 0
        self._wake = threading.Event()
        self._ends = ""
        self._interruption: tuple[str, float] | None = None
        self._reason = ""
        self._failed = False
        self._thread = threading.Thread(target=self._serve, name="mlops-jobs", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread.start()

    def poll(self) -> WorkStatus:
        """Return how it is now."""
        with self._lock:
            attempt = self._attempt
            finished = self._thread.ident is not None and not self._thread.is_alive()
            return WorkStatus(
                busy=attempt is not None and not finished,
                job=str(attempt) if attempt is not None else "",
                jobs=self._jobs,
                finished=finished,
                failed=finished and self._failed,
                reason=self._reason,
            )

    def drain(self) -> None:
        """Take no more jobs."""
        self._ends = self._ends or "it was told to take no more jobs"
        self._wake.set()

    def interrupt(self, notice: str, seconds: float) -> None:
        """End the present job with its state saved, so that another machine goes on with it."""
        with self._lock:
            self._ends = self._ends or notice
            self._interruption = (notice, time.monotonic() + seconds)
            if self._attempt is not None:
                self._attempt.end("interrupted", notice, seconds)
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """End all, as if it was interrupted."""
        if self._thread.ident is None:
            return
        if self._thread.is_alive():
            self.interrupt("the runner ends", timeout)
            self._thread.join(timeout)

    # -- the thread

    def _serve(self) -> None:
        pause = self._pause
        while not self._ends:
            try:
                job = self._ledger.claim_job(self._runner_id, claim=secrets.token_hex(8))
                pause = self._pause
            except StoreUnreachable:
                job, pause = None, min(2 * pause, _LONGEST_PAUSE)
            except PermissionDenied as error:
                self._failed, self._reason = True, f"the server gives it no jobs: {error.message}"
                return
            except MlopsError as error:
                self._failed, self._reason = True, f"it cannot take jobs: {error}"
                return
            if job is None:
                self._wake.wait(pause)
                continue
            self._do(job)
            if self._single:
                self._ends = "its one job is done"
        self._reason = self._ends

    def _do(self, job: Job) -> None:
        folder = self._folder / f"{job.id[:12]}-{job.attempts}"
        attempt = Attempt(job, self._ledger, self._store, folder, self._tracking, tell=self._tell, environment=self._environment)
        with self._lock:
            self._attempt = attempt
            self._jobs += 1
            if self._interruption is not None:
                notice, until = self._interruption
                attempt.end("interrupted", notice, max(1.0, until - time.monotonic()))
        self._tell(f"Job {job.name} ({job.id[:8]}), attempt {job.attempts}.")
        try:
            ended = attempt.run()
            self._tell(f"Job {ended.name} is {ended.state}" + (f": {ended.reason}" if ended.reason else "."))
        except StoreUnreachable as error:
            self._tell(f"! What became of job {job.name} could not be told: {error}")
        except Exception as error:  # noqa: BLE001  # one job must not keep the machine from the others
            self._tell(f"! What became of job {job.name} could not be told: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._attempt = None


def work_at(site: Site) -> NotebookWork:
    """Return the work of a machine that was launched for jobs; `runners.machine` asks for it.

    Raises:
        NotSupported: If the machine has no server: jobs come from one.
    """
    if site.store is None:
        raise NotSupported(
            "Jobs of %runner run come from a tracking server, and this machine knows none.",
            hint="Launch it from Jupyter, or with MLOPS_NB_TRACKING_URI=https://… of a team's server.",
        )
    return NotebookWork(
        site.store.runners,
        site.runner_id,
        site.store,
        site.folder / "jobs",
        Tracking(uri=site.store.base_url, token=site.store.token),
        single=site.agent.single,
        tell=site.log,
        environment=site.environment,
    )
