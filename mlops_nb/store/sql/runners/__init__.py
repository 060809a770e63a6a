"""`RunnerLedger` on a database: `rows` has the runners, `machines` what their agents do, `jobs` what they execute."""

from mlops_nb.store.sql.runners.store import SqlRunners

__all__ = ["SqlRunners"]
