"""Data in memory as a data set: a fingerprint of every column over all of its rows."""

from __future__ import annotations

import json
import logging
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mlops_nb.core.data_profile import BLOCK_ROWS, ColumnProfile, DataProfile, Sketch, sketch_to_bytes, to_json
from mlops_nb.core.datasets import Dataset

logger = logging.getLogger("mlops_nb")

MAX_SKETCH = 16_000_000
"""How large a sketch of rows may get (bytes); a larger data set has one of blocks."""

DIGEST_BYTES = 16
DEFAULT_NAME = "dataset"
_MAX_NAME = 250


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some columns of a data set. `name` is that of the column where it has none itself."""

    data: Any
    name: str = ""
    role: str = ""


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A data set with its profile as records and the content of its sketch."""

    dataset: Dataset
    profile: DataProfile
    sketch: bytes | None = None


def fingerprint(obj: Any, name: str | None = None) -> Dataset:
    """Return data in memory as a data set whose digest depends on every value, type and name in it.

    Never raises: what is no table, array or list counts by what can be seen of it.

    Args:
        obj: A table or column of pandas, polars or pyarrow, an array of numpy, scipy or torch, a list or dict of values.
        name: What to call it.
    """
    return study([Part(data=obj)], name=name).dataset


def study(parts: Sequence[Part], *, name: str | None = None, source: Dataset | None = None, shows_values: bool = True) -> Study:
    """Look all of the data over, once.

    Args:
        parts: Of equally many rows; the first says how many.
        name: What to call it.
        source: A data set whose source is this one's.
        shows_values: Whether levels and ends may be kept, which are values of the data.
    """
    title = (name or (source.name if source else DEFAULT_NAME))[:_MAX_NAME]
    try:
        profile, sketch, tensors = _look_over(parts)
    except Exception:  # whatever a library's object does wrong, the training goes on
        logger.debug("no columns could be read of %s", type(parts[0].data), exc_info=True)
        return _unknown(parts, title, source)
    if not shows_values:
        hidden = [msgspec.structs.replace(c, low=None, high=None, levels=None, edges=[], counts=[]) for c in profile.columns]
        profile = msgspec.structs.replace(profile, columns=hidden)
    identity = [[c.name, c.name_type, c.role, c.dtype, c.fingerprint] for c in profile.columns]
    digest = _digest(msgspec.json.encode([profile.rows, identity]))
    if sketch is not None:
        profile = msgspec.structs.replace(profile, sketch=sketch_path(title, digest))
    dataset = Dataset(
        name=title,
        digest=digest,
        source_type=source.source_type if source else "code",
        source=source.source if source else '{"tags": {}}',
        schema=_schema(profile, tensors),
        profile=to_json(profile),
    )
    return Study(dataset=dataset, profile=profile, sketch=None if sketch is None else sketch_to_bytes(sketch))


