"""All points of a metric in pieces: however many there are, only one piece is in memory."""

from __future__ import annotations

from collections.abc import Iterator

from mlops_nb.store.base import MetricColumns
from mlops_nb.store.sql import runs
from mlops_nb.store.sql.bits import all_from_bits
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.hot import Hot

_PIECE = 20_000
_FIRST = Hot(
    "SELECT step, timestamp, bits FROM metric_points WHERE run = ? AND key = (SELECT id FROM metric_keys WHERE name = ?) "
    "ORDER BY step, timestamp, bits LIMIT ?"
)
_FOLLOWING = Hot(
    "SELECT step, timestamp, bits FROM metric_points WHERE run = ? AND key = (SELECT id FROM metric_keys WHERE name = ?) "
    "AND (step, timestamp, bits) > (?, ?, ?) ORDER BY step, timestamp, bits LIMIT ?"
)


def pieces(database: Database, run_id: str, key: str) -> Iterator[MetricColumns]:
    """Yield the points in order.

    No transaction stays open between two pieces, however slowly they are taken: points that are logged meanwhile are
    seen where they come later in the order.
    """
    with database.read() as c:
        run = runs.row_id(c, run_id)
        rows = _FIRST.rows(c, run, key, _PIECE)
    while rows:
        values = all_from_bits([row[2] for row in rows])
        yield MetricColumns([row[0] for row in rows], [row[1] for row in rows], values)
        if len(rows) < _PIECE:
            return
        with database.read() as c:
            rows = _FOLLOWING.rows(c, run, key, *rows[-1], _PIECE)
