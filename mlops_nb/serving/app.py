"""The model server as an ASGI application: MLflow's scoring protocol, the open inference protocol, figures, its own page."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote

import msgspec

from mlops_nb.serving import figures as figures_
from mlops_nb.serving import pages, v2
from mlops_nb.serving.failures import ScoringFailure, too_large
from mlops_nb.serving.figures import Figures
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.scorer import Scorer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, bytes, bytes]

_JSON = b"application/json"
_HTML = b"text/html; charset=utf-8"
PAGE_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in by the port. By the Unix socket comes only who may read the folder that it is in.

    Attributes:
        token: Opens the port; "" leaves it open to whoever reaches it by one of the names.
        hosts: Names of the server in the `Host` header, without ports; empty: any.
    """

    token: str = ""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")


class ScoringApp:
    """Answers requests.

    Args:
        scorer: With the model.
        figures: Where answers are counted.
        limits: Of a request.
        door: Who may come in.
        about: What the model is, for the pages and `/version`.
    """

    def __init__(self, scorer: Scorer, figures: Figures, limits: Limits, door: Door, about: pages.About) -> None:
        self._scorer = scorer
        self._figures = figures
        self._limits = limits
        self._door = door
        self._about = about
        model = f"/v2/models/{about.name}"
        self._infer = {f"{model}/infer", f"{model}/versions/{about.version}/infer"}
        self._told: Mapping[str, Callable[[], Answer]] = {
            "/ping": self._ping,
            "/health": self._ping,
            "/version": lambda: (200, _JSON, about.mlflow_version.encode()),
            "/metrics": lambda: (200, figures_.CONTENT_TYPE, figures.text()),
            "/openapi.json": lambda: (200, _JSON, pages.openapi(about)),
            "/": lambda: (200, _HTML, pages.page(about)),
            "/docs": lambda: (200, _HTML, pages.page(about)),
            "/v2": lambda: _json(200, {"name": "mlops_nb", "version": about.server_version, "extensions": []}),
            "/v2/health/live": lambda: _json(200, {"live": True}),
            "/v2/health/ready": lambda: self._ready({"ready": self._scorer.is_ready}),
            **dict.fromkeys((model, f"{model}/versions/{about.version}"), self._metadata),
            **{
                f"{path}/ready": lambda: self._ready({"name": about.name, "ready": self._scorer.is_ready})
                for path in (model, f"{model}/versions/{about.version}")
            },
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        path, method = scope["path"], scope["method"]
        protocol = "invocations" if path == "/invocations" else "v2" if path in self._infer else ""
        extra: list[tuple[bytes, bytes]] = []
        try:
            headers = dict(scope["headers"])
            if scope["server"] is not None and scope["server"][1] is not None:
                self._let_in(headers, path)
            if protocol and method == "POST":
                body = await self._body(headers, receive)
                content_type = headers.get(b"content-type", b"").decode("latin-1")
                status, kind, answer = 200, _JSON, await self._scorer.respond(protocol, body, content_type)
            else:
                status, kind, answer = self._tell(path, method, protocol)
                if status == 405:
                    extra.append((b"allow", b"POST" if protocol else b"GET, HEAD"))
        except ScoringFailure as failure:
            self._figures.refused(failure.code)
            is_v2 = path.startswith("/v2") and not failure.plain
            status, kind = failure.status, failure.content_type
            answer = v2.error_body(failure) if is_v2 else failure.body()
            if failure.retry_after is not None:
                extra.append((b"retry-after", b"%d" % failure.retry_after))
            if status == 401:
                extra.append((b"www-authenticate", b'Bearer realm="mlops-nb"'))
        except _ClientLeft:
            return
        if kind is _HTML:
            extra += [(b"content-security-policy", PAGE_POLICY), (b"x-content-type-options", b"nosniff")]
        if protocol:
            self._figures.answered(protocol, status, time.perf_counter() - began)
        length = b"%d" % len(answer)
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), (b"content-length", length), *extra]}
        )
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer})

    # -- who may come in

    def _let_in(self, headers: Mapping[bytes, bytes], path: str) -> None:
        door = self._door
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        if door.hosts and name not in door.hosts:
            raise ScoringFailure("The Host header names another server.", "PERMISSION_DENIED")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
            raise ScoringFailure("The request comes from a foreign web page.", "PERMISSION_DENIED")
        if door.token and path not in ("/ping", "/health"):
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() not in (b"bearer", b"token") or not hmac.compare_digest(given.strip(), door.token.encode()):
                raise ScoringFailure("No valid token came with the request: send 'Authorization: Bearer TOKEN'.", "CUSTOMER_UNAUTHORIZED")

    # -- what comes

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        limit = self._limits.max_body
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            raise _body_too_large(limit)  # what still comes is thrown away by the HTTP server, piece by piece
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise ScoringFailure("The body is compressed; send it as it is.", status=415, plain=True)
        message = await receive()
        if not message.get("more_body"):
            return self._piece(message)
        pieces, size = [self._piece(message)], 0
        try:
            async with asyncio.timeout(self._limits.timeout):
                while message.get("more_body"):
                    message = await receive()
                    pieces.append(self._piece(message))
                    size += len(pieces[-1])
                    if size > limit:
                        raise _body_too_large(limit)
        except TimeoutError:
            raise ScoringFailure("The body of the request came too slowly.", status=408, plain=True) from None
        return b"".join(pieces)

    @staticmethod
    def _piece(message: Mapping[str, Any]) -> bytes:
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        return bytes(message.get("body", b""))

    # -- what is told

    def _tell(self, path: str, method: str, protocol: str) -> Answer:
        told = self._told.get(path) or self._told.get(path.rstrip("/"))
        if protocol or (told is not None and method not in ("GET", "HEAD")):
            return _json(405, {"detail": "Method Not Allowed"})
        if told is not None:
            return told()
        if path.startswith("/v2/models/"):
            name = unquote(path.removeprefix("/v2/models/").partition("/")[0])[:100]
            if name != self._about.name:
                return _json(404, {"error": f"There is no model '{name}' here; there is '{self._about.name}'."})
            return _json(404, {"error": f"There is nothing at this path; the version is '{self._about.version}'."})
        return _json(404, {"detail": "Not Found"})

    def _ping(self) -> Answer:
        return (200 if self._scorer.is_ready else 503), _JSON, b"\n"

    @staticmethod
    def _ready(document: dict[str, Any]) -> Answer:
        return _json(200 if document["ready"] else 503, document)

    def _metadata(self) -> Answer:
        about = self._about
        signature = about.signature
        return _json(
            200,
            {
                "name": about.name,
                "versions": [about.version],
                "platform": about.platform,
                "inputs": v2.tensors_of(signature.inputs if signature else None, "input-"),
                "outputs": v2.tensors_of(signature.outputs if signature else None, "output-"),
                "parameters": {"engine": about.engine, **({"acceleration": about.acceleration} if about.acceleration else {})},
            },
        )


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def _json(status: int, document: Any) -> Answer:
    return status, _JSON, msgspec.json.encode(document)


def _body_too_large(limit: int) -> ScoringFailure:
    shown = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
    return too_large(f"The body of the request is larger than {shown}. Send the rows in several requests.")
