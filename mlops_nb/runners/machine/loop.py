"""The loop of a runner's machine: when it goes on, and when and why it ends.

It is the same on a rented machine, in a pod, behind `ssh:` and in the foreground of `mlops-nb runner launch`. Signs of life are
another thread's (`heartbeats`), which stops giving them when this loop no longer turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from mlops_nb.core.formatting import format_duration
from mlops_nb.core.records import Record
from mlops_nb.core.runners import LEASE_SECONDS, REGISTER_SECONDS, Guards
from mlops_nb.errors import MlopsError
from mlops_nb.runners.machine.gpus import IN_USE
from mlops_nb.runners.machine.heartbeats import BEAT_SECONDS, Heartbeats, State, Terms
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.notices.base import Notice, Notices
from mlops_nb.runners.machine.server import Server
from mlops_nb.runners.machine.switch import Switch
from mlops_nb.runners.machine.watcher import Watcher
from mlops_nb.runners.machine.work import Work, WorkStatus

STOP_SECONDS = 30.0
"""How long work may take to end its processes."""
LAST_SECONDS = 60.0
"""So long before its hard stop, or the end of a lease that nobody renews, a job is told to save what it has."""
MARGIN_SECONDS = 5.0
"""Of the time that a cloud announces, this much is ours, to say what became of it."""
UNDRAINED_SECONDS = 120.0
"""How long work without a job may take to be finished after a drain."""


class Ended(Record, frozen=True, kw_only=True):
    """How the loop ended: why, for people; how many jobs there were; whether something went wrong."""

    reason: str
    jobs: int = 0
    failed: bool = False


class _Leaving(Record, frozen=True, kw_only=True):
    reason: str
    seconds: float
    failed: bool = False


class MachineLoop:
    """Drives the work of one machine until it is over. An object serves one `run`.

    Args:
        work: What is executed here.
        guards: The limits; the idle limit and the hard stop follow the server's orders where there is a server.
        hard_stop: Seconds from now until the end at the latest; None: `guards.max_hours`.
        server: Who keeps the runner; None: nobody, the loop renews the lease by itself while it lives.
        switch: The dead-man's switch; None: this machine is not ours to switch off.
        notices: Where to look for announcements of the cloud.
        gpu: Returns the use of the busiest GPU, 0 to 1; None: none, or not known.
        log: Gets a line for people at each change; None: one that prints.
        lease: How long the switch is set to where there is no server, and before its first answer (s).
        beat: Seconds between two signs of life.
        tick: Seconds between two looks at the work.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        work: Work,
        guards: Guards,
        *,
        hard_stop: float | None = None,
        server: Server | None = None,
        switch: Switch | None = None,
        notices: Sequence[Notices] = (),
        gpu: Callable[[], float | None] = lambda: None,
        log: MachineLog | None = None,
        lease: float = LEASE_SECONDS,
        beat: float = BEAT_SECONDS,
        tick: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.work = work
        self._log = log or MachineLog()
        self._tick = tick
        self._clock = clock
        self._changed = threading.Event()
        self._asked: _Leaving | None = None
        self._draining: str | None = None
        self._leaving: _Leaving | None = None
        self._leave_by = 0.0
        self._drained_at: float | None = None
        self._used_at: float | None = None
        self._ready = False
        self._begun = clock()
        terms = Terms(self._begun, seconds=guards.seconds(0) if hard_stop is None else hard_stop, idle=guards.idle)
        self._watcher = Watcher(notices, gpu, on_notice=self._noticed)
        self._heart = Heartbeats(
            terms, server=server, switch=switch, log=self._log, lease=lease, beat=beat, clock=clock, wake=self._changed.set
        )

    def run(self) -> Ended:
        """Start the work, keep it, and end it; return when nothing of it is left. What the work raises ends it, too, as failed."""
        self._heart.start()
        self._watcher.start()
        try:
            ended = self._run()
        except MlopsError as error:
            ended = Ended(reason=str(error), failed=True)
        except Exception as error:  # noqa: BLE001  # work is other people's code: what it raises is told, and ends the machine
            ended = Ended(reason=f"the work failed: {type(error).__name__}: {error}", failed=True)
        except BaseException:
            self._finish(Ended(reason="it was interrupted", failed=True))
            raise
        self._finish(ended)
        return ended

    def drain(self, reason: str) -> None:
        """Take no more work and end after the present job; from a signal handler or another thread."""
        self._draining = self._draining or reason

    def leave(self, reason: str, seconds: float = STOP_SECONDS) -> None:
        """End within so many seconds: the job is told that it is interrupted. From a signal handler or another thread."""
        self._ask(_Leaving(reason=reason, seconds=seconds))

    @property
    def is_draining(self) -> bool:
        return self._draining is not None or self._leaving is not None or self._asked is not None

    # -- the turns

    def _run(self) -> Ended:
        self.work.start()
        while True:
            status = self.work.poll()
            now = self._clock()
            self._note(status, now)
            ended = self._turn(status, now)
            if ended is not None:
                return ended
            self._changed.wait(self._tick)
            self._changed.clear()

    def _turn(self, status: WorkStatus, now: float) -> Ended | None:
        """Decide what follows; return how it ended if it did."""
        terms = self._heart.terms
        if terms.gone:
            return Ended(reason=terms.gone, jobs=status.jobs)
        leaving = self._why_leave(now)
        if leaving is not None and (self._leaving is None or now + leaving.seconds < self._leave_by - 1):
            self._begin_leaving(leaving, now)
        if status.finished:
            reason = self._leaving.reason if self._leaving else self._draining or status.reason or "its work is done"
            failed = status.failed or (self._leaving is not None and self._leaving.failed)
            return Ended(reason=status.reason if status.failed and status.reason else reason, jobs=status.jobs, failed=failed)
        if self._leaving is not None:
            return Ended(reason=self._leaving.reason, jobs=status.jobs, failed=self._leaving.failed) if now >= self._leave_by else None
        if self._why_drain(status, now) is not None and self._drained_at is None:
            self._drained_at = now
            self._log.write(f"No more work is taken: {self._draining}.")
            self.work.drain()
            self._changed.set()
        elif self._drained_at is not None and not status.busy and now - max(self._drained_at, self._used_at or 0.0) > UNDRAINED_SECONDS:
            return Ended(reason=str(self._draining), jobs=status.jobs)
        return None

    def _note(self, status: WorkStatus, now: float) -> None:
        if status.ready and not self._ready:
            self._ready = True
            self._used_at = now
            self._log.write("Ready for work.")
        gpu = self._watcher.gpu
        if status.busy or (gpu is not None and gpu > IN_USE):
            self._used_at = now
        state: State = "draining" if self.is_draining else "busy" if status.busy else "idle" if self._ready else "booting"
        self._heart.note(state, status, idle=0.0 if self._used_at is None else now - self._used_at, gpu=gpu)

    def _why_leave(self, now: float) -> _Leaving | None:
        terms = self._heart.terms
        if self._asked is not None:
            return self._asked
        if not self._ready and now - self._begun > REGISTER_SECONDS:
            return _Leaving(reason="its work was not ready in time", seconds=0.0, failed=True)
        if terms.leave:
            return _Leaving(reason="the server said so", seconds=STOP_SECONDS)
        left = terms.hard_stop - now
        if left <= min(LAST_SECONDS, terms.longest / 10):
            return _Leaving(reason="its time limit is reached", seconds=max(0.0, left - MARGIN_SECONDS))
        lease = self._heart.lease_left()
        if lease is not None and lease <= min(LAST_SECONDS, self._heart.lease / 3):
            seconds = max(0.0, lease - MARGIN_SECONDS)
            return _Leaving(
                reason=f"the server has not answered for {format_duration(terms.silent(now) * 1000)}", seconds=seconds, failed=True
            )
        return None

    def _begin_leaving(self, leaving: _Leaving, now: float) -> None:
        self._leaving = leaving
        self._leave_by = now + leaving.seconds
        self._log.write(f"The machine ends within {format_duration(leaving.seconds * 1000)}: {leaving.reason}.")
        self.work.interrupt(leaving.reason, leaving.seconds)
        self._heart.beat_now()
        self._changed.set()

    def _why_drain(self, status: WorkStatus, now: float) -> str | None:
        terms = self._heart.terms
        if self._draining is None and terms.drain:
            self._draining = "it was told to stop"
        if self._draining is None and self._ready and not status.busy and self._used_at is not None:
            idle = now - self._used_at
            if idle >= terms.idle:
                self._draining = f"idle for {format_duration(idle * 1000)}"
        return self._draining

    # -- from other threads and signal handlers: those must not wait for a lock, so the loop sees it at its next turn

    def _noticed(self, notice: Notice) -> None:
        self._heart.notice = notice.text
        self._log.write(f"The cloud says: {notice.text}.")
        if notice.final:
            self._ask(_Leaving(reason=notice.text, seconds=max(0.0, notice.seconds - MARGIN_SECONDS), failed=True))
        else:
            self.drain(notice.text)
        self._heart.beat_now()
        self._changed.set()

    def _ask(self, leaving: _Leaving) -> None:
        if self._asked is None or leaving.seconds < self._asked.seconds:
            self._asked = leaving

    def _finish(self, ended: Ended) -> None:
        """End the work and say so; nothing here raises, for the machine ends in any case."""
        self._watcher.stop()
        self._log.write(f"Ending: {ended.reason}.")
        try:
            self.work.stop(min(STOP_SECONDS, max(1.0, self._leave_by - self._clock() + MARGIN_SECONDS)) if self._leaving else STOP_SECONDS)
        except Exception as error:  # noqa: BLE001  # as above; the switch and the reaper remove what is left
            self._log.write(f"The work could not be ended in order: {type(error).__name__}: {error}")
        self._heart.stop(ended.reason)
