"""A CI agent as the work of a machine: what all forges' agents have in common.

A thread lives with the agent: it opens a session (a registration, a folder, a process), waits for its end, and opens the next
one where there shall be more jobs. The loop of the machine only looks, and says when it is enough.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_nb.core.records import Record
from mlops_nb.errors import MlopsError, NotSupported
from mlops_nb.forges.runners import ForgeJob, Rerun
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.keeper import Keeper
from mlops_nb.runners.agents.processes import AgentProcess
from mlops_nb.runners.machine.work import WorkStatus

log = logging.getLogger(__name__)
MOST_BARREN = 3
"""After so many ends in a row without a job an agent is given up."""
_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
_QUICK = 1.0


class Look(Record, frozen=True, kw_only=True):
    """What is seen of an agent: whether it has a job, which, and how many were begun in its session."""

    busy: bool = False
    job: ForgeJob | None = None
    begun: int = 0

    @property
    def words(self) -> str:
        return "" if self.job is None else self.job.name or self.job.id


class Session:
    """One life of an agent's process, with the registration that it has."""

    def __init__(self, registration: Enrolment, folder: Path, process: AgentProcess) -> None:
        self.registration, self.folder, self.process = registration, folder, process


class ForgeWork(ABC):
    """See `machine.work.Work` for the contract.

    Args:
        enrolment: The first registration.
        keeper: Who has the forge's token; None: nobody that can be asked, and the first registration is the only one.
        folder: Of its own; it is removed at the end.
        environment: Of which jobs get the harmless part.
        user: Whose account executes jobs; "": ours.
        tell: Takes a line for people.
        pause: Seconds between two tries of what failed, at first.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        *,
        keeper: Keeper | None,
        folder: Path,
        environment: Mapping[str, str],
        user: str = "",
        tell: Callable[[str], None],
        pause: float = _PAUSE,
    ) -> None:
        self.enrolment, self.keeper, self.folder, self.environment, self.user, self.tell = (
            enrolment,
            keeper,
            folder,
            environment,
            user,
            tell,
        )
        self._pause = pause
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._wake = threading.Event()
        self._session: Session | None = None
        self._sessions = 0
        self._done = 0
        self._seen = Look()
        self._told = False
        self._last_job: ForgeJob | None = None
        self._draining = self._stopping = self._interrupted = False
        self._finished: WorkStatus | None = None
        self._ready = False
        self._threads: list[threading.Thread] = []

    # -- what differs from forge to forge

    @abstractmethod
    def prepare(self) -> None:
        """Have the agent's program there. May take minutes."""

    @abstractmethod
    def open(self, registration: Enrolment, folder: Path) -> AgentProcess:
        """Start the agent in an empty folder of its own."""

    @abstractmethod
    def look(self, session: Session) -> Look:
        """Return how the agent is; it may have ended."""

    @abstractmethod
    def no_more(self, session: Session) -> None:
        """Have the agent take no more jobs, and end when it has none. May take a while, and be called again."""

    @abstractmethod
    def cancel(self, session: Session) -> None:
        """Have the agent break off its job, and say so to the forge."""

    def close(self, session: Session) -> None:
        """Remove what the session has left when its processes have ended."""
        shutil.rmtree(session.folder, ignore_errors=True)

    # -- what the loop of the machine calls

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # a user of its own for jobs has to get through
        self.prepare()
        self._run(self._live, "agent")

    def poll(self) -> WorkStatus:
        with self._lock:
            session, done, finished = self._session, self._done, self._finished
        seen = Look() if session is None else self.look(session)
        self._tell_change(seen)
        if seen.begun and session is not None and self.enrolment.single and session.registration.reusable and not self._draining:
            self.drain()  # a registration for one job ends by itself
        alive = session is not None and session.process.is_alive
        busy = seen.busy and alive
        jobs = done + seen.begun
        if finished is not None and not busy:
            return WorkStatus(ready=True, jobs=jobs, finished=True, failed=finished.failed, reason=finished.reason)
        return WorkStatus(ready=self._ready, busy=busy, job=seen.words if busy else "", jobs=jobs)

    def drain(self) -> None:
        if not self._draining:
            self._draining = True
            self._wake.set()
            self._run(self._let_go, "agent-drain")

    def interrupt(self, notice: str, seconds: float) -> None:
        if not self._interrupted:
            self._interrupted = self._draining = True
            self._wake.set()
            self._run(lambda: self._cut_off(notice, time.monotonic() + seconds), "agent-interrupt")

    def stop(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        self._stopping = self._draining = True
        self._wake.set()
        with self._lock:
            session = self._session
        if session is not None:
            session.process.end(max(0.1, min(10.0, timeout / 2)))
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(max(0.1, deadline - time.monotonic()))
        if self.keeper is not None:
            asking = self._run(self._unregister, "agent-unregister")
            asking.join(max(1.0, deadline - time.monotonic()))
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the life of the agent

    def _run(self, step: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(step,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except MlopsError as error:
            self._finish(str(error), failed=True)
        except Exception as error:  # a thread that ends silently would leave a machine that waits for ever
            log.exception("The agent of %s failed.", self.enrolment.place)
            self._finish(f"the agent could not be kept: {type(error).__name__}: {error}", failed=True)

    def _finish(self, reason: str, *, failed: bool = False) -> None:
        with self._lock:
            if self._finished is None:
                self._finished = WorkStatus(finished=True, reason=reason, failed=failed)

    def _live(self) -> None:
        registration: Enrolment | None = self.enrolment
        barren = 0
        while registration is not None:
            session, begun = self._lived(registration)
            barren = 0 if begun else barren + 1
            if self._stopping or self._draining:
                if not self._interrupted:
                    self._finish("it was told to stop")
                return
            if begun and self.enrolment.single:
                return self._finish("its one job is done")
            if barren >= MOST_BARREN:
                said = " | ".join(list(session.process.last)[-5:]) or "it said nothing"
                return self._finish(f"the agent ended {barren} times without a job: {said}", failed=True)
            if barren:
                self._sleep(self._pause * barren)
            registration = registration if registration.reusable else self._another()

    def _lived(self, registration: Enrolment) -> tuple[Session, int]:
        """Run the agent until it ends by itself or is ended, and return how many jobs it had."""
        self._sessions += 1
        folder = self.folder / str(self._sessions)
        folder.mkdir(mode=0o755)
        session = Session(registration, folder, self.open(registration, folder))
        with self._lock:
            self._session, self._ready = session, True
        if self._stopping or self._interrupted:
            session.process.end(1.0)
        elif self._draining:  # it was told to stop in the moment before: nobody has told this session
            self._run(self._let_go, "agent-drain")
        session.process.wait()
        seen = self.look(session)
        self._last_job = seen.job or self._last_job
        self._tell_change(Look(begun=seen.begun))
        session.process.sweep()
        self.close(session)
        with self._lock:
            self._session, self._done = None, self._done + seen.begun
        return session, seen.begun

    def _another(self) -> Enrolment | None:
        """Get a registration for the next job, however long that takes; None when no more job shall be taken."""
        if self.keeper is None:
            self._finish("its registration was good for one job, and there is no server that gives another")
            return None
        pause = self._pause
        while not self._draining:
            try:
                with self._asking:
                    return Enrolment.decode(self.keeper.registration())
            except NotSupported as error:  # it takes no more work, and the server knows that before the next sign of life
                self._finish(error.message)
                return None
            except MlopsError as error:
                if error.code != "TEMPORARILY_UNAVAILABLE":
                    raise
                self.tell(f"There is no registration for the next job yet: {error.message}")
            self._sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
        if not self._interrupted:
            self._finish("it was told to stop")
        return None

    def _sleep(self, seconds: float) -> None:
        """Wait, unless the end is near."""
        if not self._draining and not self._stopping:
            self._wake.wait(seconds)

    def _let_go(self) -> None:
        with self._lock:
            session = self._session
        if session is not None:
            self.no_more(session)

    def _cut_off(self, notice: str, deadline: float) -> None:
        with self._lock:
            session = self._session
        seen = Look() if session is None else self.look(session)
        if session is None or not seen.busy:
            if session is not None:
                session.process.end(_QUICK)
            return self._finish(notice)
        self.tell(f"The job {seen.words or '(unknown)'} is cut off: {notice}")
        self.cancel(session)
        session.process.wait(max(_QUICK, (deadline - time.monotonic()) / 2))
        # Which job that is may be known only by now: the agent has it before it says so.
        self.tell(self._again(seen.job or self.look(session).job or self._last_job, deadline))
        self._finish(notice)

    def _again(self, job: ForgeJob | None, deadline: float) -> str:
        """Have the job done again, asking until the forge takes it or the time is over; return what came of it, for people."""
        if self.keeper is None:
            return "It is not run again: no server was given that could ask the forge."
        done = Rerun(state="waiting")
        while done.state == "waiting":
            try:
                with self._asking:
                    done = self.keeper.interrupted(job)
            except MlopsError as error:
                if error.code != "TEMPORARILY_UNAVAILABLE":
                    return f"It is not run again: {error}"
                done = Rerun(state="waiting", reason=error.message)
            if time.monotonic() + _QUICK > deadline:
                break
            if done.state == "waiting":
                time.sleep(_QUICK)
        waiting = f"It can be run again when its run has ended, which goes on elsewhere: {done.url} {done.reason}"
        words = {"started": f"It is run again: {done.url}", "waiting": waiting}
        return words.get(done.state, f"It is not run again: {done.reason}")

    def _unregister(self) -> None:
        assert self.keeper is not None
        try:
            with self._asking:
                removed = self.keeper.unregister()
        except MlopsError as error:
            self.tell(f"The registration could not be removed: {error.message} The reaper does it.")
            return
        if not removed:
            self.tell("The forge still believes that the runner has a job; the reaper removes the registration later.")

    def _tell_change(self, seen: Look) -> None:
        """Say that a job begins, as soon as its name is known, and that it has ended."""
        with self._lock:
            before, self._seen = self._seen, seen
            begins = seen.busy and bool(seen.words) and not self._told
            self._told = seen.busy and (self._told or begins)
        if begins:
            self.tell(f"Job {seen.words} begins.")
        elif before.busy and not seen.busy:
            self.tell(f"Job {before.words or '(unknown)'} has ended.")
