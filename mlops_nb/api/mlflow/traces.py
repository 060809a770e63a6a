"""MLflow's operations on traces. What is known of a trace is kept in the store, its spans are an artifact of the trace."""

from __future__ import annotations

import contextlib
from typing import Any

from mlops_nb.api.mlflow.wire import Answer, Empty, EnumName, Request, page_size, required, twins
from mlops_nb.api.operation import Context, Nothing, Permission, Stream, operation
from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind, artifact_uri
from mlops_nb.core.traces import (
    SPANS_FILE,
    TAG_ARTIFACT_LOCATION,
    TraceInfo,
    TraceQuery,
    TraceState,
    duration_of_text,
    text_of_duration,
    text_of_time,
    time_of_text,
)
from mlops_nb.core.wire import Int64
from mlops_nb.errors import InvalidInput, NotSupported

_PREFIXES = ("/api/3.0/mlflow", "/ajax-api/3.0/mlflow")
_MOST_LINKED = 100
_EXPERIMENT = "MLFLOW_EXPERIMENT"
_STATES = tuple(TraceState)


def twins_v3(path: str) -> tuple[str, ...]:
    """Return both places of a path of the third version of MLflow's API."""
    return tuple(prefix + path for prefix in _PREFIXES)


class ExperimentLocation(Request, kw_only=True):
    experiment_id: str | None = None


class Location(Request, kw_only=True):
    type: EnumName | None = None
    mlflow_experiment: ExperimentLocation | None = None


class GivenInfo(Request, kw_only=True):
    trace_id: str | None = None
    client_request_id: str | None = None
    trace_location: Location | None = None
    request_time: str | None = None
    execution_duration: str | None = None
    state: EnumName | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    trace_metadata: dict[str, str] | None = None
    tags: dict[str, str] | None = None


class GivenTrace(Request, kw_only=True):
    trace_info: GivenInfo | None = None


class StartTrace(Request, kw_only=True):
    trace: GivenTrace | None = None


class TraceId(Request, kw_only=True):
    trace_id: str | None = None


class BatchGetInfos(Request, kw_only=True):
    trace_ids: list[str] | None = None
    experiment_ids: list[str] | None = None


class SearchTraces(Request, kw_only=True):
    locations: list[Location] | None = None
    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class DeleteTraces(Request, kw_only=True):
    experiment_id: str | None = None
    max_timestamp_millis: Int64 | None = None
    max_traces: int | None = None
    request_ids: list[str] | None = None


class TagRequest(TraceId, kw_only=True):
    key: str | None = None
    value: str | None = None


class LinkToRun(Request, kw_only=True):
    trace_ids: list[str] | None = None
    run_id: str | None = None


class PromptVersion(Request, kw_only=True):
    name: str
    version: str


class LinkPrompts(TraceId, kw_only=True):
    prompt_versions: list[PromptVersion] | None = None


class TraceFile(Request, kw_only=True):
    request_id: str | None = None


class ExperimentPlace(Answer, kw_only=True):
    experiment_id: str


class Place(Answer, kw_only=True, omit_defaults=False):
    mlflow_experiment: ExperimentPlace
    type: str = _EXPERIMENT


class InfoForm(Answer, kw_only=True):
    trace_id: str
    client_request_id: str | None = None
    trace_location: Place
    request_time: str
    execution_duration: str | None = None
    state: str
    request_preview: str | None = None
    response_preview: str | None = None
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[dict[str, Any]] = []


class TraceForm(Answer, kw_only=True):
    trace_info: InfoForm


class TraceAnswer(Answer, kw_only=True):
    trace: TraceForm


class InfosAnswer(Answer, kw_only=True):
    trace_infos: list[InfoForm] = []


class TracesAnswer(Answer, kw_only=True):
    traces: list[InfoForm] = []
    next_page_token: str | None = None


class DeletedAnswer(Answer, kw_only=True, omit_defaults=False):
    traces_deleted: int


@operation("mlflow.traces.exportSpans", "POST", "/v1/traces", permission=Permission.WRITE, upload=True)
def export_spans(context: Context, request: Nothing) -> Empty:
    """Refuse spans that come by themselves, so that clients keep them with their trace.

    MLflow's clients know these words: they stop sending single spans, without a warning, and upload those of a whole
    trace as its artifact.
    """
    raise NotSupported("REST OTLP span logging is not supported by this server.", hint="Send whole traces with MLflow's client.")


