"""`ModelRegistry` on a database."""

from __future__ import annotations

from mlops_nb.store.registry import ModelRegistry
from mlops_nb.store.sql.database import Database


class SqlRegistry(ModelRegistry):
    """See `ModelRegistry`."""

    def __init__(self, database: Database) -> None:
        self._database = database
