"""The process that executes one notebook: `python -m mlops_nb.ci.worker FD`, with the job as JSON on its standard input.

It is a process of its own so that it has an environment of its own, and so that whatever happens in it, even its sudden
death, leaves another process that knows and tells. Events go as lines of JSON to the file descriptor FD.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import msgspec

from mlops_nb.ci.protocol import CellEnded, CellStarted, Ended, Ending, Event, Job, KernelStarted, Printed
from mlops_nb.execution.course import Checkpoint


class Stopped(KeyboardInterrupt):
    """The execution is to end now: a signal, or the time for all of it is over. asyncio lets only this kind through."""

    def __init__(self, ending: Ending, reason: str) -> None:
        super().__init__(reason)
        self.ending = ending


class _Reporter:
    """Writes events, and is the engine's watcher."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.prints = False

    def tell(self, event: Event) -> None:
        """Write an event; when nobody reads any more there is nobody to tell."""
        content = memoryview(msgspec.json.encode(event) + b"\n")
        try:
            while content:
                content = content[os.write(self._fd, content) :]
        except OSError:
            raise Stopped(Ending.STOPPED, "the process that started this one has ended") from None

    def kernel_started(self, pid: int | None) -> None:
        """Tell the kernel's process."""
        self.tell(KernelStarted(pid))

    def cell_started(self, number: int, count: int) -> None:
        """Tell that a cell begins."""
        self.tell(CellStarted(number, count))

    def cell_ended(self, number: int, count: int, seconds: float, is_failed: bool) -> None:
        """Tell that a cell ended."""
        self.tell(CellEnded(number, count, round(seconds, 3), is_failed))

    def printed(self, text: str) -> None:
        """Tell what a cell has printed, where somebody asked for it."""
        if self.prints:
            self.tell(Printed(text))

    def checkpointed(self, checkpoint: Checkpoint) -> None:
        """Tell of a checkpoint."""
        self.tell(checkpoint)


def main() -> None:
    """Execute the job on standard input."""
    reporter = _Reporter(int(sys.argv[1]))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    reporter.prints = job.prints
    _listen(job)
    try:
        _execute(job, reporter)
        ended = Ended(Ending.FINISHED)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the answer
        _be_left_alone()
        ended = _ending(error)
    _be_left_alone()
    reporter.tell(ended)


def _listen(job: Job) -> None:
    def stop(number: int, _frame: object) -> None:
        _be_left_alone()
        raise Stopped(Ending.STOPPED, f"stopped by {signal.Signals(number).name}")

    def over(_number: int, _frame: object) -> None:
        _be_left_alone()
        raise Stopped(Ending.TIMED_OUT, "the time for all of it was over")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, over)
    if job.seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, max(0.001, job.seconds))


def _be_left_alone() -> None:
    """Let nothing interrupt the rest."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _execute(job: Job, reporter: _Reporter) -> Any:
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    from papermill import execute_notebook

    return execute_notebook(
        job.notebook,
        job.output,
        parameters=job.parameters,
        engine_name="mlops_nb",
        kernel_name=job.kernel,
        progress_bar=False,
        start_timeout=job.start_timeout,
        cwd=job.cwd,
        execution_timeout=job.cell_timeout,
        execution_id=job.execution_id,
        watcher=reporter,
        course=job.course,
    )


def _ending(error: BaseException) -> Ended:
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, Stopped):
        return Ended(error.ending, str(error))
    if isinstance(error, PapermillExecutionError):
        return Ended(Ending.FAILED, f"{error.ename}: {error.evalue}")
    if isinstance(error, DeadKernelError):
        return Ended(Ending.DIED, "the kernel died")
    if isinstance(error, CellTimeoutError):
        return Ended(Ending.TIMED_OUT, "a cell took longer than it may")
    if isinstance(error, KeyboardInterrupt):
        return Ended(Ending.STOPPED, "interrupted")
    lines = str(error).strip().splitlines()
    return Ended(Ending.BROKEN, f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


if __name__ == "__main__":
    main()
