"""`SqlRunners`: the contract on a database. Each method is one transaction, synced when it returns."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager

import sqlalchemy as sa

from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import Heartbeat, Orders, Runner, RunnerEvent, RunnerState
from mlops_nb.errors import PermissionDenied
from mlops_nb.store.runners import ENV_INSTALLATION, TICKET_SECONDS, LogPage, RunnerLedger, checked_installation
from mlops_nb.store.secrets import SecretBox
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.runners import jobs, machines, rows
from mlops_nb.store.sql.schema import installations, runner_holds
from mlops_nb.store.sql.upsert import insert


class SqlRunners(RunnerLedger):
    """See `RunnerLedger`."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._read = database.read
        self._box = box

    def _write(self) -> AbstractContextManager[sa.Connection]:
        return self._database.write(synced=True)

    def installation(self) -> str:
        named = os.environ.get(ENV_INSTALLATION)
        if named:
            return checked_installation(named)
        query = sa.select(installations.c.installation).where(installations.c.id == 1)
        with self._read() as c:
            kept = c.execute(query).scalar()
        if kept is None:
            with self._write() as c:
                c.execute(insert(c, installations).values(id=1, installation=uuid.uuid4().hex).on_conflict_do_nothing())
                kept = c.execute(query).scalar_one()
        return str(kept)

    def changes(self) -> int:
        with self._read() as c:
            return rows.changes(c)

    def hold(self, name: str, holder: str, seconds: float) -> bool:
        now, h = time.time(), runner_holds.c
        with self._write() as c:
            kept = c.execute(sa.select(h.holder, h.expires).where(h.name == name)).first()
            if kept is not None and kept.holder != holder and kept.expires > now:
                return False
            c.execute(runner_holds.delete().where(h.name == name))
            if seconds > 0:
                c.execute(runner_holds.insert().values(name=name, holder=holder, expires=now + seconds))
            return True

    def add(self, runner: Runner, event: RunnerEvent) -> Runner:
        with self._write() as c:
            return rows.add(c, runner, event)

    def get(self, runner: str) -> Runner:
        with self._read() as c:
            return rows.decode(rows.find(c, runner)["record"])

    def list(self, *, states: Collection[RunnerState] | None = None, max_results: int = 1000) -> Sequence[Runner]:
        with self._read() as c:
            return rows.listed(c, states, max_results, time.time())

    def save(self, runner: Runner, *events: RunnerEvent) -> Runner:
        with self._write() as c:
            return rows.save(c, runner, events)

    def events(self, runner_id: str) -> Sequence[RunnerEvent]:
        with self._read() as c:
            return rows.events_of(c, rows.row_of(c, runner_id)["id"])

    # -- machines

    def issue_ticket(self, runner_id: str, secret: bytes, *, seconds: float = TICKET_SECONDS) -> str:
        with self._write() as c:
            return machines.issue(c, self._box, runner_id, secret, time.time() + seconds)

    def redeem(self, ticket: str) -> tuple[Runner, str, bytes]:
        with self._write() as c:
            answer = machines.redeem(c, self._box, ticket, time.time())
        if isinstance(answer, PermissionDenied):  # raised here: what it noted is kept
            raise answer
        return answer

    def agent(self, token: str) -> Runner:
        with self._read() as c:
            return machines.agent(c, token)

    def heartbeat(self, runner_id: str, beat: Heartbeat) -> Orders:
        with self._write() as c:
            return machines.heartbeat(c, runner_id, beat, time.time())

    def append_log(self, runner_id: str, offset: int, text: str) -> int:
        with self._write() as c:
            return machines.append_log(c, runner_id, offset, text)

    def log(self, runner_id: str, *, after: int = 0, max_bytes: int = 65_536) -> LogPage:
        with self._read() as c:
            return machines.log(c, runner_id, after, max_bytes)

    def add_run(self, runner_id: str, run_id: str) -> None:
        with self._write() as c:
            machines.add_run(c, runner_id, run_id)

    def may_write(self, runner_id: str, run_id: str) -> bool:
        with self._read() as c:
            return machines.may_write(c, runner_id, run_id)

    # -- jobs

    def add_job(self, job: Job) -> Job:
        with self._write() as c:
            return jobs.add(c, job)

    def job(self, job: str) -> Job:
        with self._read() as c:
            return jobs.find(c, job)

    def jobs(self, *, runner_id: str | None = None, states: Collection[JobState] | None = None, max_results: int = 100) -> Sequence[Job]:
        with self._read() as c:
            return jobs.listed(c, runner_id, states, max_results)

    def save_job(self, job: Job) -> Job:
        with self._write() as c:
            return jobs.save(c, job)

    def claim_job(self, runner_id: str, *, claim: str = "") -> Job | None:
        with self._write() as c:
            return jobs.claim(c, runner_id, claim, time.time())
