"""Keys of rows: the same row has the same 64 bits in every run, whatever stands around it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mlops_nb.tracking.data.columns import Array, mix
from mlops_nb.tracking.data.tables import groups_of, row_count

_STEP = np.uint64(0x9E3779B97F4A7C15)


def row_keys(thing: Any) -> Array | None:
    """Return a hash of each row of a table, array or list, over its columns without an index; None for what has no rows.

    The order of the columns counts, that of the rows does not.
    """
    rows = row_count(thing)
    groups = None if rows is None else groups_of(thing)
    if groups is None or rows is None:
        return None
    whole = np.zeros(rows, dtype=np.uint64)
    for group in groups:
        for column in group:
            if column.role != "index":
                hashes = column.feed(0, rows, by_row=True)
                if hashes is None:
                    return None
                whole *= _STEP
                whole += hashes
    return mix(whole)


def index_keys(thing: Any) -> Array | None:
    """Return a hash of each label of a pandas object's index; None where it only counts the rows."""
    pandas = sys.modules.get("pandas")
    index = getattr(thing, "index", None)
    if pandas is None or not isinstance(index, pandas.Index):
        return None
    if isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1:
        return None
    return row_keys(index.to_frame(index=False))


def combined(first: Array, second: Array) -> Array:
    """Return keys of pairs."""
    return mix(first * _STEP + second)
