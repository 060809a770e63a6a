"""Machines hosted by a server: it launches and ends them in threads of its own, whatever becomes of who asked.

A launch is written down before it is answered. A server that ends lets go of it, and the next one goes on; of several processes
of a team's server one does what is due by the clock, and each does the launches that it was asked for.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from mlops_nb.core.runners import CloudName, Runner, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.errors import MlopsError, NotSupported
from mlops_nb.runners.cancelling import Suspended

if TYPE_CHECKING:
    from mlops_nb.clouds.base import Cloud, Finding
    from mlops_nb.forges.runners import ForgeJob, Rerun
    from mlops_nb.runners.agents.keeper import Keeper
    from mlops_nb.runners.base import Plan, Preparation, Reaped, Registrar
    from mlops_nb.runners.manager import Runners
    from mlops_nb.store.runners import RunnerLedger

log = logging.getLogger("mlops_nb.runners")

TICK_SECONDS = 15.0
REAP_SECONDS = 600.0
HOLD_SECONDS = 60.0
"""How long a process that has died keeps what it did from the others."""

AGAIN_SECONDS = 30.0
"""Between two tries to have a job done again whose run goes on elsewhere; this server gives up with its end, or after a day."""
_MOST_TRIES = 2880

HOSTED = "hosted"
"""The kind of event by which a server knows again what servers launch; what a command line launches it does itself."""

_WARN_EVERY = 300.0
_KEEPER = "runner keeper"
_OPEN = [state for state in RunnerState if not state.is_over]
_ID_LENGTH = 32
_LAUNCHING = (RunnerState.REQUESTED, RunnerState.CREATING, RunnerState.BOOTING)


class Parts(Protocol):
    """What a server needs to know of clouds and forges; each answer may be another object, for the thread that asks."""

    def cloud(self, name: CloudName) -> Cloud:
        """Return the account of a provider, or raise `MissingDependencyError` or `CloudError`."""

    def registrar(self, url: str) -> Registrar:
        """Return the registrations of a place at a forge, or raise `MlopsError`."""

    def preparation(self, ledger: RunnerLedger, runner: Runner) -> Preparation:
        """Return what makes the script of a runner's machine, and its secret."""

    def keeper(self, ledger: RunnerLedger, runner: Runner) -> Keeper:
        """Return what asks the forge of a runner for what its machine may not."""


