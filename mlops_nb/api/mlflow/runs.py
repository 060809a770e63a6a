"""MLflow's operations on runs and what is logged to them."""

from __future__ import annotations

from mlops_nb.api.mlflow.run_forms import runs_json
from mlops_nb.api.mlflow.wire import (
    Answer,
    Empty,
    EnumName,
    KeyValue,
    Request,
    RunAnswer,
    RunForm,
    RunId,
    RunInfo,
    experiment_id_of,
    invalid,
    page_size,
    required,
    run_form,
    run_info,
    run_status,
    tag_map,
    twins,
    view_stage,
)
from mlops_nb.api.operation import AgentScope, Context, JsonBytes, Permission, operation
from mlops_nb.core.names import MAX_PARAM_VALUE, MAX_TAG_VALUE
from mlops_nb.core.records import DEFAULT_EXPERIMENT_ID, TAG_RUN_NAME, LifecycleStage, Metric
from mlops_nb.core.wire import Int64
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import RunQuery

_MAX_METRICS = 1000
_MAX_PARAMS = 100
_MAX_TAGS = 100
_MAX_ITEMS = 1000


class CreateRun(Request, kw_only=True):
    experiment_id: str | None = None
    user_id: str | None = None
    run_name: str | None = None
    start_time: Int64 | None = None
    tags: list[KeyValue] | None = None


class UpdateRun(RunId, kw_only=True):
    status: EnumName | None = None
    end_time: Int64 | None = None
    run_name: str | None = None


class SearchRuns(Request, kw_only=True):
    experiment_ids: list[str] | None = None
    filter: str | None = None
    run_view_type: EnumName | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class LogMetric(RunId, kw_only=True):
    key: str
    value: float
    timestamp: Int64
    step: Int64 | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogParameter(RunId, kw_only=True):
    key: str
    value: str | None = None


class SetTag(RunId, kw_only=True):
    key: str
    value: str | None = None


class DeleteTag(RunId, kw_only=True):
    key: str


class BatchMetric(Request, kw_only=True):
    key: str
    value: float
    timestamp: Int64
    step: Int64 | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogBatch(RunId, kw_only=True):
    metrics: list[BatchMetric] | None = None
    params: list[KeyValue] | None = None
    tags: list[KeyValue] | None = None


class RunInfoAnswer(Answer, kw_only=True):
    run_info: RunInfo


class RunsAnswer(Answer, kw_only=True):
    runs: list[RunForm] = []
    next_page_token: str | None = None


@operation("mlflow.runs.create", "POST", twins("/runs/create"), permission=Permission.WRITE, agent=AgentScope.NEW_RUN)
def create_run(context: Context, request: CreateRun) -> RunAnswer:
    """Create a run."""
    tags = tag_map(request.tags)
    named = tags.get(TAG_RUN_NAME)
    if request.run_name and named and request.run_name != named:
        raise InvalidInput(
            f"Both 'run_name' argument and '{TAG_RUN_NAME}' tag are specified, but with different values "
            f"(run_name='{request.run_name}', {TAG_RUN_NAME}='{named}')."
        )
    run = context.store.create_run(
        experiment_id_of(request.experiment_id or DEFAULT_EXPERIMENT_ID),
        name=request.run_name or named or "",
        user=request.user_id or "",
        start_time=request.start_time,
        tags=tags,
    )
    if context.runner is not None:
        context.store.runners.add_run(context.runner.id, run.run_id)
    return RunAnswer(run=run_form(run))


@operation("mlflow.runs.get", "GET", twins("/runs/get"), permission=Permission.READ, agent=AgentScope.RUN)
def get_run(context: Context, request: RunId) -> RunAnswer:
    """Return a run, a deleted one too."""
    return RunAnswer(run=run_form(context.store.get_run(request.id())))


@operation("mlflow.runs.update", "POST", twins("/runs/update"), permission=Permission.WRITE, agent=AgentScope.RUN)
def update_run(context: Context, request: UpdateRun) -> RunInfoAnswer:
    """Change the state, end time or name of a run."""
    run_id = request.id()
    if context.store.get_run(run_id).lifecycle_stage is LifecycleStage.DELETED:
        raise InvalidInput(f"The run {run_id} must be in the 'active' state. Current state is deleted.", hint="Restore it first.")
    run = context.store.update_run(run_id, status=run_status(request.status), end_time=request.end_time, name=request.run_name or None)
    return RunInfoAnswer(run_info=run_info(run))


@operation("mlflow.runs.delete", "POST", twins("/runs/delete"), permission=Permission.WRITE)
def delete_run(context: Context, request: RunId) -> Empty:
    """Delete a run; it can be restored."""
    context.store.update_run(request.id(), lifecycle_stage=LifecycleStage.DELETED)
    return Empty()


@operation("mlflow.runs.restore", "POST", twins("/runs/restore"), permission=Permission.WRITE)
def restore_run(context: Context, request: RunId) -> Empty:
    """Restore a deleted run."""
    context.store.update_run(request.id(), lifecycle_stage=LifecycleStage.ACTIVE)
    return Empty()


