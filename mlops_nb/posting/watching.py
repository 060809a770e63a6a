"""Following a report while it is written: its first state at once, then each change that has settled, and the last one for sure."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mlops_nb.errors import MlopsError

log = logging.getLogger("mlops_nb.posting")

POLL = 0.25
SETTLE = 1.0
"""How long a file has to be left alone before it is posted (s)."""
PATIENCE = 10.0
"""A file that is never left alone is posted at least so often (s)."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class Watcher:
    """Calls `publish` for what is there at the beginning, after changes, and at the end if something has changed since.

    It looks at the files several times a second, which works on every file system. Changes while `publish` runs count
    as changes. It ends with SIGINT, SIGTERM or SIGHUP, and when the process that started it is gone: in CI a step leaves
    it behind with `&`. Where a job has several steps, as on GitHub, the end of the step only posts what is left, for the
    job's end may kill us without a warning; the watch goes on for the next steps until the job is gone.

    Args:
        publish: Posts the report; its errors are told, and tried again with the next change and at the end.
        files: Return the files to look at: the report and the images it shows.
        trigger: Post only when this file appears, and remove it then.
        settle: How long files have to be left alone (s).
        patience: The longest that changes wait (s).
        parent: The process whose end is the end; by default the one that started us.
        job: The process that outlives it, with which the watch really ends; None: there is no such.
    """

    def __init__(
        self,
        publish: Callable[[], None],
        files: Callable[[], Sequence[Path]],
        *,
        trigger: Path | None = None,
        settle: float = SETTLE,
        patience: float = PATIENCE,
        parent: int | None = None,
        job: int | None = None,
    ) -> None:
        self._publish, self._files, self._trigger = publish, files, trigger
        self._settle, self._patience = settle, patience
        self._parent = os.getppid() if parent is None else parent
        # Gone before we looked: process 1 has us, though our session is not its own, as in a container it would be.
        self._came_late = self._parent == 1 and os.getsid(0) != 1
        self._job = job
        self._stop = threading.Event()
        self._posted: Stamp | None = None
        self._failed = False

    def stop(self) -> None:
        """Let `run` post what is left and return; from any thread."""
        self._stop.set()

    def run(self) -> bool:
        """Follow the files until the end; return whether the last state has been posted."""
        with _signals(self.stop):
            if self._trigger is None:
                self._post(self._stamp())
            changed_at = seen_at = 0.0
            seen = self._posted
            while not self._stop.wait(POLL) and not self._is_over():
                if self._trigger is not None:
                    self._take_trigger()
                    continue
                now, stamp = time.monotonic(), self._stamp()
                if stamp == self._posted and not self._failed:
                    changed_at = 0.0
                    continue
                if stamp != seen:
                    seen, seen_at = stamp, now
                    changed_at = changed_at or now
                if changed_at and (now - seen_at >= self._settle or now - changed_at >= self._patience):
                    self._post(stamp)
                    changed_at = 0.0
            return self._finish()

    def _finish(self) -> bool:
        stamp = self._stamp()
        if (self._failed or stamp != self._posted) and stamp[0] is not None:
            self._post(stamp)
        if self._trigger is not None:
            self._trigger.unlink(missing_ok=True)
        return not self._failed

    def _take_trigger(self) -> None:
        assert self._trigger is not None
        if self._trigger.exists():
            self._trigger.unlink(missing_ok=True)  # before: what appears while we post counts again
            self._post(self._stamp())

    def _post(self, stamp: Stamp) -> None:
        if stamp[0] is None:
            return  # the report is not there yet
        try:
            self._publish()
        except (MlopsError, OSError) as error:
            self._failed = True
            log.warning("The report is not posted: %s It is tried again with the next change, and at the end.", error)
        else:
            self._failed = False
        self._posted = stamp

    def _stamp(self) -> Stamp:
        return tuple(_stamp_of(path) for path in self._files())

    def _is_over(self) -> bool:
        """Return whether what started us has ended; where its job goes on, post what is left and go on with it."""
        if os.getppid() == self._parent and not self._came_late:
            return False
        if self._job is None or not _is_alive(self._job):
            return True
        if self._parent:
            self._finish()
            self._parent = 0
        return False


def job_process() -> int | None:
    """Return the process that runs the steps of this GitHub job; None outside of one."""
    import psutil

    if not os.environ.get("GITHUB_ACTIONS"):
        return None
    try:
        grandparent = psutil.Process(os.getppid()).ppid()
    except psutil.Error:
        return None
    return grandparent if grandparent > 1 else None


def _is_alive(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let signals stop the watch instead of the process; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