def sketch_path(name: str, digest: str) -> str:
    """Return the artifact that holds the sketch of a data set."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".")[:80] or DEFAULT_NAME
    return f"data/{safe}-{digest[:16]}.sketch"


def _look_over(parts: Sequence[Part]) -> tuple[DataProfile, Sketch | None, bool]:
    import numpy as np

    from mlops_nb.tracking.data.tables import groups_of, row_count

    rows = row_count(parts[0].data)
    if rows is None:
        raise TypeError("no rows")
    width = sum(_width(part.data) for part in parts)
    by_row = rows * (2 * width + 4) <= MAX_SKETCH
    whole = np.zeros(rows, dtype=np.uint64) if by_row else None
    profiles: list[ColumnProfile] = []
    of_column: list[array[int]] = []
    for part in parts:
        groups = groups_of(part.data, name=part.name, role=part.role)
        if groups is None:
            raise TypeError("no columns")
        for group in groups:
            short = [np.empty(rows, dtype=np.uint16) for _ in group] if by_row else []
            for first in range(0, rows, BLOCK_ROWS):
                last = min(rows, first + BLOCK_ROWS)
                for place, column in enumerate(group):
                    hashes = column.feed(first, last, by_row=by_row)
                    if hashes is not None and whole is not None:
                        short[place][first:last] = hashes >> np.uint64(48)
                        whole[first:last] *= np.uint64(0x9E3779B97F4A7C15)
                        whole[first:last] += hashes
            for place, column in enumerate(group):
                profiles.append(column.profile())
                numbers: array[int] = array("H" if by_row else "Q")
                numbers.frombytes(short[place].tobytes() if by_row else b"".join(_native(block[:8]) for block in column.blocks))
                of_column.append(numbers)
    of_rows: array[int] = array("I")
    if whole is not None:
        of_rows.frombytes((whole >> np.uint64(32)).astype(np.uint32).tobytes())
    sketch = Sketch(rows=rows, block=1 if by_row else BLOCK_ROWS, of_column=of_column, of_rows=of_rows)
    is_table = any(hasattr(part.data, "columns") or isinstance(part.data, dict) for part in parts)
    profile = DataProfile(kind="table" if is_table else "array", rows=rows, columns=profiles)
    return profile, sketch, not is_table


def _native(block: bytes) -> bytes:
    return block if sys.byteorder == "little" else block[::-1]


def _width(data: Any) -> int:
    shape = getattr(data, "shape", None)
    if isinstance(data, dict):
        return len(data)
    return int(shape[1]) if shape is not None and len(shape) == 2 and not hasattr(data, "tocsr") else 1


def _unknown(parts: Sequence[Part], name: str, source: Dataset | None) -> Study:
    """Return a data set of which only what Python shows can be told."""
    from mlops_nb.tracking.data.objects import encoded

    profile = DataProfile(kind="object")
    kinds: Iterable[str] = (type(part.data).__qualname__ for part in parts)
    dataset = Dataset(
        name=name,
        digest=_digest(b"".join(encoded(part.data) for part in parts)),
        source_type=source.source_type if source else "code",
        source=source.source if source else json.dumps({"tags": {}, "type": ", ".join(kinds)}),
        profile=to_json(profile),
    )
    return Study(dataset=dataset, profile=profile)


def _digest(content: bytes) -> str:
    from blake3 import blake3

    return str(blake3(content).hexdigest(DIGEST_BYTES))


def _schema(profile: DataProfile, tensors: bool) -> str | None:
    """Return the schema in MLflow's form: columns of a table, or one tensor."""
    columns = [c for c in profile.columns if c.role != "index"]
    if not columns:
        return None
    if tensors:
        features, targets = (_tensor([c for c in columns if bool(c.role) == is_target]) for is_target in (False, True))
        return json.dumps({"mlflow_tensorspec": {"features": features, "targets": targets}})
    return json.dumps({"mlflow_colspec": [{"type": _type_of(c.dtype), "name": c.name, "required": not c.nulls} for c in columns]})


def _tensor(columns: Sequence[ColumnProfile]) -> str | None:
    if not columns:
        return None
    dtype, _, inner = columns[0].dtype.partition("[")
    shape = [-1, len(columns)] if len(columns) > 1 else [-1]
    if inner:
        shape = [-1, *(int(size) for size in inner.rstrip("]").split("x") if size.isdigit())]
    return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": dtype.split(" ")[0], "shape": shape}}])


def _type_of(dtype: str) -> str:
    low = dtype.lower()
    known = {
        "long": ("int64", "uint32"),
        "integer": ("int32", "int16", "int8", "uint8", "uint16"),
        "double": ("float64", "double"),
        "float": ("float32", "float16", "halffloat", "float"),
        "boolean": ("bool",),
        "datetime": ("datetime", "timestamp", "date"),
        "string": ("str", "object", "category", "large_string", "dictionary", "categorical", "enum"),
    }
    return next((name for name, starts in known.items() if low.startswith(starts)), "binary" if "binary" in low else "string")
