"""Executing one notebook in a process of its own, watched: it ends when the time is over or a signal comes, and what it did is kept."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Protocol

import msgspec

from mlops_nb.ci.protocol import CellEnded, CellStarted, Ended, Ending, Event, Job, KernelStarted

GRACE_SECONDS = 2.5
"""So long may an execution take to end after it was asked to."""
_TICK = 0.2
_LOOK = 0.5
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_MAX_ERRORS = 200_000

Told = Callable[[Event], None]


class Execution(msgspec.Struct, kw_only=True):
    """What came of executing a notebook.

    Attributes:
        notebook: The notebook.
        output: The executed notebook; what there is of it if it did not come to its end.
        execution_id: The tag of its runs.
        ending: How it ended.
        reason: Why, in one line; empty if it came to its end.
        cell: Number of the cell that it ended in, among the code cells that are not empty, from 1.
        count: How many of these it has.
        seconds: How long it took.
        cells: How long each cell took (s), in order.
        peak_memory: The most memory that the kernel held (bytes); None where the system does not tell.
    """

    notebook: Path
    output: Path
    execution_id: str
    ending: Ending = Ending.BROKEN
    reason: str = ""
    cell: int | None = None
    count: int = 0
    seconds: float = 0.0
    cells: list[float] = []
    peak_memory: int | None = None


class Signals:
    """Takes SIGINT, SIGTERM and SIGHUP while it is open; `received` is the first one that came.

    The second one ends the process at once.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError):  # not the main thread: then signals are somebody else's
                self._before[number] = signal.signal(number, self._take)
        return self

    def _take(self, number: int, _frame: object) -> None:
        # CIs send SIGINT and later SIGTERM; only the same one again is impatience.
        if self.received is not None and self.received == number:
            os._exit(128 + number)
        self.received = self.received or signal.Signals(number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what `signal` itself has given


class Asked(Protocol):
    """Where a signal to end shows; `Signals` is one."""

    received: signal.Signals | None


def execute(
    job: Job, environment: Mapping[str, str], *, folder: Path, signals: Asked, told: Told, grace: float = GRACE_SECONDS
) -> Execution:
    """Execute a notebook and return what came of it, whatever came of it.

    Args:
        job: What to execute.
        environment: The whole environment of the process that executes, and of its kernel.
        folder: The working directory of that process.
        signals: Where a signal to this process shows.
        told: Is told each event.
        grace: How long it may take to end after it was asked to (s).
    """
    result = Execution(notebook=Path(job.notebook), output=Path(job.output), execution_id=job.execution_id)
    result.output.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        worker = _Worker(job, environment, folder, errors)
        try:
            _watch(worker, job, result, signals, told, began, grace)
        finally:
            worker.kill()
        result.seconds = time.monotonic() - began
        _judge_end(worker, result, errors)
    return result


class _Worker:
    """The process that executes, and what is known of it."""

    def __init__(self, job: Job, environment: Mapping[str, str], folder: Path, errors: IO[bytes]) -> None:
        self.kernel: int | None = None
        read, write = os.pipe()
        os.set_blocking(read, False)
        self.events = read
        try:
            self.process = subprocess.Popen(
                # -P: the notebook's folder may hold a `random.py`. Its kernel imports from there; PYTHONPATH counts for both.
                [sys.executable, "-P", "-m", "mlops_nb.ci.worker", str(write)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                cwd=folder,
                env=dict(environment),
                pass_fds=(write,),
                start_new_session=True,  # the terminal's Ctrl-C comes to us, and we say what is to end
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once; what it wrote says why
            self.process.stdin.write(msgspec.json.encode(job))
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def ask_to_end(self, number: signal.Signals) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it and its kernel, also what they have started; nothing if they have ended."""
        if self.process.poll() is None:
            _kill_group(self.process.pid)
            self.process.wait()
            if self.kernel is not None:
                _kill_group(self.kernel)
        elif self.kernel is not None and self.process.returncode != 0:  # it had no time to end its kernel
            _kill_group(self.kernel)
        os.close(self.events)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _watch(worker: _Worker, job: Job, result: Execution, signals: Asked, told: Told, began: float, grace: float) -> None:
    """Take events until the process has ended, or has to be ended."""
    rest = b""
    end: float | None = None
    looked = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(worker.events, selectors.EVENT_READ)
        while True:
            if selector.select(_TICK):
                piece = os.read(worker.events, 65536)
                if not piece:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        worker.process.wait(grace)
                    return
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    _take(msgspec.json.decode(line, type=Event), worker, result, told)
            elif worker.process.poll() is not None:
                return
            now = time.monotonic()
            if now >= looked + _LOOK:
                looked = now
                result.peak_memory = _peak_memory(worker.kernel) or result.peak_memory
            if end is None and signals.received is not None:
                worker.ask_to_end(signals.received)
                result.ending, result.reason = Ending.STOPPED, f"stopped by {signals.received.name}"
                end = now + grace
            elif end is None and job.seconds is not None and now > began + job.seconds + 0.5:
                # The process has a clock of its own; this is for one that does not hear it any more.
                result.ending, result.reason = Ending.TIMED_OUT, "the time for all of it was over"
                end = now + grace
            if end is not None and now > end:
                return


def _peak_memory(pid: int | None) -> int | None:
    """Return the most memory that a living process has held (bytes), as Linux counts it."""
    if pid is None:
        return None
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    except OSError:  # another system, or it has ended
        return None
    return None if found is None else int(found[1]) * 1024


def _take(event: Event, worker: _Worker, result: Execution, told: Told) -> None:
    if isinstance(event, KernelStarted):
        worker.kernel = event.pid
    elif isinstance(event, CellStarted):
        result.cell, result.count = event.number, event.count
    elif isinstance(event, CellEnded):
        result.cells.append(event.seconds)
        if not event.is_failed:
            result.cell = None
    elif isinstance(event, Ended):
        result.ending, result.reason = event.ending, event.reason
    told(event)


def _judge_end(worker: _Worker, result: Execution, errors: IO[bytes]) -> None:
    """Say what happened to a process that did not say it itself."""
    code = worker.process.returncode
    if result.ending is Ending.FINISHED:
        result.cell = None
    if result.ending is not Ending.BROKEN or result.reason:
        return
    if code is not None and code < 0:
        result.ending = Ending.DIED
        result.reason = f"the process that executes was ended by {signal.Signals(-code).name}"
        return
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _MAX_ERRORS))
    lines = [line.strip() for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
    result.reason = lines[-1][:500] if lines else f"the process that executes ended with {code}"


def new_execution_id() -> str:
    """Return an id for the runs of an execution."""
    return secrets.token_hex(8)
