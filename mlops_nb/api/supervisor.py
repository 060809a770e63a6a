"""Several processes that do the same work: whichever dies is replaced at once, all end together.

uvicorn's own supervisor asks its processes in turn whether they live: one that dies while it is asked holds up the
replacement of all others until a time-out, and one that is slow to start is ended as dead. Here the system tells.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.context import ForkProcess

from mlops_nb.errors import MlopsError

log = logging.getLogger("mlops_nb.server")

# Forked, not spawned: a replacement is there in milliseconds, and the processes share the memory of what is loaded.
# Whoever forks must have no threads and no open database.
_forking = multiprocessing.get_context("fork")
_SHORT_LIFE_SECONDS = 2.0
_SHORT_LIVES = 10
_PAUSE_SECONDS = 0.2


class Supervisor:
    """Runs a function in several processes until it is told to stop by SIGTERM or SIGINT.

    Args:
        work: Runs in each process, until that gets SIGTERM. It is given the end of a pipe that can be read, and is then
            at its end, when this process is gone.
        count: How many processes.
        patience: Seconds that a process has to end in before it is killed.
    """

    def __init__(self, work: Callable[[int], None], count: int, *, patience: float) -> None:
        self._work = work
        self._count = count
        self._patience = patience
        self._processes: dict[int, tuple[ForkProcess, float]] = {}
        self._short_lives = 0
        self._woken, self._wake = os.pipe()
        self._lifeline, self._alive = os.pipe()

    def run(self) -> None:
        """Run until told to stop, and return when all processes have ended.

        Raises:
            MlopsError: If the processes die as soon as they are there.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(self._wake, b"x"))
        try:
            while True:
                while len(self._processes) < self._count:
                    self._start()
                events = connection.wait([self._woken, *self._processes])
                if self._woken in events:
                    return
                for sentinel in events:
                    self._bury(sentinel)
        finally:
            self._end_all()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            for end in (self._woken, self._wake, self._lifeline, self._alive):
                os.close(end)

    def _start(self) -> None:
        process = _forking.Process(target=self._begin)
        # Told to end before it has handlers of its own, a new process would take that for a word to this one and live on.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._processes[process.sentinel] = process, time.monotonic()

    def _begin(self) -> None:
        """Begin the life of a process: what concerns only the one that supervises is let go of."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
        for end in (self._woken, self._wake, self._alive):
            os.close(end)
        self._work(self._lifeline)

    def _bury(self, sentinel: object) -> None:
        assert isinstance(sentinel, int)
        process, started = self._processes.pop(sentinel)
        process.join()
        log.warning("The process %s ended with status %s and is replaced.", process.pid, process.exitcode)
        if time.monotonic() - started > _SHORT_LIFE_SECONDS:
            self._short_lives = 0
            return
        self._short_lives += 1
        if self._short_lives >= _SHORT_LIVES:
            raise MlopsError("The processes of the server die as soon as they start.", hint="Its log tells why.")
        time.sleep(_PAUSE_SECONDS)

    def _end_all(self) -> None:
        processes = [process for process, _ in self._processes.values()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._patience
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                log.error("The process %s does not end and is killed.", process.pid)
                process.kill()
                process.join()


def in_a_process(function: Callable[[], None]) -> None:
    """Run a function in a process of its own, so that nothing which it opens or starts stays in this one.

    Raises:
        MlopsError: As the function did.
    """
    receiving, sending = _forking.Pipe(duplex=False)
    process = _forking.Process(target=_report, args=(function, sending))
    process.start()
    sending.close()
    try:
        failure = receiving.recv()
    except EOFError:
        failure = ("The server could not start.", "Its log tells why.")
    process.join()
    receiving.close()
    if failure is not None:
        message, hint = failure
        raise MlopsError(message, hint=hint)


def _report(function: Callable[[], None], sending: connection.Connection) -> None:
    try:
        function()
    except MlopsError as error:
        sending.send((error.message, error.hint))
    else:
        sending.send(None)