class RunnerHost:
    """Launches, keeps and ends the machines of one project or team.

    Threads: all methods may be called from any. They block while a cloud is asked; `launch` and `down` until they are written down.

    Args:
        ledger: Gives the ledger, made where there is none if its argument says so. It is asked anew for each use.
        parts: Clouds and forges.
        tick_seconds, reap_seconds: How often what is due by the ledger is done, and how often the clouds are searched.
        hold_seconds: How long a process that has died keeps its launches from the others.
        refused: Where no runner is launched, as on the machine of a team's server itself.
    """

    def __init__(
        self,
        ledger: Callable[[bool], RunnerLedger],
        parts: Parts,
        *,
        tick_seconds: float = TICK_SECONDS,
        reap_seconds: float = REAP_SECONDS,
        hold_seconds: float = HOLD_SECONDS,
        refused: Collection[CloudName] = (),
    ) -> None:
        self._refused = frozenset(refused)
        self._stopping = threading.Event()
        self._open = ledger
        self._ledger = cast("RunnerLedger", _Watched(ledger, self._stopping))
        self._parts = parts
        self._tick_seconds, self._reap_seconds, self._hold_seconds = tick_seconds, reap_seconds, hold_seconds
        self._me = f"{socket.gethostname()[:24]} {os.getpid()} {secrets.token_hex(8)}"
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._working: dict[str, threading.Thread] = {}
        self._timer: threading.Thread | None = None
        self._reaped = -reap_seconds
        self._warned: dict[str, float] = {}

    # -- the life of the host

    def start(self) -> None:
        """Begin to do what is due, in a thread of its own: what an earlier server left unfinished comes first."""
        self._timer = threading.Thread(target=self._run, name="mlops-runners", daemon=True)
        self._timer.start()

    def close(self, timeout: float = 5.0) -> None:
        """Let go of all that runs, for the next server to go on with; a call of a cloud that runs is waited for so long (s)."""
        self._stopping.set()
        self._woken.set()
        deadline = time.monotonic() + timeout
        with self._lock:
            working = dict(self._working)
        for thread in (*working.values(), *([self._timer] if self._timer else [])):
            thread.join(max(0.0, deadline - time.monotonic()))
        try:
            ledger = self._open(False)
            if ledger.list(states=_OPEN, max_results=1):
                for name in (_KEEPER, *(_held(name) for name in working)):
                    ledger.hold(name, self._me, 0)
        except MlopsError as error:
            log.info("The next server waits for %g s until it goes on with the runners of this one: %s", self._hold_seconds, error)

    # -- what is asked of it

    def plan(self, request: RunnerRequest) -> Plan:
        """Return what a launch would try and cost; see `Runners.plan`.

        Raises:
            NotSupported: If this server launches nothing there.
        """
        if request.cloud in self._refused:
            raise NotSupported(
                f"This server launches no runners on {request.cloud}.",
                hint="Launch it from your own machine, by JupyterLab or by the command line there: mlops-nb runner launch",
            )
        return self._runners().plan(request)

    def launch(self, request: RunnerRequest, *, user: str = "", ssh_public_key: str = "") -> Runner:
        """Write a runner down as requested, and launch it in the background.

        Raises:
            AlreadyExists: If a runner that is not gone has this name.
            MlopsError: If no machine fits, or the cloud does not answer.
        """
        plan = self.plan(request)
        runners = self._runners()
        runner = runners.request(plan, user=user, host=socket.gethostname())
        self._ledger.hold(_held(runner.id), self._me, self._hold_seconds)
        runner = self._ledger.save(runner, RunnerEvent(time=time.time(), kind=HOSTED, text="A server launches it."))

        def work() -> None:
            runners.launch(runner, plan, self._parts.preparation(self._ledger, runner), ssh_public_key=ssh_public_key)

        self._work(runner.id, work)
        return runner

    def stop(self, runner: str) -> Runner:
        """Let a runner end after its present job; one without a job is ended in the background. See `Runners.stop`."""
        found = self._ledger.get(runner)
        if found.state in (RunnerState.IDLE, *_LAUNCHING):
            return self.down(found.id, "it was stopped")
        return found if found.state in (RunnerState.DESTROYING, RunnerState.GONE) else self._runners().stop(found.id)

    def down(self, runner: str, reason: str = "") -> Runner:
        """End a runner: return when that is written down, and go on until nothing of it is left."""
        runners = self._runners()
        begun = runners.begin_down(runner, reason=reason)
        if not begun.state.is_over:
            self._work(f"end {begun.id}", lambda: runners.down(begun.id))
        return begun

    def extend(self, runner: str, seconds: float, max_cost: float | None = None) -> Runner:
        """Move the latest end of a runner; see `Runners.extend`."""
        return self._runners().extend(runner, seconds, max_cost=max_cost)

    def reap(
        self,
        clouds: Collection[CloudName] | None = None,
        regions: Collection[str] = (),
        repositories: Collection[str] = (),
        *,
        names: Collection[str] = (),
        dry_run: bool = False,
    ) -> Reaped:
        """Destroy what is ours and ought to be gone; see `Runners.reap`."""
        return self._runners().reap(clouds, regions=regions, repositories=repositories, names=names, dry_run=dry_run)

    def doctor(self, clouds: Collection[CloudName] | None = None, repositories: Collection[str] = ()) -> Sequence[Finding]:
        """Examine clouds and forges; see `Runners.doctor`."""
        return self._runners().doctor(clouds, repositories=repositories)

    # -- what machines ask

    def left(self, runner_id: str) -> None:
        """Note that an agent has ended by itself: its machine is removed now, whether or not it switches itself off."""
        try:
            self.down(runner_id, self._ledger.get(runner_id).reason or "its agent has ended")
        except MlopsError as error:  # the next tick comes
            self._warn("The runner of an agent that has ended cannot be ended yet", error)

    def registration(self, runner_id: str) -> bytes:
        """Return a new registration at the forge for the next job of a runner.

        Raises:
            NotSupported: If it takes no more work.
        """
        runner = self._ledger.get(runner_id)
        over = runner.drained or runner.state in (RunnerState.DRAINING, RunnerState.DESTROYING, RunnerState.GONE)
        if over or runner.interrupted is not None:
            why = "it is being taken back" if not over else f"it is {runner.state}"
            raise NotSupported(f"The runner '{runner.name}' takes no more jobs: {why}.", hint="Let its agent end.")
        if runner.request.agent.single:
            raise NotSupported(f"The runner '{runner.name}' was launched for a single job.", hint="Let its agent end.")
        return self._parts.keeper(self._ledger, runner).registration()

    def unregister(self, runner_id: str) -> bool:
        """Remove the registrations of a runner; False while its forge says that it has a job."""
        return self._parts.keeper(self._ledger, self._ledger.get(runner_id)).unregister()

    def interrupted(self, runner_id: str, job: Mapping[str, Any] | None) -> Rerun:
        """Have the forge do a job again that is cut off, once; what is too early yet is asked for until the forge takes it."""
        from mlops_nb.forges.runners import ForgeJob

        cut: ForgeJob | None = None if job is None else ForgeJob(**job)
        keeper = self._parts.keeper(self._ledger, self._ledger.get(runner_id))
        done = keeper.interrupted(cut)
        if done.state == "waiting" and done.job is not None:
            self._work(f"run the job of {runner_id} again", lambda: self._run_again(keeper, cut))
        return done

    def _run_again(self, keeper: Keeper, job: ForgeJob | None) -> None:
        """Ask for a job while its run goes on elsewhere, for a day at most."""
        for _ in range(_MOST_TRIES):
            if self._stopping.wait(AGAIN_SECONDS):
                raise Suspended
            done = keeper.interrupted(job)
            if done.state != "waiting":
                log.info("A job that was cut off is %s: %s %s", done.state, done.url, done.reason)
                return

    # -- in the background

    def _runners(self) -> Runners:
        from mlops_nb.runners.manager import Runners

        self._open(True)  # an empty store that only stands in would forget whose machines they are
        clock = _HostClock(self._stopping)
        return Runners(self._ledger, self._parts.cloud, self._parts.registrar, clock=clock, tell=lambda line: log.info("%s", line))

    def _work(self, name: str, work: Callable[[], object]) -> None:
        """Do something in a thread of its own, once at a time."""

        def run() -> None:
            try:
                work()
            except Suspended:
                log.info("The server ends; the next one goes on with: %s", name)
            except MlopsError as error:  # a launch that failed: the runner has the reason
                log.warning("%s", error)
            except Exception:
                log.exception("It could not be finished, and is tried again: %s", name)
            finally:
                with self._lock:
                    self._working.pop(name, None)

        with self._lock:
            if name in self._working or self._stopping.is_set():
                return
            thread = self._working[name] = threading.Thread(target=run, name=f"mlops-runners {name}", daemon=True)
            thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Suspended:
                return
            except Exception as error:  # noqa: BLE001 - a host that has stopped would let machines run
                self._warn("Runners cannot be looked after yet", error)
            self._woken.wait(self._tick_seconds)
            self._woken.clear()

    def _turn(self) -> None:
        """Do what is due. Where nothing was ever launched that is one look at the ledger, and no file is made."""
        with self._lock:
            mine = [name for name in self._working if len(name) == _ID_LENGTH]
        for name in mine:
            self._ledger.hold(_held(name), self._me, self._hold_seconds)
        open_runners = self._ledger.list(states=_OPEN)
        if not open_runners and not self._ledger.list(states=list(RunnerState), max_results=1):
            return
        if not self._ledger.hold(_KEEPER, self._me, max(self._hold_seconds, 3 * self._tick_seconds)):
            return
        for runner in open_runners:
            if runner.state in _LAUNCHING and runner.id not in mine:
                self._resume(runner)
        self._work("tick", self._runners().tick)
        self._work("jobs", self._tend_jobs)
        if time.monotonic() - self._reaped >= self._reap_seconds:
            self._reaped = time.monotonic()
            self._work("reap", self._reap)

    def _resume(self, runner: Runner) -> None:
        """Go on with the launch of a server that has died. Who launches from a command line ends what it cannot finish itself."""
        if not any(event.kind == HOSTED for event in self._ledger.events(runner.id)):
            return
        if self._ledger.hold(_held(runner.id), self._me, self._hold_seconds):
            runners = self._runners()
            self._work(runner.id, lambda: runners.resume(runners.ledger.get(runner.id)))

    def _tend_jobs(self) -> None:
        from mlops_nb.runners.jobs.changing import tend_jobs

        for job in tend_jobs(self._ledger, self.launch):
            log.info("The job %s is %s: %s", job.name, job.state, job.reason)

    def _reap(self) -> None:
        done = self._runners().reap()
        for place, why in done.unseen.items():
            self._warn(f"The reaper could not see {place}", why)
        for resource in done.destroyed:
            log.warning("The reaper has removed what was left: %s %s", resource.kind, resource.id)

    def _warn(self, what: str, why: object) -> None:
        now = time.monotonic()
        if now - self._warned.get(what, -_WARN_EVERY) >= _WARN_EVERY:
            self._warned[what] = now
            unexpected = why if isinstance(why, Exception) and not isinstance(why, MlopsError) else None
            log.warning("%s: %s", what, why, exc_info=unexpected)


class _Watched:
    """The ledger of a host: whoever uses it when the server ends goes no further."""

    def __init__(self, ledger: Callable[[bool], RunnerLedger], stopping: threading.Event) -> None:
        self._open, self._stopping = ledger, stopping

    def __getattr__(self, name: str) -> Any:
        if self._stopping.is_set():
            raise Suspended
        return getattr(self._open(False), name)


class _HostClock:
    """The clock of this machine, with which nobody waits longer than the server lives."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Suspended


def _held(name: str) -> str:
    return f"launch {name}"[:64]
