"""What is in a store, to compare."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mlops_nb.store.base import ServedStore
from mlops_nb.store.sql.schema import metadata
from mlops_nb.store.sql.store import SqlStore


def content(store: ServedStore) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that an export shows, floats by their text: NaN is NaN."""
    with store.export() as export:
        return {table.name: sorted(tuple(map(_plain, row)) for part in export.rows(table.name) for row in part) for table in export.tables}


def _plain(value: object) -> str:
    return repr(value)


def rows(store: SqlStore) -> dict[str, list[Any]]:
    """Return every row of every table, numbers and revisions too."""
    with store.database.read() as c:
        return {table.name: sorted(map(repr, c.execute(sa.select(table)))) for table in metadata.tables.values()}


def files(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
