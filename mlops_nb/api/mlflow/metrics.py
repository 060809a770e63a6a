"""MLflow's operation on the points of a metric."""

from __future__ import annotations

from mlops_nb.api.mlflow.wire import Answer, MetricInfo, RunId, metric_info, page_size, required, twins
from mlops_nb.api.operation import Context, Permission, operation


class GetHistory(RunId, kw_only=True):
    metric_key: str | None = None
    page_token: str | None = None
    max_results: int | None = None


class HistoryAnswer(Answer, kw_only=True):
    metrics: list[MetricInfo] = []
    next_page_token: str | None = None


@operation("mlflow.metrics.getHistory", "GET", twins("/metrics/get-history"), permission=Permission.READ)
def get_history(context: Context, request: GetHistory) -> HistoryAnswer:
    """Return the points of a metric, all of them unless a page size is given."""
    limit = None if request.max_results is None else page_size(request.max_results, 1)
    page = context.store.metric_history(
        request.id(), required(request.metric_key, "metric_key"), max_results=limit, page_token=request.page_token or None
    )
    return HistoryAnswer(metrics=[metric_info(metric) for metric in page.items], next_page_token=page.token)


OPERATIONS = (get_history,)
