"""Artifacts in a local folder, walked folder by folder without following links.

Neither a path that a client names nor what lies in the folder can lead out of the root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mlops_nb.core.records import Artifact
from mlops_nb.errors import InvalidInput, NotFound, StoreFull, StoreUnreachable
from mlops_nb.store.artifacts.base import ArtifactStore, FileStat, OpenedFile
from mlops_nb.store.artifacts.paths import PARTIAL, Parts, is_artifact_path, media_type_of

_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a pipe that somebody put there would hold the reader for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = (FileNotFoundError, NotADirectoryError)


class LocalArtifacts(ArtifactStore):
    """The artifacts below a local folder, which is made when the first file is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = root.absolute().as_uri()

    def list(self, folder: Parts, *, recursive: bool = False) -> list[Artifact]:
        found: list[Artifact] = []
        with self._errors(folder), contextlib.suppress(*_GONE), self._open_folder(folder) as fd:
            _scan(fd, (), recursive, found)
        return sorted(found, key=lambda artifact: artifact.path)

    def open(self, parts: Parts) -> OpenedFile:
        *parents, name = parts
        try:
            with self._open_folder(tuple(parents)) as fd:
                file = os.open(name, _FILE, dir_fd=fd)
        except _GONE:
            raise _missing(parts) from None
        except OSError as error:
            raise NotFound(f"The artifact '{'/'.join(parts)}' cannot be read: {error.strerror}.") from error
        info = os.fstat(file)
        if not stat.S_ISREG(info.st_mode):
            os.close(file)
            raise _missing(parts)
        return _LocalFile(file, info)

    def write(self, parts: Parts, content: BinaryIO, *, size: int | None = None) -> int:
        """Write a file beside its place, sync it and move it in."""
        *parents, name = parts
        with self._errors(parts), self._open_folder(tuple(parents), make=True) as fd:
            temporary = PARTIAL + secrets.token_hex(8)
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
            try:
                with os.fdopen(file, "wb") as out:
                    shutil.copyfileobj(content, out, _CHUNK)
                    out.flush()
                    os.fsync(file)
                    written = out.tell()
                os.replace(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=fd)
                raise
        return written

    def create(self, parts: Parts, content: bytes, *, mode: int = 0o600) -> None:
        """Write a file that is not there yet, into a folder that is.

        Raises:
            FileExistsError: If there is one, a link too.
            OSError: If the folder is not there, is reached through a link, or cannot be written.
        """
        *parents, name = parts
        with self._open_folder(tuple(parents)) as fd:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=fd)
            try:
                with os.fdopen(file, "wb") as out:
                    out.write(content)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=fd)
                raise

    def delete(self, parts: Parts) -> None:
        *parents, name = parts
        with self._errors(parts), contextlib.suppress(*_GONE), self._open_folder(tuple(parents)) as fd:
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)

    def cleanup(self, older_than_seconds: float) -> int:
        limit = time.time() - older_than_seconds
        count = 0
        if self.root.is_dir():
            for _, _, files, fd in os.fwalk(self.root, follow_symlinks=False):
                for name in files:
                    if name.startswith(PARTIAL) and os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime <= limit:
                        os.unlink(name, dir_fd=fd)
                        count += 1
        return count

    @contextlib.contextmanager
    def _errors(self, parts: Parts) -> Iterator[None]:
        path = "/".join(parts)
        try:
            yield
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            raise InvalidInput(f"The artifact '{path}' cannot be written: a file and a folder would have the same name.") from None
        except OSError as error:
            kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreUnreachable
            raise kind(f"The artifact folder cannot serve '{path}': {error.strerror or error}.", hint=f"Look at {self.root}.") from error

    @contextlib.contextmanager
    def _open_folder(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
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


class _LocalFile(OpenedFile):
    def __init__(self, file: int, info: os.stat_result) -> None:
        self._file = os.fdopen(file, "rb", buffering=0)
        # A file is never changed in place, so that another inode or time means other content.
        self.stat = FileStat(size=info.st_size, etag=f"{info.st_mtime_ns:x}-{info.st_ino:x}-{info.st_size:x}")

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        left = (self.stat.size if end is None else min(end, self.stat.size)) - start
        self._file.seek(start)
        while left > 0:
            piece = self._file.read(min(left, _CHUNK))
            if not piece:
                raise StoreUnreachable("An artifact became shorter while it was read.", hint="Read it again.")
            left -= len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()


def _scan(fd: int, prefix: Parts, recursive: bool, found: list[Artifact]) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            path = "/".join((*prefix, entry.name))
            # Others may change the folder meanwhile; and names that no client could ask for are not offered.
            with contextlib.suppress(*_GONE):
                info = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
                if not is_artifact_path(path):
                    continue
                if stat.S_ISDIR(info.st_mode):
                    if not recursive:
                        found.append(Artifact(path=path, is_dir=True))
                        continue
                    inner = os.open(entry.name, _FOLDER, dir_fd=fd)
                    try:
                        _scan(inner, (*prefix, entry.name), recursive, found)
                    finally:
                        os.close(inner)
                elif stat.S_ISREG(info.st_mode):
                    found.append(Artifact(path=path, file_size=info.st_size, media_type=media_type_of(path)))


def _missing(parts: Parts) -> NotFound:
    return NotFound(f"There is no artifact file '{'/'.join(parts)}' here.")
