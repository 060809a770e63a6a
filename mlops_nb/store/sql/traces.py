"""`TraceStore` on a database."""

from __future__ import annotations

from mlops_nb.store.sql.database import Database
from mlops_nb.store.traces import TraceStore


class SqlTraces(TraceStore):
    """See `TraceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
