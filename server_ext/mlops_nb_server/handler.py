"""One authenticated handler for all operations, leaner than Jupyter's own: it is the hot path of every log call.

Default deny: `prepare` lets nobody through who is not authenticated and authorized, whatever the method or path.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast

from jupyter_server.base.handlers import JupyterHandler
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from mlops_nb.api.http import MAX_JSON_BODY, HttpAnswer, HttpRequest, not_allowed, not_found, refuse
from mlops_nb.api.operation import Permission
from mlops_nb.api.router import MethodNotAllowed, Route
from mlops_nb.errors import MlopsError, PermissionDenied
from mlops_nb_server.service import Service

AUTH_RESOURCE = "mlops"
_IN_MEMORY = 1 << 20
_CHUNK = 1 << 20
_SAFE = frozenset({"GET", "HEAD"})


class ApiHandler(JupyterHandler):
    """Answers every path below the mount."""

    SUPPORTED_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
    auth_resource = AUTH_RESOURCE

    def initialize(self, service: Service, mount: str) -> None:
        self.service = service
        self._below = len(mount)
        self._route: Route | None = None
        self._refusal: HttpAnswer | None = None

    # -- who may come in

    async def prepare(self) -> None:  # type: ignore[override]
        if not self.check_host():
            raise HTTPError(403, "The Host header names another server.")
        user = self.service.user_of(self.request.headers.get("Authorization", ""))
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

    async def _authorize(self) -> None:
        if self._route is not None:
            action = self._route.operation.permission.value
        else:
            action = (Permission.READ if self.request.method in _SAFE else Permission.WRITE).value
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
        request = self.request
        asked = HttpRequest(
            method=str(request.method),
            query=request.query,
            content_type=request.headers.get("Content-Type", ""),
            body=self._body(),
            upload=cast("Any", self._upload()),
            user=self.current_user.username,
        )
        assert self._route is not None
        await self._send(await self.service.respond(self._route, asked))

    get = post = put = patch = delete = _answer

    def _body(self) -> bytes:
        return self.request.body

    def _upload(self) -> IO[bytes] | None:
        return None

    async def _send(self, answer: HttpAnswer) -> None:
        self.set_status(answer.status)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.stream is None:
            await self.finish(answer.body)
        else:
            await self._send_stream(answer.stream)

    async def _send_stream(self, pieces: Iterator[bytes]) -> None:
        try:
            while piece := await self.service.run(next, pieces, b""):
                self.write(piece)
                await self.flush()  # waits until the client has taken it
        except StreamClosedError:
            self.log.debug("The client left during %s", self.request.path)
        except Exception:
            # Too late for an error answer: cutting the connection tells the client that bytes are missing.
            self.log.exception("Reading %s failed half-way", self.request.path)
            self.detach().close()
        else:
            await self.finish()

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

    def compute_etag(self) -> str | None:
        return None


@stream_request_body
class UploadHandler(ApiHandler):
    """Answers the paths that take files: a body goes to a spooled file as it comes, never whole into memory."""

    def initialize(self, service: Service, mount: str) -> None:
        super().initialize(service, mount)
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed in on_finish
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._at_work = False

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
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes >= _CHUNK:
            await self._spill()

    async def _spill(self) -> None:
        data, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
        try:
            await self.service.run(self._spool.write, data)
        except OSError as error:
            self._refusal = refuse(error)

    async def _answer(self) -> None:
        if self._waiting:
            await self._spill()
        self._spool.seek(0)
        self._at_work = True
        await super()._answer()

    get = post = put = patch = delete = _answer

    def _body(self) -> bytes:
        return b"" if self._takes_file else self._spool.read(MAX_JSON_BODY + 1)

    def _upload(self) -> IO[bytes] | None:
        return self._spool if self._takes_file else None

    def on_finish(self) -> None:
        self._spool.close()
        super().on_finish()

    def on_connection_close(self) -> None:
        if not self._at_work:  # else a thread reads it, and `on_finish` follows
            self._spool.close()
        super().on_connection_close()
