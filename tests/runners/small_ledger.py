"""A ledger in one file, which several processes may use and which is synced: the least that keeps the contract's word."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from mlops_nb.core.runner_jobs import Job, JobState
from mlops_nb.core.runners import LEASE_SECONDS, Heartbeat, Orders, Runner, RunnerEvent, RunnerState, check_transition
from mlops_nb.errors import AlreadyExists, Conflict, NotFound
from mlops_nb.store.runners import LogPage, RunnerLedger


class _File(msgspec.Struct):
    runners: dict[str, Runner] = {}
    events: dict[str, list[RunnerEvent]] = {}
    logs: dict[str, str] = {}


class SmallLedger(RunnerLedger):
    """What the life of a runner needs of a ledger; jobs and tickets it has none. `now` gives the time of its server."""

    def __init__(self, path: Path, now: Callable[[], float], installation: str = "1" * 32) -> None:
        self.path = path
        self.now = now
        self._installation = installation
        self.before_save: Callable[[Runner], None] = lambda runner: None

    def installation(self) -> str:
        return self._installation

    def add(self, runner: Runner, event: RunnerEvent) -> Runner:
        with self._open() as file:
            if any(not old.state.is_over and old.name == runner.name for old in file.runners.values()):
                raise AlreadyExists(f"There is a runner called {runner.name}.")
            file.runners[runner.id] = runner
            file.events[runner.id] = [event]
        return runner

    def get(self, runner: str) -> Runner:
        known = self._read().runners.values()
        mine = [old for old in known if old.id == runner or (len(runner) >= 6 and old.id.startswith(runner)) or old.name == runner]
        if not mine:
            raise NotFound(f"No runner {runner!r}.")
        return min(mine, key=lambda old: (old.state.is_over, -old.created))

    def list(self, *, states: Collection[RunnerState] | None = None, max_results: int = 1000) -> Sequence[Runner]:
        day_ago = self.now() - 86400
        known = sorted(self._read().runners.values(), key=lambda old: -old.created)
        chosen = [old for old in known if (old.state in states if states is not None else not old.ended or old.ended > day_ago)]
        return chosen[:max_results]

    def save(self, runner: Runner, *events: RunnerEvent) -> Runner:
        self.before_save(runner)
        with self._open() as file:
            if runner.id not in file.runners:
                raise NotFound(f"No runner {runner.id}.")
            old = file.runners[runner.id]
            if old.revision != runner.revision:
                raise Conflict("It was changed since.")
            check_transition(old.state, runner.state)
            file.runners[runner.id] = replace(runner, revision=runner.revision + 1)
            file.events[runner.id] += events
            return file.runners[runner.id]

    def events(self, runner_id: str) -> Sequence[RunnerEvent]:
        return self._read().events[runner_id]

    def heartbeat(self, runner_id: str, beat: Heartbeat) -> Orders:
        now = self.now()
        with self._open() as file:
            runner = file.runners[runner_id]
            state = runner.state
            if state in (RunnerState.CREATING, RunnerState.BOOTING, RunnerState.IDLE, RunnerState.BUSY, RunnerState.LOST):
                state = {"idle": RunnerState.IDLE, "busy": RunnerState.BUSY}.get(beat.state, state)
            file.runners[runner_id] = replace(
                runner,
                revision=runner.revision + 1,
                state=state,
                ready=runner.ready or (None if beat.state == "booting" else now),
                lease_expires=now + LEASE_SECONDS,
                last_seen=now,
                idle_since=(runner.idle_since or now) if beat.state == "idle" else None,
                job=beat.job,
                jobs=beat.jobs,
            )
        over = state in (RunnerState.DESTROYING, RunnerState.GONE)
        idle = runner.request.guards.idle
        return Orders(lease=LEASE_SECONDS, hard_stop=runner.hard_stop - now, idle=idle, drain=state is RunnerState.DRAINING, leave=over)

    def append_log(self, runner_id: str, offset: int, text: str) -> int:
        with self._open() as file:
            file.logs[runner_id] = file.logs.get(runner_id, "")[:offset] + text
            return len(file.logs[runner_id])

    def log(self, runner_id: str, *, after: int = 0, max_bytes: int = 65_536) -> LogPage:
        text = self._read().logs.get(runner_id, "")
        return LogPage(text=text[after : after + max_bytes], start=after, end=min(len(text), after + max_bytes))

    def _read(self) -> _File:
        with self._open(write=False) as file:
            return file

    @contextmanager
    def _open(self, *, write: bool = True) -> Iterator[_File]:
        with open(f"{self.path}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = msgspec.msgpack.decode(self.path.read_bytes(), type=_File) if self.path.exists() else _File()
            yield file
            if write:
                with open(f"{self.path}.new", "wb") as new:
                    new.write(msgspec.msgpack.encode(file))
                    new.flush()
                    os.fsync(new.fileno())
                os.replace(new.name, self.path)

    def _none(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("The life of a runner asks for no such thing.")

    issue_ticket = redeem = agent = add_job = job = save_job = claim_job = _none

    def jobs(self, *, runner_id: str | None = None, states: Collection[JobState] | None = None, max_results: int = 100) -> Sequence[Job]:
        return ()
