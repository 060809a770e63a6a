"""The endpoints of a Jupyter server: their supervisor, and the way to them below `{mount}/serve/NAME/`, under Jupyter's login."""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, stream_request_body

from mlops_nb.api.http import HttpAnswer, refuse
from mlops_nb.api.operation import Permission
from mlops_nb.errors import MlopsError, NotFound
from mlops_nb.serving.app import PAGE_POLICY
from mlops_nb.serving.endpoints import Endpoints
from mlops_nb.serving.limits import Limits
from mlops_nb.serving.records import check_name
from mlops_nb.serving.supervisor import Supervisor
from mlops_nb_server.handler import ApiHandler
from mlops_nb_server.service import Service

FOLDER = "serving"
PATH = r"/serve/([^/]+)(/.*)?"
SCHEMA_ID = "https://mlops-nb.readthedocs.io/events/endpoints_changed/v1"
SCHEMA: dict[str, Any] = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "Endpoints changed",
    "description": "A model server was started, became ready, failed or ended; ask the endpoints operation for what is there.",
    "personal-data": False,
    "type": "object",
    "properties": {"count": {"type": "integer", "description": "How many endpoints there are."}},
    "required": ["count"],
}
_TOLD_AFTER = 0.1
_SENT_ON = ("Content-Type", "Content-Encoding")
_UNTOUCHED = re.compile(r"[!-~]*")


class Serving:
    """The supervisor of a Jupyter server, and the events that tell of it."""

    def __init__(self, service: Service, events: Any) -> None:
        project = service.project.project
        self._events = events
        self._telling: asyncio.TimerHandle | None = None
        self.supervisor = Supervisor(project.state_dir / FOLDER, lambda: self._store(service), self._changed)
        self._service = service

    @staticmethod
    def _store(service: Service) -> Any:
        return service.project.store(create=True)

    async def start(self) -> None:
        """Let the operations reach the endpoints, and start those that were there before."""
        self._service.project.endpoints = Endpoints(self.supervisor, asyncio.get_running_loop())
        await self.supervisor.restore()

    async def stop(self) -> None:
        """End the workers; the endpoints come back with the next server."""
        if self._telling is not None:
            self._telling.cancel()
        await self.supervisor.close()

    def _changed(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TOLD_AFTER, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._events.emit(schema_id=SCHEMA_ID, data={"count": len(self.supervisor.infos())})


@stream_request_body
class ServeHandler(ApiHandler):
    """Sends requests on to a worker. A body over the model's limit is thrown away while it comes."""

    def initialize(self, service: Service, mount: str, serving: Serving | None = None) -> None:
        super().initialize(service, mount)
        assert serving is not None
        self._supervisor = serving.supervisor
        self._pieces: list[bytes] = []
        self._size = 0
        self._limit = Limits().max_body
        self._endpoint: Any = None

    def _find_route(self) -> None:
        """There is no operation: a request to a model needs the permission to read, whatever its method."""
        try:
            self._endpoint = self._supervisor.endpoint(check_name(self.path_args[0]))
            self._limit = self._endpoint.record.limits.max_body
        except MlopsError as error:
            self._refusal = refuse(error if isinstance(error, NotFound) else NotFound(str(error)))

    async def prepare(self) -> None:  # type: ignore[override]
        await super().prepare()
        cast("Any", self.request.connection).set_max_body_size(1 << 50)

    @property
    def _action(self) -> str:
        # Asking a model changes nothing of the project, so those who may read may ask.
        return Permission.READ.value

    def data_received(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit + 1 or self._refusal is not None:
            self._pieces.clear()
        else:
            self._pieces.append(chunk)

    async def _answer(self, *_path: str) -> None:
        if self._refusal is not None:
            await self._send(self._refusal)
            return
        path = self.path_args[1] or "/"
        if self.request.query:
            path += f"?{self.request.query}"
        if not _UNTOUCHED.fullmatch(path):
            raise HTTPError(400, "The path is not percent-encoded.")
        if self._size > self._limit:
            shown = f"{self._limit >> 20} MiB" if self._limit >= 1 << 20 else f"{self._limit} bytes"
            await self._send(_too_large(f"The body of the request is larger than {shown}. Send the rows in several requests."))
            return
        headers = [(name.lower().encode(), given.encode("latin-1")) for name in _SENT_ON if (given := self.request.headers.get(name))]
        answer = await self._endpoint.send(self.request.method, path, headers, b"".join(self._pieces))
        self.set_status(answer.status)
        for name, value in answer.headers:
            self.set_header(name.decode(), value.decode("latin-1"))
        # A model is a program that somebody wrote: what it answers must not run on this origin.
        self.set_header("Content-Security-Policy", PAGE_POLICY.decode())
        try:
            await self.finish(answer.body)
        except StreamClosedError:
            self.log.debug("The client left before the answer to %s", self.request.path)

    get = head = post = put = patch = delete = _answer

    def _log(self) -> None:
        if self.get_status() >= 500:
            super()._log()


def _too_large(message: str) -> HttpAnswer:
    from mlops_nb.serving.failures import too_large

    failure = too_large(message)
    return HttpAnswer(status=failure.status, headers={"Content-Type": "application/json"}, body=failure.body())
