"""The contract of what runs are imported from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from mlops_nb.core.logged_models import LoggedModel
from mlops_nb.core.records import Experiment, Metric, Run
from mlops_nb.core.registry import ModelVersion, RegisteredModel


class SourceRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run without its points. Its `artifact_uri` says where the source has its files."""

    run: Run
    deleted_time: int | None = None


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a run or model. `path` is relative to its root."""

    path: str
    size: int
    open: Callable[[], BinaryIO]


class Source(ABC):
    """Something that experiments are read from, and never written to. Ids of experiments are the source's own."""

    @abstractmethod
    def experiments(self) -> Iterator[Experiment]:
        """Return the experiments, deleted ones too."""

    @abstractmethod
    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        """Return the runs of an experiment, deleted ones too."""

    @abstractmethod
    def points(self, run_id: str) -> Iterator[Metric]:
        """Return the points of a run one after the other, those of a metric in order where that is possible."""

    def models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """Return the logged models of an experiment, deleted ones too."""
        return iter(())

    def registered_models(self) -> Iterator[tuple[RegisteredModel, list[ModelVersion]]]:
        """Return the registered models, each with its versions."""
        return iter(())

    def traces(self, experiment_id: str) -> int:
        """Return how many traces an experiment has, which stay behind."""
        return 0

    @abstractmethod
    def files(self, uri: str) -> Iterator[SourceFile]:
        """Return the files at a place that a run or model names.

        Raises:
            StoreUnreachable: If the place cannot be read.
        """
