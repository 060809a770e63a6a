"""Which files the cells of a notebook, or a script, read and write: Python's own audit hook, and readers that it cannot see.

The hook does next to nothing while the user's `open` waits: it notes the path, size and time of what may be data. A thread
of its own reads the files, and gives each run the data sets that the cells read which the run knows.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mlops_nb.tracking.data.paths import is_data

if TYPE_CHECKING:
    from mlops_nb.core.datasets import Dataset
    from mlops_nb.tracking.data.handing import Handing
    from mlops_nb.tracking.run import ActiveRun
    from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

MAX_READS = 200_000
"""Files that are noted per cell; further ones are not."""

_MAX_CELLS = 500
_TICK_SECONDS = 0.5
_FRAMES = 4
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OURS = "mlops_nb."
_READERS = "mlops_nb.tracking.data.readers"

Signature = tuple[int, int, int]


class CellReads:
    """What one execution of a cell, or a script, read and wrote.

    Attributes:
        cell: Its number in the kernel session; None for a script.
        files: Inode, size and time of change (ns) of each file when it was first read, by absolute path.
        known: Data sets that were told apart when they were read, such as remote ones.
        written: Files that were opened for writing.
        last: When something was added (monotonic s).
    """

    def __init__(self, cell: int | None) -> None:
        self.cell = cell
        self.files: dict[str, Signature] = {}
        self.known: list[Dataset] = []
        self.written: dict[str, None] = {}
        self.last = 0.0

    def __bool__(self) -> bool:
        return bool(self.files or self.known or self.written)


class DataWatch:
    """Watches what the process reads for one session, from the first `begin` on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.reads: list[CellReads] = []
        self._here: CellReads | None = None
        self._wake = threading.Event()
        self._worker: threading.Thread | None = None
        self._handing: Handing | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Watch from now on. Costs nothing while no cell and no run is under way."""
        _install()
        if self not in _watches:
            _watches.append(self)

    def end(self) -> None:
        """Watch no more."""
        if self in _watches:
            _watches.remove(self)

    def run_started(self, run: ActiveRun) -> None:
        """Give the run what its cells read, as long as it is open."""
        self.begin()
        self._wake.set()
        if self.reads:
            self._start_worker()

    def run_stopping(self, run: ActiveRun, timeout: float) -> None:
        """Give a run the rest of what was read; what is not hashed in time is told apart by size and time."""
        if self.reads and run.thread is None:
            self._handed().finish(run, self.reads, timeout)
        self._wake.set()

    # -- called while the user's code waits

    def has(self, path: str) -> bool:
        """Return whether what runs now is known to have read a file."""
        here, cell = self._here, self.session.cell
        return here is not None and here.cell == (None if cell is None else cell.index) and path in here.files

    def note(self, path: str, is_written: bool) -> None:
        """Note that a file is opened; `path` is absolute."""
        here = self._collector()
        if here is None:
            return
        if is_written:
            here.written.setdefault(path)
        elif path not in here.files and path not in here.written and len(here.files) < MAX_READS:
            status = os.stat(path)  # noqa: PTH116  # quicker
            if not stat.S_ISREG(status.st_mode):
                return
            here.files[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
        self._added(here)

    def note_known(self, find: Callable[[], Dataset | None]) -> None:
        """Note a data set that is not a local file."""
        here = self._collector()
        if here is not None:
            dataset = find()
            if dataset is not None and dataset not in here.known:
                here.known.append(dataset)
                self._added(here)

    def is_watching(self) -> bool:
        """Return whether a cell, or a script with an open run, is under way."""
        return self.session.cell is not None or (self.session.user_ns is None and bool(self.session.runs))

    def _collector(self) -> CellReads | None:
        cell = self.session.cell
        if not self.is_watching() or os.environ.get("MLOPS_NB_CAPTURE") == "off":
            return None
        number = None if cell is None else cell.index
        here = self._here
        if here is None or here.cell != number:
            here = self._here = CellReads(number)
        return here

    def _added(self, here: CellReads) -> None:
        here.last = time.monotonic()
        if here not in self.reads[-1:]:
            with self._lock:
                if here not in self.reads:
                    self.reads.append(here)
                    del self.reads[:-_MAX_CELLS]
            if self.session.runs:
                self._start_worker()

    # -- the thread

    def _start_worker(self) -> None:
        with self._lock:
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="mlops_nb-data", daemon=True)
                self._worker.start()
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            if not self.session.runs:
                self._wake.clear()
                if not self.session.runs:
                    continue
            try:
                self._handed().hand_out(self.reads, running=self._running())
            except Exception:  # a fault of ours: the next tick tries again, and the user's code is unaffected
                logger.debug("data sets could not be told apart", exc_info=True)
            time.sleep(_TICK_SECONDS)

    def _running(self) -> CellReads | None:
        """Return what is being collected now, if it may still grow."""
        here = self._here
        if here is None or (here.cell is not None and (self.session.cell is None or self.session.cell.index != here.cell)):
            return None
        return here

    def _handed(self) -> Handing:
        from mlops_nb.tracking.data.handing import Handing

        with self._lock:
            if self._handing is None:
                self._handing = Handing(self.session)
            return self._handing

    def after_fork_in_child(self) -> None:
        """Leave the files to the parent: the child's copy of the list is of no use to anybody."""
        self.end()
        self._worker, self._handing, self._here, self.reads = None, None, None, []
        self._wake, self._lock = threading.Event(), threading.Lock()


