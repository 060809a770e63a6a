"""Traces as clients of MLflow 2 write and read them: in two steps, and the server chooses the id.

Tags and deletion are those of `traces`.
"""

from __future__ import annotations

import uuid

from mlops_nb.api.mlflow.wire import Answer, EnumName, KeyValue, Request, invalid, page_size, required, tag_map, twins
from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.traces import TraceInfo, TraceQuery, TraceState
from mlops_nb.core.wire import Int64

_UNSPECIFIED = "TRACE_STATUS_UNSPECIFIED"
_STATUSES = (_UNSPECIFIED, "OK", "ERROR", "IN_PROGRESS")
_STATES = dict(zip(_STATUSES, TraceState, strict=True))

# Where these clients put what later ones call the previews.
_META_INPUTS = "mlflow.traceInputs"
_META_OUTPUTS = "mlflow.traceOutputs"


class StartTraceV2(Request, kw_only=True):
    experiment_id: str | None = None
    timestamp_ms: Int64 | None = None
    request_metadata: list[KeyValue] | None = None
    tags: list[KeyValue] | None = None


class TraceIdV2(Request, kw_only=True):
    request_id: str | None = None


class EndTraceV2(TraceIdV2, kw_only=True):
    timestamp_ms: Int64 | None = None
    status: EnumName | None = None
    request_metadata: list[KeyValue] | None = None
    tags: list[KeyValue] | None = None


class SearchTracesV2(Request, kw_only=True):
    experiment_ids: list[str] | None = None
    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class InfoFormV2(Answer, kw_only=True):
    request_id: str
    experiment_id: str
    timestamp_ms: int
    execution_time_ms: int | None = None
    status: str
    request_metadata: list[KeyValue] = []
    tags: list[KeyValue] = []


class InfoAnswerV2(Answer, kw_only=True):
    trace_info: InfoFormV2


class InfosAnswerV2(Answer, kw_only=True):
    traces: list[InfoFormV2] = []
    next_page_token: str | None = None


@operation("mlflow.tracesV2.start", "POST", twins("/traces"), permission=Permission.WRITE)
def start_trace(context: Context, request: StartTraceV2) -> InfoAnswerV2:
    """Begin a trace and return it with its id."""
    metadata = tag_map(request.request_metadata)
    trace = TraceInfo(
        trace_id=f"tr-{uuid.uuid4().hex}",
        experiment_id=required(request.experiment_id, "experiment_id"),
        request_time=required(request.timestamp_ms, "timestamp_ms"),
        state=TraceState.IN_PROGRESS,
        request_preview=metadata.get(_META_INPUTS),
        metadata=metadata,
        tags=tag_map(request.tags),
    )
    return InfoAnswerV2(trace_info=_form(context.store.traces.put(trace)))


@operation("mlflow.tracesV2.end", "PATCH", twins("/traces/{request_id}"), permission=Permission.WRITE)
def end_trace(context: Context, request: EndTraceV2) -> InfoAnswerV2:
    """Say how a trace ended; metadata and tags are added to those it has."""
    begun = context.store.traces.get(required(request.request_id, "request_id"))
    metadata = tag_map(request.request_metadata)
    ended = TraceInfo(
        trace_id=begun.trace_id,
        experiment_id=begun.experiment_id,
        client_request_id=begun.client_request_id,
        request_time=begun.request_time,
        duration_ms=max(0, required(request.timestamp_ms, "timestamp_ms") - begun.request_time),
        state=_state(request.status),
        request_preview=metadata.get(_META_INPUTS, begun.request_preview),
        response_preview=metadata.get(_META_OUTPUTS, begun.response_preview),
        metadata=metadata,
        tags=tag_map(request.tags),
    )
    return InfoAnswerV2(trace_info=_form(context.store.traces.put(ended)))


@operation("mlflow.tracesV2.get", "GET", twins("/traces/{request_id}/info"), permission=Permission.READ)
def get_trace(context: Context, request: TraceIdV2) -> InfoAnswerV2:
    """Return what is known of a trace."""
    return InfoAnswerV2(trace_info=_form(context.store.traces.get(required(request.request_id, "request_id"))))


@operation("mlflow.tracesV2.search", "GET", twins("/traces"), permission=Permission.READ)
def search_traces(context: Context, request: SearchTracesV2) -> InfosAnswerV2:
    """Search the traces of experiments."""
    query = TraceQuery(
        experiment_ids=required(request.experiment_ids or None, "experiment_ids"),
        filter=request.filter or "",
        order_by=request.order_by or [],
        max_results=page_size(request.max_results, 100),
        page_token=request.page_token or None,
    )
    page = context.store.traces.search(query)
    return InfosAnswerV2(traces=[_form(trace) for trace in page.items], next_page_token=page.token)


def _state(given: EnumName | None) -> TraceState:
    if given is None:
        return TraceState.UNSPECIFIED
    text = str(given)
    name = _STATUSES[int(text)] if text in ("0", "1", "2", "3") else text
    if name not in _STATES:
        raise invalid(given, "status", f"it must be one of {', '.join(_STATUSES)}.")
    return _STATES[name]


def _form(trace: TraceInfo) -> InfoFormV2:
    return InfoFormV2(
        request_id=trace.trace_id,
        experiment_id=trace.experiment_id,
        timestamp_ms=trace.request_time,
        execution_time_ms=trace.duration_ms,
        status=_UNSPECIFIED if trace.state is TraceState.UNSPECIFIED else trace.state.value,
        request_metadata=[KeyValue(key=key, value=value) for key, value in trace.metadata.items()],
        tags=[KeyValue(key=key, value=value) for key, value in trace.tags.items()],
    )


OPERATIONS = (start_trace, end_trace, get_trace, search_traces)
