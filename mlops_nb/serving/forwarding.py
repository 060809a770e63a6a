"""Sending requests on to a worker over its Unix socket, with connections that are kept: the way through the Jupyter server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mlops_nb.errors import MissingDependencyError

Header = tuple[bytes, bytes]

_MOST_IDLE = 64
_PASSED_ON = frozenset({b"content-type", b"retry-after", b"allow"})


class Forwarded(NamedTuple):
    """The answer of a worker."""

    status: int
    headers: list[Header]
    body: bytes


class WorkerGone(Exception):
    """The connection ended before the answer: the worker that had the request has died."""


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. The parser is told of answers that always have a length."""

    def __init__(self, parser_type: Any) -> None:
        self._parser_type = parser_type
        self._parser: Any = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Forwarded] | None = None
        self._headers: list[Header] = []
        self._pieces: list[bytes] = []
        self.is_open = False

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WorkerGone())

    def data_received(self, data: bytes) -> None:
        if self._parser is None:  # nothing was asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001 - the parser's own errors: what a model writes to the socket itself
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(WorkerGone(str(error)))
            self.close()

    # -- the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that is for the client."""
        name = name.lower()
        if name in _PASSED_ON:
            self._headers.append((name, value))

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """Give the answer."""
        assert self._answer is not None
        if not self._parser.should_keep_alive():
            self.close()
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if not self._answer.done():
            self._answer.set_result(Forwarded(self._parser.get_status_code(), self._headers, body))

    # -- asking

    async def ask(self, head: bytes, body: bytes) -> Forwarded:
        """Send a request and return its answer."""
        assert self._transport is not None
        self._parser = self._parser_type(self)
        self._headers, self._pieces = [], []
        self._answer = asyncio.get_running_loop().create_future()
        if len(body) < 64 << 10:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        try:
            return await self._answer
        finally:
            if not self._answer.done() or self._answer.cancelled():
                self.close()  # an answer that nobody waits for would be taken for the next one's

    def close(self) -> None:
        """End the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.close()


class Forwarder:
    """Sends requests to the workers that listen on one socket.

    Threads: used from one event loop.

    Attributes:
        running: Requests that are being answered.
    """

    def __init__(self, socket_path: str) -> None:
        try:
            import httptools
        except ImportError:
            raise MissingDependencyError("httptools", extra="serve", purpose="Serving models") from None
        self._parser_type = httptools.HttpResponseParser
        self._path = socket_path
        self._idle: deque[_Connection] = deque()
        self._closed = False
        self.running = 0

    async def send(self, method: str, path: str, headers: Iterable[Header], body: bytes) -> Forwarded:
        """Send a request and return the answer.

        Args:
            method: In capitals.
            path: With its query, percent-encoded.
            headers: Content type and encoding; others are not for models.
            body: Whole.

        Raises:
            WorkerGone: If no worker listens, or the one that had the request died.
        """
        head = request_head(method, path, headers, len(body))
        self.running += 1
        try:
            connection = self._take() or await self._connect()
            answer = await connection.ask(head, body)
        finally:
            self.running -= 1
        if connection.is_open and not self._closed and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _take(self) -> _Connection | None:
        # The one that has rested longest: several workers share the connections, and each shall get its part.
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> _Connection:
        try:
            _, connection = await asyncio.get_running_loop().create_unix_connection(lambda: _Connection(self._parser_type), self._path)
        except OSError as error:
            raise WorkerGone(str(error)) from None
        return connection

    def close(self) -> None:
        """End the connections that rest; those with a request end with its answer."""
        self._closed = True
        while self._idle:
            self._idle.popleft().close()


def request_head(method: str, path: str, headers: Iterable[Header], length: int) -> bytes:
    """Return the first lines of a request. What would break out of its line is left out."""
    lines: Sequence[bytes] = [
        b"%s %s HTTP/1.1" % (method.encode("ascii"), path.encode("ascii")),
        b"host: localhost",
        b"content-length: %d" % length,
        *(b"%s: %s" % (name, value) for name, value in headers if b"\r" not in value and b"\n" not in value),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"
