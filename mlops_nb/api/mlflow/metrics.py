"""MLflow's operations on the points of metrics: of one run in full, of many runs for charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from math import isfinite

import msgspec

from mlops_nb.api.mlflow.wire import Answer, MetricInfo, Request, RunId, page_size, required, twins
from mlops_nb.api.operation import AgentScope, Context, JsonStream, Permission, operation
from mlops_nb.core.records import float_to_json
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import MAX_PAGE, MetricColumns

_MOST_RUNS = 100
_MOST_POINTS = 2500
_MOST_BULK = 25_000
_encoder = msgspec.json.Encoder()


class GetHistory(RunId, kw_only=True):
    metric_key: str | None = None
    page_token: str | None = None
    max_results: int | None = None


class GetBulkInterval(Request, kw_only=True):
    run_ids: list[str] | None = None
    metric_key: str | None = None
    start_step: int | None = None
    end_step: int | None = None
    max_results: int | None = None


class GetBulk(Request, kw_only=True):
    run_id: list[str] | None = None
    metric_key: str | None = None
    max_results: int | None = None


class HistoryAnswer(Answer, kw_only=True):
    metrics: list[MetricInfo] = []
    next_page_token: str | None = None


class RunPoint(msgspec.Struct, gc=False):
    """A point that says of which run it is. Answers hold many thousands of them."""

    key: str
    value: float | str
    timestamp: int
    step: int
    run_id: str


class _Point(msgspec.Struct, gc=False):
    key: str
    value: float | str
    timestamp: int
    step: int


class BulkIntervalAnswer(Answer, kw_only=True):
    metrics: list[RunPoint] = []


class BulkAnswer(Answer, kw_only=True, omit_defaults=False):
    metrics: list[RunPoint]


@operation("mlflow.metrics.getHistory", "GET", twins("/metrics/get-history"), permission=Permission.READ, agent=AgentScope.RUN)
def get_history(context: Context, request: GetHistory) -> JsonStream[HistoryAnswer]:
    """Return the points of a metric, all of them unless a page size is given."""
    key = required(request.metric_key, "metric_key")
    if request.max_results is None and not request.page_token:
        return JsonStream(chunks=_history(key, context.store.metric_points(request.id(), key)))
    limit = page_size(request.max_results, MAX_PAGE)
    points, token = context.store.metric_page(request.id(), key, max_results=limit, page_token=request.page_token or None)
    body = b"".join(_history(key, [points] if points.steps else []))
    if token is not None:
        body = body[:-1] + b',"next_page_token":' + _encoder.encode(token) + b"}"
    return JsonStream(chunks=iter((body,)))


def _history(key: str, pieces: Iterable[MetricColumns]) -> Iterator[bytes]:
    before = b'{"metrics":['
    for steps, timestamps, values in pieces:
        points = list(map(_Point, repeat(key), _in_json(values), timestamps, steps))
        yield before + _encoder.encode(points)[1:-1]
        before = b","
    yield b"{}" if before != b"," else b"]}"


@operation("mlflow.metrics.getHistoryBulkInterval", "GET", twins("/metrics/get-history-bulk-interval"), permission=Permission.READ)
def get_bulk_interval(context: Context, request: GetBulkInterval) -> BulkIntervalAnswer:
    """Return a metric of many runs thinned for charts: of each the ends and the extremes are always there."""
    run_ids = required(request.run_ids or None, "run_ids")
    key = required(request.metric_key, "metric_key")
    limit = _MOST_POINTS if request.max_results is None else request.max_results
    if not 1 <= limit <= _MOST_POINTS:
        raise InvalidInput(
            f"max_results must be between 1 and {_MOST_POINTS}. See the API docs for more information about request parameters."
        )
    if len(run_ids) > _MOST_RUNS:
        raise InvalidInput(
            f"GetMetricHistoryBulkInterval request must specify at most {_MOST_RUNS} run_ids. Received {len(run_ids)} run_ids. "
            "See the API docs for more information about request parameters."
        )
    start, end = request.start_step, request.end_step
    if (start is None) != (end is None):
        raise InvalidInput("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise InvalidInput(f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.")
    found: list[RunPoint] = []
    sampled = context.store.sampled_metric(run_ids, key, max_points=limit, start_step=start, end_step=end)
    for run_id in dict.fromkeys(run_ids):
        for step, timestamp, value in sampled.get(run_id, ()):
            found.append(RunPoint(key, value if isfinite(value) else float_to_json(value), timestamp, step, run_id))
    return BulkIntervalAnswer(metrics=found)


@operation("mlflow.metrics.getHistoryBulk", "GET", twins("/metrics/get-history-bulk"), permission=Permission.READ)
def get_bulk(context: Context, request: GetBulk) -> BulkAnswer:
    """Return the first points of a metric of many runs."""
    run_ids = request.run_id or []
    if not run_ids:
        raise InvalidInput("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_ids) > _MOST_RUNS:
        raise InvalidInput(f"GetMetricHistoryBulk request cannot specify more than {_MOST_RUNS} run_ids. Received {len(run_ids)} run_ids.")
    if not request.metric_key:
        raise InvalidInput("GetMetricHistoryBulk request must specify a metric_key.")
    limit = _MOST_BULK if request.max_results is None else max(0, min(request.max_results, _MOST_BULK))
    found: list[RunPoint] = []
    for run_id in sorted(set(run_ids)):
        for steps, timestamps, values in _pieces(context, run_id, request.metric_key):
            found += map(RunPoint, repeat(request.metric_key), _in_json(values), timestamps, steps, repeat(run_id))
            if len(found) >= limit:
                return BulkAnswer(metrics=found[:limit])
    return BulkAnswer(metrics=found)


def _pieces(context: Context, run_id: str, key: str) -> Iterator[MetricColumns]:
    """Yield the points of a run; none where the run is gone, so that one deleted run does not empty a chart of many."""
    try:
        yield from context.store.metric_points(run_id, key)
    except NotFound:
        return


def _in_json(values: Sequence[float]) -> Sequence[float | str]:
    return values if all(map(isfinite, values)) else [float_to_json(value) for value in values]


OPERATIONS = (get_history, get_bulk_interval, get_bulk)
