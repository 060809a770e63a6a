"""The store-wide revision: every change of a run takes the next one, so that followers can ask for what is new.

Writers take turns, so revisions become visible in the order in which they are given.
"""

from __future__ import annotations

import sqlalchemy as sa

from mlops_nb.store.sql.hot import Hot

_CURRENT = Hot("SELECT value FROM store_state WHERE name = 'revision'")
_FOLLOWING = Hot("UPDATE store_state SET value = value + ? WHERE name = 'revision' RETURNING value")


def current(c: sa.Connection) -> int:
    """Return the revision of the last change."""
    return int(_CURRENT.rows(c)[0][0])


def following(c: sa.Connection, count: int = 1) -> int:
    """Return the revision that a change gets; of `count` changes the last one's."""
    return int(_FOLLOWING.rows(c, count)[0][0])
