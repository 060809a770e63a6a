"""Artifacts in a local folder: `<root>/<experiment id>/<run id>/artifacts/<path>`.

A client names a run and a relative POSIX path, never a place on this machine. The path is taken apart here and walked
folder by folder without following links, so that neither the name nor what lies in the folder can lead out of it.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlops_nb.core.records import Artifact
from mlops_nb.errors import InvalidInput, NotFound, StoreUnreachable

_CHUNK = 1 << 20
_MAX_PATH = 2000
_MAX_PART = 250
_TEMPORARY = ".mlops-partial-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_artifact_path(path: str, *, allow_root: bool = False) -> tuple[str, ...]:
    """Return the parts of a relative POSIX path.

    Raises:
        InvalidInput: If it is absolute, leads out (`..`), is over-long, or holds what no file name should.
    """
    if path in ("", ".", "/") and allow_root:
        return ()
    parts = tuple(path.split("/"))
    bad = (
        not path
        or len(path) > _MAX_PATH
        or "\\" in path
        or any(ord(c) < 32 or ord(c) == 127 for c in path)
        or any(part in ("", ".", "..") or len(os.fsencode(part)) > _MAX_PART or part.startswith(_TEMPORARY) for part in parts)
        or (len(parts[0]) == 2 and parts[0][1] == ":")
    )
    if bad:
        shown = path if len(path) <= 80 else path[:80] + "…"
        raise InvalidInput(f"Invalid path: {shown!r}.", hint="An artifact path is relative, with '/' between names, without '..'.")
    return parts


class LocalArtifacts:
    """The artifacts of all runs below one root folder. Any number of threads and processes may use it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entries(self, folder: tuple[str, ...], path: str, *, recursive: bool) -> list[Artifact]:
        """Return the artifacts in a folder of a run by path; see `TrackingStore.list_artifacts`."""
        parts = check_artifact_path(path, allow_root=True)
        found: list[Artifact] = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._open_folder((*folder, *parts)) as fd:
            self._scan(fd, parts, recursive, found)
        return sorted(found, key=lambda artifact: artifact.path)

    def _scan(self, fd: int, prefix: tuple[str, ...], recursive: bool, found: list[Artifact]) -> None:
        with os.scandir(fd) as entries:
            for entry in entries:
                info = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
                path = "/".join((*prefix, entry.name))
                if stat.S_ISDIR(info.st_mode):
                    if not recursive:
                        found.append(Artifact(path=path, is_dir=True))
                        continue
                    inner = os.open(entry.name, _FOLDER, dir_fd=fd)
                    try:
                        self._scan(inner, (*prefix, entry.name), recursive, found)
                    finally:
                        os.close(inner)
                elif stat.S_ISREG(info.st_mode) and not entry.name.startswith(_TEMPORARY):
                    found.append(Artifact(path=path, file_size=info.st_size, media_type=media_type_of(path)))

    def read(self, folder: tuple[str, ...], path: str) -> Iterator[bytes]:
        """Return the content of a file in pieces of 1 MiB; it is opened before this returns."""
        *parents, name = check_artifact_path(path)
        try:
            with self._open_folder((*folder, *parents)) as fd:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"There is no artifact '{path}' here.") from None
        except OSError as error:
            raise NotFound(f"The artifact '{path}' cannot be read: {error.strerror}.") from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise NotFound(f"There is no artifact file '{path}' here.")
        return _pieces(file)

    def write(self, folder: tuple[str, ...], path: str, content: BinaryIO) -> Artifact:
        """Write a file beside its place, sync it and move it in, so that it is never visible half."""
        *parents, name = check_artifact_path(path)
        try:
            with self._open_folder((*folder, *parents), make=True) as fd:
                temporary = _TEMPORARY + secrets.token_hex(8)
                try:
                    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
                    with os.fdopen(file, "wb") as out:
                        shutil.copyfileobj(content, out, _CHUNK)
                        out.flush()
                        os.fsync(out.fileno())
                        size = out.tell()
                    os.replace(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
                except BaseException:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=fd)
                    raise
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            raise InvalidInput(f"The artifact '{path}' cannot be written: a file and a folder would have the same name.") from None
        except OSError as error:
            raise StoreUnreachable(f"The artifact '{path}' cannot be written: {error.strerror}.", hint=f"Look at {self.root}.") from error
        return Artifact(path=path, file_size=size, media_type=media_type_of(path))

    def delete(self, folder: tuple[str, ...], path: str) -> None:
        """Remove a file or a folder; nothing there, nothing happens."""
        *parents, name = check_artifact_path(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._open_folder((*folder, *parents)) as fd:
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)

    @contextlib.contextmanager
    def _open_folder(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        if make:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=fd)
                inner = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)


def media_type_of(path: str) -> str | None:
    """Return the media type that a file's name suggests, or None."""
    if path.endswith(".ipynb"):
        return "application/x-ipynb+json"
    return mimetypes.guess_type(path)[0]


def _pieces(file: int) -> Iterator[bytes]:
    with os.fdopen(file, "rb") as source:
        while piece := source.read(_CHUNK):
            yield piece
