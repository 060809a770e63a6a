"""The most memory that this process held while a cell ran."""

from __future__ import annotations

import os
import sys
import threading

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_EVERY_SECONDS = 0.1
_STATM = "/proc/self/statm"
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_UNIT = 1 if sys.platform == "darwin" else 1024


class PeakMemory:
    """Watches the resident memory of this process between `begin` and `end`.

    The system keeps the highest mark of the whole life of the process. While a cell raises it, that is the answer;
    below it a thread looks ten times a second, and only while a cell takes longer than that. What the process holds when
    a cell begins is what it held when the last one ended: every look may cost the wait for another thread.
    """

    def __init__(self) -> None:
        self._peak = 0
        self._mark = 0
        self._before = 0
        self._running = threading.Event()
        self._pid = 0
        self._statm = -1

    def begin(self) -> None:
        """A cell begins."""
        if self._pid != os.getpid():  # the first time, or in a forked child, which has no threads
            self._pid = os.getpid()
            self._statm = _opened(_STATM)
            self._running = threading.Event()
            threading.Thread(target=self._watch, args=(self._running,), name="mlops_nb-memory", daemon=True).start()
            self._before = self._resident()
        self._peak, self._mark = self._before, _highest()
        self._running.set()

    def end(self) -> int | None:
        """Return the most memory since `begin` (bytes); None where the system does not tell."""
        self._running.clear()
        return self.so_far()

    def so_far(self) -> int | None:
        """Return the most memory since `begin`, while the cell goes on."""
        mark, self._before = _highest(), self._resident()
        return (mark if mark > self._mark else max(self._peak, self._before)) or None

    def _watch(self, running: threading.Event) -> None:
        pause = threading.Event()
        while True:
            running.wait()
            pause.wait(_EVERY_SECONDS)
            if running.is_set():
                self._peak = max(self._peak, self._resident())

    def _resident(self) -> int:
        """Return the memory that this process holds now (bytes); 0 where the system does not tell."""
        if self._statm < 0:
            return 0
        return int(os.pread(self._statm, 200, 0).split()[1]) * _PAGE


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:  # another system
        return -1


def _highest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT if resource is not None else 0
