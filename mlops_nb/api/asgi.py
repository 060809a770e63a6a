"""The operations on ASGI: what a team's server runs in each of its processes.

Raw ASGI, without a framework: of a log call it costs less than the parsing of its headers.
Default deny: all but `/health` needs a token, whatever the method or path.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, cast

import msgspec

from mlops_nb.api.gate import Access, Caller, Gate, Headers, agent_token, denied
from mlops_nb.api.http import MAX_JSON_BODY, TEXT, BodyTooLarge, HttpAnswer, HttpRequest, not_allowed, not_found, refuse
from mlops_nb.api.monitor import Monitor
from mlops_nb.api.operation import Permission
from mlops_nb.api.project import Served
from mlops_nb.api.router import MethodNotAllowed, Route
from mlops_nb.api.service import OperationService
from mlops_nb.api.upload import IN_MEMORY, UploadPipe
from mlops_nb.core.runners import CloudName
from mlops_nb.errors import MlopsError

log = logging.getLogger("mlops_nb.api")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

HEALTH = "/health"
METRICS = "/metrics"
LEASE_CHECK_SECONDS = 5.0
_WARN_EVERY = 60.0
_NO_ROUTE = "none"
_SAFE = frozenset({"GET", "HEAD"})
_MACHINE = Caller("", False)
_LARGEST_TICKET = 1 << 16
_NOT_HERE: tuple[CloudName, ...] = ("local", "ssh")  # whoever may write a team's store may not run programs on its server
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of a team's server needs to know.

    Attributes:
        base_path: What comes before every path, as `/mlops`, or "".
        count: Whether `/metrics` tells what the server does.
        url: Where it is found on this machine; machines elsewhere are told what `MLOPS_NB_SERVER_URL` says.
    """

    served: Served
    access: Access
    base_path: str = ""
    count: bool = False
    url: str = ""


def application(mount: Mount, lifeline: int | None = None) -> Application:
    """Return the ASGI application of one process.

    Args:
        mount: What it serves.
        lifeline: A file that can be read when the process which supervises this one is gone.
    """
    return TeamServer(mount, lifeline)


class ClientLeft(Exception):
    """The client hung up before all of its request had come."""


