"""The contract of the model registry: registered models, their versions, aliases and stages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from mlops_nb.core.registry import ModelVersion, RegisteredModel, RegistryQuery, Stage
from mlops_nb.store.page import Page

MAX_MODELS_PAGE = 1000
MAX_VERSIONS_PAGE = 200_000


class ModelRegistry(ABC):
    """Where registered models and their versions are kept.

    Threads, processes, crashes, times and errors: as for `TrackingStore`.
    Every method that names a model or version raises `NotFound` where there is none; every method that takes a name, tag or
    alias raises `InvalidInput` for one that cannot be.
    """

    # -- registered models

    @abstractmethod
    def create_model(self, name: str, *, description: str = "", tags: Mapping[str, str] | None = None) -> RegisteredModel:
        """Create a model without versions.

        Raises:
            AlreadyExists: If a model or a prompt has the name.
        """

    @abstractmethod
    def get_model(self, name: str) -> RegisteredModel:
        """Return a model."""

    @abstractmethod
    def rename_model(self, name: str, new_name: str) -> RegisteredModel:
        """Rename a model with all that belongs to it.

        Raises:
            AlreadyExists: If another model has the new name.
        """

    @abstractmethod
    def update_model(self, name: str, *, description: str) -> RegisteredModel:
        """Change the description of a model."""

    @abstractmethod
    def delete_model(self, name: str) -> None:
        """Delete a model with its versions, tags and aliases. The files stay."""

    @abstractmethod
    def search_models(self, query: RegistryQuery) -> Page[RegisteredModel]:
        """Return the models that fit, at most `MAX_MODELS_PAGE`, by name where the query does not say.

        Raises:
            FilterError: If the filter or the order does not parse.
        """

    @abstractmethod
    def set_model_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a model."""

    @abstractmethod
    def delete_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a model, if it is there."""

    @abstractmethod
    def latest_versions(self, name: str, stages: Sequence[Stage] = ()) -> list[ModelVersion]:
        """Return the newest version of each stage, or of these stages, that has one."""

    # -- versions

    @abstractmethod
    def create_version(
        self,
        name: str,
        source: str,
        *,
        run_id: str | None = None,
        model_id: str | None = None,
        run_link: str = "",
        description: str = "",
        user: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """Create the next version of a model, in stage None. The number of a deleted version is not given again.

        What is stored is the canonical form of the source. A version made from another one is of the same run and logged
        model; one made from a logged model is of its run, and the logged model's tag `mlflow.modelVersions` names it. A
        version tagged as a prompt has no files: its source is a placeholder.

        Args:
            source: See `core.model_sources`.
            run_id: The run that made it; a source in its folder must name it.
            model_id: The logged model it is made from; a source in its folder must name it.

        Raises:
            InvalidInput: If the source is not allowed, or not part of the run or logged model.
        """

    @abstractmethod
    def get_version(self, name: str, version: int) -> ModelVersion:
        """Return a version."""

    @abstractmethod
    def update_version(self, name: str, version: int, *, description: str) -> ModelVersion:
        """Change the description of a version."""

    @abstractmethod
    def move_version(self, name: str, version: int, stage: Stage, *, archive_existing: bool = False) -> ModelVersion:
        """Move a version to a stage.

        Args:
            archive_existing: Move the other versions of that stage to Archived.

        Raises:
            InvalidInput: If others are to be archived and the stage is not Staging or Production.
        """

    @abstractmethod
    def delete_version(self, name: str, version: int) -> None:
        """Delete a version with its tags and the aliases that name it. The files stay."""

    @abstractmethod
    def search_versions(self, query: RegistryQuery) -> Page[ModelVersion]:
        """Return the versions that fit, at most `MAX_VERSIONS_PAGE`, last changed first where the query does not say.

        Raises:
            FilterError: If the filter or the order does not parse.
        """

    @abstractmethod
    def set_version_tag(self, name: str, version: int, key: str, value: str) -> None:
        """Set a tag of a version."""

    @abstractmethod
    def delete_version_tag(self, name: str, version: int, key: str) -> None:
        """Remove a tag of a version, if it is there."""

    # -- aliases

    @abstractmethod
    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias name a version; if it named another one, it no longer does."""

    @abstractmethod
    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias of a model, if it is there."""

    @abstractmethod
    def version_of_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias names; `latest` names the newest of any stage.

        Raises:
            InvalidInput: If the model has no such alias.
            NotFound: If the newest version is asked for and there is none.
        """
