"""What the machines of runners do: exchange a ticket, give signs of life, tell their log, begin runs."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from mlops_nb.core.runners import BUSY_LEASE_SECONDS, LEASE_SECONDS, Heartbeat, Orders, Runner, RunnerEvent, RunnerState, check_transition
from mlops_nb.errors import IllegalTransition, InvalidInput, PermissionDenied
from mlops_nb.store.runners import AGENT_TOKEN_PREFIX, MAX_LOG, LogPage
from mlops_nb.store.secrets import SecretBox
from mlops_nb.store.sql.runners import rows
from mlops_nb.store.sql.schema import runner_jobs, runner_logs, runner_runs, runner_tickets, runners
from mlops_nb.store.sql.upsert import insert

_S = RunnerState
_STATES: Mapping[str, RunnerState] = {"booting": _S.BOOTING, "idle": _S.IDLE, "busy": _S.BUSY, "draining": _S.DRAINING}
_ENDING = frozenset({_S.DESTROYING, _S.GONE})
_LARGEST_PAGE = 1 << 20
_SMALLEST_PAGE = 16
_t, _l = runner_tickets.c, runner_logs.c


def hash_of(token: str) -> str:
    """Return what is kept of a token: it is random and long, so a plain hash gives nothing away."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


# -- tickets and tokens


def issue(c: sa.Connection, box: SecretBox, runner_id: str, secret: bytes, expires: float) -> str:
    """Keep a secret for a machine and return the ticket for it."""
    row = rows.row_of(c, runner_id)
    if rows.decode(row["record"]).state in _ENDING:
        raise IllegalTransition(f"The runner '{row['name']}' is {row['state']}: its machine gets nothing any more.")
    ticket = secrets.token_urlsafe(32)
    locked = box.lock(base64.b64encode(secret).decode())
    c.execute(runner_tickets.delete().where(_t.runner == row["id"]))
    c.execute(runner_tickets.insert().values(runner=row["id"], ticket=hash_of(ticket), secret=locked, expires=expires))
    return ticket


def redeem(c: sa.Connection, box: SecretBox, ticket: str, now: float) -> tuple[Runner, str, bytes] | PermissionDenied:
    """Exchange a ticket; a refusal is returned and not raised, as what it says of it is to be kept."""
    kept = c.execute(sa.select(runner_tickets).where(_t.ticket == hash_of(ticket))).mappings().first()
    if kept is None:
        return PermissionDenied("The ticket is not known.", hint="It was replaced or is of another server. Launch the runner again.")
    row = c.execute(sa.select(runners).where(runners.c.id == kept["runner"])).mappings().one()
    runner = rows.decode(row["record"])
    if kept["secret"] is None:
        return _refuse(c, row["id"], runner, now, "was redeemed already", "If that was not its machine, end it: mlops-nb runner down")
    if kept["expires"] < now:
        return _refuse(c, row["id"], runner, now, "is too old", "Launch the runner again.")
    secret = base64.b64decode(box.unlock(kept["secret"]))
    token = AGENT_TOKEN_PREFIX + secrets.token_urlsafe(32)
    c.execute(runner_tickets.update().where(_t.runner == row["id"]).values(secret=None))
    c.execute(runners.update().where(runners.c.id == row["id"]).values(agent=hash_of(token)))
    event = RunnerEvent(time=now, kind="redeemed", text="The machine has fetched its secret.")
    return rows.write(c, row["id"], msgspec.structs.replace(runner, updated=now), [event]), token, secret


def _refuse(c: sa.Connection, row: int, runner: Runner, now: float, why: str, hint: str) -> PermissionDenied:
    event = RunnerEvent(time=now, kind="ticket refused", text=f"Somebody came with its ticket, which {why}.")
    rows.write(c, row, msgspec.structs.replace(runner, updated=now), [event])
    return PermissionDenied(f"The ticket of the runner '{runner.name}' {why}.", hint=hint)


def agent(c: sa.Connection, token: str) -> Runner:
    """Return the runner of an agent's token; see `RunnerLedger.agent`."""
    record = None
    if token.startswith(AGENT_TOKEN_PREFIX):
        record = c.execute(sa.select(runners.c.record).where(runners.c.agent == hash_of(token))).scalar()
    runner = None if record is None else rows.decode(record)
    if runner is None or runner.state is _S.GONE:
        raise PermissionDenied("The token is of no runner that is there.", hint="Its runner has ended, or its agent was given another one.")
    return runner


# -- signs of life


