"""Comparing data: objects in memory and files. The data sets of runs: `mlops_nb.comparing.data`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_nb.core.data_comparison import DataComparison, Known, compare_known
from mlops_nb.core.data_profile import from_json, sketch_from_bytes
from mlops_nb.core.datasets import Dataset, DatasetInput


def compare_data(a: Any, b: Any) -> DataComparison:
    """Compare data with a base: which columns differ, how, and in how many rows.

    Args:
        a: The base: a table, an array, a path or a data set.
        b: What is held against it.
    """
    return compare_known(_known(a, "base"), _known(b, "other"))


def _known(thing: Any, name: str) -> Known:
    from mlops_nb.tracking.data import logging

    if isinstance(thing, DatasetInput):
        thing = thing.dataset
    if isinstance(thing, Dataset):
        return Known(name=thing.name, digest=thing.digest, profile=from_json(thing.profile))
    if isinstance(thing, (str, os.PathLike)):
        return _known(logging.dataset_of(Path(thing) if "://" not in os.fspath(thing) else thing), name)
    from mlops_nb.tracking.data.frames import Part, study

    found = study([Part(data=thing)], name=logging.variable_name(thing) or name)
    sketch = None if found.sketch is None else sketch_from_bytes(found.sketch)
    return Known(name=found.dataset.name, digest=found.dataset.digest, profile=found.profile, sketch=sketch)
