"""The contract of an artifact store. Every store passes the test class in `tests/contract/artifact_contract.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mlops_nb.core.records import Artifact, Record
from mlops_nb.store.artifacts.paths import Parts


class FileStat(Record, frozen=True, kw_only=True):
    """What is known of a file without reading it. `etag` is another one whenever the content is."""

    size: int
    etag: str


class OpenedFile(ABC):
    """A file that is there. Whoever opened it closes it; `close` may be called twice."""

    stat: FileStat

    @abstractmethod
    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `start` up to, not including, `end`, in pieces of bounded size, all of one version of the file.

        Raises:
            StoreUnreachable: Here or on the way, if they cannot be read to the end.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class SignedUrl(Record, frozen=True, kw_only=True):
    """A URL that lets whoever has it do one thing for a while."""

    url: str
    headers: dict[str, str] = {}


class MultipartUpload(Record, frozen=True, kw_only=True):
    """An upload in parts that has begun: part n goes by PUT to `urls[n - 1]`."""

    upload_id: str
    urls: list[str]


class DirectTransfer(ABC):
    """What clients can do with the object store themselves, past the server. A file is visible when it is complete."""

    @abstractmethod
    def download_url(self, parts: Parts, seconds: int) -> SignedUrl:
        """Return where the file can be read by GET, with ranges, as an attachment."""

    @abstractmethod
    def upload_url(self, parts: Parts, seconds: int) -> SignedUrl:
        """Return where the file can be written by PUT."""

    @abstractmethod
    def begin(self, parts: Parts, count: int, seconds: int) -> MultipartUpload:
        """Begin an upload in `count` parts."""

    @abstractmethod
    def complete(self, parts: Parts, upload_id: str, etags: Sequence[tuple[int, str]]) -> None:
        """Make the file of its parts, given as (number, ETag of the answer to its PUT).

        Raises:
            NotFound: If there is no such upload.
            InvalidInput: If the parts are not those that were sent.
        """

    @abstractmethod
    def abort(self, parts: Parts, upload_id: str) -> None:
        """Drop an upload and its parts. No such upload: nothing happens."""


class ArtifactStore(ABC):
    """Files below one root, by paths taken apart. The paths are checked already: see `check_artifact_path`.

    Threads and processes: any number may use the same root at once.
    Crash: a file becomes visible whole or not at all. What a broken upload left is hidden, and `cleanup` removes it.
    Errors: `NotFound` where a file is missing, `InvalidInput` for a place that cannot be written,
        `StoreUnreachable` when the store cannot serve.

    Attributes:
        uri: The root as clients of the same store could name it, without a slash at its end.
        direct: None where all bytes have to pass through us.
    """

    uri: str

    @property
    def direct(self) -> DirectTransfer | None:
        return None

    @abstractmethod
    def list(self, folder: Parts, *, recursive: bool = False) -> list[Artifact]:
        """Return what is directly in a folder, or with `recursive` all files below it, by path within it. Nothing there: []."""

    @abstractmethod
    def open(self, parts: Parts) -> OpenedFile:
        """Open a file for reading.

        Raises:
            NotFound: If there is no such file.
        """

    @abstractmethod
    def write(self, parts: Parts, content: BinaryIO, *, size: int | None = None) -> int:
        """Write a file whole, or replace it, and return its size. Errors of `content` leave nothing behind.

        Args:
            parts: Its path.
            content: Read to its end, in pieces.
            size: How long it will be, where that is known.
        """

    @abstractmethod
    def delete(self, parts: Parts) -> None:
        """Remove a file, or a folder with all in it. Nothing there: nothing happens."""

    @abstractmethod
    def cleanup(self, older_than_seconds: float) -> int:
        """Remove what uploads left that broke off so long ago; return how many."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections."""

    def read(self, parts: Parts, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Return the content of a file in pieces; it is opened before this returns.

        Raises:
            NotFound: If there is no such file.
        """
        return pieces_of(self.open(parts), start, end)


def pieces_of(file: OpenedFile, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Return the bytes of a file in pieces and close it after the last."""
    try:
        yield from file.pieces(start, end)
    finally:
        file.close()
