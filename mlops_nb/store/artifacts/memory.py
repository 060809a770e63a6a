"""Artifacts in the memory of this process, for trials: `memory://name`."""

from __future__ import annotations

from typing import BinaryIO

from mlops_nb.store.artifacts.remote import RemoteArtifacts


class MemoryArtifacts(RemoteArtifacts):
    """Artifacts that end with the process."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri, package="fsspec", extra="s3")

    def _put(self, path: str, content: BinaryIO, block: int) -> int:
        data = b"".join(iter(lambda: content.read(block), b""))
        with self.errors(path):
            self.fs.pipe_file(path, data)  # `open` would show the file before it is whole
        return len(data)
