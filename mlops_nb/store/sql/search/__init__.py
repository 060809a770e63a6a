"""Searching: filters and orders to SQL, and pages that stay in place while records come and go."""

from mlops_nb.store.sql.search.fragment import Sql
from mlops_nb.store.sql.search.pages import CHUNK, chunks, in_order, select_ids
from mlops_nb.store.sql.search.planning import Partition
from mlops_nb.store.sql.search.subjects import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    TRACES,
    Subject,
)

__all__ = [
    "CHUNK",
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MODEL_VERSIONS",
    "REGISTERED_MODELS",
    "RUNS",
    "TRACES",
    "Partition",
    "Sql",
    "Subject",
    "chunks",
    "in_order",
    "select_ids",
]