@operation("mlflow.runs.search", "POST", twins("/runs/search"), permission=Permission.READ)
def search_runs(context: Context, request: SearchRuns) -> JsonBytes[RunsAnswer]:
    """Search the runs of the given experiments."""
    query = RunQuery(
        experiment_ids=[experiment_id_of(each) for each in request.experiment_ids or []],
        filter=request.filter or "",
        order_by=request.order_by or [],
        lifecycle_stage=view_stage(request.run_view_type, "run_view_type"),
        max_results=page_size(request.max_results, 1000),
        page_token=request.page_token or None,
    )
    page = context.store.search_runs(query)
    return JsonBytes(body=runs_json(page.items, page.token))


@operation("mlflow.runs.logMetric", "POST", twins("/runs/log-metric"), permission=Permission.WRITE, agent=AgentScope.RUN)
def log_metric(context: Context, request: LogMetric) -> Empty:
    """Log one point of a metric."""
    required(request.key, "key")
    context.store.log_batch(request.id(), metrics=[_metric(request)])
    return Empty()


@operation("mlflow.runs.logParameter", "POST", twins("/runs/log-parameter"), permission=Permission.WRITE, agent=AgentScope.RUN)
def log_parameter(context: Context, request: LogParameter) -> Empty:
    """Log a param; it can be logged again with the same value only. A longer value is cut, as MLflow cuts it."""
    context.store.log_batch(request.id(), params={required(request.key, "key"): (request.value or "")[:MAX_PARAM_VALUE]})
    return Empty()


@operation("mlflow.runs.setTag", "POST", twins("/runs/set-tag"), permission=Permission.WRITE, agent=AgentScope.RUN)
def set_tag(context: Context, request: SetTag) -> Empty:
    """Set a tag of a run."""
    context.store.log_batch(request.id(), tags={required(request.key, "key"): (request.value or "")[:MAX_TAG_VALUE]})
    return Empty()


@operation("mlflow.runs.deleteTag", "POST", twins("/runs/delete-tag"), permission=Permission.WRITE)
def delete_tag(context: Context, request: DeleteTag) -> Empty:
    """Remove a tag of a run."""
    run_id, key = request.id(), required(request.key, "key")
    if key not in context.store.get_run(run_id).tags:
        raise NotFound(f"No tag with name: {key} in run with id {run_id}")
    context.store.log_batch(run_id, tags={key: None})
    return Empty()


@operation("mlflow.runs.logBatch", "POST", twins("/runs/log-batch"), permission=Permission.WRITE, agent=AgentScope.RUN)
def log_batch(context: Context, request: LogBatch) -> Empty:
    """Log many metrics, params and tags, all or nothing."""
    metrics, params, tags = request.metrics or [], request.params or [], request.tags or []
    _check_limits(len(metrics), len(params), len(tags))
    context.store.log_batch(
        request.id(),
        metrics=[_metric(metric) for metric in metrics],
        params=_param_map(params),
        tags={key: value[:MAX_TAG_VALUE] for key, value in tag_map(tags).items()},
    )
    return Empty()


def _metric(point: LogMetric | BatchMetric) -> Metric:
    if point.timestamp < 0:
        raise invalid(point.timestamp, "timestamp", f"metric '{point.key}' needs a time that is not negative.")
    if not point.model_id:
        return Metric(key=point.key, value=point.value, timestamp=point.timestamp, step=point.step or 0)
    return Metric(
        key=point.key,
        value=point.value,
        timestamp=point.timestamp,
        step=point.step or 0,
        model_id=point.model_id,
        dataset_name=point.dataset_name or None,
        dataset_digest=point.dataset_digest or None,
    )


def _check_limits(metrics: int, params: int, tags: int) -> None:
    for count, limit, what in ((metrics, _MAX_METRICS, "metrics"), (params, _MAX_PARAMS, "params"), (tags, _MAX_TAGS, "tags")):
        if count > limit:
            raise InvalidInput(f"A batch logging request can contain at most {limit} {what}. Got {count} {what}.", hint="Split it.")
    if metrics + params + tags > _MAX_ITEMS:
        raise InvalidInput(
            f"A batch logging request can contain at most {_MAX_ITEMS} items. Got {metrics + params + tags}.", hint="Split it."
        )


def _param_map(pairs: list[KeyValue]) -> dict[str, str]:
    params: dict[str, str] = {}
    for pair in pairs:
        value = pair.value[:MAX_PARAM_VALUE]
        if params.setdefault(pair.key, value) != value:
            raise InvalidInput(f"Duplicate parameter keys have been submitted: '{pair.key}' with different values.")
    return params


OPERATIONS = (
    create_run,
    get_run,
    update_run,
    delete_run,
    restore_run,
    search_runs,
    log_metric,
    log_parameter,
    set_tag,
    delete_tag,
    log_batch,
)
