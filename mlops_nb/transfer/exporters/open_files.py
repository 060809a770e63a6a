"""Open files: a Parquet file for each table, a manifest, and the files of runs, models and traces."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.errors import InvalidInput, MissingDependencyError, NotSupported
from mlops_nb.store.base import ServedStore
from mlops_nb.store.transfer import ColumnKind, OpenTable, StoreExport
from mlops_nb.transfer.exporters.owned_files import copy_files, folder_of, owners
from mlops_nb.transfer.exporters.swap import move_in, unfinished

FORMAT = "mlops-nb/open-files/1"
MANIFEST = "manifest.json"
ARTIFACTS = "artifacts"


class Manifest(msgspec.Struct, kw_only=True):
    """What an export holds. `tables` has the number of rows of each; `problems` says which files stayed behind."""

    format: str = FORMAT
    schema_version: str
    created: int
    tables: dict[str, int] = {}
    files: int = 0
    problems: list[str] = []


def export_open_files(store: ServedStore, folder: str | Path, *, files: bool = True) -> Manifest:
    """Write everything in a store to a folder. Memory is bounded, however long the series are.

    Args:
        store: As it is when this begins.
        folder: Missing, empty, or an earlier export, which is replaced.
        files: Copy the files of runs, models and traces, too.

    Raises:
        MissingDependencyError: If pyarrow is not installed.
        InvalidInput: If something else is in the folder.
    """
    place = Path(folder)
    if place.exists() and any(place.iterdir()) and not (place / MANIFEST).is_file():
        raise InvalidInput(f"{folder} is not empty, and no export.", hint="Give another folder.")
    with unfinished(place) as part, store.export() as export:
        part.mkdir()
        manifest = Manifest(schema_version=export.schema_version, created=time.time_ns() // 1_000_000)
        for table in export.tables:
            manifest.tables[table.name] = _write(export, table, part / f"{table.name}.parquet")
        if files:
            for owner in owners(export):
                try:
                    manifest.files += copy_files(store, owner, part / ARTIFACTS / folder_of(owner))
                except NotSupported as error:
                    manifest.problems.append(f"Files of {owner.owner_id} stay behind: {error}")
        (part / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        move_in(part, place)
    return manifest


def _write(export: StoreExport, table: OpenTable, path: Path) -> int:
    """Write a table and return its number of rows."""
    arrow, parquet = _arrow()
    kinds = {ColumnKind.TEXT: arrow.string(), ColumnKind.INTEGER: arrow.int64(), ColumnKind.FLOAT: arrow.float64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
    rows = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in export.rows(table.name, chunk=50_000):
            columns = zip(*part, strict=True)
            arrays = [arrow.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
            rows += len(part)
    return rows


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError("pyarrow", extra="import", purpose="Writing Parquet") from error
    return pyarrow, pyarrow.parquet
