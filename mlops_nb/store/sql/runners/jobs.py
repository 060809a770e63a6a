"""Jobs of `%runner run` as rows, and how a machine takes one."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from mlops_nb.core.runner_jobs import MOST_ATTEMPTS, Job, JobState
from mlops_nb.core.runners import RunnerState
from mlops_nb.errors import AlreadyExists, Conflict, IllegalTransition, InvalidInput, NotFound
from mlops_nb.store.sql.runners import rows
from mlops_nb.store.sql.schema import runner_jobs

MAX_RESULTS = 100_000

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PREFIX = re.compile(r"[0-9a-f]{6,31}", re.ASCII)
_WAITING = (JobState.QUEUED.value, JobState.INTERRUPTED.value)
_TAKE_NONE = frozenset({RunnerState.DRAINING, RunnerState.DESTROYING, RunnerState.GONE})
_j = runner_jobs.c


def add(c: sa.Connection, job: Job) -> Job:
    """Write a new job down; see `RunnerLedger.add_job`."""
    if not _ID.fullmatch(job.id):
        raise InvalidInput(f"{job.id[:40]!r} is no id of a job.", hint="An id has 32 hex digits in small letters.")
    if not job.name or len(job.name) > 250:
        raise InvalidInput("A job has a name of 1 to 250 characters.")
    rows.check_times(job.created, job.updated)
    if job.runner_id:
        rows.row_of(c, job.runner_id)
    if c.execute(sa.select(_j.id).where(_j.job_id == job.id)).first() is not None:
        raise AlreadyExists(f"There is a job {job.id} already.")
    values = _values(msgspec.structs.replace(job, revision=1))
    c.execute(runner_jobs.insert().values(job_id=job.id, run_id=job.run_id, **values))
    rows.count(c)
    return decode(values["record"])


def find(c: sa.Connection, text: str) -> Job:
    """Return a job by its id, a beginning of it, or its name (the newest); see `RunnerLedger.job`."""
    conditions = [_j.job_id == text] if _ID.fullmatch(text) else []
    conditions.append(_j.name == text)
    for condition in conditions:
        record = c.execute(sa.select(_j.record).where(condition).order_by(_j.id.desc()).limit(1)).scalar()
        if record is not None:
            return decode(record)
    if _PREFIX.fullmatch(text):
        found = c.execute(sa.select(_j.record).where(_j.job_id.between(text, text + "g")).limit(2)).scalars().all()
        if len(found) > 1:
            raise InvalidInput(f"Several jobs have ids that begin with '{text}'.", hint="Give more digits, or the name.")
        if found:
            return decode(found[0])
    raise _missing(text)


def listed(c: sa.Connection, runner_id: str | None, states: Collection[JobState] | None, max_results: int) -> list[Job]:
    """Return jobs, the newest first."""
    if not 0 < max_results <= MAX_RESULTS:
        raise InvalidInput(f"max_results={max_results} cannot be.", hint=f"Give 1 to {MAX_RESULTS}.")
    query = sa.select(_j.record).order_by(_j.id.desc()).limit(max_results)
    if runner_id is not None:
        query = query.where(_j.runner_id == runner_id)
    if states is not None:
        query = query.where(_j.state.in_([JobState(state).value for state in states]))
    return [decode(record) for record in c.execute(query).scalars()]


def save(c: sa.Connection, job: Job) -> Job:
    """Write a changed job; see `RunnerLedger.save_job`."""
    row = c.execute(sa.select(_j.id, _j.revision, _j.record).where(_j.job_id == job.id)).first()
    if row is None:
        raise _missing(job.id)
    if row.revision != job.revision:
        raise Conflict(
            f"The job '{job.name}' was changed by somebody else meanwhile (revision {row.revision}, not {job.revision}).",
            hint="Read it again and decide anew.",
        )
    before = decode(row.record)
    if before.state.is_over and job.state is not before.state:
        raise IllegalTransition(f"The job '{job.name}' is {before.state} and cannot become {job.state}.", hint="Submit it again.")
    if (before.run_id, before.digest) != (job.run_id, job.digest):
        raise InvalidInput(f"The job '{job.name}' cannot get another run or bundle.", hint="Submit a new one.")
    return _write(c, row.id, job)


def claim(c: sa.Connection, runner_id: str, name: str, now: float) -> Job | None:
    """Give a waiting job to a runner; see `RunnerLedger.claim_job`. Writers take turns, so one caller gets it."""
    runner = rows.decode(rows.row_of(c, runner_id)["record"])
    if name:
        query = sa.select(_j.record).where(_j.runner_id == runner_id, _j.claim == name, _j.state == JobState.RUNNING.value)
        again = c.execute(query.order_by(_j.id).limit(1)).scalar()
        if again is not None:
            return decode(again)
    if runner.state in _TAKE_NONE or runner.drained or runner.interrupted is not None:
        return None
    whose = [runner_id, ""] if runner.request.agent.kind == "notebook" else [runner_id]
    waiting = sa.select(_j.id, _j.record).where(_j.runner_id.in_(whose), _j.state.in_(_WAITING)).order_by(_j.id)
    for row, record in c.execute(waiting).all():
        job = decode(record)
        if job.attempts < MOST_ATTEMPTS and not job.cancel:
            begun = {"attempts": job.attempts + 1, "started": job.started or now, "updated": now, "reason": ""}
            taken = msgspec.structs.replace(job, state=JobState.RUNNING, runner_id=runner_id, **begun)
            return _write(c, row, taken, claim=name[:64] or None)
    return None


def decode(record: str) -> Job:
    """Return the job that a row keeps."""
    return msgspec.json.decode(record, type=Job)


def _write(c: sa.Connection, row: int, job: Job, **more: Any) -> Job:
    values = _values(msgspec.structs.replace(job, revision=job.revision + 1))
    c.execute(runner_jobs.update().where(_j.id == row).values(**values, **more))
    rows.count(c)
    return decode(values["record"])


def _values(job: Job) -> dict[str, Any]:
    record = msgspec.json.encode(job).decode()
    return {"runner_id": job.runner_id, "name": job.name, "state": job.state.value, "revision": job.revision, "record": record}


def _missing(text: str) -> NotFound:
    return NotFound(f"There is no job '{text[:80]}'.", hint="See what there is: mlops-nb runner jobs")
