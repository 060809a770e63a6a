"""From a tracking URI to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import TrackingStore


def store_path(uri: str) -> Path:
    """Return the file that a `sqlite:` URI names."""
    return Path(unquote(urlsplit(uri).path[1:]))


def open_store(uri: str, *, create: bool = True, token: str | None = None) -> TrackingStore | None:
    """Open the store that a URI names.

    Args:
        uri: `sqlite:///relative.db`, `sqlite:////absolute.db` (percent-encoded; option `?durability=normal`), or
            `http(s)://host/prefix`.
        create: Make an embedded store that does not exist yet; with False the answer is then None.
        token: For a tracking server.

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
        return SqlStore(path, durability=options.get("durability", "full"))
    if parts.scheme in ("http", "https"):
        from mlops_nb.store.rest import RestStore

        return RestStore(uri, token=token)
    raise InvalidInput(
        f"The tracking URI '{uri}' names no store that mlops_nb can open.",
        hint="Use http(s)://host:port/mlops or sqlite:////path/store.db, or unset it for the project's own store.",
    )
