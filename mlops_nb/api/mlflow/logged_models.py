"""MLflow's operations on logged models."""

from __future__ import annotations

import math

from mlops_nb.api.mlflow.wire import Answer, Empty, EnumName, KeyValue, Request, experiment_id_of, page_size, required, tag_map, twins
from mlops_nb.api.operation import AgentScope, Context, Permission, Stream, operation
from mlops_nb.api.paths import artifact_file, artifact_folder
from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind
from mlops_nb.core.logged_models import DatasetRef, LoggedModel, LoggedModelQuery, LoggedModelStatus, ModelMetric, ModelOrder
from mlops_nb.core.records import float_to_json
from mlops_nb.errors import InvalidInput

_PATH = "/logged-models/{model_id}"
_STATUSES = {
    "LOGGED_MODEL_STATUS_UNSPECIFIED": LoggedModelStatus.UNSPECIFIED,
    "LOGGED_MODEL_PENDING": LoggedModelStatus.PENDING,
    "LOGGED_MODEL_READY": LoggedModelStatus.READY,
    "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelStatus.FAILED,
}
_STATUS_NAMES = {status: name for name, status in _STATUSES.items()}


class ModelId(Request, kw_only=True):
    model_id: str | None = None

    def id(self) -> str:
        return required(self.model_id, "model_id")


class GetModel(ModelId, kw_only=True):
    allow_deleted: bool | None = None


class CreateModel(Request, kw_only=True):
    experiment_id: str | None = None
    name: str | None = None
    model_type: str | None = None
    source_run_id: str | None = None
    params: list[KeyValue] | None = None
    tags: list[KeyValue] | None = None


class FinalizeModel(ModelId, kw_only=True):
    status: EnumName | None = None


class GivenDataset(Request, kw_only=True):
    dataset_name: str | None = None
    dataset_digest: str | None = None


class GivenOrder(GivenDataset, kw_only=True):
    field_name: str | None = None
    ascending: bool | None = None


class SearchModels(Request, kw_only=True):
    experiment_ids: list[str] | None = None
    filter: str | None = None
    datasets: list[GivenDataset] | None = None
    max_results: int | None = None
    order_by: list[GivenOrder] | None = None
    page_token: str | None = None


class SetTags(ModelId, kw_only=True):
    tags: list[KeyValue] | None = None


class DeleteTag(ModelId, kw_only=True):
    tag_key: str | None = None


class LogParams(ModelId, kw_only=True):
    params: list[KeyValue] | None = None


class ListFolder(ModelId, kw_only=True):
    artifact_directory_path: str | None = None
    page_token: str | None = None


class ReadFile(ModelId, kw_only=True):
    artifact_file_path: str | None = None


class MetricForm(Answer, kw_only=True):
    key: str
    value: float | str
    timestamp: int
    step: int
    dataset_name: str | None = None
    dataset_digest: str | None = None
    model_id: str
    run_id: str


class ModelInfo(Answer, kw_only=True):
    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str
    status_message: str | None = None
    tags: list[KeyValue] = []


class ModelData(Answer, kw_only=True):
    params: list[KeyValue] = []
    metrics: list[MetricForm] = []


class ModelForm(Answer, kw_only=True):
    info: ModelInfo
    data: ModelData


class ModelAnswer(Answer, kw_only=True):
    model: ModelForm


class ModelsAnswer(Answer, kw_only=True):
    models: list[ModelForm] = []
    next_page_token: str | None = None


class ModelFile(Answer, kw_only=True):
    path: str
    is_dir: bool
    file_size: int | None = None


class FolderAnswer(Answer, kw_only=True):
    root_uri: str
    files: list[ModelFile] = []


@operation("mlflow.loggedModels.create", "POST", twins("/logged-models"), permission=Permission.WRITE, agent=AgentScope.NEW_MODEL)
def create_model(context: Context, request: CreateModel) -> ModelAnswer:
    """Create a logged model whose files are still to come."""
    model = context.store.logged_models.create(
        experiment_id_of(request.experiment_id),
        name=request.name or "",
        model_type=request.model_type or "",
        source_run_id=request.source_run_id or "",
        params=_param_map(request.params),
        tags=tag_map(request.tags),
    )
    return ModelAnswer(model=_form(model))


@operation("mlflow.loggedModels.search", "POST", twins("/logged-models/search"), permission=Permission.READ)
def search_models(context: Context, request: SearchModels) -> ModelsAnswer:
    """Search the logged models of experiments by attributes, params, tags, and metrics on the data sets named."""
    # Zero is how some clients say "not set".
    query = LoggedModelQuery(
        experiment_ids=[experiment_id_of(each) for each in required(request.experiment_ids or None, "experiment_ids")],
        filter=request.filter or "",
        datasets=[_dataset(given) for given in request.datasets or []],
        order_by=[_order(given) for given in request.order_by or []],
        max_results=page_size(request.max_results or None, 50),
        page_token=request.page_token or None,
    )
    page = context.store.logged_models.search(query)
    return ModelsAnswer(models=[_form(model) for model in page.items], next_page_token=page.token)


def _dataset(given: GivenDataset) -> DatasetRef:
    if not given.dataset_name:
        raise InvalidInput("`dataset_name` in the `datasets` clause must be specified.")
    return DatasetRef(given.dataset_name, given.dataset_digest or None)


def _order(given: GivenOrder) -> ModelOrder:
    field = required(given.field_name, "order_by.field_name")
    if given.dataset_digest and not given.dataset_name:
        raise InvalidInput("`dataset_digest` can only be specified if `dataset_name` is also specified.")
    dataset = DatasetRef(given.dataset_name, given.dataset_digest or None) if given.dataset_name else None
    return ModelOrder(field=field, ascending=given.ascending is not False, dataset=dataset)


