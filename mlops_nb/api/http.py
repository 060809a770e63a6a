"""From an HTTP request to an HTTP answer, whichever server carries it. Blocking: mounts call it in a worker thread."""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import msgspec

from mlops_nb.api import decoding
from mlops_nb.api.agents import admit
from mlops_nb.api.files import file_headers
from mlops_nb.api.operation import Context, JsonBytes, JsonStream, Stream
from mlops_nb.api.project import ServedProject
from mlops_nb.api.router import Route
from mlops_nb.api.transfer import checked_upload, select
from mlops_nb.errors import FilterError, IllegalTransition, InvalidInput, MissingDependencyError, MlopsError, StoreFull, StoreVersionError
from mlops_nb.store.artifacts.base import OpenedFile, pieces_of

log = logging.getLogger("mlops_nb.api")

MAX_JSON_BODY = 16 << 20
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

_STATUS = {
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "RESOURCE_CONFLICT": 409,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 507,
}
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_encoder = msgspec.json.Encoder()


class BodyTooLarge(InvalidInput):
    """A JSON body over the limit."""

    def __init__(self) -> None:
        super().__init__(
            f"The body of the request is larger than {MAX_JSON_BODY >> 20} MiB.", hint="Split it; files go to the artifact routes."
        )


class HttpRequest(msgspec.Struct, kw_only=True):
    """What came. `upload` holds the body of an upload, `body` that of anything else.

    `headers` are found by names in small letters; only uploads and answers of files need them. `agent` is the token of a runner's
    agent, if one asks; it is looked at here, so a mount lets it pass without permission.
    """

    method: str
    query: str = ""
    content_type: str = ""
    body: bytes = b""
    upload: BinaryIO | None = None
    user: str = ""
    headers: Mapping[str, str] = {}
    agent: str = ""


class HttpAnswer(msgspec.Struct, kw_only=True):
    """What goes back. With `stream` the body comes in pieces; whoever sends it closes it."""

    status: int = 200
    headers: dict[str, str]
    body: bytes = b""
    stream: Iterator[bytes] | None = None


class Call:
    """One request on its way through an operation."""

    def __init__(self, project: ServedProject, route: Route, request: HttpRequest) -> None:
        self._project = project
        self._route = route
        self._request = request
        self._decoded: Any = None
        self._refusal: HttpAnswer | None = None

    def decode(self) -> None:
        """Read the request, which `respond` does otherwise: here nothing is locked yet."""
        try:
            self._decoded = _decode(self._route, self._request)
        except Exception as error:  # noqa: BLE001 - as in `respond`
            self._refusal = refuse(error)

    def respond(self) -> HttpAnswer:
        """Run the operation and return its answer; errors are answers too, nothing is raised."""
        if self._decoded is None:
            self.decode()
        if self._refusal is not None:
            return self._refusal
        operation = self._route.operation
        try:
            runner = None
            if self._request.agent:
                runner = admit(self._project, self._request.agent, operation, self._decoded)
            upload = self._request.upload
            checked = checked_upload(upload, self._request.headers) if upload is not None else None
            user = self._request.user if runner is None else runner.user
            context = Context(self._project, user=user, permission=operation.permission, upload=checked, runner=runner)
            return _encode(operation.function(context, self._decoded), self._request)
        except Exception as error:  # noqa: BLE001 - the last line of defence: `refuse` logs what it does not know
            return refuse(error)


def respond(project: ServedProject, route: Route, request: HttpRequest) -> HttpAnswer:
    """Run an operation and return its answer."""
    return Call(project, route, request).respond()


def _decode(route: Route, request: HttpRequest) -> Any:
    operation, arguments = route
    has_body = request.method in ("POST", "PATCH", "PUT") or request.body
    if operation.upload or request.method == "GET" or not has_body:
        return decoding.from_query(operation.request, request.query, arguments)
    if len(request.body) > MAX_JSON_BODY:
        raise BodyTooLarge
    if request.body and request.content_type.partition(";")[0].strip().lower() != JSON:
        raise InvalidInput(f"Bad Request. Content-Type must be one of ['{JSON}'].")
    return decoding.from_body(operation.request, request.body, arguments)


