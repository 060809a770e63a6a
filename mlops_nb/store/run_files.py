"""The contract of the files of runs, and of the models that they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import BinaryIO

from mlops_nb.core.records import Artifact


class RunFiles(ABC):
    """Files by the id of their owner and a POSIX path relative to its root. Threads, crashes and errors: as for `TrackingStore`."""

    @abstractmethod
    def list_artifacts(self, run_id: str, path: str = "", *, recursive: bool = False) -> list[Artifact]:
        """Return what is directly in a folder, or with `recursive` all files below it, by path. Nothing there: []."""

    @abstractmethod
    def read_artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        """Return the content of a file in pieces.

        Raises:
            NotFound: If there is no such file.
            InvalidInput: If the path leads out of the run.
        """

    @abstractmethod
    def write_artifact(self, run_id: str, path: str, content: BinaryIO) -> Artifact:
        """Write a file whole, or replace it.

        Raises:
            InvalidInput: If the path leads out of the run.
        """

    @abstractmethod
    def delete_artifact(self, run_id: str, path: str) -> None:
        """Remove a file or a folder with all in it. Nothing there: nothing happens."""

    @abstractmethod
    def write_model_file(self, model_id: str, path: str, content: BinaryIO) -> Artifact:
        """Write a file of a logged model whole, or replace it.

        Raises:
            NotFound: If there is no such model.
            InvalidInput: If the path leads out of the model.
        """
