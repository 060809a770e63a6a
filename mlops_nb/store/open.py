"""From a tracking URI to a store."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from mlops_nb import config
from mlops_nb.errors import InvalidInput
from mlops_nb.store.artifacts import LocalArtifacts, open_artifacts
from mlops_nb.store.base import ServedStore, TrackingStore

_TEAM_ARTIFACTS = "mlartifacts"


def store_path(uri: str) -> Path:
    """Return the file that a `sqlite:` URI names."""
    return Path(unquote(urlsplit(uri).path[1:]))


def open_store(uri: str, *, create: bool = True, token: str | None = None, artifact_root: str | None = None) -> TrackingStore | None:
    """Open the store that a URI names.

    Args:
        uri: `sqlite:///relative.db`, `sqlite:////absolute.db` (percent-encoded; option `?durability=normal`), or
            `postgresql://user:password@host:port/database`, or `http(s)://host/prefix`.
        create: Make an embedded store that does not exist yet; with False the answer is then None.
        token: For a tracking server.
        artifact_root: URI of where a database keeps the files of its runs, see `open_artifacts`. By default what the
            user has set (`MLOPS_NB_ARTIFACT_ROOT`), else the folder `artifacts` beside a SQLite file, or `mlartifacts`.

    Raises:
        InvalidInput: If the URI names no kind of store that we know.
        StoreError: If the store cannot be opened.
    """
    parts = urlsplit(uri)
    if parts.scheme == "sqlite":
        from mlops_nb.store.sql.store import SqlStore

        path = store_path(uri)
        if not create and not path.exists():
            return None
        options = dict(parse_qsl(parts.query))
        root = artifact_root or config.artifact_root(path.parent)
        return SqlStore.in_file(path, artifact_root=root, durability=options.get("durability", "full"))
    if parts.scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        from mlops_nb.store.sql.postgresql import PostgresDatabase
        from mlops_nb.store.sql.store import SqlStore

        return SqlStore(PostgresDatabase(uri), open_artifacts(artifact_root or config.artifact_root() or _TEAM_ARTIFACTS))
    if parts.scheme in ("http", "https"):
        from mlops_nb.store.rest import RestStore

        return RestStore(uri, token=token)
    shown = uri if parts.password is None else uri.replace(f":{parts.password}@", ":***@")
    raise InvalidInput(
        f"The tracking URI '{shown}' names no store that mlops_nb can open.",
        hint="Use http(s)://host:port/mlops or sqlite:////path/store.db, or unset it for the project's own store.",
    )


def open_empty_store() -> ServedStore:
    """Return a store that has nothing but the default experiment, and no file."""
    from mlops_nb.store.sql.sqlite import EmptyDatabase
    from mlops_nb.store.sql.store import SqlStore

    return SqlStore(EmptyDatabase(), LocalArtifacts(Path(os.devnull)))
