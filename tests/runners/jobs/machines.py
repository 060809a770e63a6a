"""Runners in a ledger, without clouds."""

from __future__ import annotations

import secrets
import time

import msgspec

from mlops_nb.core.runners import AgentWish, CloudName, Runner, RunnerEvent, RunnerRequest, RunnerState
from mlops_nb.store.runners import RunnerLedger


def new_runner(
    ledger: RunnerLedger, state: RunnerState = RunnerState.IDLE, *, cloud: CloudName = "local", single: bool = False, name: str = ""
) -> Runner:
    """Write a runner for jobs down, in a state of its life."""
    now = time.time()
    request = RunnerRequest(name=name or f"r-{secrets.token_hex(4)}", cloud=cloud, agent=AgentWish(kind="notebook", single=single))
    runner = ledger.add(
        Runner(
            id=secrets.token_hex(16),
            installation=ledger.installation(),
            request=request,
            created=now,
            updated=now,
            hard_stop=now + 3600,
        ),
        RunnerEvent(time=now, kind="requested"),
    )
    for following in (RunnerState.CREATING, state):
        runner = ledger.save(msgspec.structs.replace(runner, state=following, updated=now))
    return runner


def end(ledger: RunnerLedger, runner_id: str) -> None:
    """Let a runner be gone."""
    for state in (RunnerState.DESTROYING, RunnerState.GONE):
        runner = ledger.get(runner_id)
        ledger.save(msgspec.structs.replace(runner, state=state, reason="its machine is no more", ended=time.time()))
