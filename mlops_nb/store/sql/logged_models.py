"""`LoggedModelStore` on a database."""

from __future__ import annotations

from mlops_nb.store.logged_models import LoggedModelStore
from mlops_nb.store.sql.database import Database


class SqlLoggedModels(LoggedModelStore):
    """See `LoggedModelStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