class TeamServer:
    """One process of a team's server. It keeps nothing between requests: any process can answer any of them."""

    def __init__(self, mount: Mount, lifeline: int | None = None) -> None:
        self._monitor = Monitor() if mount.count else None
        self.service = OperationService(mount.served, on_group=self._monitor.group if self._monitor else None)
        self._gate = Gate(mount.access)
        self._base = mount.base_path
        self._lifeline = lifeline
        self._url = mount.url
        self._answer = _with_cors(self._respond, mount.access.origins)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        assert scope["type"] == "http", scope["type"]
        refusal = self._gate.refusal(dict(scope["headers"]))
        if refusal is not None:
            await _send(send, refusal)
        else:
            await self._answer(scope, receive, send)

    # -- one request

    async def _respond(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._monitor is None:
            await self._exchange(_Exchange(scope, receive, send))
            return
        exchange, started = _Exchange(scope, receive, send), time.perf_counter()
        self._monitor.began()
        try:
            await self._exchange(exchange)
        finally:
            seconds = time.perf_counter() - started
            self._monitor.ended(exchange.operation, exchange.status, seconds, exchange.received, exchange.sent)

    async def _exchange(self, exchange: _Exchange) -> None:
        try:
            answer = await self._find_answer(exchange)
        except ClientLeft:
            log.debug("The client left while it sent %s", exchange.path)
            return
        if self._monitor is not None and answer.status >= 500:
            self._monitor.failed(answer)
        await exchange.answer(answer, self.service)

    async def _find_answer(self, exchange: _Exchange) -> HttpAnswer:
        path = exchange.path
        if self._base:
            if not path.startswith(self._base + "/"):
                return denied(self._gate.caller(exchange.headers), Permission.READ) or not_found()
            path = path[len(self._base) :]
        method = exchange.method
        if path == HEALTH and method in _SAFE:
            return HttpAnswer(headers={"Content-Type": TEXT}, body=b"OK")
        agent = agent_token(exchange.headers.get(b"authorization", b"").decode("latin-1"))
        if agent or self.service.router.is_open(method, path):
            return await self._let_in(exchange, path, agent)
        caller = self._gate.caller(exchange.headers)
        if caller is None:
            return cast("HttpAnswer", denied(None, Permission.READ))
        if path == METRICS and method in _SAFE and self._monitor is not None:
            return await self.service.run(self._monitor.page)
        try:
            route = self.service.router.resolve(method, path)
        except MethodNotAllowed as error:
            return _refused(caller, method) or not_allowed(error.allowed)
        except MlopsError as error:
            return _refused(caller, method) or refuse(error)
        if route is None:
            return _refused(caller, method) or not_found()
        exchange.operation = route.operation.name
        return denied(caller, route.operation.permission) or await self._run(route, exchange, caller)

    async def _let_in(self, exchange: _Exchange, path: str, agent: str) -> HttpAnswer:
        """Answer a runner's machine: the operation's scope, or its ticket, decides what it may do."""
        try:
            route = self.service.router.resolve(exchange.method, path)
        except MethodNotAllowed as error:
            return not_allowed(error.allowed)
        except MlopsError as error:
            return refuse(error)
        if route is None:
            return not_found()
        exchange.operation = route.operation.name
        if agent:
            refusal = await self.service.run(self._unknown, agent)
            if refusal is not None:
                return refusal  # before its body is read, which may be long
        else:
            exchange.largest = _LARGEST_TICKET
        return await self._run(route, exchange, _MACHINE, agent)

    def _unknown(self, agent: str) -> HttpAnswer | None:
        try:
            self.service.project.store().runners.agent(agent)
        except MlopsError as error:
            return refuse(error)
        return None

    async def _run(self, route: Route, exchange: _Exchange, caller: Caller, agent: str = "") -> HttpAnswer:
        is_upload = route.operation.upload
        request = HttpRequest(
            method=exchange.method,
            query=exchange.query,
            content_type=exchange.headers.get(b"content-type", b"").decode("latin-1"),
            user=caller.name,
            agent=agent,
        )
        if is_upload or exchange.method in _SAFE:  # no log call asks for a part of a file
            request.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers.items()}
        if is_upload:
            return await self._take_upload(route, exchange, request)
        try:
            request.body = await exchange.body()
        except MlopsError as error:
            return refuse(error)
        return await self.service.respond(route, request)

    async def _take_upload(self, route: Route, exchange: _Exchange, request: HttpRequest) -> HttpAnswer:
        """Write a large body into the store while it comes; what the store has not taken stays with the client."""
        data, more = await exchange.beginning(IN_MEMORY)
        if not more:
            request.upload = io.BytesIO(data)
            return await self.service.respond(route, request)
        pipe = UploadPipe()
        answering = asyncio.ensure_future(self.service.respond_to_upload(route, request, pipe))
        try:
            await pipe.feed(data)
            while more and not answering.done():
                data, more = await exchange.piece()
                await pipe.feed(data)
        except BaseException:
            pipe.fail()
            raise
        pipe.end()
        return await answering

    # -- from the process's start to its end

    async def _live(self, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        await receive()
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, _end, self._lifeline)
        watching = loop.create_task(self._watch())
        self.service.courier.start()
        self.service.host_runners(lambda: self._url, refused=_NOT_HERE)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(self.service.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _watch(self) -> None:
        """Close the runs whose processes have died."""
        warned = -_WARN_EVERY
        while True:
            # Several processes do it: not all at the same moment.
            await asyncio.sleep(LEASE_CHECK_SECONDS * random.uniform(0.8, 1.2))
            try:
                await self.service.run(self._expire_leases)
            except Exception as error:  # a watch that has stopped would leave every later run open
                if time.monotonic() - warned > _WARN_EVERY:
                    warned = time.monotonic()
                    expected = isinstance(error, MlopsError)
                    log.warning("The runs of dead processes cannot be closed yet: %s", error, exc_info=None if expected else error)

    def _expire_leases(self) -> None:
        self.service.project.store().expire_leases()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("latin-1")
        self.query: str = scope["query_string"].decode("latin-1")
        self.headers: Headers = dict(scope["headers"])
        self.operation = _NO_ROUTE
        self.status = 499  # as long as no answer has begun: the client left
        self.received = 0
        self.sent = 0
        self.largest = MAX_JSON_BODY
        self._receive = receive
        self._send = send

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            BodyTooLarge: If it is larger than one that is read into memory may be.
        """
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self.largest:
            raise BodyTooLarge
        body, more = await self.beginning(self.largest + 1)
        if more or len(body) > self.largest:
            raise BodyTooLarge
        return body

    async def beginning(self, size: int) -> tuple[bytes, bool]:
        """Return at least so many bytes of the body, or all where it has fewer, and whether there is more."""
        data, more = await self.piece()
        if not more:
            return data, False
        pieces = [data]
        while more and self.received < size:
            data, more = await self.piece()
            pieces.append(data)
        return b"".join(pieces), more

    async def piece(self) -> tuple[bytes, bool]:
        """Return the bytes of the body that have come since, and whether there is more.

        Raises:
            ClientLeft: If no more comes although there was more.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body: bytes = message.get("body", b"")
        self.received += len(body)
        return body, message.get("more_body", False)

    async def answer(self, answer: HttpAnswer, service: OperationService) -> None:
        """Send the answer."""
        self.status = answer.status
        if answer.stream is None:
            self.sent += len(answer.body)
            await _send(self._send, answer)
            return
        try:
            await self._send_stream(answer, answer.stream, service)
        finally:
            close = getattr(answer.stream, "close", None)
            if close is not None:
                await service.run(close)

    async def _send_stream(self, answer: HttpAnswer, pieces: Iterator[bytes], service: OperationService) -> None:
        await self._send({"type": "http.response.start", "status": answer.status, "headers": _encoded(answer.headers)})
        leaving = asyncio.ensure_future(self._leaving())
        try:
            # An error in here is too late for an error answer: the server cuts the connection, so that the client
            # sees that bytes are missing.
            while piece := await service.run(next, pieces, b""):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                self.sent += len(piece)
                if leaving.done():
                    log.debug("The client left during %s", self.path)
                    return
            await self._send({"type": "http.response.body"})
        finally:
            leaving.cancel()

    async def _leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _end(lifeline: int) -> None:
    """End with the process that supervises this one: nobody would replace it, and it would keep the port."""
    asyncio.get_running_loop().remove_reader(lifeline)
    log.error("The process that supervises this one is gone; it ends too.")
    os.kill(os.getpid(), signal.SIGTERM)


def _refused(caller: Caller, method: str) -> HttpAnswer | None:
    return denied(caller, Permission.READ if method in _SAFE else Permission.WRITE)


async def _send(send: Send, answer: HttpAnswer) -> None:
    headers = _encoded(answer.headers)
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


_SECURITY_ENCODED = [(name.lower().encode(), value.encode()) for name, value in _SECURITY.items()]


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    if len(headers) == 1:  # the type of an answer that is no file
        return [*((name.lower().encode(), value.encode()) for name, value in headers.items()), *_SECURITY_ENCODED]
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in {**_SECURITY, **headers}.items()]


def _with_cors(inner: Application, origins: tuple[str, ...]) -> Application:
    """Return an application that answers browsers' questions about pages of other sites, where there are such."""
    if not origins:
        return inner
    from starlette.middleware.cors import CORSMiddleware

    return cast(
        "Application",
        CORSMiddleware(
            cast("Any", inner),
            allow_origins=[origin.rstrip("/") for origin in origins],
            allow_methods=_METHODS,
            allow_headers=["Authorization", "Content-Type"],
        ),
    )