def _encode(answer: Any, request: HttpRequest) -> HttpAnswer:
    if isinstance(answer, Stream):
        headers = file_headers(answer.file_name)
        if answer.file is None:
            return HttpAnswer(headers=headers, stream=_begun(answer.chunks))
        return _file_answer(answer.file, headers, request)
    if isinstance(answer, JsonBytes):
        return HttpAnswer(headers={"Content-Type": JSON}, body=answer.body)
    if isinstance(answer, JsonStream):
        return HttpAnswer(headers={"Content-Type": JSON}, stream=_begun(answer.chunks))
    if isinstance(answer, str):
        return HttpAnswer(headers={"Content-Type": TEXT}, body=answer.encode())
    return HttpAnswer(headers={"Content-Type": JSON}, body=_encoder.encode(answer))


def _file_answer(file: OpenedFile, headers: dict[str, str], request: HttpRequest) -> HttpAnswer:
    status, about, start, end = select(file.stat, request.headers)
    if status == 416:
        file.close()
        answer = refuse(InvalidInput(f"The range {request.headers.get('range', '')[:80]!r} is not in the file of {file.stat.size} bytes."))
        return msgspec.structs.replace(answer, status=status, headers={**answer.headers, **about})
    if start is None or request.method == "HEAD":
        file.close()
        return HttpAnswer(status=status, headers={**headers, **about}, stream=iter(()))
    return HttpAnswer(status=status, headers={**headers, **about}, stream=_begun(pieces_of(file, start, end)))


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the same bytes. The first are read here, so that what cannot be read is an error and not half an answer."""
    first = next(chunks, b"")

    def rest() -> Iterator[bytes]:
        try:
            yield first
            yield from chunks
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    return rest()


def refuse(error: Exception) -> HttpAnswer:
    """Return the answer that stands for an error: the one place that maps errors to HTTP."""
    known = error if isinstance(error, MlopsError) else _known(error)
    if known is None:
        known = MlopsError(_unexpected(error))
    document: dict[str, Any] = {"error_code": known.code, "message": known.message}
    if known.hint:
        document["hint"] = known.hint
    if isinstance(known, FilterError):
        document["position"] = known.position
    return HttpAnswer(status=_status(known), headers={"Content-Type": JSON}, body=_encoder.encode(document))


def _status(error: MlopsError) -> int:
    if isinstance(error, BodyTooLarge):
        return 413
    if isinstance(error, IllegalTransition):
        return 400  # the caller's mistake: clients send anything above 499 again for minutes
    if isinstance(error, (StoreVersionError, MissingDependencyError)):
        return 501  # no retry will help
    return _STATUS.get(error.code, 500)


def _known(error: Exception) -> MlopsError | None:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return StoreFull(f"The disk of the server is full: {error.strerror}.", hint="Free space, then send it again.")
    return None


def _unexpected(error: Exception) -> str:
    number = secrets.token_hex(4)
    log.error("Unexpected error %s", number, exc_info=error)
    return f"Something went wrong inside the server. Its log tells more under the number {number}."


def not_found() -> HttpAnswer:
    """Return the answer for a path that leads nowhere: no JSON, which tells MLflow's clients to try an older call."""
    return HttpAnswer(status=404, headers={"Content-Type": TEXT}, body=b"404: there is nothing at this path.\n")


def not_allowed(allowed: list[str]) -> HttpAnswer:
    """Return the answer for a path that needs another method."""
    text = f"405: this path takes {', '.join(allowed)}.\n"
    return HttpAnswer(status=405, headers={"Content-Type": TEXT, "Allow": ", ".join(allowed)}, body=text.encode())
