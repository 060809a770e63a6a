"""What is due by the ledger: who is lost is noted, who is over is ended, and what is being destroyed is gone on with."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from mlops_nb.core.runners import Resource, Runner, RunnerState
from mlops_nb.errors import MlopsError
from mlops_nb.runners import ending
from mlops_nb.runners.context import Context, foreseen
from mlops_nb.runners.launching import MACHINES
from mlops_nb.runners.verdicts import lease_is_over, why_over

LEFT_SECONDS = 45.0
"""After so long without a sign of life it is looked whether the machine of an agent that was to leave is gone."""

_BOOTED = (RunnerState.IDLE, RunnerState.BUSY, RunnerState.LOST, RunnerState.DRAINING)


def tick(ctx: Context) -> Sequence[Runner]:
    """Do what is due, and return who changed. What fails of one runner is told, and keeps none of the others."""
    changed = []
    for runner in ctx.live():
        try:
            with foreseen(f"Looking after {runner.name}"):
                after = _keep(ctx, runner)
        except MlopsError as error:
            ctx.tell(f"{runner.name}: {error}")
            after = ctx.ledger.get(runner.id)
        if after.revision != runner.revision:
            changed.append(after)
    return changed


def refresh(ctx: Context) -> None:
    """Ask the clouds how the machines are, and close the runners whose machine has ended by itself."""
    for runner in ctx.live():
        if runner.state in _BOOTED:
            try:
                with foreseen(f"Looking after {runner.name}"):
                    _end_if_gone(ctx, runner)
            except MlopsError as error:
                ctx.tell(f"{runner.name}: {error}")


def machine_of(runner: Runner) -> Resource | None:
    """Return the machine of a runner, if its id is known: the last one that was asked for, where a zone before had no room."""
    return next((item for item in reversed(runner.resources) if item.kind in MACHINES and item.id), None)


def _keep(ctx: Context, runner: Runner) -> Runner:
    now = ctx.clock.now()
    if runner.state is RunnerState.DESTROYING:
        return ending.go_on(ctx, runner)
    if lease_is_over(runner, now):

        def lose(seen: Runner) -> Runner:
            return replace(seen, state=RunnerState.LOST, reason="no sign of life") if lease_is_over(seen, now) else seen

        runner = ctx.change(runner.id, lose, "lost", f"Its lease ended {now - (runner.lease_expires or now):.0f} s ago.")
        ctx.tell(f"{runner.name} gives no sign of life.")
    if why_over(runner, now) is not None:
        begun = ending.begin_if(ctx, runner.id, lambda seen: why_over(seen, now))
        return ending.go_on(ctx, begun) if begun.state is RunnerState.DESTROYING else begun
    left = runner.state is RunnerState.DRAINING and runner.last_seen is not None and now > runner.last_seen + LEFT_SECONDS
    # An agent that has ended powers its machine off: then there is nothing to wait for.
    return _end_if_gone(ctx, runner) if left or runner.state is RunnerState.LOST else runner


def _end_if_gone(ctx: Context, runner: Runner) -> Runner:
    machine = machine_of(runner)
    if machine is None:
        return runner
    seen = ctx.cloud(runner.cloud).describe(machine)
    # One that has switched itself off is there in some clouds, and may be paid for, until it is deleted.
    if seen.phase not in ("gone", "stopping"):
        return runner
    reason = runner.reason if runner.state is RunnerState.DRAINING and runner.reason else f"its machine has ended{_why(seen.reason)}"
    return ending.go_on(ctx, ending.begin(ctx, runner.id, reason))


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""
