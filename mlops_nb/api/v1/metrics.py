"""Our operations on the points of metrics and the ledger of cells."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.api.v1.runs import RunId
from mlops_nb.core.wire import CellsAnswer, HistoryAnswer, PageSize, SeriesAnswer, Wire, metric_to_json, series_to_json
from mlops_nb.errors import NotFound

_PATH = "/api/v1/runs/{run_id}"


class SeriesRequest(Wire, kw_only=True):
    run_id: str
    key: list[str] | None = None
    max_points: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = 1000
    start_step: int | None = None
    end_step: int | None = None


class ManySeriesRequest(Wire, kw_only=True):
    run_ids: Annotated[list[str], msgspec.Meta(max_length=100)]
    key: str
    max_points: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 1000
    start_step: int | None = None
    end_step: int | None = None


class RunSeriesJson(Wire, kw_only=True):
    """`points` are [step, timestamp, value]; `total` is how many the whole series has."""

    run_id: str
    total: int
    points: list[tuple[int, int, float | str]]


class ManySeriesAnswer(Wire, kw_only=True):
    series: list[RunSeriesJson]


class HistoryRequest(Wire, kw_only=True):
    run_id: str
    key: str
    max_results: PageSize | None = None
    page_token: str | None = None


@operation("runs.series", "GET", f"{_PATH}/series", permission=Permission.READ, agent=AgentScope.RUN)
def get_series(context: Context, request: SeriesRequest) -> SeriesAnswer:
    """Return the metrics of a run thinned for charts; all of them, or those named."""
    series = context.store.series(
        request.run_id, request.key, max_points=request.max_points, start_step=request.start_step, end_step=request.end_step
    )
    return SeriesAnswer(series=[series_to_json(one) for one in series])


@operation("series.search", "POST", "/api/v1/series/search", permission=Permission.READ)
def get_many_series(context: Context, request: ManySeriesRequest) -> ManySeriesAnswer:
    """Return one metric of up to 100 runs thinned for a chart; runs that are gone or lack it are left out."""
    found = []
    for run_id in dict.fromkeys(request.run_ids):
        try:
            series = context.store.series(
                run_id, [request.key], max_points=request.max_points, start_step=request.start_step, end_step=request.end_step
            )
        except NotFound:  # one deleted run must not empty a chart of many
            continue
        found += [RunSeriesJson(run_id=run_id, total=one.total, points=series_to_json(one).points) for one in series]
    return ManySeriesAnswer(series=found)


@operation("runs.metricHistory", "GET", f"{_PATH}/metrics/history", permission=Permission.READ, agent=AgentScope.RUN)
def get_history(context: Context, request: HistoryRequest) -> HistoryAnswer:
    """Return the points of a metric, all of them unless a page size is given."""
    page = context.store.metric_history(request.run_id, request.key, max_results=request.max_results, page_token=request.page_token)
    return HistoryAnswer(metrics=[metric_to_json(metric) for metric in page.items], next_page_token=page.token)


@operation("runs.cells", "GET", f"{_PATH}/cells", permission=Permission.READ, agent=AgentScope.RUN)
def get_cells(context: Context, request: RunId) -> CellsAnswer:
    """Return the executions of cells while the run was open."""
    return CellsAnswer(cells=context.store.cells(request.run_id))


OPERATIONS = (get_series, get_many_series, get_history, get_cells)
