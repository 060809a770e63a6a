"""More time for a runner, within its cost limit and what its cloud allows."""

from __future__ import annotations

import math

import msgspec
from msgspec.structs import replace

from mlops_nb.core.runners import Guards, Runner, RunnerState
from mlops_nb.errors import IllegalTransition, InvalidInput, NotSupported
from mlops_nb.runners.context import Context

FIXED = {"gcp": "maxRunDuration", "kubernetes": "activeDeadlineSeconds"}
"""Clouds that end a machine by themselves at a time set when it was created, and what that is called there."""


def extend(ctx: Context, runner_id: str, seconds: float, max_cost: float | None) -> Runner:
    """Move a runner's hard stop; see `Runners.extend`."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidInput(f"A runner cannot be extended by {seconds:g} s.", hint="Give a time: mlops-nb runner extend NAME 30m")

    def decide(runner: Runner) -> Runner:
        if runner.drained or runner.state in (RunnerState.DRAINING, RunnerState.DESTROYING, RunnerState.GONE):
            raise IllegalTransition(f"{runner.name} is {runner.state}, it cannot be extended.", hint="Launch a new one.")
        if runner.cloud in FIXED:
            raise NotSupported(
                f"{runner.cloud} ends the machine of {runner.name} by itself ({FIXED[runner.cloud]}), at a time that cannot be moved.",
                hint="Launch the next one with a higher --max-hours.",
            )
        old = runner.request.guards
        guards = Guards(
            idle=old.idle,
            # What was not reached before because of the cost limit is not made up for.
            max_hours=(runner.hard_stop - runner.created + seconds) / 3600,
            max_cost=old.max_cost if max_cost is None else max_cost,
        )
        allowed = guards.seconds(runner.offer.hourly if runner.offer else None)
        if allowed + 1.0 < guards.max_hours * 3600:
            raise InvalidInput(
                f"With {seconds / 60:g} minutes more {runner.name} may cost more than ${guards.max_cost:.2f}.",
                hint="Allow more: mlops-nb runner extend NAME TIME --max-cost DOLLARS",
            )
        request = msgspec.structs.replace(runner.request, guards=guards)
        return replace(runner, request=request, hard_stop=runner.hard_stop + seconds)

    runner = ctx.change(runner_id, decide, "extended", f"{seconds / 60:g} minutes more", seconds=seconds)
    ctx.tell(f"{runner.name} ends {seconds / 60:g} minutes later.")
    return runner
