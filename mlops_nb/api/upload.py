"""A pipe from the event loop, where the body of an upload comes in, to the thread that writes it into the store.

Nothing is spooled: what does not fit into the pipe stays with the client.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import BinaryIO, cast

from mlops_nb.errors import InvalidInput

IN_MEMORY = 1 << 20
"""Bodies up to this size are collected first: a thread of their own would cost more."""

_ROOM = 4 << 20
_IDLE_SECONDS = 300.0


class UploadBroken(InvalidInput):
    """The body of an upload ended before it was whole. Nobody sees it but the log: the client has left."""


class UploadPipe:
    """The body of one upload.

    Threads: `feed`, `end` and `fail` belong to the event loop, `read` and `stop` to one other thread.
    """

    def __init__(self, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = idle_seconds
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._failed = False
        self._stopped = False

    async def feed(self, data: bytes) -> None:
        """Add bytes; returns when there is room for more. After `stop` they are dropped."""
        with self._changed:
            if self._stopped or not data:
                return
            self._pieces.append(data)
            self._size += len(data)
            self._changed.notify()
            full = self._size >= _ROOM
            if full:
                self._room.clear()
        if full:
            await self._room.wait()

    def end(self) -> None:
        """Say that all has come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def fail(self) -> None:
        """Say that no more comes although there was more; harmless after `end`."""
        with self._changed:
            self._failed = not self._ended
            self._changed.notify()

    def read(self, size: int = -1) -> bytes:
        """Return the bytes that are there, at most `size`, waiting for the first; b"" at the end.

        Raises:
            UploadBroken: If the client has left or sends nothing for minutes.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(IN_MEMORY), b""))
        with self._changed:
            if not self._changed.wait_for(lambda: self._pieces or self._ended or self._failed, self._idle_seconds):
                raise UploadBroken(f"No byte of the upload came for {self._idle_seconds:.0f} s.", hint="Send it again.")
            if self._failed:
                raise UploadBroken("The client left during the upload.")
            taken: list[bytes] = []
            while self._pieces and size > 0:
                piece = self._pieces.popleft()
                if len(piece) > size:
                    self._pieces.appendleft(piece[size:])
                    piece = piece[:size]
                taken.append(piece)
                size -= len(piece)
            data = b"".join(taken)
            self._size -= len(data)
            self._make_room()
        return data

    def stop(self) -> None:
        """Say that nobody reads on."""
        with self._changed:
            self._stopped = True
            self._pieces.clear()
            self._size = 0
            self._make_room()

    def _make_room(self) -> None:
        if self._size < _ROOM and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)

    def as_file(self) -> BinaryIO:
        """Return it as a file for those who only read."""
        return cast("BinaryIO", self)
