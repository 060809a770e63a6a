"""Runners, what happened to them, what their machines are told and tell, and the jobs that they execute."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table

from mlops_nb.store.sql.schema.types import BIG_ID, String, Text, metadata

# `record` is the whole runner as JSON; the columns beside it are what is looked for. Of the agent's token only a hash is kept.
runners = Table(
    "runners",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("runner_id", String(32), nullable=False, unique=True),
    Column("name", String(48), nullable=False),
    Column("state", String(12), nullable=False),
    Column("created", Double, nullable=False),
    Column("ended", Double),
    Column("revision", Integer, nullable=False),
    Column("record", Text, nullable=False),
    Column("agent", String(64), unique=True),
    Index("runners_by_name", "name"),
    Index("runners_by_state", "state", "created"),
)

runner_events = Table(
    "runner_events",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("runner", ForeignKey("runners.id"), nullable=False),
    Column("record", Text, nullable=False),
    Index("runner_events_by_runner", "runner", "id"),
)

# `ticket` is a hash; `secret` is encrypted by a key that is not here, and gone when the ticket has been redeemed.
runner_tickets = Table(
    "runner_tickets",
    metadata,
    Column("runner", ForeignKey("runners.id"), primary_key=True),
    Column("ticket", String(64), nullable=False, unique=True),
    Column("secret", Text),
    Column("expires", Double, nullable=False),
    sqlite_with_rowid=False,
)

# Pieces of what a machine has said; `start` counts the bytes before it.
runner_logs = Table(
    "runner_logs",
    metadata,
    Column("runner", ForeignKey("runners.id"), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("stop", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

# `claim` is what the machine has called its asking, so that it gets the same job where the answer was lost.
runner_jobs = Table(
    "runner_jobs",
    metadata,
    Column("id", BIG_ID, primary_key=True),
    Column("job_id", String(32), nullable=False, unique=True),
    Column("runner_id", String(32), nullable=False),
    Column("run_id", String(64), nullable=False),
    Column("name", String(250), nullable=False),
    Column("state", String(12), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("record", Text, nullable=False),
    Column("claim", String(64)),
    Index("runner_jobs_by_runner", "runner_id", "state", "id"),
    Index("runner_jobs_by_name", "name"),
)

# Runs that a machine has begun besides those of its jobs: only these may it write.
runner_runs = Table(
    "runner_runs",
    metadata,
    Column("runner", ForeignKey("runners.id"), primary_key=True),
    Column("run_id", String(64), primary_key=True),
    sqlite_with_rowid=False,
)

# Which process does what only one at a time shall do, and until when (s since 1970) it is believed to live.
runner_holds = Table(
    "runner_holds",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("expires", Double, nullable=False),
    sqlite_with_rowid=False,
)

# One row: whose machines they are.
installations = Table(
    "installations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("installation", String(64), nullable=False),
)
