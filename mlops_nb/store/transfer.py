"""What goes from store to store: records with the ids and times they have, and tables for whoever wants to leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from mlops_nb.core.logged_models import LoggedModel, ModelMetric
from mlops_nb.core.records import Experiment, Metric, Run
from mlops_nb.core.registry import ModelVersion, RegisteredModel


class StoreImport(ABC):
    """Writes what another store has, with its ids and times.

    What is there already is brought to what the source says, and nothing is removed: importing again changes nothing.
    Only whether a run is deleted is left as it is here. Each method takes effect wholly or not at all; in a `group()` of
    the store they take effect together. What a method wrote gives its run a new revision, where it changed anything.
    """

    @abstractmethod
    def put_experiment(self, experiment: Experiment) -> Experiment:
        """Return the experiment of this name, made where it is missing; ids and places are this store's."""

    @abstractmethod
    def put_run(self, run: Run, *, deleted_time: int | None = None) -> bool:
        """Write a run into the experiment that its record names; return whether it was missing.

        Its metrics are not looked at: their points come by `put_points`. Models that are not here are left out.

        Raises:
            InvalidInput: If its id cannot be one.
        """

    @abstractmethod
    def put_points(self, run_id: str, points: Sequence[Metric]) -> int:
        """Write those points of a run that are not there, and return how many these are.

        Raises:
            NotFound: If there is no such run.
        """

    @abstractmethod
    def put_logged_model(self, model: LoggedModel) -> LoggedModel:
        """Write a logged model without its metrics, and return it with the place that its files have here."""

    @abstractmethod
    def put_model_metrics(self, model_id: str, metrics: Sequence[ModelMetric]) -> None:
        """Write metrics of a logged model. Those of runs that are not here are left out."""

    @abstractmethod
    def put_registered_model(self, model: RegisteredModel, versions: Sequence[ModelVersion]) -> None:
        """Write a registered model with its versions, tags and aliases."""


class ColumnKind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"


class OpenTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table as whoever leaves wants it: with ids in place of row numbers, and values in place of bits."""

    name: str
    columns: dict[str, ColumnKind]


class StoreExport(ABC):
    """Everything in a store as it is at one moment."""

    @property
    @abstractmethod
    def tables(self) -> list[OpenTable]:
        """The tables, each after those that it names."""

    @abstractmethod
    def rows(self, table: str, *, chunk: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        """Return the rows of a table in order of their ids, in lists of at most `chunk`: memory stays bounded."""

    @property
    @abstractmethod
    def schema_version(self) -> str:
        """The version of the store's schema, which the tables follow."""