_watches: list[DataWatch] = []
_is_installed = False


def _install() -> None:
    global _is_installed
    if not _is_installed:
        _is_installed = True
        sys.addaudithook(_hook)
        from mlops_nb.tracking.data import readers

        readers.install(note_read, note_remote)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # This runs for every audit event of the process: the first line is what it costs.
    if event != "open" or not _watches:
        return
    try:
        _opened(*arguments)
    except Exception:  # noqa: BLE001  # whatever it is, it must not reach the user's open(); logging may open files itself
        return


def _opened(path: Any, mode: Any, flags: Any) -> None:
    if isinstance(path, int) or not any(watch.is_watching() for watch in _watches):
        return
    name = os.fsdecode(path)
    if name[:1] != "/":
        name = os.path.abspath(name)  # noqa: PTH100
    elif "/./" in name or "/../" in name or "//" in name:
        name = os.path.normpath(name)
    is_written = isinstance(flags, int) and bool(flags & _WRITES)
    if not is_written and all(watch.has(name) for watch in _watches):
        return
    if not is_data(name) or _is_ours():
        return
    for watch in list(_watches):
        watch.note(name, is_written)


def _is_ours() -> bool:
    """Return whether we open the file ourselves, such as to keep a copy of an artifact."""
    if threading.current_thread().name.startswith("mlops_nb"):
        return True
    frame = sys._getframe(3)
    for _ in range(_FRAMES):
        if frame is None:
            return False
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_OURS) and name != _READERS:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def note_read(path: Any) -> None:
    """Note a local path that a library reads past Python's `open`; a folder counts with the files in it. Never raises."""
    try:
        if not any(watch.is_watching() for watch in _watches):
            return
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        names = [name]
        if os.path.isdir(name):  # noqa: PTH112
            names = [os.path.join(folder, file) for folder, _, files in os.walk(name) for file in sorted(files)][:MAX_READS]  # noqa: PTH118
        for one in names:
            if is_data(one):
                for watch in list(_watches):
                    watch.note(one, False)
    except Exception:
        logger.debug("what was read cannot be noted", exc_info=True)


def note_remote(uri: str, details: Mapping[str, Any] | None = None, content: Any = None) -> None:
    """Note an address that was read, with what its place said of it, or with the table that came out. Never raises."""
    try:
        for watch in list(_watches):
            if watch.is_watching():
                watch.note_known(lambda watch=watch: watch._handed().remote(uri, details, content))  # type: ignore[misc]
    except Exception:
        logger.debug("what was read cannot be noted", exc_info=True)