@operation("mlflow.traces.start", "POST", twins_v3("/traces"), permission=Permission.WRITE)
def start_trace(context: Context, request: StartTrace) -> TraceAnswer:
    """Write what is known of a trace; of one that is there already it is replaced or added to."""
    info = required(required(request.trace, "trace").trace_info, "trace.trace_info")
    place = required(info.trace_location, "trace.trace_info.trace_location")
    experiment = required(place.mlflow_experiment, "trace.trace_info.trace_location.mlflow_experiment")
    trace = TraceInfo(
        trace_id=required(info.trace_id, "trace.trace_info.trace_id"),
        experiment_id=required(experiment.experiment_id, "trace.trace_info.trace_location.mlflow_experiment.experiment_id"),
        client_request_id=info.client_request_id or None,
        request_time=time_of_text(required(info.request_time, "trace.trace_info.request_time")),
        duration_ms=None if info.execution_duration is None else duration_of_text(info.execution_duration),
        state=_state(info.state),
        request_preview=info.request_preview,
        response_preview=info.response_preview,
        metadata=info.trace_metadata or {},
        tags=info.tags or {},
    )
    return _answer(context.store.traces.put(trace))


def _state(given: EnumName | None) -> TraceState:
    if given is None:
        return TraceState.UNSPECIFIED
    text = str(given)
    if text in _STATES:
        return TraceState(text)
    if text in ("0", "1", "2", "3"):
        return _STATES[int(text)]
    raise InvalidInput(f"Invalid value {given!r} for parameter 'state' supplied: it must be one of {', '.join(_STATES)}.")


@operation("mlflow.traces.search", "POST", twins_v3("/traces/search"), permission=Permission.READ)
def search_traces(context: Context, request: SearchTraces) -> TracesAnswer:
    """Search the traces of experiments."""
    places = [place.mlflow_experiment for place in required(request.locations or None, "locations")]
    query = TraceQuery(
        experiment_ids=[required(place.experiment_id, "locations.mlflow_experiment.experiment_id") for place in places if place],
        filter=request.filter or "",
        order_by=request.order_by or [],
        max_results=page_size(request.max_results, 100),
        page_token=request.page_token or None,
    )
    page = context.store.traces.search(query)
    return TracesAnswer(traces=[_form(trace) for trace in page.items], next_page_token=page.token)


@operation("mlflow.traces.batchGetInfos", "POST", twins_v3("/traces/batchGetInfos"), permission=Permission.READ)
def batch_get_infos(context: Context, request: BatchGetInfos) -> InfosAnswer:
    """Return what is known of the traces that are there."""
    found = context.store.traces.get_many(request.trace_ids or [])
    among = None if request.experiment_ids is None else set(request.experiment_ids)
    return InfosAnswer(trace_infos=[_form(trace) for trace in found if among is None or trace.experiment_id in among])


@operation("mlflow.traces.get", "GET", twins_v3("/traces/{trace_id}"), permission=Permission.READ)
def get_trace(context: Context, request: TraceId) -> TraceAnswer:
    """Return what is known of a trace."""
    return _answer(context.store.traces.get(required(request.trace_id, "trace_id")))


_DELETE = "/traces/delete-traces"


@operation("mlflow.traces.delete", "POST", (*twins(_DELETE), *twins_v3(_DELETE)), permission=Permission.WRITE, files=True)
def delete_traces(context: Context, request: DeleteTraces) -> DeletedAnswer:
    """Delete traces of an experiment with their spans: those named, or the oldest up to a time."""
    experiment_id = required(request.experiment_id, "experiment_id")
    if (request.max_timestamp_millis is None) == (not request.request_ids):
        raise InvalidInput("Either `max_timestamp_millis` or `request_ids` must be specified, but not both.")
    if request.max_traces is not None and request.max_traces < 1:
        raise InvalidInput(f"`max_traces` must be a positive integer, received {request.max_traces}.")
    location = context.store.get_experiment(experiment_id).artifact_location
    deleted = context.store.traces.delete(
        experiment_id, trace_ids=request.request_ids or None, until=request.max_timestamp_millis, max_traces=request.max_traces
    )
    for trace_id in deleted:
        owner = _owner(trace_id, experiment_id, artifact_uri(location, OwnerKind.TRACE, trace_id))
        # Spans that a client keeps at a place of its own are out of our reach.
        with contextlib.suppress(InvalidInput):
            context.store.files.delete(owner)
    return DeletedAnswer(traces_deleted=len(deleted))


