"""The store contract over HTTP: a client of `/api/v1` of our server, wherever it runs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from mlops_nb.core import wire
from mlops_nb.core.datasets import DatasetInput, ModelOutput
from mlops_nb.core.events import AnyEvent
from mlops_nb.core.records import Artifact, CellExecution, Experiment, LifecycleStage, Metric, Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import NotFound, StoreUnreachable
from mlops_nb.store.artifacts import check_artifact_path
from mlops_nb.store.base import LEASE_SECONDS, Page, RunQuery, StoreStatus, TrackingStore
from mlops_nb.store.rest_errors import error_of
from mlops_nb.store.rest_runners import Ask, RestRunners

if TYPE_CHECKING:
    import requests

A = TypeVar("A")

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_MLFLOWS_API = "/api/2.0/mlflow"
_CHUNK = 1 << 20
_PIECE = 1 << 16  # what a broken connection loses at most
_RESUMED = 3
_AS_IT_IS = {"Accept-Encoding": "identity"}  # offsets count the bytes of the file, not of a compressed one
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_encoder = msgspec.json.Encoder()


class RestStore(TrackingStore):
    """A tracking store behind a server, `base_url` being where `/api/v1` begins, such as `http://host:8888/mlops`.

    Threads: each has its own connection. Nothing is sent twice unless that is harmless.

    Args:
        base_url: With or without a slash at its end.
        token: Sent as bearer token.
    """

    is_remote = True

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._local = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._runners = RestRunners(self._call, self._call_as)

    @property
    def token(self) -> str:
        """What it authorizes itself with; "": nothing."""
        return self._token or ""

    # -- experiments

    def create_experiment(self, name: str, *, artifact_location: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        body = wire.ExperimentCreate(name=name, artifact_location=artifact_location, tags=dict(tags or {}))
        return self._call(wire.ExperimentCreated, "POST", "/experiments", body=body).experiment_id

    def get_experiment(self, experiment_id: str) -> Experiment:
        found = self._call(wire.ExperimentAnswer, "GET", f"/experiments/{_part(experiment_id)}").experiment
        assert found is not None
        return found

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        return self._call(wire.ExperimentAnswer, "GET", "/experiments/by-name", query={"name": name}).experiment

    def list_experiments(
        self, *, lifecycle_stage: LifecycleStage | None = LifecycleStage.ACTIVE, max_results: int = 1000, page_token: str | None = None
    ) -> Page[Experiment]:
        query = {"lifecycle_stage": wire.Lifecycle.of(lifecycle_stage).value, "max_results": max_results, "page_token": page_token}
        answer = self._call(wire.ExperimentsAnswer, "GET", "/experiments", query=query)
        return Page(items=answer.experiments, token=answer.next_page_token)

    def update_experiment(self, experiment_id: str, *, name: str | None = None, lifecycle_stage: LifecycleStage | None = None) -> None:
        body = wire.ExperimentPatch(name=name, lifecycle_stage=lifecycle_stage)
        self._call(wire.ExperimentAnswer, "PATCH", f"/experiments/{_part(experiment_id)}", body=body)

    def set_experiment_tag(self, experiment_id: str, key: str, value: str | None) -> None:
        body = wire.ExperimentPatch(tags={key: value})
        self._call(wire.ExperimentAnswer, "PATCH", f"/experiments/{_part(experiment_id)}", body=body)

    # -- runs

    def create_run(
        self, experiment_id: str, *, name: str = "", user: str = "", start_time: int | None = None, tags: Mapping[str, str] | None = None
    ) -> Run:
        body = wire.RunCreate(experiment_id=experiment_id, name=name, user=user, start_time=start_time, tags=dict(tags or {}))
        return wire.run_from_json(self._call(wire.RunAnswer, "POST", "/runs", body=body).run)

    def get_run(self, run_id: str) -> Run:
        return wire.run_from_json(self._call(wire.RunAnswer, "GET", _run(run_id)).run)

    def update_run(
        self,
        run_id: str,
        *,
        name: str | None = None,
        status: RunStatus | None = None,
        end_time: int | None = None,
        reason: str | None = None,
        lifecycle_stage: LifecycleStage | None = None,
    ) -> Run:
        body = wire.RunPatch(name=name, status=status, end_time=end_time, reason=reason, lifecycle_stage=lifecycle_stage)
        return wire.run_from_json(self._call(wire.RunAnswer, "PATCH", _run(run_id), body=body).run)

    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        body = wire.BatchRequest(
            metrics=[wire.metric_to_json(metric) for metric in metrics], params=dict(params or {}), tags=dict(tags or {})
        )
        self._call(wire.Done, "POST", _run(run_id, "/batch"), body=body)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[str] = ()) -> None:
        self._call(wire.Done, "POST", _run(run_id, "/inputs"), body=wire.InputsRequest(datasets=list(datasets), models=list(models)))

    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        self._call(wire.Done, "POST", _run(run_id, "/outputs"), body=wire.OutputsRequest(models=list(models)))

    def search_runs(self, query: RunQuery) -> Page[Run]:
        body = wire.RunSearch(
            experiment_ids=query.experiment_ids,
            filter=query.filter,
            text=query.text,
            order_by=query.order_by,
            max_results=query.max_results,
            page_token=query.page_token,
            lifecycle_stage=wire.Lifecycle.of(query.lifecycle_stage),
        )
        answer = self._call(wire.RunsAnswer, "POST", "/runs/search", body=body)
        return Page(items=[wire.run_from_json(run) for run in answer.runs], token=answer.next_page_token)

    def changed_runs(self, since: int, *, max_results: int = 200) -> list[Run]:
        answer = self._call(wire.ChangesAnswer, "GET", "/changes", query={"since": since, "max_results": max_results})
        return [wire.run_from_json(run) for run in answer.runs]

    # -- metrics and the ledger

    def metric_history(self, run_id: str, key: str, *, max_results: int | None = None, page_token: str | None = None) -> Page[Metric]:
        query = {"key": key, "max_results": max_results, "page_token": page_token}
        answer = self._call(wire.HistoryAnswer, "GET", _run(run_id, "/metrics/history"), query=query)
        return Page(items=[wire.metric_from_json(metric) for metric in answer.metrics], token=answer.next_page_token)

    def series(
        self,
        run_id: str,
        keys: Sequence[str] | None = None,
        *,
        max_points: int = 1000,
        start_step: int | None = None,
        end_step: int | None = None,
    ) -> list[Series]:
        if keys is not None and not keys:
            return []
        query = {"key": keys and list(keys), "max_points": max_points, "start_step": start_step, "end_step": end_step}
        answer = self._call(wire.SeriesAnswer, "GET", _run(run_id, "/series"), query=query)
        return [wire.series_from_json(one) for one in answer.series]

    def cells(self, run_id: str) -> list[CellExecution]:
        return self._call(wire.CellsAnswer, "GET", _run(run_id, "/cells")).cells

    # -- the write path of our own clients

    def ingest(self, run_id: str, source: str, events: Sequence[AnyEvent]) -> int:
        body = wire.EventsRequest(source=source, events=[wire.event_to_json(event) for event in events])
        return self._call(wire.EventsAnswer, "POST", _run(run_id, "/events"), body=body).applied

    def heartbeat(self, run_ids: Iterable[str]) -> None:
        self._call(wire.Done, "POST", "/heartbeats", body=wire.RunIds(run_ids=list(run_ids)))

    def expire_leases(self, *, older_than_seconds: float = LEASE_SECONDS) -> list[str]:
        return self._call(wire.RunIds, "POST", "/leases/expire", body=wire.LeasesRequest(older_than_seconds=older_than_seconds)).run_ids

    # -- artifacts

    def list_artifacts(self, run_id: str, path: str = "", *, recursive: bool = False) -> list[Artifact]:
        query = {"path": path, "recursive": "true" if recursive else "false"}
        return self._call(wire.ArtifactsAnswer, "GET", _run(run_id, "/artifacts"), query=query).artifacts

    def read_artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        place = _file(run_id, path)
        return self._pieces(place, self._send("GET", place, stream=True, headers=_AS_IT_IS))

    def _pieces(self, place: str, response: requests.Response) -> Iterator[bytes]:
        """Return the body of an answer. Where the connection breaks, the rest of the same file is asked for."""
        import requests

        tag = response.headers.get("ETag", "")
        at, failures = 0, 0
        while True:
            try:
                with response:
                    for piece in response.iter_content(_PIECE):
                        at, failures = at + len(piece), 0
                        yield piece
                return
            except requests.RequestException as error:
                failures += 1
                if not tag or failures > _RESUMED:
                    raise self._unreachable(error) from error
            response = self._send("GET", place, stream=True, headers={**_AS_IT_IS, "Range": f"bytes={at}-", "If-Range": tag})
            if at and response.status_code != 206:
                response.close()
                raise StoreUnreachable("The artifact was replaced while it was read.", hint="Read it again.")

    def write_artifact(self, run_id: str, path: str, content: BinaryIO) -> Artifact:
        return self._put_file(_file(run_id, path), path, content)

    def write_model_file(self, model_id: str, path: str, content: BinaryIO) -> Artifact:
        return self._put_file(f"/models/{_part(model_id)}/artifacts/files/{_path(path)}", path, content)

    def _put_file(self, place: str, path: str, content: BinaryIO) -> Artifact:
        sent = hashlib.sha256()
        response = self._send("PUT", place, data=_chunks(content, sent))
        answer = self._decoded(wire.ArtifactAnswer, response)
        if answer.sha256 not in (None, sent.hexdigest()):
            raise StoreUnreachable(f"The artifact '{path}' was damaged on its way to {self.base_url}.", hint="Send it again.")
        return answer.artifact

    def delete_artifact(self, run_id: str, path: str) -> None:
        self._call(wire.Done, "DELETE", _file(run_id, path))

    # -- runners

    @property
    def runners(self) -> RestRunners:
        return self._runners

    # -- itself

    def revision(self) -> int:
        return self.status().revision

    def status(self) -> StoreStatus:
        answer = self._call(wire.StatusAnswer, "GET", "/status")
        if answer.problem:
            raise StoreUnreachable(answer.problem)
        return StoreStatus(revision=answer.revision, experiment_count=answer.experiment_count, run_count=answer.run_count)

    def close(self) -> None:
        with self._lock:
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            session.close()

    # -- what the server has in MLflow's API only

    def ask_mlflow(self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> dict[str, Any]:
        """Return what MLflow's API of the same server answers; `path` begins after `/api/2.0/mlflow`."""
        data = None if body is None else _encoder.encode(body)
        response = self._send(method, path, query=query, data=data, is_json=body is not None, api=_MLFLOWS_API)
        return self._decoded(dict[str, Any], response)

    def ask(self, method: str, path: str, *, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what our own API answers; `path` begins after `/api/v1`."""
        return self._call(dict[str, Any], method, path, query=query)

    def read_model_file(self, model_id: str, path: str) -> Iterator[bytes]:
        """Return the content of a file of a logged model in pieces.

        Raises:
            NotFound: If there is no such file.
        """
        place = f"/logged-models/{_part(model_id)}/artifacts/files"
        query = {"artifact_file_path": "/".join(check_artifact_path(path))}
        response = self._send("GET", place, query=query, stream=True, headers=_AS_IT_IS, api="/ajax-api/2.0/mlflow")
        with response:
            yield from response.iter_content(_PIECE)

    # -- the way there

    def _call(self, answer: type[A], method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> A:
        data = None if body is None else _encoder.encode(body)
        response = self._send(method, path, query=query, data=data, is_json=body is not None)
        return self._decoded(answer, response)

    def _call_as(self, token: str) -> Ask:
        """Return what sends as `_call` does, over connections of its own, with another token; "" is none."""

        def ask(answer: type[A], method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> A:
            other = RestStore(self.base_url, token or None)
            try:
                return other._call(answer, method, path, query=query, body=body)
            finally:
                other.close()

        return ask

    def _decoded(self, answer: type[A], response: requests.Response) -> A:
        try:
            return msgspec.json.decode(response.content, type=answer, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreUnreachable(
                f"{self.base_url} answered something that is not of mlops_nb: {error}.",
                hint="Is the address right, and are client and server of one version?",
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        is_json: bool = False,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        api: str = "/api/v1",
    ) -> requests.Response:
        import requests

        headers = {**(headers or {}), **({"Content-Type": "application/json"} if is_json else {})}
        try:
            response = self._session().request(
                method,
                f"{self.base_url}{api}{path}",
                params=query,
                data=data,
                headers=headers,
                stream=stream,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        if response.status_code not in (200, 206):
            raise error_of(self.base_url, response.status_code, response.content, response.headers.get("Retry-After"))
        return response

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        return StoreUnreachable(
            f"The tracking server {self.base_url} does not answer ({type(error).__name__}).",
            hint="Is it running, and is the address right?",
        )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._new_session()
            with self._lock:
                self._sessions.append(session)
        return session

    def _new_session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        session = requests.Session()
        # A kept connection that the server has closed meanwhile shows only when it is used: reading may try once more.
        adapter = HTTPAdapter(max_retries=Retry(total=1, connect=0, read=1, status=0, allowed_methods=["GET"], raise_on_status=False))
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        session.trust_env = urlsplit(self.base_url).hostname not in _LOOPBACK
        session.auth = self._authorize  # as a function, so that a .netrc cannot put another one in its place
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _part(text: str) -> str:
    """Return one segment of a path. What the way to the server would resolve, or drop, names nothing.

    Raises:
        NotFound: If it is empty or of dots only.
    """
    if text in ("", ".", ".."):
        raise NotFound(f"There is nothing of the id {text!r}.")
    return quote(text, safe="")


def _run(run_id: str, rest: str = "") -> str:
    return f"/runs/{_part(run_id)}{rest}"


def _file(run_id: str, path: str) -> str:
    return _run(run_id, f"/artifacts/files/{_path(path)}")


def _path(path: str) -> str:
    return "/".join(_part(part) for part in check_artifact_path(path))


def _chunks(content: BinaryIO, sent: hashlib._Hash) -> Iterator[bytes]:
    while piece := content.read(_CHUNK):
        sent.update(piece)
        yield piece
