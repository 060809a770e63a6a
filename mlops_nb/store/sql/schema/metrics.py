"""Metrics: names, points, blocks of long series, and the latest point of each.

Metric names are interned (`metric_keys`), and a point is its whole key: (run, metric, step, timestamp, bits), so that the
same point sent twice is stored once. `bits` are the 64 bits of the value: databases alter NaN, infinities and -0.0,
integers they keep. `latest_metrics` repeats the newest point of each metric with a plain `value` (NULL for NaN) that can
be compared and sorted, and counts the points: `points` in all, `loose` after the last block. `metric_blocks` has a row
for each stretch of a long series, with its ends and extremes, from which charts are drawn without reading the points.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, Table, UniqueConstraint

from mlops_nb.store.sql.schema.types import String, metadata

metric_keys = Table(
    "metric_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(250), nullable=False),
    UniqueConstraint("name"),
)

metric_points = Table(
    "metric_points",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("bits", BigInteger, primary_key=True),
    Column("cell", Integer),
    sqlite_with_rowid=False,
)

metric_blocks = Table(
    "metric_blocks",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("first_step", BigInteger, primary_key=True),
    Column("first_timestamp", BigInteger, primary_key=True),
    Column("first_bits", BigInteger, primary_key=True),
    Column("last_step", BigInteger, nullable=False),
    Column("last_timestamp", BigInteger, nullable=False),
    Column("last_bits", BigInteger, nullable=False),
    Column("points", Integer, nullable=False),
    # Of a block that holds nothing but NaN the extremes are NULL.
    Column("low_step", BigInteger),
    Column("low_timestamp", BigInteger),
    Column("low_bits", BigInteger),
    Column("high_step", BigInteger),
    Column("high_timestamp", BigInteger),
    Column("high_bits", BigInteger),
    sqlite_with_rowid=False,
)

latest_metrics = Table(
    "latest_metrics",
    metadata,
    Column("run", ForeignKey("runs.id"), primary_key=True),
    Column("key", ForeignKey("metric_keys.id"), primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("value", Double),
    Column("bits", BigInteger, nullable=False),
    Column("cell", Integer),
    Column("points", BigInteger, nullable=False, server_default="0"),
    Column("loose", Integer, nullable=False, server_default="0"),
    Index("latest_metrics_by_value", "key", "value", "run"),
    sqlite_with_rowid=False,
)
