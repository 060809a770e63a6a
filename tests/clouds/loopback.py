"""The skeleton of the loopback clouds: a real HTTP(S) server with faults on demand, which keeps what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

FaultKind = Literal["error", "lost", "throttle", "malformed", "cut-before", "cut-after"]
FAULTS: tuple[FaultKind, ...] = ("error", "lost", "throttle", "malformed", "cut-before", "cut-after")
AFTER = frozenset({"lost", "malformed", "cut-after"})
"""Faults after which the call has taken effect."""


@dataclass(frozen=True)
class Call:
    """A request; `index` counts from 0 all that came, `path` is decoded and without the query."""

    index: int
    method: str
    path: str
    query: Mapping[str, str]
    body: Any = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def changes(self) -> bool:
        return self.method not in ("GET", "HEAD")


class Answer(Exception):
    """An answer; may be returned or raised."""

    def __init__(self, body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.body, self.status, self.headers = body, status, dict(headers or {})


@dataclass
class Fault:
    """Meets the calls that `fits` takes, `times` in a row; then the cloud is well again."""

    kind: FaultKind
    fits: Callable[[Call], bool]
    times: int = 1
    met: int = 0


class LoopbackCloud:
    """A cloud on the loopback. Subclasses answer in `answer`, one call at a time."""

    def __init__(self, *, certificate: tuple[str, str] | None = None) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.problems: list[str] = []
        self._lock = threading.RLock()
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                cloud._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

            def log_message(self, *arguments: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, call: Call) -> Answer:
        raise NotImplementedError

    def error(self, status: int) -> Answer:
        """Return this cloud's answer of a status that has no other reason."""
        raise NotImplementedError

    def changing(self) -> Iterator[Call]:
        """Yield the calls so far that made, changed or removed something."""
        return (call for call in self.calls if call.changes)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        raw = handler.rfile.read(length) if length else b""
        parts = urlsplit(handler.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        with self._lock:
            body = json.loads(raw) if raw else None
            call = Call(len(self.calls), handler.command, unquote(parts.path), query, body, dict(handler.headers))
            self.calls.append(call)
            fault = next((one for one in self.faults if one.met < one.times and one.fits(call)), None)
            if fault:
                fault.met += 1
            answer = None if fault and fault.kind not in AFTER else self._answered(call)
        kind = fault.kind if fault else None
        if kind in ("cut-before", "cut-after"):
            handler.close_connection = True
            with suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if kind in ("error", "lost"):
            answer = self.error(500)
        elif kind == "throttle":
            answer = self.error(429)
        elif kind == "malformed":
            answer = Answer(b"<html><body>Please log in to the network</body></html>", headers={"Content-Type": "text/html"})
        assert answer is not None
        self._send(handler, answer)

    def _answered(self, call: Call) -> Answer:
        try:
            return self.answer(call)
        except Answer as answer:
            return answer
        except Exception as error:  # shown by the test that asks for problems, and by the client's failure
            self.problems.append(f"{call.method} {call.path}: {error!r}")
            return self.error(500)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        content = b"" if answer.body is None else answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        with suppress(OSError):
            handler.wfile.write(content)
