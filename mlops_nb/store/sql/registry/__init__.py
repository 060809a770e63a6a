"""`ModelRegistry` on a database. Transactions are made in `store`; the statements are in the modules beside."""

from mlops_nb.store.sql.registry.store import SqlRegistry

__all__ = ["SqlRegistry"]
