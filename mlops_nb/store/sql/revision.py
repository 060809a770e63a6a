"""The store-wide revision: every change of a run takes the next one, so that followers can ask for what is new.

Writers take turns, so revisions become visible in the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.store.sql.hot import Hot
from mlops_nb.store.sql.schema import runs

_CURRENT = Hot("SELECT value FROM store_state WHERE name = 'revision'")
_FOLLOWING = Hot("UPDATE store_state SET value = value + ? WHERE name = 'revision' RETURNING value")


def current(c: sa.Connection) -> int:
    """Return the revision of the last change."""
    return int(_CURRENT.rows(c)[0][0])


def following(c: sa.Connection, count: int = 1) -> int:
    """Return the revision that a change gets; of `count` changes the last one's."""
    return int(_FOLLOWING.rows(c, count)[0][0])


def change_runs(c: sa.Connection, rows: Sequence[int], **values: Any) -> None:
    """Set columns of runs, by their rows. Each gets a revision of its own, so that a follower can read them page by page."""
    if rows:
        base = following(c, len(rows)) - len(rows)
        statement = runs.update().where(runs.c.id == sa.bindparam("row")).values(**values, revision=sa.bindparam("new"))
        c.execute(statement, [{"row": row, "new": base + number} for number, row in enumerate(rows, start=1)])
