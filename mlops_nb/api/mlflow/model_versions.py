"""MLflow's operations on the versions of registered models."""

from __future__ import annotations

from mlops_nb.api.mlflow.registry_wire import (
    ModelVersionAnswer,
    ModelVersionName,
    ModelVersionsAnswer,
    RegisteredModelName,
    RegistrySearch,
    version_answer,
    version_form,
)
from mlops_nb.api.mlflow.wire import Answer, Empty, KeyValue, page_size, required, tag_map, twins
from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.core.registry import RegistryQuery, stage_of
from mlops_nb.store.registry import MAX_VERSIONS_PAGE


class CreateModelVersion(RegisteredModelName, kw_only=True):
    source: str | None = None
    run_id: str | None = None
    tags: list[KeyValue] | None = None
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None


class UpdateModelVersion(ModelVersionName, kw_only=True):
    description: str | None = None


class MoveModelVersion(ModelVersionName, kw_only=True):
    stage: str | None = None
    archive_existing_versions: bool | None = None


class SetModelVersionTag(ModelVersionName, kw_only=True):
    key: str | None = None
    value: str | None = None


class DeleteModelVersionTag(ModelVersionName, kw_only=True):
    key: str | None = None


class UriAnswer(Answer, kw_only=True):
    artifact_uri: str


@operation(
    "mlflow.modelVersions.create", "POST", twins("/model-versions/create"), permission=Permission.WRITE, agent=AgentScope.NEW_VERSION
)
def create_model_version(context: Context, request: CreateModelVersion) -> ModelVersionAnswer:
    """Create the next version of a registered model from a run, a logged model, another version or a cloud."""
    version = context.store.registry.create_version(
        request.model(),
        required(request.source, "source"),
        run_id=request.run_id,
        model_id=request.model_id,
        run_link=request.run_link or "",
        description=request.description or "",
        tags=tag_map(request.tags),
    )
    return version_answer(version)


@operation("mlflow.modelVersions.get", "GET", twins("/model-versions/get"), permission=Permission.READ, agent=AgentScope.VERSION)
def get_model_version(context: Context, request: ModelVersionName) -> ModelVersionAnswer:
    """Return a version."""
    return version_answer(context.store.registry.get_version(*request.numbered()))


@operation("mlflow.modelVersions.update", "PATCH", twins("/model-versions/update"), permission=Permission.WRITE)
def update_model_version(context: Context, request: UpdateModelVersion) -> ModelVersionAnswer:
    """Change the description of a version; none given removes it."""
    return version_answer(context.store.registry.update_version(*request.numbered(), description=request.description or ""))


@operation("mlflow.modelVersions.transitionStage", "POST", twins("/model-versions/transition-stage"), permission=Permission.WRITE)
def transition_model_version_stage(context: Context, request: MoveModelVersion) -> ModelVersionAnswer:
    """Move a version to a stage, and the others there to Archived if asked."""
    stage = stage_of(required(request.stage, "stage"))
    archive = bool(request.archive_existing_versions)
    return version_answer(context.store.registry.move_version(*request.numbered(), stage, archive_existing=archive))


@operation("mlflow.modelVersions.delete", "DELETE", twins("/model-versions/delete"), permission=Permission.WRITE)
def delete_model_version(context: Context, request: ModelVersionName) -> Empty:
    """Delete a version; its number is not given again."""
    context.store.registry.delete_version(*request.numbered())
    return Empty()


@operation("mlflow.modelVersions.search", "GET", twins("/model-versions/search"), permission=Permission.READ)
def search_model_versions(context: Context, request: RegistrySearch) -> ModelVersionsAnswer:
    """Search versions; those of prompts only by their tag."""
    query = RegistryQuery(
        filter=request.filter or "",
        order_by=request.order_by or [],
        max_results=page_size(request.max_results, 10_000, largest=MAX_VERSIONS_PAGE),
        page_token=request.page_token,
    )
    page = context.store.registry.search_versions(query)
    return ModelVersionsAnswer(model_versions=[version_form(version) for version in page.items], next_page_token=page.token)


@operation(
    "mlflow.modelVersions.getDownloadUri",
    "GET",
    twins("/model-versions/get-download-uri"),
    permission=Permission.READ,
    agent=AgentScope.VERSION,
)
def get_model_version_download_uri(context: Context, request: ModelVersionName) -> UriAnswer:
    """Return where the files of a version are."""
    return UriAnswer(artifact_uri=context.store.registry.get_version(*request.numbered()).storage_location)


@operation("mlflow.modelVersions.setTag", "POST", twins("/model-versions/set-tag"), permission=Permission.WRITE)
def set_model_version_tag(context: Context, request: SetModelVersionTag) -> Empty:
    """Set a tag of a version."""
    context.store.registry.set_version_tag(*request.numbered(), required(request.key, "key"), request.value or "")
    return Empty()


@operation("mlflow.modelVersions.deleteTag", "DELETE", twins("/model-versions/delete-tag"), permission=Permission.WRITE)
def delete_model_version_tag(context: Context, request: DeleteModelVersionTag) -> Empty:
    """Remove a tag of a version."""
    context.store.registry.delete_version_tag(*request.numbered(), required(request.key, "key"))
    return Empty()


OPERATIONS = (
    create_model_version,
    get_model_version,
    update_model_version,
    transition_model_version_stage,
    delete_model_version,
    search_model_versions,
    get_model_version_download_uri,
    set_model_version_tag,
    delete_model_version_tag,
)
