"""The skeleton of the loopback forges: a real HTTP server with routes, faults on demand, and a contract that it must keep.

A forge subclasses `LoopbackForge`, declares its operations with `@route("GET", "/repos/{owner}/{repo}")` and returns
`Reply`s (or raises them). `{name}` matches one path segment, percent-decoded; `{name+}` matches the rest of the path.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

How = Literal["refuse", "lost", "cut", "slow"]


@dataclass
class Request:
    """What came in. `path` is without the forge's prefix and still percent-encoded; `params` are the route's, decoded."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    template: str = ""
    params: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}

    def one(self, name: str, default: str = "") -> str:
        """Return a query parameter."""
        return self.query.get(name, [default])[0]


class Reply(Exception):
    """An answer; may be returned or raised. A body that is not bytes goes out as JSON."""

    def __init__(self, body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.body, self.status, self.headers = body, status, dict(headers or {})

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        """Return the same answer with more headers."""
        return Reply(self.body, self.status, {**self.headers, **headers})

    def encoded(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Contract(Protocol):
    """The published description of a forge. Both methods return what is wrong, or None."""

    def request_problem(self, request: Request, host_url: str) -> str | None: ...
    def response_problem(self, request: Request, host_url: str, reply: Reply) -> str | None: ...


@dataclass
class Fault:
    method: str
    path: str
    times: int
    how: How | Reply


@dataclass
class Seen:
    """One request that the forge has answered, or should have."""

    method: str
    path: str
    status: int | None
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


F = TypeVar("F", bound=Callable[..., Reply])


def route(method: str, template: str) -> Callable[[F], F]:
    """Make a method the answer to this method and path; several may be stacked."""

    def mark(function: F) -> F:
        function.__dict__.setdefault("routes", []).append((method, template))
        return function

    return mark


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\+?\})", template)
    to_regex = (f"(?P<{p.strip('{}+')}>{'.+' if '+' in p else '[^/]+'})" if p.startswith("{") else re.escape(p) for p in parts)
    return re.compile("".join(to_regex) + "/?")


class LoopbackForge:
    """A forge on 127.0.0.1 that answers truly and misbehaves when told to.

    Attributes:
        prefix: Path under which the API lives, such as `/api/v3`.
        seen: All requests so far, in order.
        violations: Where a request or an answer broke the contract; `close` raises them.
    """

    contract: Contract | None = None

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.seen: list[Seen] = []
        self.violations: list[str] = []
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._released = threading.Event()
        self._routes = list(self._declared())
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = self.origin + prefix

    def _declared(self) -> Iterator[tuple[str, str, re.Pattern[str], Callable[[Request], Reply]]]:
        for name in dir(type(self)):
            for method, template in getattr(getattr(type(self), name), "routes", ()):
                yield method, template, _pattern(template), getattr(self, name)

    def fail(self, method: str, path: str, times: int = 1, how: How | Reply = "lost") -> None:
        """Misbehave at the next requests that match; `path` is a glob over the path without the prefix.

        Args:
            how: "refuse" hangs up before anything happens; "lost" does it and hangs up without an answer; "cut" does it and
                hangs up in the middle of the answer; "slow" does it and answers only when the forge closes; a `Reply` is
                sent instead of doing it.
        """
        with self.lock:
            self._faults.append(Fault(method, path, times, how))

    def calls(self, method: str, path: str = "*") -> list[Seen]:
        """Return the requests so far that match; `path` is a glob."""
        return [one for one in self.seen if one.method == method and fnmatchcase(one.path, path)]

    def before(self, request: Request) -> None:
        """Check who asks and how often; raise a `Reply` to refuse. For subclasses."""

    def fault_for(self, request: Request) -> How | Reply | None:
        for fault in self._faults:
            if fault.times > 0 and fault.method == request.method and fnmatchcase(request.path, fault.path):
                fault.times -= 1
                return fault.how
        return None

    def other(self, request: Request) -> Reply:
        """Answer what no route answers. For subclasses."""
        return Reply({"message": "Not Found"}, 404)

    def answer(self, request: Request) -> Reply:
        """Return the true answer, with its effect, and note where the contract is broken."""
        for method, template, pattern, function in self._routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                request.template = template
                request.params = {name: unquote(value) for name, value in match.groupdict().items()}
                return self._checked(request, function)
        return self.other(request)

    def _checked(self, request: Request, function: Callable[[Request], Reply]) -> Reply:
        problem = self.contract and self.contract.request_problem(request, self.url)
        try:
            self.before(request)
            reply = function(request)
        except Reply as raised:
            reply = raised
        # A forge may be sent what its contract forbids, if it then refuses it.
        if problem and reply.status < 400:
            self.violations.append(f"request {request.method} {request.path}: {problem}")
        problem = self.contract and self.contract.response_problem(request, self.url, reply)
        if problem:
            self.violations.append(f"answer {reply.status} to {request.method} {request.path}: {problem}")
        return reply

    def wait_released(self) -> None:
        self._released.wait(30)

    def close(self) -> None:
        """Stop, and raise what broke the contract."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        assert not self.violations, "\n".join(self.violations)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that have hung up, as they do after a slow answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(forge: LoopbackForge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the tests' output to themselves."""

        def _read_body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                chunks = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.removeprefix(forge.prefix) if parts.path.startswith(forge.prefix) else parts.path
            body = self._read_body()
            request = Request(self.command, path, parse_qs(parts.query, keep_blank_values=True), self.headers, body)
            with forge.lock:
                seen = Seen(request.method, path, None, request.query, dict(self.headers.items()), body)
                forge.seen.append(seen)
                fault = forge.fault_for(request)
                if fault == "refuse":
                    return self._hang_up()
                reply = fault if isinstance(fault, Reply) else forge.answer(request)
            if fault == "lost":
                return self._hang_up()
            if fault == "slow":
                forge.wait_released()
            seen.status = reply.status
            self._send(reply, cut=fault == "cut")

        def _send(self, reply: Reply, *, cut: bool) -> None:
            content = reply.encoded()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json; charset=utf-8", **reply.headers}.items():
                self.send_header(name, value)
            if reply.status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if cut:
                self.wfile.write(content[: len(content) // 2])
                return self._hang_up()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler._serve)
    return Handler
