"""The journal: what a process logs is on disk before the call returns, and waits there until a store has it.

One file per run and process, `<run id>.<source>.jsonl`: a header, then one event a line, each written with one
write(2). What was written survives the death of the process at any instant; a torn last line is dropped. Files to be
delivered as artifacts lie in `<run id>.<source>.files/` beside it. The writing process holds an flock on the journal:
a journal that can be locked belongs to nobody any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mlops_nb.core.events import AnyEvent, decode_event, encode_event
from mlops_nb.errors import InvalidInput
from mlops_nb.tracking import shortage

logger = logging.getLogger("mlops_nb")

MAX_IN_MEMORY = 100_000
READ_SIZE = 1 << 18
_BYTES_AN_EVENT = 64
# A journal of another host that has changed this recently (s) may be in use there, whatever the locks here say.
_FOREIGN_SECONDS = 60.0


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a journal.

    `store` is the URI of the store it is for. `owner` says whether the run ends with this process: false for the
    journal of a forked child, which only adds to the run. `memory` tells later whether memory ran out for it.
    """

    run_id: str
    source: str
    store: str
    pid: int
    host: str
    owner: bool = True
    memory: shortage.Mark | None = None
    version: int = 1


class Journal:
    """The journal of one run in this process. Any thread may append; one thread (the shipper) reads.

    When the disk refuses a line, it and the following ones are kept in memory, up to `MAX_IN_MEMORY` of them, until
    they are delivered from there; `on_fault` is told once per trouble. Appending never raises and never waits for
    anything but the write.

    Attributes:
        dropped: How many events found no place.
        taken: Up to which number the store has the events, as whoever delivers them notes here.
    """

    def __init__(self, folder: Path, run_id: str, store: str, *, owner: bool = True, on_fault: Callable[[OSError], None]) -> None:
        self.header = Header(
            run_id=run_id,
            source=secrets.token_hex(16),
            store=store,
            pid=os.getpid(),
            host=socket.gethostname(),
            owner=owner,
            memory=shortage.mark() if owner else None,
        )
        self.path = folder / f"{run_id}.{self.header.source}.jsonl"
        self.files = self.path.with_suffix(".files")
        self.dropped = 0
        self.taken = 0
        self._on_fault = on_fault
        self._lock = threading.RLock()
        self._writing = False
        self._interrupting: deque[bytes] = deque()
        self._memory: deque[bytes] = deque()
        self._faulty = False
        self._closed = False
        self._seq = 0
        self._offset = 0
        self._fd = -1
        try:
            self._create(folder)
        except OSError as error:
            self.abandon()
            self._fault(error)

    def _create(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It gets its name when it is locked: whoever sweeps the folder must not take it for a dead process's.
        unnamed = self.path.with_suffix(".new")
        self._fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(msgspec.json.encode(self.header) + b"\n")
            unnamed.rename(self.path)
        except OSError:
            unnamed.unlink(missing_ok=True)
            raise
        self._offset = os.fstat(self._fd).st_size

    def append(self, event: AnyEvent) -> None:
        """Write an event; it gets the next number.

        Raises:
            InvalidInput: If something in it is of a wrong type, or the journal has been closed.
        """
        self.append_body(encode_event(event)[1:])

    def append_body(self, body: bytes) -> None:
        """Write an event given as its JSON without the opening brace and without `seq`: the way of the hot path.

        Raises:
            InvalidInput: If the journal has been closed: the run has ended.
        """
        with self._lock:
            if self._closed:
                raise InvalidInput("The run has ended; nothing can be logged to it.", hint="Resume it: %track start --resume RUN")
            if self._writing:  # a signal handler that logs has interrupted a write of this very thread
                self._interrupting.append(body)
                return
            try:
                self._writing = True
                self._put(body)
                while self._interrupting:
                    self._put(self._interrupting.popleft())
            finally:
                self._writing = False

    def _put(self, body: bytes) -> None:
        self._seq += 1
        line = b'{"seq":%d,%b\n' % (self._seq, body)
        if not self._memory:
            try:
                self._write(line)
                self._faulty = False
                return
            except OSError as error:
                self._fault(error)
        if len(self._memory) < MAX_IN_MEMORY:
            self._memory.append(line)
        else:
            self.dropped += 1

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the journal could not be opened")
        written = os.write(self._fd, line)
        if written != len(line):
            # Half a line must not stay: the next one would be glued to it.
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _fault(self, error: OSError) -> None:
        if not self._faulty:
            self._faulty = True
            self._on_fault(error)

    @property
    def _size(self) -> int:
        # Asked of the file: an interrupt can come between a write and any note of it.
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    @property
    def count(self) -> int:
        """How many events were appended."""
        return self._seq

    @property
    def is_delivered(self) -> bool:
        """Whether everything that was appended has been marked as delivered."""
        with self._lock:
            return self._offset >= self._size and not self._memory

    def next_batch(self, size: int = READ_SIZE) -> tuple[list[AnyEvent], int]:
        """Return the next events to deliver, about `size` bytes of them, and a receipt for `mark_delivered`, which is 0 if there are none.

        A line that cannot be read is set aside: it must not hold up those behind it.
        """
        with self._lock:
            left = self._size - self._offset
            if left > 0:
                lines, length = _complete_lines(os.pread(self._fd, size, self._offset))
                if length == 0:  # one line longer than the piece
                    lines, length = _complete_lines(os.pread(self._fd, left, self._offset))
            else:
                lines = list(itertools.islice(self._memory, max(1, size // _BYTES_AN_EVENT)))
                length = -len(lines)
        return readable(self.path, lines), length

    def mark_delivered(self, receipt: int) -> None:
        """Note that a batch has been delivered."""
        if receipt >= 0:
            self._offset += receipt
            return
        with self._lock:
            for _ in range(-receipt):
                self._memory.popleft()

    def rewind(self) -> bool:
        """Begin again with the first event: the store that had the earlier ones is gone. False: they are not kept."""
        if self._fd < 0:
            return False
        self._offset = len(msgspec.json.encode(self.header)) + 1
        self.taken = 0
        return True

    def touch(self) -> None:
        """Leave a sign of life: the file's time tells until when the process lived."""
        with self._lock, contextlib.suppress(OSError):
            if self._fd >= 0:
                os.utime(self._fd)

    def spool(self, copy: Callable[[Path], None]) -> str:
        """Have a file put beside the journal by `copy(path)`, and return its name there.

        Raises:
            OSError: If it cannot be written.
        """
        self.files.mkdir(mode=0o700, exist_ok=True)
        name = secrets.token_hex(8)
        copy(self.files / name)
        return name

    def close(self, *, remove: bool) -> bool:
        """Take nothing more in and let go of the file.

        Args:
            remove: Remove the file, if all of it has been delivered by now.

        Returns:
            Whether it is closed; False if `remove` is asked for, but something came in that is not delivered yet.
        """
        with self._lock:
            if remove and not self.is_delivered:
                return False
            self._closed = True
            if remove:
                remove_files(self.path)
            self.abandon()
            return True

    def abandon(self) -> None:
        """Let go of the file without touching it: in a forked child it belongs to the parent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def remove_files(journal: Path) -> None:
    """Remove a journal and what was spooled beside it."""
    shutil.rmtree(journal.with_suffix(".files"), ignore_errors=True)
    journal.unlink(missing_ok=True)


class Leftover:
    """A journal that no living process holds, taken over by this one: locked, read and repaired.

    `events` are its events; a torn last line is cut off.
    """

    def __init__(self, path: Path, fd: int, header: Header, events: list[AnyEvent]) -> None:
        self.path = path
        self.header = header
        self.events = events
        self.last_change = os.fstat(fd).st_mtime_ns // 1_000_000
        self._fd = fd

    def append(self, event: AnyEvent) -> None:
        """Add an event at the end, with the next number."""
        numbered = msgspec.structs.replace(event, seq=self.events[-1].seq + 1 if self.events else 1)
        os.write(self._fd, msgspec.json.encode(numbered) + b"\n")
        self.events.append(numbered)

    def remove(self) -> None:
        """Remove the journal: all of it has been delivered."""
        remove_files(self.path)

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._fd)


def take_over(path: Path) -> Leftover | None:
    """Take over a journal that nobody holds; None if its process lives, another one was faster, or it holds nothing."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # whoever held it has just finished with it
            raise BlockingIOError
        content = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
        lines, length = _complete_lines(content)
        if not lines:
            remove_files(path)
            raise BlockingIOError
        header = msgspec.json.decode(lines[0], type=Header)
        if header.host != socket.gethostname() and time.time() - os.fstat(fd).st_mtime < _FOREIGN_SECONDS:
            raise BlockingIOError
        if length < len(content):
            os.ftruncate(fd, length)
        return Leftover(path, fd, header, readable(path, lines[1:]))
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise


def readable(journal: Path, lines: Sequence[bytes]) -> list[AnyEvent]:
    """Return the events of these lines of a journal, and set aside those that are none."""
    events = []
    for line in lines:
        try:
            events.append(decode_event(line))
        except msgspec.MsgspecError as error:
            set_aside(journal, line, f"A line of the journal cannot be read ({error}).")
    return events


def set_aside(journal: Path, line: bytes, why: str) -> None:
    """Keep an event that cannot be delivered beside its journal, and say so; once, however often it is come upon."""
    refused = journal.with_suffix(".refused")
    with contextlib.suppress(OSError), refused.open("a+b") as file:
        file.seek(0)
        if line in file.read().splitlines():
            return
        file.write(line + b"\n")
    logger.error("%s It is kept in %s; everything else goes on.", why, refused)


def _complete_lines(content: bytes) -> tuple[list[bytes], int]:
    end = content.rfind(b"\n") + 1
    return content[:end].splitlines(), end