@operation("mlflow.loggedModels.get", "GET", twins(_PATH), permission=Permission.READ, agent=AgentScope.MODEL)
def get_model(context: Context, request: GetModel) -> ModelAnswer:
    """Return a logged model."""
    return ModelAnswer(model=_form(context.store.logged_models.get(request.id(), allow_deleted=bool(request.allow_deleted))))


@operation("mlflow.loggedModels.finalize", "PATCH", twins(_PATH), permission=Permission.WRITE, agent=AgentScope.MODEL)
def finalize_model(context: Context, request: FinalizeModel) -> ModelAnswer:
    """Say how the upload of a model's files ended."""
    status = _status(required(request.status, "status"))
    return ModelAnswer(model=_form(context.store.logged_models.finalize(request.id(), status)))


def _status(given: object) -> LoggedModelStatus:
    text = str(given)
    name = list(_STATUSES)[int(text)] if text in ("0", "1", "2", "3") else text
    if name not in _STATUSES:
        raise InvalidInput(f"Invalid value {given!r} for parameter 'status' supplied: it must be one of {', '.join(_STATUSES)}.")
    return _STATUSES[name]


@operation("mlflow.loggedModels.delete", "DELETE", twins(_PATH), permission=Permission.WRITE)
def delete_model(context: Context, request: ModelId) -> Empty:
    """Delete a logged model; its files stay."""
    context.store.logged_models.delete(request.id())
    return Empty()


@operation("mlflow.loggedModels.logParams", "POST", twins(f"{_PATH}/params"), permission=Permission.WRITE, agent=AgentScope.MODEL)
def log_params(context: Context, request: LogParams) -> Empty:
    """Add params to a logged model."""
    context.store.logged_models.log_params(request.id(), _param_map(request.params))
    return Empty()


def _param_map(pairs: list[KeyValue] | None) -> dict[str, str]:
    params: dict[str, str] = {}
    for pair in pairs or []:
        if params.setdefault(pair.key, pair.value) != pair.value:
            raise InvalidInput(f"Duplicate parameter keys have been submitted: '{pair.key}' with different values.")
    return params


@operation("mlflow.loggedModels.setTags", "PATCH", twins(f"{_PATH}/tags"), permission=Permission.WRITE, agent=AgentScope.MODEL)
def set_tags(context: Context, request: SetTags) -> ModelAnswer:
    """Set tags of a logged model."""
    return ModelAnswer(model=_form(context.store.logged_models.set_tags(request.id(), tag_map(request.tags))))


@operation("mlflow.loggedModels.deleteTag", "DELETE", twins(f"{_PATH}/tags/{{tag_key...}}"), permission=Permission.WRITE)
def delete_tag(context: Context, request: DeleteTag) -> Empty:
    """Remove a tag of a logged model."""
    context.store.logged_models.delete_tag(request.id(), required(request.tag_key, "tag_key"))
    return Empty()


@operation(
    "mlflow.loggedModels.listArtifacts", "GET", twins(f"{_PATH}/artifacts/directories"), permission=Permission.READ, agent=AgentScope.MODEL
)
def list_artifacts(context: Context, request: ListFolder) -> FolderAnswer:
    """List a folder of a logged model; paths begin at the model's root."""
    folder = artifact_folder(request.artifact_directory_path or "")
    model = context.store.logged_models.get(request.id())
    found = context.store.files.list(_owner(model), folder)
    files = [ModelFile(path=file.path, is_dir=file.is_dir, file_size=file.file_size) for file in found]
    return FolderAnswer(root_uri=model.artifact_location, files=files)


@operation(
    "mlflow.loggedModels.readArtifact",
    ("GET", "HEAD"),
    "/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files",
    permission=Permission.READ,
    agent=AgentScope.MODEL,
)
def read_artifact(context: Context, request: ReadFile) -> Stream:
    """Return the bytes of a file of a logged model."""
    if not request.artifact_file_path:
        raise InvalidInput('Request must include the "artifact_file_path" query parameter.')
    path = artifact_file(request.artifact_file_path)
    return Stream(file=context.store.files.open(_owner(context.store.logged_models.get(request.id())), path), file_name=path)


def _owner(model: LoggedModel) -> ArtifactOwner:
    return ArtifactOwner(kind=OwnerKind.MODEL, experiment_id=model.experiment_id, owner_id=model.model_id, uri=model.artifact_location)


def _form(model: LoggedModel) -> ModelForm:
    info = ModelInfo(
        model_id=model.model_id,
        experiment_id=model.experiment_id,
        name=model.name,
        creation_timestamp_ms=model.creation_time,
        last_updated_timestamp_ms=model.last_update_time,
        artifact_uri=model.artifact_location,
        status=_STATUS_NAMES[model.status],
        model_type=model.model_type,
        source_run_id=model.source_run_id,
        status_message=model.status_message,
        tags=[KeyValue(key=key, value=value) for key, value in model.tags.items()],
    )
    data = ModelData(
        params=[KeyValue(key=key, value=value) for key, value in model.params.items()],
        metrics=[_metric(model.model_id, metric) for metric in model.metrics],
    )
    return ModelForm(info=info, data=data)


def _metric(model_id: str, metric: ModelMetric) -> MetricForm:
    return MetricForm(
        key=metric.key,
        value=metric.value if math.isfinite(metric.value) else float_to_json(metric.value),
        timestamp=metric.timestamp,
        step=metric.step,
        dataset_name=metric.dataset_name,
        dataset_digest=metric.dataset_digest,
        model_id=model_id,
        run_id=metric.run_id,
    )


OPERATIONS = (
    create_model,
    search_models,
    get_model,
    finalize_model,
    delete_model,
    log_params,
    set_tags,
    delete_tag,
    list_artifacts,
    read_artifact,
)
