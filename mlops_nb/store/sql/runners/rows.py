"""Runners as rows: found by id, its beginning or name; changed by who has read them last; and what happened to them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from mlops_nb.core.runners import Runner, RunnerEvent, RunnerState, check_runner_name, check_transition
from mlops_nb.errors import AlreadyExists, Conflict, IllegalTransition, InvalidInput, NotFound
from mlops_nb.store.runners import KEEP_LOG_SECONDS
from mlops_nb.store.sql.schema import runner_events, runner_logs, runner_tickets, runners, store_state
from mlops_nb.store.sql.upsert import insert

SHOWN_SECONDS = 86_400.0
"""How long a runner that has ended is listed without being asked for."""
MAX_RESULTS = 100_000

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PREFIX = re.compile(r"[0-9a-f]{6,31}", re.ASCII)
_GONE = RunnerState.GONE.value
_CHANGES = "runners"
_r = runners.c


def row_of(c: sa.Connection, runner_id: str) -> sa.RowMapping:
    """Return the row of a runner by its whole id.

    Raises:
        NotFound: If there is none.
    """
    row = c.execute(sa.select(runners).where(_r.runner_id == runner_id)).mappings().first()
    if row is None:
        raise missing(runner_id)
    return row


def find(c: sa.Connection, text: str) -> sa.RowMapping:
    """Return the row of a runner by its id, a beginning of it, or its name.

    Raises:
        NotFound: If there is none.
        InvalidInput: If several ids begin so.
    """
    exact = _first(c, _r.runner_id == text) if _ID.fullmatch(text) else None
    named = exact or _first(c, _r.name == text)
    if named is not None:
        return named
    if _PREFIX.fullmatch(text):
        found = c.execute(sa.select(runners).where(_r.runner_id.between(text, text + "g")).limit(2)).mappings().all()
        if len(found) > 1:
            raise InvalidInput(f"Several runners have ids that begin with '{text}'.", hint="Give more digits, or the name.")
        if found:
            return found[0]
    raise missing(text)


def _first(c: sa.Connection, condition: sa.ColumnElement[bool]) -> sa.RowMapping | None:
    """Return the one that is not gone, else the newest."""
    order = (sa.case((_r.state == _GONE, 1), else_=0), _r.created.desc(), _r.id.desc())
    return c.execute(sa.select(runners).where(condition).order_by(*order).limit(1)).mappings().first()


def listed(c: sa.Connection, states: Collection[RunnerState] | None, max_results: int, now: float) -> list[Runner]:
    """Return runners, the newest first."""
    if not 0 < max_results <= MAX_RESULTS:
        raise InvalidInput(f"max_results={max_results} cannot be.", hint=f"Give 1 to {MAX_RESULTS}.")
    if states is None:
        condition = sa.or_(_r.state != _GONE, _r.ended > now - SHOWN_SECONDS)
    else:
        condition = _r.state.in_([RunnerState(state).value for state in states])
    query = sa.select(_r.record).where(condition).order_by(_r.created.desc(), _r.id.desc()).limit(max_results)
    return [decode(record) for record in c.execute(query).scalars()]


def add(c: sa.Connection, runner: Runner, event: RunnerEvent) -> Runner:
    """Write a new runner down; see `RunnerLedger.add`."""
    if not _ID.fullmatch(runner.id):
        raise InvalidInput(f"{runner.id[:40]!r} is no id of a runner.", hint="An id has 32 hex digits in small letters.")
    check_runner_name(runner.name)
    check_times(runner.created, runner.updated, runner.hard_stop)
    if c.execute(sa.select(_r.id).where(_r.runner_id == runner.id)).first() is not None:
        raise AlreadyExists(f"There is a runner {runner.id} already.")
    taken = c.execute(sa.select(_r.record).where(_r.name == runner.name, _r.state != _GONE).limit(1)).scalar()
    if taken is not None:
        other = decode(taken)
        raise AlreadyExists(
            f"A runner '{runner.name}' is there already: it is {other.state}.",
            hint=f"Take another name, use it with --reuse, or end it: mlops-nb runner down {runner.name}",
        )
    ended = sa.select(_r.id).where(_r.ended < runner.created - KEEP_LOG_SECONDS)
    c.execute(runner_logs.delete().where(runner_logs.c.runner.in_(ended)))
    kept = msgspec.structs.replace(runner, revision=1)
    values = {**_values(kept), "runner_id": kept.id, "name": kept.name, "created": kept.created}
    key = c.execute(runners.insert().values(**values)).inserted_primary_key
    assert key is not None
    add_events(c, key[0], [event])
    count(c)
    return decode(values["record"])


def save(c: sa.Connection, runner: Runner, events: Sequence[RunnerEvent]) -> Runner:
    """Write a changed runner; see `RunnerLedger.save`."""
    row = row_of(c, runner.id)
    if row["revision"] != runner.revision:
        raise Conflict(
            f"The runner '{runner.name}' was changed by somebody else meanwhile (revision {row['revision']}, not {runner.revision}).",
            hint="Read it again and decide anew.",
        )
    before = decode(row["record"])
    check_transition(before.state, runner.state)
    if before.drained and runner.state.takes_work:
        raise IllegalTransition(
            f"The runner '{runner.name}' drains and takes no more work.", hint="Launch a new one: mlops-nb runner launch"
        )
    if (before.name, before.cloud, before.installation) != (runner.name, runner.cloud, runner.installation):
        raise InvalidInput(f"The runner '{before.name}' cannot get another name, cloud or installation.", hint="Launch a new one.")
    check_times(runner.updated, runner.hard_stop)
    return write(c, row["id"], runner, events)


def write(c: sa.Connection, row: int, runner: Runner, events: Sequence[RunnerEvent] = ()) -> Runner:
    """Write a runner that was read in this transaction, and what happened to it."""
    drained = runner.drained or runner.state is RunnerState.DRAINING
    values = _values(msgspec.structs.replace(runner, revision=runner.revision + 1, drained=drained))
    c.execute(runners.update().where(_r.id == row).values(**values))
    if runner.state in (RunnerState.DESTROYING, RunnerState.GONE):  # what no machine has fetched needs nobody any more
        c.execute(runner_tickets.delete().where(runner_tickets.c.runner == row))
    add_events(c, row, events)
    count(c)
    return decode(values["record"])


def add_events(c: sa.Connection, row: int, events: Iterable[RunnerEvent]) -> None:
    """Write down what happened to a runner."""
    rows = [{"runner": row, "record": msgspec.json.encode(event).decode()} for event in events]
    if rows:
        c.execute(runner_events.insert(), rows)


def events_of(c: sa.Connection, row: int) -> list[RunnerEvent]:
    """Return what happened to a runner, in order."""
    query = sa.select(runner_events.c.record).where(runner_events.c.runner == row).order_by(runner_events.c.id)
    return [msgspec.json.decode(record, type=RunnerEvent) for record in c.execute(query).scalars()]


def count(c: sa.Connection) -> None:
    """Note that something has changed, for who follows."""
    statement = insert(c, store_state).values(name=_CHANGES, value=1)
    c.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": store_state.c.value + 1}))


def changes(c: sa.Connection) -> int:
    """Return how often something has changed."""
    return c.execute(sa.select(store_state.c.value).where(store_state.c.name == _CHANGES)).scalar() or 0


def decode(record: str) -> Runner:
    """Return the runner that a row keeps."""
    return msgspec.json.decode(record, type=Runner)


def missing(text: str) -> NotFound:
    """Return the error that says that there is no such runner."""
    return NotFound(f"There is no runner '{text[:80]}'.", hint="See what there is: mlops-nb runner list --all")


def check_times(*times: float) -> None:
    """Check that times are numbers: NaN and infinity have no JSON.

    Raises:
        InvalidInput: If one is not.
    """
    for time in times:
        if not abs(time) < 1e12:
            raise InvalidInput(f"{time} is no time.", hint="Give seconds since 1970.")


def _values(runner: Runner) -> dict[str, Any]:
    record = msgspec.json.encode(runner).decode()
    return {"state": runner.state.value, "revision": runner.revision, "ended": runner.ended, "record": record}
