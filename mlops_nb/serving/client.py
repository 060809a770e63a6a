"""An endpoint as notebooks and programs use it: over HTTP, through the Jupyter server that runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from mlops_nb.errors import InvalidInput, MlopsError, NotFound, StoreUnreachable
from mlops_nb.monitoring.bins import Reference
from mlops_nb.serving import parity as parities
from mlops_nb.serving import references
from mlops_nb.serving.monitor import Monitored
from mlops_nb.serving.parity import Parity
from mlops_nb.serving.payloads import prediction_of, request_of
from mlops_nb.serving.records import EndpointInfo, StartRequest, input_names
from mlops_nb.store.base import ServedStore
from mlops_nb.store.rest_errors import error_of

A = TypeVar("A")

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 330.0
_POLL_SECONDS = 0.25
_ROWS_AT_ONCE = 1000
_REFERENCE_PREDICTIONS = 2000


class _Answer(msgspec.Struct):
    endpoint: EndpointInfo


class _Answers(msgspec.Struct):
    endpoints: list[EndpointInfo]


class _Monitor(msgspec.Struct):
    monitor: Monitored


class _Lines(msgspec.Struct):
    lines: list[str]


class EndpointServer:
    """The server that runs endpoints.

    Threads: each has its own connection.

    Args:
        url: Where `/api/v1` begins, such as `http://127.0.0.1:8888/mlops`.
        token: Sent as bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._local = threading.local()

    def start(self, request: StartRequest, told: Callable[[EndpointInfo], None] = lambda _: None) -> EndpointInfo:
        """Start a version and return when it is ready.

        Args:
            request: What shall be served.
            told: Called with the state while it starts.

        Raises:
            MlopsError: If it cannot be served; says why.
        """
        info = self._call(_Answer, "POST", "", request).endpoint
        number = info.attempt.number if info.attempt else 0
        while info.attempt is not None and info.attempt.number == number and info.attempt.state == "starting":
            told(info)
            time.sleep(_POLL_SECONDS)
            info = self.get(request.name)
        if info.attempt is not None and info.attempt.number == number and info.attempt.state == "failed":
            if info.live is None or info.state == "failed":
                self.stop(request.name)
            raise MlopsError(f"'{request.name}' could not be started: {info.attempt.problem}")
        return info

    def all(self) -> list[EndpointInfo]:
        """Return all endpoints, by name."""
        return self._call(_Answers, "GET", "").endpoints

    def get(self, name: str) -> EndpointInfo:
        """Return an endpoint."""
        return self._call(_Answer, "GET", f"/{_part(name)}").endpoint

    def logs(self, name: str, lines: int = 200) -> list[str]:
        """Return the last lines of its workers."""
        return self._call(_Lines, "GET", f"/{_part(name)}/logs?lines={lines}").lines

    def stop(self, name: str) -> None:
        """End an endpoint."""
        self._call(dict, "DELETE", f"/{_part(name)}")

    def promote(self, name: str, *, share: float | None = None, alias: str | None = None) -> EndpointInfo:
        """Make the canary or shadow live, or give the canary a share; give what is live an alias in the registry."""
        return self._call(_Answer, "POST", f"/{_part(name)}/promote", {"share": share, "alias": alias}).endpoint

    def rollback(self, name: str) -> EndpointInfo:
        """Drop the canary and the shadow, or else go back to what was live before."""
        return self._call(_Answer, "POST", f"/{_part(name)}/rollback", {}).endpoint

    def extend(self, name: str, ttl: float) -> EndpointInfo:
        """Let it live for so many seconds from now."""
        return self._call(_Answer, "POST", f"/{_part(name)}/extend", {"ttl": ttl}).endpoint

    def monitor(self, name: str) -> Monitored:
        """Return the traffic and the drift of an endpoint."""
        return self._call(_Monitor, "GET", f"/{_part(name)}/monitor").monitor

    def watch(self, name: str, *, reference: Reference | None = None, run_id: str | None = None) -> Monitored:
        """Hold requests against counts, or against the data of a run; neither: against what the model was trained on."""
        return self._call(_Monitor, "POST", f"/{_part(name)}/reference", {"reference": reference, "run_id": run_id}).monitor

    def score(self, name: str, body: bytes, content_type: str = "application/json") -> bytes:
        """Send a request to the model and return the answer's body.

        Raises:
            MlopsError: If there is no prediction.
        """
        status, answer = self.ask(name, body, content_type)
        if status != 200:
            error = error_of(self.url, status, answer)
            raise InvalidInput(error.message, hint=error.hint) if status < 500 and not isinstance(error, NotFound) else error
        return answer

    def ask(self, name: str, body: bytes, content_type: str = "application/json", path: str = "invocations") -> tuple[int, bytes]:
        """Send a request to the model and return status and body of the answer, whatever it is."""
        return self._send("POST", f"{self.url}/serve/{_part(name)}/{path}", body, content_type)

    def _call(self, form: type[A], method: str, path: str, body: Any = None) -> A:
        content = b"" if body is None else msgspec.json.encode(body)
        status, answer = self._send(method, f"{self.url}/api/v1/endpoints{path}", content, "application/json")
        if status >= 400:
            raise error_of(self.url, status, answer)
        return msgspec.json.decode(answer, type=form)

    def _send(self, method: str, url: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        import requests

        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # a proxy of the environment is not the way to this machine
        headers = {"Authorization": f"Bearer {self._token}", **({"Content-Type": content_type} if body else {})}
        try:
            answer = session.request(
                method, url, data=body or None, headers=headers, timeout=(_CONNECT_SECONDS, _READ_SECONDS), allow_redirects=False
            )
        except requests.RequestException as error:
            raise StoreUnreachable(
                f"The server at {self.url} does not answer: {type(error).__name__}.", hint="Is Jupyter running?"
            ) from None
        return answer.status_code, answer.content


class Endpoint:
    """A model that is being served.

    Attributes:
        name: Of the endpoint.
        parity: What the last comparison with the notebook's own model found, if there was one.
        route: The protocol that its code and its form show: `json`, `v2` or `openai`.
    """

    def __init__(
        self,
        server: EndpointServer,
        name: str,
        *,
        ours: Callable[[Any], Any] | None = None,
        store: Callable[[], ServedStore] | None = None,
        route: str = "json",
    ) -> None:
        self.name = name
        self.parity: Parity | None = None
        self._server = server
        self.route = route
        self._ours = ours
        self._store = store

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r}, {self.url!r})"

    @property
    def url(self) -> str:
        """Its address at the Jupyter server, which asks for Jupyter's token."""
        return f"{self._server.url}/serve/{_part(self.name)}"

    @property
    def path(self) -> str:
        """Its address without the server's: what a page of the same server asks."""
        return urlsplit(self.url).path

    def info(self) -> EndpointInfo:
        """Return how it is now."""
        return self._server.get(self.name)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return what the endpoint answers.

        Args:
            data: What the model takes: a table, an array, a mapping of arrays, or a list of rows. Large ones go in parts.
            params: Of the request.

        Raises:
            MlopsError: If there is no prediction; says why.
        """
        import numpy

        parts = [prediction_of(self._server.score(self.name, request_of(part, params))) for part in _parts(data)]
        if len(parts) == 1:
            return parts[0]
        if hasattr(parts[0], "columns"):
            import pandas

            return pandas.concat(parts, ignore_index=True)
        return numpy.concatenate(parts)

    def send(self, body: str | bytes, content_type: str = "application/json", *, protocol: str = "invocations") -> tuple[int, str]:
        """Send a body as it is, by MLflow's protocol (`invocations`) or `v2`, and return status and body of the answer."""
        content = body.encode() if isinstance(body, str) else body
        if protocol == "v2":
            status, answer = self._server.ask(self.name, content, content_type, f"v2/models/{_part(self.name)}/infer")
        else:
            status, answer = self._server.ask(self.name, content, content_type)
        return status, answer.decode("utf-8", "replace")

    def compare(self, data: Any, expected: Any = None) -> Parity:
        """Compare its answers with the notebook's own, for the same rows.

        Args:
            data: The rows.
            expected: The notebook's predictions; asked of the variable that is served by default.

        Raises:
            NotFound: If it is not known which variable is served.
        """
        if expected is None:
            if self._ours is None:
                raise NotFound(
                    f"This notebook has no model of the endpoint '{self.name}' to compare with.",
                    hint="Give it: %serve parity NAME ROWS --with MODEL",
                )
            expected = self._ours(data)
        self.parity = parities.compare(expected, self.predict(data))
        return self.parity

    def monitor(self, ref: Any = None, *, source: str = "") -> Monitored:
        """Return its traffic, its versions, and how its requests and predictions compare with a reference.

        Args:
            ref: What requests are held against from now on: rows as the model takes them, of which only counts leave this
                process, or a run with its data. None: what they were held against until now, at first what the model was
                trained on where its run knows that.
            source: What the rows are called.

        Raises:
            InvalidInput: If the model takes other columns, or the run has logged no such data.
        """
        if ref is None:
            return self._server.monitor(self.name)
        run_id = ref if isinstance(ref, str) else getattr(ref, "run_id", None)
        if run_id is not None:
            return self._server.watch(self.name, run_id=str(run_id))
        # Asked before the reference is set: these requests do not count as traffic to be watched.
        step = max(1, -(-len(ref) // _REFERENCE_PREDICTIONS)) if hasattr(ref, "shape") else 1
        asked = (ref.iloc if hasattr(ref, "iloc") else ref)[::step] if step > 1 else ref
        names = input_names(self.info().signature)
        columns = [str(name) for name in getattr(asked, "columns", ())]
        if names is not None and columns and columns != names and set(names) < set(columns):
            asked = asked[names]
        references.of_rows(ref, None, names=names, source=source)  # what is wrong with the rows is said before the model is asked
        return self.hold_against(ref, self.predict(asked), source=source or "rows")

    def hold_against(self, rows: Any, predictions: Any, *, source: str) -> Monitored:
        """Hold requests against rows, and predictions against those that the model gives for them."""
        names = input_names(self.info().signature)
        reference = references.of_rows(rows, predictions, names=names, source=source)
        return self._server.watch(self.name, reference=reference)

    def package(self, kind: str, directory: str | Path, *, storage_uri: str | None = None, allow_unsafe: bool = False) -> list[Path]:
        """Write what another engine needs to serve what is live here; see `mlops_nb.models.exports.package`.

        Args:
            kind: `docker`, `bento`, `kserve`, `mlflow`, `ray` or `sagemaker`.
            directory: Where to write; new or empty.
            storage_uri: Where a cluster finds the model folder: KServe needs it.
            allow_unsafe: Whether what is written may load a model that could run code.
        """
        from mlops_nb.models.exports import package
        from mlops_nb.models.sources import fetch_model

        live = self.info().live
        if live is None:
            raise NotFound(f"Nothing is live at '{self.name}' that could be packaged.", hint="Its log may tell why: %serve logs NAME")
        folder = fetch_model(live.model, self._store() if self._store else None).folder
        return package(kind, folder, Path(directory), name=self.name, storage_uri=storage_uri, allow_unsafe=allow_unsafe)

    def logs(self, lines: int = 200) -> str:
        """Return the last lines that its workers printed."""
        return "\n".join(self._server.logs(self.name, lines))

    def stop(self) -> None:
        """End it."""
        self._server.stop(self.name)

    def promote(self, *, share: float | None = None, alias: str | None = None) -> EndpointInfo:
        """As `EndpointServer.promote`."""
        return self._server.promote(self.name, share=share, alias=alias)

    def rollback(self) -> EndpointInfo:
        """As `EndpointServer.rollback`."""
        return self._server.rollback(self.name)

    def extend(self, seconds: float) -> EndpointInfo:
        """Let it live for so many seconds from now."""
        return self._server.extend(self.name, seconds)


def _parts(data: Any) -> list[Any]:
    if not hasattr(data, "shape") or isinstance(data, Mapping) or len(data.shape) == 0 or data.shape[0] <= _ROWS_AT_ONCE:
        return [data]
    rows = data.iloc if hasattr(data, "iloc") else data
    return [rows[at : at + _ROWS_AT_ONCE] for at in range(0, data.shape[0], _ROWS_AT_ONCE)]


def _part(name: str) -> str:
    return quote(name, safe="")
