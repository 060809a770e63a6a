"""Artifacts in an object store, through its fsspec file system."""

from __future__ import annotations

import contextlib
import importlib
import logging
import posixpath
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from mlops_nb.core.records import Artifact
from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, NotFound, StoreUnreachable
from mlops_nb.store.artifacts.base import ArtifactStore, FileStat, OpenedFile
from mlops_nb.store.artifacts.paths import Parts, is_artifact_path, media_type_of

log = logging.getLogger("mlops_nb.store")

_CHUNK = 1 << 20
_BLOCK = 8 << 20
_MAX_BLOCKS = 9000  # object stores take 10,000 parts
_BLOCK_OF_UNKNOWN = 16 << 20
_TRIES = 3
_NO_TAG = re.compile(r"[^!#-~]")


class RemoteArtifacts(ArtifactStore):
    """The artifacts below a URI of an object store. The connection is made at the first use.

    A file is written in parts that the store joins at the end, so that it is never visible half and at most two
    blocks of it are in memory. Of two large uploads of one name at once Azure refuses the one that ends last.

    Google's store runs on this same code through gcsfs; it is tested with the memory's, S3's and Azure's file systems,
    not against a server of Google's.

    Args:
        uri: `scheme://bucket/prefix`.
        package: That has the file system.
        extra: Of mlops-nb, that brings the package.
        options: For the file system.
    """

    def __init__(self, uri: str, *, package: str, extra: str, options: Mapping[str, Any] | None = None) -> None:
        self.uri = uri.rstrip("/")
        self._scheme = uri.partition("://")[0]
        self._options = dict(options or {})
        self._lock = threading.Lock()
        self._opened: Any = None
        try:
            # Here, so that it shows at the start of a server and not at the first upload.
            importlib.import_module(package)
        except ImportError as error:
            raise MissingDependencyError(package, extra=extra, purpose=f"The artifact root {self.uri}") from error

    @property
    def fs(self) -> Any:
        """The fsspec file system."""
        with self._lock:
            if self._opened is None:
                import fsspec

                with self.errors(self.uri):
                    self._opened = fsspec.filesystem(self._scheme, use_listings_cache=False, skip_instance_cache=True, **self._options)
            return self._opened

    def path(self, parts: Parts) -> str:
        """Return the path of a file or folder as the file system names it.

        Raises:
            InvalidInput: If a name means something to the file system.
        """
        path = "/".join(parts)
        if "?versionid=" in path.lower():
            raise InvalidInput(f"Invalid path: {path[:80]!r}.", hint="An object store would read '?versionId=' as a version.")
        return posixpath.join(str(self.fs._strip_protocol(self.uri)), path) if parts else str(self.fs._strip_protocol(self.uri))

    def list(self, folder: Parts, *, recursive: bool = False) -> list[Artifact]:
        root = self.path(folder)
        found: list[Artifact] = []
        with self.errors(root), contextlib.suppress(NotFound, NotADirectoryError):
            infos = self._below(root) if recursive else self._in(root)
            for info in infos:
                name = str(info["name"])
                path = name.removeprefix(root + "/").rstrip("/")
                # Others may have put names there that no client could ask for, and markers of empty folders.
                if not name.startswith(root + "/") or not is_artifact_path(path):
                    continue
                if info["type"] == "directory":
                    if not recursive:
                        found.append(Artifact(path=path, is_dir=True))
                elif not name.endswith("/"):
                    found.append(Artifact(path=path, file_size=info["size"], media_type=media_type_of(path)))
        return sorted(found, key=lambda artifact: artifact.path)

    def _in(self, root: str) -> Iterable[dict[str, Any]]:
        with self.errors(root):
            return list(self.fs.ls(root, detail=True))

    def _below(self, root: str) -> Iterable[dict[str, Any]]:
        with self.errors(root):
            found = self.fs.find(root, detail=True)
            return list(found.values()) if isinstance(found, dict) else []  # adlfs: a list for what is no folder

    def open(self, parts: Parts) -> OpenedFile:
        path = self.path(parts)
        return _RemoteFile(self, path, self.stat_of(path))

    def stat_of(self, path: str) -> FileStat:
        """Return what the store says of a file."""
        with self.errors(path):
            info = self.fs.info(path)
            if info["type"] != "file":
                raise NotFound(f"There is no artifact file '{path}'.")
            size = int(info["size"])
            mark = next((info[key] for key in ("ETag", "etag", "created", "last_modified") if info.get(key)), "")
            return FileStat(size=size, etag=_NO_TAG.sub("_", str(mark).strip('"')) or f"{size:x}")

    def stream(self, path: str, start: int, end: int, etag: str) -> Iterator[bytes]:
        """Return some of a file in pieces, which is of this ETag if the store can tell."""
        for at in range(start, end, _BLOCK):
            with self.errors(path):
                piece = bytes(self.fs.cat_file(path, start=at, end=min(at + _BLOCK, end)))
            yield piece

    def write(self, parts: Parts, content: BinaryIO, *, size: int | None = None) -> int:
        path = self.path(parts)
        block = _BLOCK_OF_UNKNOWN if size is None else max(_BLOCK, -(-size // _MAX_BLOCKS))
        try:
            return self._put(path, content, block)
        except NotFound as error:
            raise StoreUnreachable(f"'{path}' cannot be written: the bucket of {self.uri} is not there.", hint="Make it.") from error

    def _put(self, path: str, content: BinaryIO, block: int) -> int:
        first = _read(content, _BLOCK)
        if len(first) < _BLOCK:  # one request, and the last of several writers at once wins
            with self.errors(path):
                self.fs.pipe_file(path, first)
            return len(first)
        with self.errors(path):
            file = self.fs.open(path, "wb", block_size=block)
        written = 0
        try:
            piece = first
            while piece:
                with self.errors(path):
                    file.write(piece)
                written += len(piece)
                piece = content.read(_CHUNK)
            with self.errors(path):
                file.close()
        except BaseException:
            self._discard(path, file)
            raise
        return written

    def _discard(self, path: str, file: Any) -> None:
        file.closed = True  # else its finalizer would complete the upload
        try:
            file.discard()
        except Exception:  # the error that led here is the one to tell; `cleanup` removes what stays
            log.warning("A broken upload of %s could not be aborted.", path, exc_info=True)

    def delete(self, parts: Parts) -> None:
        path = self.path(parts)
        found: set[str] = set()
        with contextlib.suppress(NotFound):
            found |= {str(info["name"]) for info in self._below(path) if info["type"] != "directory"}
        with contextlib.suppress(NotFound):
            self.stat_of(path)
            found.add(path)
        self.remove(sorted(found))

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files."""
        for path in paths:
            with self.errors(path):
                self.fs.rm_file(path)

    def cleanup(self, older_than_seconds: float) -> int:
        """Return 0: Google's and Azure's stores drop the parts of uploads that were never completed after a week."""
        return 0

    @contextlib.contextmanager
    def errors(self, path: str) -> Iterator[None]:
        """Turn what the file system raises into errors of ours."""
        try:
            yield
        except MlopsError:
            raise
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound(f"There is no artifact '{path}'.") from None
        except Exception as error:  # each cloud's library raises its own; whatever it is, the store has not served us
            raise StoreUnreachable(
                f"The artifact store {self.uri} cannot serve '{path}': {_reason(error)}.",
                hint="Look at its address, the credentials of the server and their rights.",
            ) from error


class _RemoteFile(OpenedFile):
    def __init__(self, store: RemoteArtifacts, path: str, stat: FileStat) -> None:
        self._store = store
        self._path = path
        self.stat = stat

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        last = self.stat.size if end is None else min(end, self.stat.size)
        at, failures = start, 0
        while at < last:
            try:
                for piece in self._store.stream(self._path, at, last, self.stat.etag):
                    at, failures = at + len(piece), 0
                    yield piece
                if at < last:
                    raise StoreUnreachable(f"The artifact store answered too few bytes of '{self._path}'.", hint="Read it again.")
            except StoreUnreachable:
                failures += 1
                if failures == _TRIES:
                    raise
        if last - start > _BLOCK and self._store.stat_of(self._path).etag != self.stat.etag:
            raise StoreUnreachable(f"The artifact '{self._path}' was replaced while it was read.", hint="Read it again.")

    def close(self) -> None:
        pass


def _read(content: BinaryIO, size: int) -> bytes:
    """Return so many bytes, fewer only at the end: a pipe gives what it has."""
    taken, left = [], size
    while left > 0 and (piece := content.read(min(left, _CHUNK))):
        taken.append(piece)
        left -= len(piece)
    return b"".join(taken)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
