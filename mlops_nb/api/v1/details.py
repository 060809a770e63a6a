"""Our operations for the pages of a run and of a model: where results come from, what the run ran on, what its models are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.api.owners import model_owner, run_owner, version_files
from mlops_nb.api.v1.runs import RunId
from mlops_nb.core.artifacts import ArtifactOwner
from mlops_nb.core.datasets import TAG_MODEL_HISTORY
from mlops_nb.core.model_description import MAX_MLMODEL, MLMODEL_FILE, ModelDescription, described
from mlops_nb.core.provenance import closure, results_of
from mlops_nb.core.records import Run
from mlops_nb.core.registry import version_number
from mlops_nb.core.run_environment import CHANGES_FILE, RunEnvironment, environment_of
from mlops_nb.core.run_folders import ENVIRONMENT_FILE, REQUIREMENTS_FILE
from mlops_nb.core.wire import Wire
from mlops_nb.errors import MlopsError, NotFound

_PATH = "/api/v1/runs/{run_id}"
_MAX_FILE = 5_000_000


class ProvenanceRequest(Wire, kw_only=True):
    """Of what: a metric, a product (a param, a file, a data set or a model, by name), or everything that the run has."""

    run_id: str
    metric: str | None = None
    product: str | None = None


class ProvenanceAnswer(Wire, kw_only=True):
    """Indexes of the ledger: `targets` gave the result, `needed` are the fewest executions that explain it, targets among them."""

    targets: list[int]
    needed: list[int]


class EnvironmentAnswer(Wire, kw_only=True):
    environment: RunEnvironment


class RunModelsAnswer(Wire, kw_only=True):
    models: list[ModelDescription]


class VersionName(Wire, kw_only=True):
    name: str
    version: str


class ModelDescriptionAnswer(Wire, kw_only=True):
    model: ModelDescription


@operation("runs.provenance", "GET", f"{_PATH}/provenance", permission=Permission.READ)
def get_provenance(context: Context, request: ProvenanceRequest) -> ProvenanceAnswer:
    """Return which executions of cells explain a result of a run."""
    run, cells = context.store.get_run(request.run_id), context.store.cells(request.run_id)
    if request.metric is not None:
        metric = run.metrics.get(request.metric)
        if metric is None:
            raise NotFound(f"Run {run.name} has no metric '{request.metric[:80]}'.")
        targets = [] if metric.cell is None else [metric.cell]
    elif request.product is not None:
        targets = [cell.index for cell in cells if any(product.name == request.product for product in cell.products)]
    else:
        targets = results_of(cells, {metric.cell for metric in run.metrics.values() if metric.cell is not None})
    return ProvenanceAnswer(targets=targets, needed=closure(cells, targets))


@operation("runs.environment", "GET", f"{_PATH}/environment", permission=Permission.READ)
def get_environment(context: Context, request: RunId) -> EnvironmentAnswer:
    """Return what a run ran on: machine, packages and code, as far as they were kept."""
    run = context.store.get_run(request.run_id)
    owner, files = run_owner(context, request.run_id), {}
    for path in (REQUIREMENTS_FILE, ENVIRONMENT_FILE):
        with contextlib.suppress(NotFound):
            files[path] = _content(context, owner, path, _MAX_FILE)
    with contextlib.suppress(NotFound):
        context.store.files.open(owner, CHANGES_FILE).close()
        files[CHANGES_FILE] = b""
    return EnvironmentAnswer(environment=environment_of(run.tags, files))


@operation("runs.models", "GET", f"{_PATH}/models", permission=Permission.READ)
def get_models(context: Context, request: RunId) -> RunModelsAnswer:
    """Return the models that a run made, with their flavors and signatures."""
    run = context.store.get_run(request.run_id)
    steps = {output.model_id: output.step for output in run.outputs}
    models = [_logged_model(context, model_id, step) for model_id, step in steps.items()]
    return RunModelsAnswer(models=[*models, *_models_of_mlflow_2(context, run)])


@operation("registry.describeVersion", "GET", "/api/v1/registered-models/{name}/versions/{version}/description", permission=Permission.READ)
def describe_version(context: Context, request: VersionName) -> ModelDescriptionAnswer:
    """Return the flavors and the signature of a version of a registered model."""
    number = version_number(request.version)
    version = context.store.registry.get_version(request.name, number)
    known = ModelDescription(
        uri=f"models:/{request.name}/{number}", name=request.name, model_id=version.model_id, status=version.status, tags=version.tags
    )
    try:
        owner, folder = version_files(context, request.name, number)
    except MlopsError as error:  # its files may be gone, or in a cloud: the rest is still worth showing
        return ModelDescriptionAnswer(model=msgspec.structs.replace(known, problem=str(error)))
    return ModelDescriptionAnswer(model=_with_file(context, known, owner, folder))


def _logged_model(context: Context, model_id: str, step: int) -> ModelDescription:
    known = ModelDescription(uri=f"models:/{model_id}", name=model_id, model_id=model_id, step=step)
    try:
        model, owner = context.store.logged_models.get(model_id), model_owner(context, model_id)
    except NotFound as error:
        return msgspec.structs.replace(known, problem=str(error))
    known = msgspec.structs.replace(
        known, name=model.name, status=model.status.value, model_type=model.model_type, params=model.params, tags=model.tags
    )
    return _with_file(context, known, owner, "")


def _models_of_mlflow_2(context: Context, run: Run) -> Iterator[ModelDescription]:
    """Yield the models that clients of MLflow 2 keep among the files of the run."""
    try:
        history = msgspec.json.decode(run.tags.get(TAG_MODEL_HISTORY, "[]"), type=list[dict[str, object]])
    except msgspec.MsgspecError:  # a tag that anybody can set
        return
    folders = {str(entry.get("artifact_path", "")).strip("/"): str(entry.get("model_id") or "") for entry in history}
    made = {output.model_id for output in run.outputs}
    for folder, model_id in folders.items():
        if folder and model_id not in made:
            known = ModelDescription(uri=f"runs:/{run.run_id}/{folder}", name=folder)
            yield _with_file(context, known, run_owner(context, run.run_id), folder)


def _with_file(context: Context, known: ModelDescription, owner: ArtifactOwner, folder: str) -> ModelDescription:
    path = f"{folder}/{MLMODEL_FILE}" if folder else MLMODEL_FILE
    try:
        text = _content(context, owner, path, MAX_MLMODEL)
    except MlopsError as error:  # not there yet, or out of reach: the rest is still worth showing
        return msgspec.structs.replace(known, problem=str(error))
    return described(known, text)


def _content(context: Context, owner: ArtifactOwner, path: str, limit: int) -> bytes:
    """Return the bytes of a file, at most so many."""
    file = context.store.files.open(owner, path)
    try:
        return b"".join(file.pieces(0, min(limit, file.stat.size)))
    finally:
        file.close()


OPERATIONS = (get_provenance, get_environment, get_models, describe_version)
