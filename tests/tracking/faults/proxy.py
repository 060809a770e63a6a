"""A way to a server on which things go wrong: a small HTTP proxy that is told what to do to each request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

OK = "ok"
RST = "reset"
REQUEST_CUT = "request cut"
ANSWER_CUT = "answer cut"
ANSWER_LOST = "answer lost"
SLOW = "late"
TRICKLE = "64 kB/s"
BLACKHOLE = "no answer"
HTML = "a page"
WRONG_JSON = "wrong JSON"
REDIRECT = "a portal"
STATUS = ("502", "503", "429")
BREAKING = (RST, REQUEST_CUT, ANSWER_CUT, ANSWER_LOST, HTML, WRONG_JSON, REDIRECT, *STATUS)

_LATE_SECONDS = 0.2
_BYTES_PER_SECOND = 64_000
_PAGE = b"<html><body>Please sign in</body></html>"


@dataclass
class Seen:
    """A request that came: when (monotonic s), and what was done to it."""

    at: float
    fault: str
    answered_at: float = 0.0


class FaultProxy:
    """Listens on a port of its own, from a thread of its own.

    Args:
        url: The server's.
        choose: Given the number of the request, says what happens to it.
        retry_after: What a 503 and a 429 ask for (s).
        hole_seconds: How long a request without answer is held.
    """

    def __init__(self, url: str, choose: Callable[[int], str], *, retry_after: float | None = None, hole_seconds: float = 3600.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self.choose = choose
        self._retry_after = retry_after
        self._hole_seconds = hole_seconds
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}{parts.path}"
        self._socket.close()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> FaultProxy:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop for good."""
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen."""
        asyncio.run_coroutine_threadsafe(self._up(), self._loop).result(10)

    def down(self) -> None:
        """Refuse connections, and break those that are open."""
        asyncio.run_coroutine_threadsafe(self._down(), self._loop).result(10)

    async def _up(self) -> None:
        port = urlsplit(self.url).port
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, reuse_address=True)

    async def _down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(Exception):
                writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request; return whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        seen = Seen(time.monotonic(), self.choose(len(self.seen)))
        self.seen.append(seen)
        try:
            return await self._treat(seen.fault, head, reader, writer)
        finally:
            seen.answered_at = time.monotonic()

    async def _treat(self, fault: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if fault == RST:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        body = await _body(head, reader, trickles=fault == TRICKLE)
        if fault == BLACKHOLE:
            await asyncio.sleep(self._hole_seconds)
            return False
        if fault in (HTML, WRONG_JSON, REDIRECT, *STATUS):
            writer.write(self._own_answer(fault))
            await writer.drain()
            return True
        if fault == SLOW:
            await asyncio.sleep(_LATE_SECONDS)
        answer = await self._forward(head + (body[: len(body) // 2] if fault == REQUEST_CUT else body), cut=fault == REQUEST_CUT)
        if fault in (REQUEST_CUT, ANSWER_LOST):
            return False
        writer.write(answer[: len(answer) - 5] if fault == ANSWER_CUT else answer)
        await writer.drain()
        if fault == ANSWER_CUT:
            writer.close()
            await writer.wait_closed()
            return False
        return True

    def _own_answer(self, fault: str) -> bytes:
        more = ""
        if fault in ("503", "429") and self._retry_after is not None:
            more = f"Retry-After: {self._retry_after:g}\r\n"
        if fault == REDIRECT:
            more = "Location: http://127.0.0.1:1/sign-in\r\n"
        status = {HTML: "200 OK", WRONG_JSON: "200 OK", REDIRECT: "302 Found"}.get(fault, f"{fault} Trouble")
        content = b'{"status": "ok"}' if fault == WRONG_JSON else _PAGE
        kind = "application/json" if fault == WRONG_JSON else "text/html"
        return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode() + content

    async def _forward(self, request: bytes, *, cut: bool) -> bytes:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            await writer.drain()
            if cut:
                return b""
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await _body(head, reader)
        finally:
            writer.close()


async def _body(head: bytes, reader: asyncio.StreamReader, *, trickles: bool = False) -> bytes:
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        taken = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            piece = await reader.readexactly(int(line, 16) + 2)
            taken += line + piece
            if piece == b"\r\n":
                return taken
    left = int(fields.get(b"content-length", b"0"))
    taken = b""
    while left:
        piece = await reader.read(min(left, 4096) if trickles else left)
        if not piece:
            raise EOFError
        taken += piece
        left -= len(piece)
        if trickles:
            await asyncio.sleep(len(piece) / _BYTES_PER_SECOND)
    return taken