def heartbeat(c: sa.Connection, runner_id: str, beat: Heartbeat, now: float) -> Orders:
    """Note a sign of life; see `RunnerLedger.heartbeat`."""
    rows.check_times(beat.idle, beat.uptime)
    row = rows.row_of(c, runner_id)
    runner = rows.decode(row["record"])
    left = max(0.0, runner.hard_stop - now)
    if runner.state in _ENDING:
        return Orders(lease=0.0, hard_stop=left, idle=runner.request.guards.idle, drain=True, leave=True)
    lease = min(LEASE_SECONDS, left)
    state = _state_after(runner, beat)
    changed: dict[str, Any] = {"last_seen": now, "lease_expires": now + lease, "updated": now, "state": state}
    changed["jobs"] = max(runner.jobs, beat.jobs)
    changed["job"] = beat.job[:500] if beat.state != "idle" else ""
    waits = state is _S.IDLE or (state is _S.DRAINING and not beat.job)
    changed["idle_since"] = now - max(0.0, beat.idle) if waits else None
    events: list[RunnerEvent] = []
    if state is not runner.state:
        text = {_S.IDLE: "It waits for work.", _S.BUSY: f"It works on {beat.job or 'a job'}."[:600]}.get(state, "")
        events.append(RunnerEvent(time=now, kind=state.value, text=text))
    if runner.ready is None and state.takes_work:
        changed["ready"] = now
    if beat.notice and runner.interrupted is None:
        changed["interrupted"] = now
        events.append(RunnerEvent(time=now, kind="interrupted", text=beat.notice[:1000]))
    if beat.leaving and runner.reason != beat.leaving[:1000]:
        changed["reason"] = beat.leaving[:1000]
        events.append(RunnerEvent(time=now, kind="leaving", text=beat.leaving[:1000]))
    rows.write(c, row["id"], msgspec.structs.replace(runner, **changed), events)
    if beat.log:
        _append(c, row["id"], _end(c, row["id"]), beat.log)
    works = state is _S.BUSY or (state is _S.DRAINING and bool(beat.job))
    lease = min(BUSY_LEASE_SECONDS, left) if works else lease
    return Orders(lease=lease, hard_stop=left, idle=runner.request.guards.idle, drain=state is _S.DRAINING, leave=left <= 0)


def _state_after(runner: Runner, beat: Heartbeat) -> RunnerState:
    """Return the state that a sign of life leads to; who was told to drain stays so, whatever the agent says as yet."""
    state, wanted = runner.state, _S.DRAINING if beat.leaving or runner.drained else _STATES[beat.state]
    if state is _S.DRAINING or (state is _S.LOST and wanted is _S.BOOTING):
        return state
    try:
        check_transition(state, wanted)
    except IllegalTransition:  # as of one that was ready and boots again: it comes when it has work or none
        return state
    return wanted


# -- the log


def append_log(c: sa.Connection, runner_id: str, offset: int, text: str) -> int:
    """Add to a machine's log; see `RunnerLedger.append_log`."""
    if offset < 0:
        raise InvalidInput(f"A log has no byte {offset}.", hint="Count from 0.")
    row = rows.row_of(c, runner_id)["id"]
    return _append(c, row, offset, text) if text else _end(c, row)


def _append(c: sa.Connection, row: int, offset: int, text: str) -> int:
    end = _end(c, row)
    content = text.encode(errors="replace")
    stop = offset + len(content)
    if stop <= end:
        return end
    content = content[max(0, end - offset) :][-MAX_LOG:]
    c.execute(runner_logs.insert().values(runner=row, start=stop - len(content), stop=stop, content=content))
    c.execute(runner_logs.delete().where(_l.runner == row, _l.stop <= stop - MAX_LOG))
    return stop


def _end(c: sa.Connection, row: int) -> int:
    return c.execute(sa.select(sa.func.max(_l.stop)).where(_l.runner == row)).scalar() or 0


def log(c: sa.Connection, runner_id: str, after: int, max_bytes: int) -> LogPage:
    """Return a piece of a machine's log; see `RunnerLedger.log`."""
    row, limit = rows.row_of(c, runner_id)["id"], max(_SMALLEST_PAGE, min(max_bytes, _LARGEST_PAGE))
    at = max(0, _end(c, row) + after) if after < 0 else after
    query = sa.select(_l.start, _l.content).where(_l.runner == row, _l.stop > at).order_by(_l.start)
    content, start = b"", at
    for begins, piece in c.execute(query):
        if content and begins != start + len(content):  # what lies between was lost on the machine
            break
        if not content:
            start = max(at, begins)
        content += bytes(piece)[max(0, start - begins) if not content else 0 :]
        if len(content) >= limit:
            break
    shown = _whole(content[:limit])
    skipped = next((n for n, byte in enumerate(shown[:4]) if byte & 0xC0 != 0x80), 0)
    return LogPage(text=shown[skipped:].decode(errors="replace"), start=start + skipped, end=start + len(shown))


def _whole(content: bytes) -> bytes:
    """Return the bytes without the beginning of a character whose rest is not there."""
    for back in range(1, min(4, len(content)) + 1):
        lead = content[-back]
        if lead & 0xC0 != 0x80:
            width = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return content if width <= back else content[:-back]
    return content


# -- runs


def add_run(c: sa.Connection, runner_id: str, run_id: str) -> None:
    """Note a run that a machine has begun."""
    row = rows.row_of(c, runner_id)["id"]
    c.execute(insert(c, runner_runs).values(runner=row, run_id=run_id).on_conflict_do_nothing())


def may_write(c: sa.Connection, runner_id: str, run_id: str) -> bool:
    """Return whether a run is a runner's to write; see `RunnerLedger.may_write`."""
    r, j = runner_runs.c, runner_jobs.c
    begun = sa.select(r.run_id).join(runners, runners.c.id == r.runner).where(runners.c.runner_id == runner_id, r.run_id == run_id)
    if c.execute(begun.limit(1)).first() is not None:
        return True
    return c.execute(sa.select(j.id).where(j.runner_id == runner_id, j.run_id == run_id).limit(1)).first() is not None
