"""MLflow's operations on experiments."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlparse

from mlops_nb.api.mlflow.wire import (
    Answer,
    Empty,
    EnumName,
    ExperimentId,
    ExperimentInfo,
    KeyValue,
    Request,
    experiment_id_of,
    experiment_info,
    page_size,
    required,
    tag_map,
    twins,
    view_stage,
)
from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.names import MAX_EXPERIMENT_TAG_VALUE, check_key
from mlops_nb.core.records import Experiment, LifecycleStage
from mlops_nb.core.wire import ExperimentCreated
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import ExperimentQuery


class CreateExperiment(Request, kw_only=True):
    name: str | None = None
    artifact_location: str | None = None
    tags: list[KeyValue] | None = None


class SearchExperiments(Request, kw_only=True):
    max_results: int | None = None
    page_token: str | None = None
    filter: str | None = None
    order_by: list[str] | None = None
    view_type: EnumName | None = None


class ExperimentName(Request, kw_only=True):
    experiment_name: str | None = None


class RenameExperiment(ExperimentId, kw_only=True):
    new_name: str | None = None


class SetExperimentTag(ExperimentId, kw_only=True):
    key: str | None = None
    value: str | None = None


class DeleteExperimentTag(ExperimentId, kw_only=True):
    key: str | None = None


class ExperimentAnswer(Answer, kw_only=True):
    experiment: ExperimentInfo


class ExperimentsAnswer(Answer, kw_only=True):
    experiments: list[ExperimentInfo] = []
    next_page_token: str | None = None


@operation("mlflow.experiments.create", "POST", twins("/experiments/create"), permission=Permission.WRITE)
def create_experiment(context: Context, request: CreateExperiment) -> ExperimentCreated:
    """Create an experiment."""
    name = required(request.name, "name")
    location = request.artifact_location or None
    place = urlparse(location or "")
    if place.fragment or place.params:
        raise InvalidInput("'artifact_location' URL can't include fragments or params.")
    experiment_id = context.store.create_experiment(name, artifact_location=location, tags=_checked(tag_map(request.tags)))
    return ExperimentCreated(experiment_id=experiment_id)


@operation("mlflow.experiments.search", ("GET", "POST"), twins("/experiments/search"), permission=Permission.READ)
def search_experiments(context: Context, request: SearchExperiments) -> ExperimentsAnswer:
    """Search experiments by name, tags and times."""
    page = context.store.search_experiments(
        ExperimentQuery(
            filter=request.filter or "",
            order_by=request.order_by or ["creation_time DESC", "experiment_id ASC"],
            lifecycle_stage=view_stage(request.view_type, "view_type"),
            max_results=page_size(request.max_results, 1000),
            page_token=request.page_token,
        )
    )
    return ExperimentsAnswer(experiments=[experiment_info(e) for e in page.items], next_page_token=page.token)


@operation("mlflow.experiments.get", "GET", twins("/experiments/get"), permission=Permission.READ)
def get_experiment(context: Context, request: ExperimentId) -> ExperimentAnswer:
    """Return an experiment by id, a deleted one too."""
    experiment = context.store.get_experiment(experiment_id_of(request.experiment_id))
    return ExperimentAnswer(experiment=experiment_info(experiment))


@operation("mlflow.experiments.getByName", "GET", twins("/experiments/get-by-name"), permission=Permission.READ)
def get_experiment_by_name(context: Context, request: ExperimentName) -> ExperimentAnswer:
    """Return an experiment by name, a deleted one too."""
    name = required(request.experiment_name, "experiment_name")
    experiment = context.store.get_experiment_by_name(name)
    if experiment is None:
        raise NotFound(f"Could not find experiment with name '{name}'")
    return ExperimentAnswer(experiment=experiment_info(experiment))


@operation("mlflow.experiments.update", "POST", twins("/experiments/update"), permission=Permission.WRITE)
def update_experiment(context: Context, request: RenameExperiment) -> Empty:
    """Rename an experiment."""
    experiment = _active(context, request, doing="renamed")
    context.store.update_experiment(experiment.experiment_id, name=required(request.new_name, "new_name"))
    return Empty()


@operation("mlflow.experiments.delete", "POST", twins("/experiments/delete"), permission=Permission.WRITE)
def delete_experiment(context: Context, request: ExperimentId) -> Empty:
    """Delete an experiment and its runs; both can be restored."""
    return _move(context, request, LifecycleStage.ACTIVE, LifecycleStage.DELETED)


@operation("mlflow.experiments.restore", "POST", twins("/experiments/restore"), permission=Permission.WRITE)
def restore_experiment(context: Context, request: ExperimentId) -> Empty:
    """Restore a deleted experiment and its runs."""
    return _move(context, request, LifecycleStage.DELETED, LifecycleStage.ACTIVE)


@operation("mlflow.experiments.setTag", "POST", twins("/experiments/set-experiment-tag"), permission=Permission.WRITE)
def set_experiment_tag(context: Context, request: SetExperimentTag) -> Empty:
    """Set a tag of an experiment."""
    experiment = _active(context, request, doing="tagged")
    for key, value in _checked({required(request.key, "key"): request.value or ""}).items():
        context.store.set_experiment_tag(experiment.experiment_id, key, value)
    return Empty()


@operation("mlflow.experiments.deleteTag", "POST", twins("/experiments/delete-experiment-tag"), permission=Permission.WRITE)
def delete_experiment_tag(context: Context, request: DeleteExperimentTag) -> Empty:
    """Remove a tag of an experiment."""
    experiment, key = _active(context, request, doing="changed"), required(request.key, "key")
    if key not in experiment.tags:
        raise NotFound(f"No tag with name: {key} in experiment with id {experiment.experiment_id}")
    context.store.set_experiment_tag(experiment.experiment_id, key, None)
    return Empty()


def _checked(tags: Mapping[str, str]) -> Mapping[str, str]:
    """Return tags whose names may be and whose values are not too long."""
    for key, value in tags.items():
        check_key(key, "tag")
        if len(value) > MAX_EXPERIMENT_TAG_VALUE:
            raise InvalidInput(f"The tag '{key}' 'value' exceeds the maximum length of {MAX_EXPERIMENT_TAG_VALUE} characters")
    return tags


def _active(context: Context, request: ExperimentId, *, doing: str) -> Experiment:
    """Return the experiment that a request is about, which must not be deleted."""
    experiment = context.store.get_experiment(experiment_id_of(request.experiment_id))
    if experiment.lifecycle_stage is LifecycleStage.DELETED:
        raise InvalidInput(
            f"The experiment {experiment.experiment_id} must be in the 'active' state to be {doing}. Current state is deleted.",
            hint="Restore it first.",
        )
    return experiment


def _move(context: Context, request: ExperimentId, old: LifecycleStage, new: LifecycleStage) -> Empty:
    """Move an experiment from one stage to the other; where it is not in the first, there is no such experiment."""
    experiment = context.store.get_experiment(experiment_id_of(request.experiment_id))
    if experiment.lifecycle_stage is not old:
        raise NotFound(f"No {old.value} experiment with id={experiment.experiment_id} exists")
    context.store.update_experiment(experiment.experiment_id, lifecycle_stage=new)
    return Empty()


OPERATIONS = (
    create_experiment,
    search_experiments,
    get_experiment,
    get_experiment_by_name,
    update_experiment,
    delete_experiment,
    restore_experiment,
    set_experiment_tag,
    delete_experiment_tag,
)
