"""MLflow's operations on registered models, prompts among them, and on the aliases of their versions."""

from __future__ import annotations

from mlops_nb.api.mlflow.registry_wire import (
    ModelVersionAnswer,
    ModelVersionName,
    ModelVersionsAnswer,
    RegisteredModelAnswer,
    RegisteredModelName,
    RegisteredModelsAnswer,
    RegistrySearch,
    model_answer,
    model_form,
    version_answer,
    version_form,
)
from mlops_nb.api.mlflow.wire import Empty, KeyValue, page_size, required, tag_map, twins
from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.core.registry import RegistryQuery, stage_of
from mlops_nb.store.registry import MAX_MODELS_PAGE

_ALIAS = twins("/registered-models/alias")


class CreateRegisteredModel(RegisteredModelName, kw_only=True):
    tags: list[KeyValue] | None = None
    description: str | None = None


class RenameRegisteredModel(RegisteredModelName, kw_only=True):
    new_name: str | None = None


class UpdateRegisteredModel(RegisteredModelName, kw_only=True):
    description: str | None = None


class LatestVersions(RegisteredModelName, kw_only=True):
    stages: list[str] | None = None


class SetRegisteredModelTag(RegisteredModelName, kw_only=True):
    key: str | None = None
    value: str | None = None


class DeleteRegisteredModelTag(RegisteredModelName, kw_only=True):
    key: str | None = None


class SetAlias(ModelVersionName, kw_only=True):
    alias: str | None = None


class AliasName(RegisteredModelName, kw_only=True):
    alias: str | None = None


@operation(
    "mlflow.registeredModels.create", "POST", twins("/registered-models/create"), permission=Permission.WRITE, agent=AgentScope.NEW_NAME
)
def create_registered_model(context: Context, request: CreateRegisteredModel) -> RegisteredModelAnswer:
    """Create a registered model or a prompt."""
    model = context.store.registry.create_model(request.model(), description=request.description or "", tags=tag_map(request.tags))
    return model_answer(model)


@operation("mlflow.registeredModels.get", "GET", twins("/registered-models/get"), permission=Permission.READ)
def get_registered_model(context: Context, request: RegisteredModelName) -> RegisteredModelAnswer:
    """Return a registered model with its newest versions, tags and aliases."""
    return model_answer(context.store.registry.get_model(request.model()))


@operation("mlflow.registeredModels.rename", "POST", twins("/registered-models/rename"), permission=Permission.WRITE)
def rename_registered_model(context: Context, request: RenameRegisteredModel) -> RegisteredModelAnswer:
    """Rename a registered model with its versions and aliases."""
    return model_answer(context.store.registry.rename_model(request.model(), required(request.new_name, "new_name")))


@operation("mlflow.registeredModels.update", "PATCH", twins("/registered-models/update"), permission=Permission.WRITE)
def update_registered_model(context: Context, request: UpdateRegisteredModel) -> RegisteredModelAnswer:
    """Change the description of a registered model; none given removes it."""
    return model_answer(context.store.registry.update_model(request.model(), description=request.description or ""))


@operation("mlflow.registeredModels.delete", "DELETE", twins("/registered-models/delete"), permission=Permission.WRITE)
def delete_registered_model(context: Context, request: RegisteredModelName) -> Empty:
    """Delete a registered model with its versions."""
    context.store.registry.delete_model(request.model())
    return Empty()


@operation("mlflow.registeredModels.search", "GET", twins("/registered-models/search"), permission=Permission.READ)
def search_registered_models(context: Context, request: RegistrySearch) -> RegisteredModelsAnswer:
    """Search registered models; prompts only by their tag."""
    query = RegistryQuery(
        filter=request.filter or "",
        order_by=request.order_by or [],
        max_results=page_size(request.max_results, 100, largest=MAX_MODELS_PAGE),
        page_token=request.page_token,
    )
    page = context.store.registry.search_models(query)
    return RegisteredModelsAnswer(registered_models=[model_form(model) for model in page.items], next_page_token=page.token)


@operation(
    "mlflow.registeredModels.getLatestVersions",
    ("GET", "POST"),
    twins("/registered-models/get-latest-versions"),
    permission=Permission.READ,
)
def get_latest_versions(context: Context, request: LatestVersions) -> ModelVersionsAnswer:
    """Return the newest version of each stage, or of the stages asked for."""
    context.store.registry.get_model(request.model())  # that it is missing comes before what is wrong with a stage
    stages = [stage_of(stage) for stage in request.stages or []]
    found = context.store.registry.latest_versions(request.model(), stages)
    return ModelVersionsAnswer(model_versions=[version_form(version) for version in found])


@operation("mlflow.registeredModels.setTag", "POST", twins("/registered-models/set-tag"), permission=Permission.WRITE)
def set_registered_model_tag(context: Context, request: SetRegisteredModelTag) -> Empty:
    """Set a tag of a registered model."""
    context.store.registry.set_model_tag(request.model(), required(request.key, "key"), request.value or "")
    return Empty()


@operation("mlflow.registeredModels.deleteTag", "DELETE", twins("/registered-models/delete-tag"), permission=Permission.WRITE)
def delete_registered_model_tag(context: Context, request: DeleteRegisteredModelTag) -> Empty:
    """Remove a tag of a registered model."""
    context.store.registry.delete_model_tag(request.model(), required(request.key, "key"))
    return Empty()


@operation("mlflow.registeredModels.setAlias", "POST", _ALIAS, permission=Permission.WRITE)
def set_registered_model_alias(context: Context, request: SetAlias) -> Empty:
    """Let an alias name a version, instead of the one that it named before."""
    alias = required(request.alias, "alias")
    name, version = request.numbered()
    context.store.registry.set_alias(name, alias, version)
    return Empty()


@operation("mlflow.registeredModels.getByAlias", "GET", _ALIAS, permission=Permission.READ)
def get_model_version_by_alias(context: Context, request: AliasName) -> ModelVersionAnswer:
    """Return the version that an alias names."""
    return version_answer(context.store.registry.version_of_alias(request.model(), required(request.alias, "alias")))


@operation("mlflow.registeredModels.deleteAlias", "DELETE", _ALIAS, permission=Permission.WRITE)
def delete_registered_model_alias(context: Context, request: AliasName) -> Empty:
    """Remove an alias."""
    context.store.registry.delete_alias(request.model(), required(request.alias, "alias"))
    return Empty()


OPERATIONS = (
    create_registered_model,
    get_registered_model,
    rename_registered_model,
    update_registered_model,
    delete_registered_model,
    search_registered_models,
    get_latest_versions,
    set_registered_model_tag,
    delete_registered_model_tag,
    set_registered_model_alias,
    get_model_version_by_alias,
    delete_registered_model_alias,
)
