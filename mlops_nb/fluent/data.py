"""Data sets made by hand, with MLflow's names: `mlops_nb.data.from_pandas(frame, source="data.csv")` for `log_input`."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_nb.core.datasets import Dataset
from mlops_nb.errors import MlopsError
from mlops_nb.tracking.data.logging import dataset_in_memory, dataset_of


def from_pandas(df: Any, source: Any = None, targets: str | None = None, name: str | None = None, **_mlflows: Any) -> Dataset:
    """Return a DataFrame as a data set, told apart by every value in it.

    Args:
        df: The table; `from_polars` takes one of polars.
        source: Where it is from: a path or an address.
        targets: Taken for MLflow's sake: the column is part of the table.
        name: What to call it.
    """
    return _from_source(dataset_in_memory(df, None, name), source)


from_polars = from_pandas


def from_numpy(features: Any, source: Any = None, targets: Any = None, name: str | None = None, **_mlflows: Any) -> Dataset:
    """Return arrays as a data set, told apart by every value in them.

    Args:
        features: An array.
        source: Where it is from: a path or an address.
        targets: Another array, of as many rows.
        name: What to call it.
    """
    return _from_source(dataset_in_memory(features, targets, name), source)


def _from_source(data: Dataset, source: Any) -> Dataset:
    if source is None:
        return data
    try:
        found = dataset_of(source)
    except MlopsError:  # what MLflow takes for a source may be any text
        return msgspec.structs.replace(data, source=str(source))
    return msgspec.structs.replace(data, source=found.source, source_type=found.source_type)
