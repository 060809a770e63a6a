"""What workers print, kept within bounds: a model may print without end, and neither the disk nor the server may notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

_READ = 64 << 10
_READS_AT_ONCE = 4
_PAUSE = 0.02
_KEPT_LINES = 1000
_LONGEST_LINE = 4000
_FILE_BYTES = 1 << 20
_RATE = 128 << 10
_BURST = 512 << 10


class WorkerLog:
    """The last lines of an endpoint's workers, in memory and in a file with one predecessor, of a megabyte each.

    Threads: used from one event loop.

    Args:
        path: The file.
        echo: Called with each line as well.
    """

    def __init__(self, path: Path, echo: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._echo = echo
        self._lines: deque[str] = deque(_tail(path), maxlen=_KEPT_LINES)
        self._budget = float(_BURST)
        self._refilled = time.monotonic()
        self._left_out = 0
        self._size = path.stat().st_size if path.exists() else 0

    def lines(self, count: int = 200) -> list[str]:
        """Return the last lines."""
        return list(self._lines)[-count:] if count > 0 else []

    def note(self, text: str) -> None:
        """Add a line of our own, with the time."""
        self._write([f"{time.strftime('%Y-%m-%d %H:%M:%S')} ── {text}"])

    def follow(self, pipe: int, name: str) -> PipeReader:
        """Take in what comes from a pipe until its end; the reader closes it."""
        return PipeReader(self, pipe, name)

    def take(self, text: str) -> None:
        """Take in what a worker printed, as much as is allowed in a second."""
        now = time.monotonic()
        self._budget = min(_BURST, self._budget + (now - self._refilled) * _RATE)
        self._refilled = now
        if len(text) > self._budget:
            self._left_out += len(text)
            return
        self._budget -= len(text)
        lines = text.splitlines()
        if self._left_out:
            lines.insert(0, f"── {self._left_out:,} characters were printed too fast and are not kept")
            self._left_out = 0
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        kept = [line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…" for line in lines]
        self._lines.extend(kept)
        if self._echo is not None:
            for line in kept:
                self._echo(line)
        data = ("\n".join(kept) + "\n").encode("utf-8", "replace")
        with contextlib.suppress(OSError):  # a full disk must not end the workers; the lines are in memory
            if self._size + len(data) > _FILE_BYTES:
                self._path.replace(self._path.with_suffix(".old"))
                self._size = 0
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "ab") as file:
                file.write(data)
            self._size += len(data)


class PipeReader:
    """Reads a pipe at no more than about 12 MB/s: whoever writes faster waits."""

    def __init__(self, log: WorkerLog, pipe: int, name: str) -> None:
        self._log = log
        self._pipe = pipe
        self._name = name
        self._rest = ""
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)

    def _read(self) -> None:
        pieces: list[bytes] = []
        for _ in range(_READS_AT_ONCE):
            try:
                piece = os.read(self._pipe, _READ)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                self._take(b"".join(pieces))
                self.close()
                return
            pieces.append(piece)
        self._take(b"".join(pieces))
        if len(pieces) == _READS_AT_ONCE:
            self._loop.remove_reader(self._pipe)
            self._pause = self._loop.call_later(_PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._pipe >= 0:
            self._loop.add_reader(self._pipe, self._read)

    def _take(self, data: bytes) -> None:
        text = self._rest + data.decode("utf-8", "replace")
        whole, newline, self._rest = text.rpartition("\n")
        if len(self._rest) > _LONGEST_LINE:
            whole, newline, self._rest = text, "\n", ""
        if newline:
            self._log.take(whole)

    def drain(self) -> None:
        """Read what is there, then end: the writer has died."""
        if self._pipe >= 0:
            self._read()
        self.close()

    def close(self) -> None:
        """End reading."""
        if self._pipe < 0:
            return
        if self._rest:
            self._log.take(self._rest)
            self._rest = ""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)
        self._pipe = -1


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (64 << 10)))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
