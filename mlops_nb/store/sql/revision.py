"""The store-wide revision: every change of a run takes the next one, so that followers can ask for what is new.

Writers take turns, so revisions become visible in the order in which they are given.
"""

from __future__ import annotations

import sqlalchemy as sa

from mlops_nb.store.sql.schema import store_state

_MINE = store_state.c.name == "revision"
_CURRENT = sa.select(store_state.c.value).where(_MINE)
_FOLLOWING = store_state.update().where(_MINE).values(value=store_state.c.value + sa.bindparam("count")).returning(store_state.c.value)


def current(c: sa.Connection) -> int:
    """Return the revision of the last change."""
    return int(c.execute(_CURRENT).scalar_one())


def following(c: sa.Connection, count: int = 1) -> int:
    """Return the revision that a change gets; of `count` changes the last one's."""
    return int(c.execute(_FOLLOWING, {"count": count}).scalar_one())
