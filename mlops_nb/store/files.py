"""The files of runs, logged models and traces: from an owner and a relative path to a place in the artifact store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from mlops_nb.core.artifacts import FOLDER, PROXY_SCHEME, ArtifactOwner, OwnerKind
from mlops_nb.core.records import Artifact
from mlops_nb.errors import InvalidInput, NotFound, NotSupported
from mlops_nb.store.artifacts.base import ArtifactStore, DirectTransfer, MultipartUpload, OpenedFile, SignedUrl, pieces_of
from mlops_nb.store.artifacts.paths import Parts, check_artifact_path, media_type_of

_KINDS = frozenset(OwnerKind)


class OwnedFiles:
    """The files of owners in an artifact store. Paths are POSIX, relative to the owner's root, and checked here.

    An owner whose URI is `mlflow-artifacts:/...` has its files in a folder named by ids only, whatever else the URI says.
    One whose URI names a place below the store's own root has them there, where its clients put them. All others are
    between the client and the place it chose: they are neither read nor written here.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def list(self, owner: ArtifactOwner, path: str = "", *, recursive: bool = False) -> list[Artifact]:
        """Return what is directly in a folder, or with `recursive` all files below it, by path. Nothing there: []."""
        inner = check_artifact_path(path, allow_root=True)
        found = self._store.list((*self._root(owner), *inner), recursive=recursive)
        return [msgspec.structs.replace(one, path="/".join((*inner, one.path))) for one in found] if inner else found

    def open(self, owner: ArtifactOwner, path: str) -> OpenedFile:
        """Open a file for reading.

        Raises:
            NotFound: If there is no such file.
        """
        try:
            return self._store.open(self._place(owner, path))
        except NotFound:
            raise _missing(path) from None

    def read(self, owner: ArtifactOwner, path: str) -> Iterator[bytes]:
        """Return the content of a file in pieces; it is opened before this returns."""
        return pieces_of(self.open(owner, path))

    def write(self, owner: ArtifactOwner, path: str, content: BinaryIO, *, size: int | None = None) -> Artifact:
        """Write a file whole, or replace it."""
        written = self._store.write(self._place(owner, path), content, size=size)
        return Artifact(path=path, file_size=written, media_type=media_type_of(path))

    def delete(self, owner: ArtifactOwner, path: str = "") -> None:
        """Remove a file or a folder with all in it; "" is everything of the owner. Nothing there: nothing happens."""
        parts = check_artifact_path(path, allow_root=True)
        root = self._root(owner)
        self._store.delete((*root, *parts) if parts else root[:-1])

    def cleanup(self, older_than_seconds: float) -> int:
        """Remove what uploads left that broke off so long ago; return how many."""
        return self._store.cleanup(older_than_seconds)

    # -- past the server

    @property
    def has_direct_transfer(self) -> bool:
        """Whether clients can be sent to the object store itself."""
        return self._store.direct is not None

    def download_url(self, owner: ArtifactOwner, path: str, seconds: int) -> tuple[SignedUrl, int]:
        """Return where a file can be read by GET, and its size.

        Raises:
            NotSupported: If the store has no such URLs.
            NotFound: If there is no such file.
        """
        direct = self._direct("Presigned download")
        with_size = self.open(owner, path)
        with_size.close()
        return direct.download_url(self._place(owner, path), seconds), with_size.stat.size

    def upload_url(self, owner: ArtifactOwner, path: str, seconds: int) -> SignedUrl:
        """Return where a file can be written by PUT.

        Raises:
            NotSupported: If the store has no such URLs.
        """
        return self._direct("Presigned upload").upload_url(self._place(owner, path), seconds)

    def begin_upload(self, owner: ArtifactOwner, path: str, count: int, seconds: int) -> MultipartUpload:
        """Begin an upload in parts.

        Raises:
            NotSupported: If the store takes no parts from clients.
        """
        return self._direct("Multipart upload").begin(self._place(owner, path), count, seconds)

    def complete_upload(self, owner: ArtifactOwner, path: str, upload_id: str, etags: Sequence[tuple[int, str]]) -> None:
        """Make the file of its parts."""
        self._direct("Multipart upload").complete(self._place(owner, path), upload_id, etags)

    def abort_upload(self, owner: ArtifactOwner, path: str, upload_id: str) -> None:
        """Drop an upload and its parts."""
        self._direct("Multipart upload").abort(self._place(owner, path), upload_id)

    def _direct(self, what: str) -> DirectTransfer:
        if self._store.direct is None:
            # MLflow's clients know these words and send the file through the server then.
            raise NotSupported(
                f"{what} is not supported for the current artifact repository.", hint="Send or fetch the file through the server."
            )
        return self._store.direct

    # -- places

    def _place(self, owner: ArtifactOwner, path: str) -> Parts:
        return (*self._root(owner), *check_artifact_path(path))

    def _root(self, owner: ArtifactOwner) -> Parts:
        """Return the folder of an owner's files below the root of the store.

        Raises:
            InvalidInput: If they are elsewhere.
        """
        if urlsplit(owner.uri).scheme == PROXY_SCHEME:
            ids = [part for part in (owner.experiment_id, owner.kind.value, owner.owner_id, FOLDER) if part]
            # An id that clients chose must not name the folder of others.
            if "/" in owner.owner_id or owner.owner_id in _KINDS:
                raise InvalidInput(f"'{owner.owner_id[:80]}' can own no files.", hint="Use an id of letters and digits.")
            return check_artifact_path("/".join(ids))
        below = owner.uri.removeprefix(self._store.uri + "/")
        if below == owner.uri:
            raise InvalidInput(
                f"The files of '{owner.owner_id}' are at {owner.uri[:200]}, which this server does not serve.",
                hint="Read and write them there, or use an experiment whose artifact location is below this server's artifact root.",
            )
        parts, own = check_artifact_path(below), tuple(part for part in (owner.kind.value, owner.owner_id, FOLDER) if part)
        if parts[-len(own) :] != own:
            raise InvalidInput(f"{owner.uri[:200]} is not the folder of '{owner.owner_id[:80]}'.")
        return parts


def _missing(path: str) -> NotFound:
    return NotFound(f"There is no artifact file '{path}' here.")
