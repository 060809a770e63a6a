"""One version of a model, served by one worker or several, which are replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from mlops_nb.errors import MlopsError
from mlops_nb.models.environments import Prepared
from mlops_nb.monitoring.bins import Reference
from mlops_nb.monitoring.observed import Observed
from mlops_nb.serving.channel import Ready, Seen, Watch, WorkerConfig
from mlops_nb.serving.forwarding import Forwarded, Forwarder, Header, WorkerGone
from mlops_nb.serving.logs import WorkerLog
from mlops_nb.serving.process import WorkerProcess

_BACKLOG = 2048
_CRASHES, _CRASH_SECONDS = 5, 60.0
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)
_DRAIN_SECONDS = 30.0
_SHORTEST_DRAIN = 0.05


class State(StrEnum):
    """How a version is: `PARKED` has crashed too often and waits for somebody."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    PARKED = "parked"
    STOPPED = "stopped"


class ModelFailed(MlopsError):
    """A model that cannot be served: it cannot be loaded, or its process dies again and again."""

    code = "INVALID_PARAMETER_VALUE"


class Deployment:
    """The workers of one version of an endpoint.

    Threads: used from one event loop.

    Args:
        config: What the workers serve; its listeners are filled in here.
        socket_path: Where they listen.
        port: An open TCP socket that they accept from too, or None. It stays the caller's.
        workers: How many.
        log: Of the endpoint.
        threads: Threads that numeric libraries may use in each.
        changed: Called when the state has changed.
        prepared: The Python of the model; this one by default.

    Attributes:
        observed: What was seen of its requests, by the bins of `reference`.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        socket_path: Path,
        port: socket.socket | None,
        workers: int,
        log: WorkerLog,
        threads: int,
        changed: Callable[[], None],
        prepared: Prepared | None = None,
    ) -> None:
        self.state = State.STARTING
        self.problem = ""
        self.ready: Ready | None = None
        self.restarts = 0
        self.observed = Observed()
        self._listener = _listen(socket_path)
        self._socket_path = socket_path
        self._sockets = [self._listener, *([port] if port is not None else [])]
        self._config = msgspec.structs.replace(config, listeners=[one.fileno() for one in self._sockets])
        self._count = workers
        self._log = log
        self._threads = threads
        self._changed = changed
        self._workers: list[WorkerProcess] = []
        self._crashes: deque[float] = deque(maxlen=_CRASHES)
        self._forwarder = Forwarder(str(socket_path))
        self._prepared = prepared
        self._stopping = False
        self._restarting: set[asyncio.Task[None]] = set()

    @property
    def is_parked(self) -> bool:
        """Whether it has crashed too often."""
        return self.state is State.PARKED

    @property
    def workers(self) -> list[WorkerProcess]:
        """The processes that live."""
        return [worker for worker in self._workers if worker.is_alive]

    @property
    def environment(self) -> str:
        """What to know about the Python that the model runs in, in words; "" where it is this one, and meets the requirements."""
        if self._prepared is None:
            return ""
        return f"its own environment: {self._prepared.python}" if self._prepared.is_own else self._prepared.warning

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return self._forwarder.running

    async def start(self) -> Ready:
        """Start the workers and return when the first is ready.

        Raises:
            ModelFailed: If the model cannot be served; nothing is left then.
        """
        first = self._start_one()
        await first.settled()
        if first.ready is None or not first.is_alive:
            await self.stop(at_once=True)
            raise self._failure(first)
        for _ in range(self._count - 1):
            self._start_one()
        self._set(State.READY)
        self.ready = first.ready
        return first.ready

    def _start_one(self) -> WorkerProcess:
        place = self._prepared
        python, variables = (place.python, place.variables) if place is not None and place.is_own else (sys.executable, None)
        worker = WorkerProcess(
            self._config,
            self._sockets,
            self._log,
            python=python,
            variables=variables,
            threads=self._threads,
            on_ended=self._ended,
            on_seen=self._seen,
        )
        self._workers.append(worker)
        return worker

    def _failure(self, worker: WorkerProcess) -> MlopsError:
        failed = worker.failure
        if failed is not None:
            lacks = self._prepared is not None and self._prepared.is_own and "which is not installed" in failed.message
            hint = (
                "The model's requirements do not name it: mlops-nb models update-pip-requirements -m MODEL add PACKAGE" if lacks else None
            )
            return ModelFailed(failed.message, hint=hint or failed.hint)
        last = "\n".join(self._log.lines(15))
        return ModelFailed(f"The model's process ended before it was ready: {ending(worker)}.", hint=f"Its last lines:\n{last}")

    # -- what requests are like

    @property
    def reference(self) -> Reference | None:
        """What its requests are held against."""
        return self._config.reference

    def watch(self, reference: Reference | None) -> None:
        """Hold requests against another reference; what was seen until now is forgotten."""
        number = self._config.reference_number + 1
        self._config = msgspec.structs.replace(self._config, reference=reference, reference_number=number)
        self.observed.forget()
        for worker in self.workers:
            worker.watch(Watch(reference=reference, reference_number=number))

    def _seen(self, word: Seen) -> None:
        reference = self._config.reference
        if word.reference_number != self._config.reference_number or reference is None:
            return
        if word.counts.fits(reference):  # else the model's own code wrote it
            self.observed.add(word.counts)

    # -- dying and coming back

    def _ended(self, worker: WorkerProcess) -> None:
        with contextlib.suppress(ValueError):
            self._workers.remove(worker)
        if self._stopping or self.state is State.STARTING:
            return
        now = time.monotonic()
        self._crashes.append(now)
        self.restarts += 1
        why = ending(worker)
        self._log.note(f"A worker of {self._config.name} {self._config.version} ended: {why}.")
        recent = [one for one in self._crashes if now - one < _CRASH_SECONDS]
        if worker.failure is not None or len(recent) >= _CRASHES:
            reason = (
                worker.failure.message if worker.failure else f"{len(recent)} workers ended within {_CRASH_SECONDS:.0f} s, the last: {why}"
            )
            self.problem = reason
            self._set(State.PARKED)
            for other in list(self._workers):
                other.kill("the version is parked")
            return
        self.problem = f"a worker ended: {why}"
        if not any(other.ready for other in self._workers):
            self._set(State.RESTARTING)
        task = asyncio.ensure_future(self._replace(_PAUSES[min(len(recent) - 1, len(_PAUSES) - 1)]))
        self._restarting.add(task)
        task.add_done_callback(self._restarting.discard)

    async def _replace(self, pause: float) -> None:
        await asyncio.sleep(pause)
        if self._stopping or self.is_parked:
            return
        try:
            worker = self._start_one()
        except OSError as error:  # no memory or no process left: tried again as after a crash
            self._log.note(f"No worker could be started: {error.strerror}.")
            await asyncio.sleep(_PAUSES[-1])
            await self._replace(pause)
            return
        await worker.settled()
        if worker.ready is not None and worker.is_alive and not self._stopping and not self.is_parked:
            self._set(State.READY)

    def revive(self) -> None:
        """Try a parked version again."""
        if self.is_parked and not self._stopping:
            self._crashes.clear()
            self._set(State.RESTARTING)
            for _ in range(self._count):
                task = asyncio.ensure_future(self._replace(0.0))
                self._restarting.add(task)
                task.add_done_callback(self._restarting.discard)

    def look(self) -> None:
        """Look after the workers. Called now and then."""
        for worker in self.workers:
            worker.look()

    def _set(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            if state is State.READY:
                self.problem = ""
            self._changed()

    # -- requests

    async def send(self, method: str, path: str, headers: Iterable[Header], body: bytes) -> Forwarded:
        """Send a request to a worker; while one is being replaced it waits for that.

        Raises:
            WorkerGone: If the worker that had it died.
        """
        if self.is_parked or self._stopping:
            raise WorkerGone(self.problem)
        return await self._forwarder.send(method, path, headers, body)

    # -- the end

    async def stop(self, *, at_once: bool = False) -> None:
        """End the workers, with the requests that run finished first unless `at_once`."""
        self._stopping = True
        for task in list(self._restarting):
            task.cancel()
        if not at_once:
            deadline = time.monotonic() + max(_SHORTEST_DRAIN, min(_DRAIN_SECONDS, self._config.limits.timeout))
            while self.running and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        self._forwarder.close()
        self._socket_path.unlink(missing_ok=True)
        self._listener.close()
        workers = self.workers
        for worker in workers:
            if at_once:
                worker.kill("it is no longer needed")
            else:
                worker.drain()
        if workers:
            _, late = await asyncio.wait(
                [asyncio.ensure_future(worker.gone()) for worker in workers], timeout=_SHORTEST_DRAIN if at_once else 5
            )
            if late:
                for worker in workers:
                    worker.kill("it did not end")
                await asyncio.gather(*(worker.gone() for worker in workers))
        self._set(State.STOPPED)


def ending(worker: WorkerProcess) -> str:
    """Return how a process ended, in words."""
    if worker.why:
        return worker.why
    status = worker.status
    if status is None:
        return "it runs"
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        return f"killed by {name}" + (" (out of memory, or by hand)" if -status == signal.SIGKILL else "")
    return f"exit status {status}"


def _listen(path: Path) -> socket.socket:
    """Return a socket that only this user can reach."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
