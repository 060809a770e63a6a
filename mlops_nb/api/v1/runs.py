"""Our operations on runs."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.core.filters import looks_like_filter
from mlops_nb.core.wire import (
    BatchRequest,
    ChangesAnswer,
    Done,
    InputsRequest,
    Lifecycle,
    OutputsRequest,
    RunAnswer,
    RunCreate,
    RunPatch,
    RunsAnswer,
    RunSearch,
    Wire,
    metric_from_json,
    run_to_json,
)
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import RunQuery

_PATH = "/api/v1/runs"


class RunId(Wire, kw_only=True):
    run_id: str


class Changes(Wire, kw_only=True):
    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_results: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200


@operation("runs.search", "POST", f"{_PATH}/search", permission=Permission.READ, agent=AgentScope.EXECUTION)
def search_runs(context: Context, request: RunSearch) -> RunsAnswer:
    """Search runs by filter or free text, in any order."""
    store = context.store
    # Read before the page: a change in between is then shown twice, never missed.
    revision = store.revision()
    page = store.search_runs(_query(request))
    return RunsAnswer(runs=[run_to_json(run) for run in page.items], next_page_token=page.token, revision=revision)


def _query(request: RunSearch) -> RunQuery:
    typed = (request.query or "").strip()
    filter_text, text = request.filter or "", request.text or ""
    if typed and looks_like_filter(typed):
        if filter_text:
            raise InvalidInput("The search has two filters: 'filter', and 'query', which reads as one.", hint="Give one of them.")
        filter_text = typed
    elif typed:
        if text:
            raise InvalidInput("The search has two texts: 'text', and 'query', which reads as one.", hint="Give one of them.")
        text = typed
    return RunQuery(
        experiment_ids=request.experiment_ids,
        filter=filter_text,
        text=text,
        order_by=request.order_by or [],
        lifecycle_stage=(request.lifecycle_stage or Lifecycle.ACTIVE).stage,
        max_results=request.max_results or 1000,
        page_token=request.page_token,
    )


@operation("runs.create", "POST", _PATH, permission=Permission.WRITE)
def create_run(context: Context, request: RunCreate) -> RunAnswer:
    """Create a run."""
    run = context.store.create_run(
        request.experiment_id,
        name=request.name or "",
        user=request.user or "",
        start_time=request.start_time,
        tags=request.tags,
    )
    return RunAnswer(run=run_to_json(run))


@operation("runs.get", "GET", f"{_PATH}/{{run_id}}", permission=Permission.READ, agent=AgentScope.RUN)
def get_run(context: Context, request: RunId) -> RunAnswer:
    """Return a run, a deleted one too."""
    return RunAnswer(run=run_to_json(context.store.get_run(request.run_id)))


@operation("runs.update", "PATCH", f"{_PATH}/{{run_id}}", permission=Permission.WRITE, agent=AgentScope.RUN)
def update_run(context: Context, request: RunPatch) -> RunAnswer:
    """Change the name, tags, state or stage of a run; a tag that is null goes."""
    store = context.store
    # The tags of a deleted run cannot change, so it is restored before and deleted after them.
    restores = request.lifecycle_stage is not None and Lifecycle.of(request.lifecycle_stage) is Lifecycle.ACTIVE
    if request.tags and not restores:
        store.log_batch(request.run_id, tags=request.tags)
    run = store.update_run(
        request.run_id,
        name=request.name,
        status=request.status,
        end_time=request.end_time,
        reason=request.reason,
        lifecycle_stage=request.lifecycle_stage,
    )
    if request.tags:
        if restores:
            store.log_batch(request.run_id, tags=request.tags)
        run = store.get_run(request.run_id)
    return RunAnswer(run=run_to_json(run))


@operation("runs.logBatch", "POST", f"{_PATH}/{{run_id}}/batch", permission=Permission.WRITE, agent=AgentScope.RUN)
def log_batch(context: Context, request: BatchRequest) -> Done:
    """Log metrics, params and tags, all or nothing; a tag that is null goes."""
    context.store.log_batch(
        request.run_id,
        metrics=[metric_from_json(metric) for metric in request.metrics or []],
        params=request.params,
        tags=request.tags,
    )
    return Done()


@operation("runs.logInputs", "POST", f"{_PATH}/{{run_id}}/inputs", permission=Permission.WRITE, agent=AgentScope.RUN)
def log_inputs(context: Context, request: InputsRequest) -> Done:
    """Note the data sets and logged models that a run read; what is noted already stays as it is."""
    context.store.log_inputs(request.run_id, request.datasets or [], request.models or [])
    return Done()


@operation("runs.logOutputs", "POST", f"{_PATH}/{{run_id}}/outputs", permission=Permission.WRITE, agent=AgentScope.RUN)
def log_outputs(context: Context, request: OutputsRequest) -> Done:
    """Note the logged models that a run made."""
    context.store.log_outputs(request.run_id, request.models)
    return Done()


@operation("runs.changes", "GET", "/api/v1/changes", permission=Permission.READ)
def get_changes(context: Context, request: Changes) -> ChangesAnswer:
    """Return the runs that changed after a revision, deleted ones too, oldest change first."""
    runs = context.store.changed_runs(request.since, max_results=request.max_results)
    if runs:
        return ChangesAnswer(revision=runs[-1].revision, runs=[run_to_json(run) for run in runs], more=len(runs) == request.max_results)
    # A store that was replaced counts from the beginning again: whoever follows it must go back with it.
    return ChangesAnswer(revision=min(request.since, context.store.revision()), runs=[], more=False)


OPERATIONS = (search_runs, create_run, get_run, update_run, log_batch, log_inputs, log_outputs, get_changes)