_TAGS = (*twins("/traces/{trace_id}/tags"), *twins_v3("/traces/{trace_id}/tags"))


@operation("mlflow.traces.setTag", "PATCH", _TAGS, permission=Permission.WRITE)
def set_tag(context: Context, request: TagRequest) -> Empty:
    """Set a tag of a trace."""
    context.store.traces.set_tag(required(request.trace_id, "trace_id"), required(request.key, "key"), request.value or "")
    return Empty()


@operation("mlflow.traces.deleteTag", "DELETE", _TAGS, permission=Permission.WRITE)
def delete_tag(context: Context, request: TagRequest) -> Empty:
    """Remove a tag of a trace."""
    context.store.traces.set_tag(required(request.trace_id, "trace_id"), required(request.key, "key"), None)
    return Empty()


@operation("mlflow.traces.linkToRun", "POST", twins("/traces/link-to-run"), permission=Permission.WRITE)
def link_to_run(context: Context, request: LinkToRun) -> Empty:
    """Let searches for a run's traces find these."""
    trace_ids = request.trace_ids or []
    if len(trace_ids) > _MOST_LINKED:
        raise InvalidInput(f"Cannot link more than {_MOST_LINKED} traces to a run in a single request. Provided {len(trace_ids)} traces.")
    context.store.traces.link_to_run(required(request.run_id, "run_id"), trace_ids)
    return Empty()


@operation("mlflow.traces.linkPrompts", "POST", twins("/traces/link-prompts"), permission=Permission.WRITE)
def link_prompts(context: Context, request: LinkPrompts) -> Empty:
    """Note the prompts that a traced call used."""
    prompts = [(prompt.name, prompt.version) for prompt in request.prompt_versions or []]
    context.store.traces.link_prompts(required(request.trace_id, "trace_id"), prompts)
    return Empty()


@operation(
    "mlflow.traces.readSpans",
    "GET",
    ("/ajax-api/2.0/mlflow/get-trace-artifact", "/ajax-api/3.0/mlflow/get-trace-artifact"),
    permission=Permission.READ,
)
def read_spans(context: Context, request: TraceFile) -> Stream:
    """Return the spans of a trace as the file that its client uploaded."""
    trace = context.store.traces.get(required(request.request_id, "request_id"))
    owner = _owner(trace.trace_id, trace.experiment_id, trace.tags.get(TAG_ARTIFACT_LOCATION, ""))
    return Stream(file=context.store.files.open(owner, SPANS_FILE), file_name=SPANS_FILE)


def _owner(trace_id: str, experiment_id: str, uri: str) -> ArtifactOwner:
    return ArtifactOwner(kind=OwnerKind.TRACE, experiment_id=experiment_id, owner_id=trace_id, uri=uri)


def _answer(trace: TraceInfo) -> TraceAnswer:
    return TraceAnswer(trace=TraceForm(trace_info=_form(trace)))


def _form(trace: TraceInfo) -> InfoForm:
    return InfoForm(
        trace_id=trace.trace_id,
        client_request_id=trace.client_request_id,
        trace_location=Place(mlflow_experiment=ExperimentPlace(experiment_id=trace.experiment_id)),
        request_time=text_of_time(trace.request_time),
        execution_duration=None if trace.duration_ms is None else text_of_duration(trace.duration_ms),
        state=trace.state.value,
        request_preview=trace.request_preview,
        response_preview=trace.response_preview,
        trace_metadata=trace.metadata,
        tags=trace.tags,
        assessments=[assessment.body for assessment in trace.assessments],
    )


OPERATIONS = (
    export_spans,
    start_trace,
    search_traces,
    batch_get_infos,
    get_trace,
    delete_traces,
    set_tag,
    delete_tag,
    link_to_run,
    link_prompts,
    read_spans,
)
