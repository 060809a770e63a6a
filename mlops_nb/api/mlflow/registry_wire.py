"""The JSON forms of the model registry in MLflow's REST API."""

from __future__ import annotations

from mlops_nb.api.mlflow.wire import Answer, KeyValue, Request, required
from mlops_nb.core.registry import ModelVersion, RegisteredModel, version_number


class RegisteredModelName(Request, kw_only=True):
    """A registered model by name."""

    name: str | None = None

    def model(self) -> str:
        """Return the name.

        Raises:
            InvalidInput: If it is not given.
        """
        return required(self.name, "name")


class ModelVersionName(RegisteredModelName, kw_only=True):
    """A version by the name of its model and its number."""

    version: str | None = None

    def numbered(self) -> tuple[str, int]:
        """Return the name of the model and the number.

        Raises:
            InvalidInput: If one is not given, or the number is none.
        """
        return self.model(), version_number(required(self.version, "version"))


class RegistrySearch(Request, kw_only=True):
    """A search for registered models or versions."""

    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


class ModelVersionForm(Answer, kw_only=True):
    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    user_id: str = ""
    current_stage: str
    description: str
    source: str
    run_id: str
    status: str
    status_message: str = ""
    tags: list[KeyValue] = []
    run_link: str
    aliases: list[str] = []
    model_id: str = ""


class AliasForm(Answer, kw_only=True):
    alias: str
    version: str


class RegisteredModelForm(Answer, kw_only=True):
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    latest_versions: list[ModelVersionForm] = []
    tags: list[KeyValue] = []
    aliases: list[AliasForm] = []


class ModelVersionAnswer(Answer, kw_only=True):
    model_version: ModelVersionForm


class ModelVersionsAnswer(Answer, kw_only=True):
    model_versions: list[ModelVersionForm] = []
    next_page_token: str | None = None


class RegisteredModelAnswer(Answer, kw_only=True):
    registered_model: RegisteredModelForm


class RegisteredModelsAnswer(Answer, kw_only=True):
    registered_models: list[RegisteredModelForm] = []
    next_page_token: str | None = None


def version_form(version: ModelVersion) -> ModelVersionForm:
    return ModelVersionForm(
        name=version.name,
        version=str(version.version),
        creation_timestamp=version.creation_time,
        last_updated_timestamp=version.last_update_time,
        user_id=version.user,
        current_stage=version.stage.value,
        description=version.description,
        source=version.source,
        run_id=version.run_id,
        status=version.status,
        status_message=version.status_message,
        tags=_pairs(version.tags),
        run_link=version.run_link,
        aliases=version.aliases,
        model_id=version.model_id,
    )


def model_form(model: RegisteredModel) -> RegisteredModelForm:
    return RegisteredModelForm(
        name=model.name,
        creation_timestamp=model.creation_time,
        last_updated_timestamp=model.last_update_time,
        description=model.description,
        latest_versions=[version_form(version) for version in model.latest],
        tags=_pairs(model.tags),
        aliases=[AliasForm(alias=alias, version=str(version)) for alias, version in model.aliases.items()],
    )


def version_answer(version: ModelVersion) -> ModelVersionAnswer:
    return ModelVersionAnswer(model_version=version_form(version))


def model_answer(model: RegisteredModel) -> RegisteredModelAnswer:
    return RegisteredModelAnswer(registered_model=model_form(model))


def _pairs(items: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in items.items()]
