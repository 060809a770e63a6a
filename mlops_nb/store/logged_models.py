"""The contract of logged models: models that runs made, with params, tags and metrics of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from mlops_nb.core.logged_models import LoggedModel, LoggedModelQuery, LoggedModelStatus
from mlops_nb.store.page import Page


class LoggedModelStore(ABC):
    """Where logged models are kept. Threads, crashes and errors: as for `TrackingStore`."""

    @abstractmethod
    def create(
        self,
        experiment_id: str,
        *,
        name: str = "",
        model_type: str = "",
        source_run_id: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> LoggedModel:
        """Create a PENDING model, with a new id, and a name where none is given.

        Raises:
            NotFound: If there is no such experiment.
            InvalidInput: If the experiment is deleted, or a name, param or tag cannot be right.
        """

    @abstractmethod
    def get(self, model_id: str, *, allow_deleted: bool = False) -> LoggedModel:
        """Return a model.

        Raises:
            NotFound: If there is none of this id, or it is deleted and such are not asked for.
        """

    @abstractmethod
    def finalize(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        """Say how the upload of the model's files ended, and return the model.

        Raises:
            NotFound: As `get`.
        """

    @abstractmethod
    def log_params(self, model_id: str, params: Mapping[str, str]) -> None:
        """Add params. One that is there already keeps its value.

        Raises:
            NotFound: As `get`.
            InvalidInput: If a key or value is too long, or a param has another value already.
        """

    @abstractmethod
    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> LoggedModel:
        """Set tags and return the model.

        Raises:
            NotFound: As `get`.
        """

    @abstractmethod
    def delete_tag(self, model_id: str, key: str) -> None:
        """Remove a tag.

        Raises:
            NotFound: If there is no such model or tag.
        """

    @abstractmethod
    def delete(self, model_id: str) -> None:
        """Delete a model. Its rows and files stay.

        Raises:
            NotFound: As `get`.
        """

    @abstractmethod
    def search(self, query: LoggedModelQuery) -> Page[LoggedModel]:
        """Return the models that fit, deleted ones never.

        Raises:
            FilterError: If the filter or the order does not parse.
        """
