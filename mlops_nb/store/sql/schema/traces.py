"""Traces: what is known of each. Spans are kept as artifacts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table

from mlops_nb.store.sql.schema.types import BIG_ID, String, Text, metadata

traces = Table(
    "traces",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("trace_id", String(64), nullable=False, unique=True),
    Column("experiment_id", ForeignKey("experiments.id"), nullable=False),
    Column("client_request_id", String(250)),
    Column("request_time", BigInteger, nullable=False),
    Column("duration_ms", BigInteger),
    Column("state", String(20), nullable=False),
    Column("request_preview", Text),
    Column("response_preview", Text),
    Index("traces_by_time", "experiment_id", "request_time", "trace_id"),
)

trace_tags = Table(
    "trace_tags",
    metadata,
    Column("trace", ForeignKey("traces.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("trace_tags_by_key", "key", "trace"),
    sqlite_with_rowid=False,
)

trace_metadata = Table(
    "trace_metadata",
    metadata,
    Column("trace", ForeignKey("traces.id"), primary_key=True),
    Column("key", String(250), primary_key=True),
    Column("value", Text, nullable=False),
    Index("trace_metadata_by_key", "key", "trace"),
    sqlite_with_rowid=False,
)

# `body` is the assessment in MLflow's JSON form.
trace_assessments = Table(
    "trace_assessments",
    metadata,
    Column("trace", ForeignKey("traces.id"), primary_key=True),
    Column("assessment_id", String(64), primary_key=True),
    Column("body", Text, nullable=False),
    sqlite_with_rowid=False,
)

# By ids and not by rows: a trace may be linked before it arrives.
trace_runs = Table(
    "trace_runs",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("trace_id", String(64), primary_key=True),
    Index("trace_runs_by_trace", "trace_id", "run_id"),
    sqlite_with_rowid=False,
)
