"""One authenticated handler for all operations, leaner than Jupyter's own: it is the hot path of every log call.

Default deny: `prepare` lets nobody through who is not authenticated and authorized, whatever the method or path.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from jupyter_server.base.handlers import JupyterHandler
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from mlops_nb.api.gate import agent_token
from mlops_nb.api.http import MAX_JSON_BODY, BodyTooLarge, HttpAnswer, HttpRequest, not_allowed, not_found, refuse
from mlops_nb.api.operation import Permission
from mlops_nb.api.router import MethodNotAllowed, Route
from mlops_nb.api.upload import IN_MEMORY, UploadPipe
from mlops_nb.errors import MlopsError, PermissionDenied
from mlops_nb_server.service import Service, machine_user

AUTH_RESOURCE = "mlops"
_SAFE = frozenset({"GET", "HEAD"})


class ApiHandler(JupyterHandler):
    """Answers every path below the mount."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    auth_resource = AUTH_RESOURCE

    def initialize(self, service: Service, mount: str) -> None:
        self.service = service
        self._below = len(mount)
        self._agent = ""
        self._route: Route | None = None
        self._refusal: HttpAnswer | None = None

    # -- who may come in

    async def prepare(self) -> None:  # type: ignore[override]
        if not self.check_host():
            raise HTTPError(403, "The Host header names another server.")
        authorization = self.request.headers.get("Authorization", "")
        self._agent = agent_token(authorization)
        if self._agent or self.service.router.is_open(str(self.request.method), self.request.path[self._below :]):
            # A runner's machine: what it may do is decided by the operation's scope, or by its ticket.
            self.current_user = self._jupyter_current_user = machine_user()
            self._token_authenticated = True
            self._find_route()
            return
        user = self.service.user_of(authorization)
        if user is not None:
            # A token cannot be sent by a foreign page without the user's doing: no XSRF check, no login cookie.
            self.current_user = self._jupyter_current_user = user
            self._token_authenticated = True
            if "Origin" in self.request.headers:
                self.set_cors_headers()
        else:
            # Cookies with XSRF check, and the tokens of other identity providers such as JupyterHub's.
            waiting = await super().prepare(_redirect_to_login=False)
            if waiting is not None:
                await waiting
            if not self.current_user:
                raise HTTPError(403, "Forbidden: no valid token or login.")
            if not self.check_origin():
                raise HTTPError(403, "Forbidden: the request comes from a foreign origin.")
        self._find_route()
        await self._authorize()

    def _find_route(self) -> None:
        try:
            self._route = self.service.router.resolve(str(self.request.method), self.request.path[self._below :])
        except MethodNotAllowed as error:
            self._refusal = not_allowed(error.allowed)
        except MlopsError as error:
            self._refusal = refuse(error)
        else:
            self._refusal = None if self._route else not_found()

    @property
    def _action(self) -> str:
        """What the caller must be allowed to do."""
        if self._route is not None:
            return self._route.operation.permission.value
        return (Permission.READ if self.request.method in _SAFE else Permission.WRITE).value

    async def _authorize(self) -> None:
        action = self._action
        allowed = self.authorizer.is_authorized(self, self.current_user, action, AUTH_RESOURCE)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if not allowed:
            raise HTTPError(403, f"User is not authorized to {action} on resource: {AUTH_RESOURCE}.")

    # -- the answer

    async def _answer(self) -> None:
        if self._refusal is not None:
            await self._send(self._refusal)
            return
        assert self._route is not None
        await self._send(await self.service.respond(self._route, self._asked(self.request.body)))

    get = head = post = put = patch = delete = _answer

    def _asked(self, body: bytes, upload: BinaryIO | None = None) -> HttpRequest:
        request = self.request
        return HttpRequest(
            method=str(request.method),
            query=request.query,
            content_type=request.headers.get("Content-Type", ""),
            body=body,
            upload=upload,
            user=self.current_user.username,
            headers=request.headers,
            agent=self._agent,
        )

    async def _send(self, answer: HttpAnswer) -> None:
        self.set_status(answer.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.stream is None:
            try:
                await self.finish(answer.body)
            except StreamClosedError:
                self.log.debug("The client left before the answer to %s", self.request.path)
        else:
            await self._send_stream(answer.stream)

    async def _send_stream(self, pieces: Iterator[bytes]) -> None:
        self._transforms = []  # a compressed file would be another file, of another length and without ranges
        try:
            while piece := await self.service.run(next, pieces, b""):
                self.write(piece)
                await self.flush()  # waits until the client has taken it
            await self.finish()
        except StreamClosedError:
            self.log.debug("The client left during %s", self.request.path)
        except Exception:
            # Too late for an error answer: cutting the connection tells the client that bytes are missing.
            self.log.exception("Reading %s failed half-way", self.request.path)
            self.detach().close()
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                await self.service.run(close)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer errors that Tornado or Jupyter raised outside an operation, as JSON like all others."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, HTTPError):
            failure: Exception = (
                PermissionDenied(error.log_message or "Forbidden.")
                if status_code == 403
                else MlopsError(error.log_message or error.reason or f"HTTP {status_code}")
            )
        else:
            failure = error if isinstance(error, Exception) else MlopsError(f"HTTP {status_code}")
        answer = refuse(failure)
        self.set_header("Content-Type", answer.headers["Content-Type"])
        self.finish(answer.body)

    # -- less than Jupyter does per request

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        for name, value in self.settings.get("headers", {}).items():
            self.set_header(name, value)

    def _log(self) -> None:
        # Jupyter says what succeeded at debug level, and works out the line for that even where nobody reads it.
        if self.get_status() >= 400 or self.log.isEnabledFor(logging.DEBUG):
            super()._log()

    def compute_etag(self) -> str | None:
        return None


@stream_request_body
class UploadHandler(ApiHandler):
    """Answers the paths that take files: a large body is written into the store while it comes, never whole into memory."""

    def initialize(self, service: Service, mount: str) -> None:
        super().initialize(service, mount)
        self._collected: list[bytes] = []
        self._size = 0
        self._pipe: UploadPipe | None = None
        self._working: asyncio.Task[HttpAnswer] | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        await super().prepare()
        if self._takes_file:
            # The server's limit is for bodies in memory.
            cast("Any", self.request.connection).set_max_body_size(1 << 50)

    @property
    def _takes_file(self) -> bool:
        return self._route is not None and self._route.operation.upload

    async def data_received(self, chunk: bytes) -> None:
        if self._refusal is not None:
            return
        if self._pipe is not None:
            await self._pipe.feed(chunk)
            return
        self._size += len(chunk)
        if not self._takes_file:
            if self._size > MAX_JSON_BODY:
                self._refusal, self._collected = refuse(BodyTooLarge()), []
                return
        elif self._size > IN_MEMORY:
            await self._begin(self._taken() + chunk)
            return
        self._collected.append(chunk)

    async def _begin(self, data: bytes) -> None:
        assert self._route is not None
        self._pipe = UploadPipe()
        self._working = asyncio.ensure_future(self.service.respond_to_upload(self._route, self._asked(b""), self._pipe))
        await self._pipe.feed(data)

    def _taken(self) -> bytes:
        data, self._collected = b"".join(self._collected), []
        return data

    async def _answer(self) -> None:
        if self._refusal is not None:
            await self._send(self._refusal)
        elif self._pipe is not None and self._working is not None:
            self._pipe.end()
            await self._send(await self._working)
        else:
            assert self._route is not None
            data = self._taken()
            asked = self._asked(b"", io.BytesIO(data)) if self._takes_file else self._asked(data)
            await self._send(await self.service.respond(self._route, asked))

    get = head = post = put = patch = delete = _answer

    def on_connection_close(self) -> None:
        if self._pipe is not None:
            self._pipe.fail()
        super().on_connection_close()
