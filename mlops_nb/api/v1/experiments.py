"""Our operations on experiments."""

from __future__ import annotations

from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.wire import (
    ExperimentAnswer,
    ExperimentCreate,
    ExperimentCreated,
    ExperimentPatch,
    ExperimentsAnswer,
    Lifecycle,
    PageSize,
    Wire,
)

_PATH = "/api/v1/experiments"


class ExperimentList(Wire, kw_only=True):
    lifecycle_stage: Lifecycle | None = None
    max_results: PageSize | None = None
    page_token: str | None = None


class ExperimentId(Wire, kw_only=True):
    experiment_id: str


class ExperimentName(Wire, kw_only=True):
    name: str


@operation("experiments.list", "GET", _PATH, permission=Permission.READ)
def list_experiments(context: Context, request: ExperimentList) -> ExperimentsAnswer:
    """List experiments, newest first; active ones unless another stage is asked for."""
    page = context.store.list_experiments(
        lifecycle_stage=(request.lifecycle_stage or Lifecycle.ACTIVE).stage,
        max_results=request.max_results or 1000,
        page_token=request.page_token,
    )
    return ExperimentsAnswer(experiments=page.items, next_page_token=page.token)


@operation("experiments.create", "POST", _PATH, permission=Permission.WRITE)
def create_experiment(context: Context, request: ExperimentCreate) -> ExperimentCreated:
    """Create an experiment."""
    experiment_id = context.store.create_experiment(request.name, artifact_location=request.artifact_location, tags=request.tags)
    return ExperimentCreated(experiment_id=experiment_id)


@operation("experiments.getByName", "GET", f"{_PATH}/by-name", permission=Permission.READ)
def get_experiment_by_name(context: Context, request: ExperimentName) -> ExperimentAnswer:
    """Return the experiment of a name, a deleted one too, or null."""
    return ExperimentAnswer(experiment=context.store.get_experiment_by_name(request.name))


@operation("experiments.get", "GET", f"{_PATH}/{{experiment_id}}", permission=Permission.READ)
def get_experiment(context: Context, request: ExperimentId) -> ExperimentAnswer:
    """Return an experiment, a deleted one too."""
    return ExperimentAnswer(experiment=context.store.get_experiment(request.experiment_id))


@operation("experiments.update", "PATCH", f"{_PATH}/{{experiment_id}}", permission=Permission.WRITE)
def update_experiment(context: Context, request: ExperimentPatch) -> ExperimentAnswer:
    """Rename, delete or restore an experiment, or set its tags; a tag that is null goes."""
    store, experiment_id = context.store, request.experiment_id
    if request.name is not None or request.lifecycle_stage is not None:
        store.update_experiment(experiment_id, name=request.name, lifecycle_stage=request.lifecycle_stage)
    for key, value in (request.tags or {}).items():
        store.set_experiment_tag(experiment_id, key, value)
    return ExperimentAnswer(experiment=store.get_experiment(experiment_id))


OPERATIONS = (list_experiments, create_experiment, get_experiment_by_name, get_experiment, update_experiment)
