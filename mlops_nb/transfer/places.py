"""Reading the files at a place that a record of MLflow's names: a path, a file: URI, or an object store's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from mlops_nb.errors import StoreUnreachable
from mlops_nb.transfer.source import SourceFile

_PROXIED = ("mlflow-artifacts", "http", "https")


def local_path(uri: str, base: Path) -> Path | None:
    """Return the path that a URI names, or None; relative ones begin at `base`."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return base / unquote(parts.path)
    return base / uri if not parts.scheme else None


def files_at(uri: str, base: Path, server_files: str | None) -> Iterator[SourceFile]:
    """Return all files below a place.

    Args:
        uri: The place.
        base: Where relative paths begin.
        server_files: Where a server of MLflow's keeps what its clients call `mlflow-artifacts:/...`.

    Raises:
        StoreUnreachable: If it cannot be read.
    """
    if urlsplit(uri).scheme in _PROXIED:
        if server_files is None:
            raise StoreUnreachable(f"The files at {uri} are behind MLflow's server.", hint="Say where it keeps them: --source-artifacts.")
        path = urlsplit(uri).path.partition("/mlflow-artifacts/artifacts/")[2] or urlsplit(uri).path
        uri = f"{server_files.rstrip('/')}/{path.lstrip('/')}"
    folder = local_path(uri, base)
    return _remote(uri) if folder is None else _local(folder)


def _local(folder: Path) -> Iterator[SourceFile]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield SourceFile(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, open=partial(_open_local, path))


def _open_local(path: Path) -> BinaryIO:
    return path.open("rb")


def _remote(uri: str) -> Iterator[SourceFile]:
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(uri)
        found = system.find(root, detail=True)
    except Exception as error:  # every file system of fsspec has errors of its own
        raise StoreUnreachable(f"The files at {uri} cannot be read: {error}.", hint="Are its package and its credentials there?") from error
    for path, info in sorted(found.items()):
        yield SourceFile(path=path.removeprefix(root).lstrip("/"), size=int(info["size"]), open=partial(_open, system, path))


def _open(system: object, path: str) -> BinaryIO:
    import fsspec

    return cast(BinaryIO, cast(fsspec.AbstractFileSystem, system).open(path, "rb"))
