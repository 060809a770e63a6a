"""From what a person types to the source of MLflow's that it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.transfer.source import Source


@contextlib.contextmanager
def open_mlflow(source: str, *, artifacts: str | None = None) -> Iterator[Source]:
    """Open MLflow's database or folder for reading.

    Args:
        source: A path of either, a `file:` URI, or a database URL.
        artifacts: Where its server keeps what clients call `mlflow-artifacts:/...`.

    Raises:
        NotFound: If there is nothing at a path.
        InvalidInput: If it is no store of MLflow's.
    """
    from mlops_nb.transfer.importers.mlflow_database import MlflowDatabase
    from mlops_nb.transfer.importers.mlflow_files import MlflowFiles

    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        raise InvalidInput(f"{source} is a server.", hint="Give its --backend-store-uri: the database or folder it writes to.")
    if "://" in source and parts.scheme not in ("file", "sqlite"):
        with contextlib.closing(MlflowDatabase(source, Path.cwd(), artifacts=artifacts)) as database:
            yield database
        return
    path = Path(unquote(parts.path[1:] if parts.scheme == "sqlite" else parts.path) if "://" in source else source)
    if not path.exists():
        raise NotFound(f"There is nothing at {path}.")
    if path.is_dir():
        yield MlflowFiles(path, artifacts=artifacts)
        return
    with contextlib.closing(MlflowDatabase.in_file(path, artifacts=artifacts)) as database:
        yield database
