"""The end of a runner: what there is of it is removed, and only then it is gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from mlops_nb.clouds.base import CloudError, CloudThrottled, CloudUnreachable
from mlops_nb.core.runners import CloudName, Resource, Runner, RunnerState
from mlops_nb.errors import MlopsError
from mlops_nb.runners.context import Context

DESTROY_SECONDS = 300.0
"""How long clouds are asked whether something is gone at last."""
UNREGISTER_SECONDS = 60.0
"""How long a forge is asked to let go of an agent that it believes at work; it notices some minutes after the machine has gone."""
ASK_SECONDS = 3.0
MOST_FAILURES = 3
"""How often a cloud that does not answer is asked again; after that it is the reaper's."""


class NotRemoved(CloudError):
    """Something of a runner is still there. `left` has it."""

    def __init__(self, message: str, *, hint: str, left: Sequence[Resource]) -> None:
        super().__init__(message, hint=hint)
        self.left = left


def go_on(ctx: Context, runner: Runner) -> Runner:
    """Ask once for the removal of what is left of a runner that is being destroyed; close it where nothing is. Waits for nothing.

    Raises:
        NotRemoved: If something was refused; what only takes its time is no error.
    """
    left, why = remove(ctx, runner.cloud, runner.resources, seconds=0.0)
    if not left:
        return close(ctx, runner.id)
    if why is not None:
        raise fail(ctx, runner, left, why)
    return ctx.ledger.get(runner.id)


def end(ctx: Context, runner_id: str, reason: str, *, also: Iterable[Resource] = ()) -> Runner:
    """Destroy all that there is of a runner and `also` these, and return when nothing is left and the runner is gone.

    May be called by several at once, and again.

    Raises:
        NotRemoved: If something could not be removed; the runner stays DESTROYING.
    """
    runner = begin(ctx, runner_id, reason)
    resources = {(item.kind, item.region, item.id): item for item in (*runner.resources, *also)}
    left, why = remove(ctx, runner.cloud, list(resources.values()))
    if left:
        raise fail(ctx, runner, left, why)
    return close(ctx, runner.id)


def begin(ctx: Context, runner_id: str, reason: str) -> Runner:
    """Write down that a runner is being destroyed; the first reason stays."""
    return begin_if(ctx, runner_id, lambda runner: reason)


def begin_if(ctx: Context, runner_id: str, why: Callable[[Runner], str | None]) -> Runner:
    """Write down that a runner is being destroyed if there is a reason for it as it is now: it may have come back meanwhile."""

    def decide(runner: Runner) -> Runner:
        if runner.state in (RunnerState.DESTROYING, RunnerState.GONE):
            return runner
        reason = why(runner)
        return runner if reason is None else replace(runner, state=RunnerState.DESTROYING, reason=reason)

    return ctx.change(runner_id, decide, "destroying")


def close(ctx: Context, runner_id: str) -> Runner:
    """Write down that nothing of a runner is left."""

    def decide(runner: Runner) -> Runner:
        if runner.state is RunnerState.GONE:
            return runner
        now = ctx.clock.now()
        return replace(runner, state=RunnerState.GONE, resources=(), ended=now, lease_expires=None, idle_since=None, job="")

    runner = ctx.change(runner_id, decide, "gone", "Nothing of it is left.")
    ctx.tell(f"{runner.name} is gone: {runner.reason}")
    return runner


def fail(ctx: Context, runner: Runner, left: Sequence[Resource], why: MlopsError | None) -> NotRemoved:
    """Note that something of a runner is still there, and return the error that says so."""
    what = ", ".join(sorted({f"{item.kind} {item.id}".strip() for item in left}))
    text = f"{runner.name}: could not remove {what}" + (f": {why.message}" if why else ", it takes its time") + "."

    def decide(now: Runner) -> Runner:
        known = {(item.kind, item.region, item.id) for item in now.resources} == {(item.kind, item.region, item.id) for item in left}
        return now if now.state is RunnerState.GONE or known else replace(now, resources=tuple(left))

    ctx.change(runner.id, decide, "not-removed", text)
    ctx.tell(text)
    own = f"{why.hint} " if why and why.hint else ""
    return NotRemoved(text, hint=f"{own}Go on with it: mlops-nb runner reap --cloud {runner.cloud}", left=left)


def remove(
    ctx: Context, cloud: CloudName, resources: Collection[Resource], *, seconds: float = DESTROY_SECONDS
) -> tuple[Sequence[Resource], MlopsError | None]:
    """Destroy resources of a cloud and registrations, as long as that takes, and return what is left, and why if something failed.

    An agent is unregistered first, so that it gets no other job, and, as forges do not let go of one that is busy, again at the end.
    """
    registrations = [item for item in resources if item.kind == "registration"]
    machines = [item for item in resources if item.kind != "registration"]
    registrations, _ = _unregister(ctx, registrations)
    left, failure = _destroy(ctx, cloud, machines, seconds)
    deadline = ctx.clock.now() + min(seconds, UNREGISTER_SECONDS)
    while True:
        registrations, refusal = _unregister(ctx, registrations)
        if not registrations or refusal is not None or ctx.clock.now() >= deadline:
            return (*left, *registrations), failure or refusal
        ctx.clock.wait(ASK_SECONDS)


def _destroy(ctx: Context, name: CloudName, resources: Sequence[Resource], seconds: float) -> tuple[Sequence[Resource], MlopsError | None]:
    """Destroy resources, region by region in turns, so that one where nothing works keeps none of the others."""
    deadline = ctx.clock.now() + seconds
    groups: dict[str, Sequence[Resource]] = {}
    for item in resources:
        groups[item.region] = (*groups.get(item.region, ()), item)
    failures = dict.fromkeys(groups, 0)
    given_up: list[Resource] = []
    why: MlopsError | None = None
    while True:
        for region, items in list(groups.items()):
            try:
                # Asked for anew each time: what has expired of its credentials is then read again.
                groups[region] = ctx.cloud(name).destroy(items, ctx.installation)
            except MlopsError as error:
                failures[region] += 1
                why = error
                if failures[region] >= MOST_FAILURES or not isinstance(error, CloudUnreachable | CloudThrottled):
                    given_up += groups.pop(region)
                    continue
            if not groups[region]:
                del groups[region]
        left = [*given_up, *(item for items in groups.values() for item in items)]
        if not groups or ctx.clock.now() >= deadline:
            return left, why if left else None
        ctx.clock.wait(ASK_SECONDS)


def _unregister(ctx: Context, registrations: list[Resource]) -> tuple[list[Resource], MlopsError | None]:
    left: list[Resource] = []
    failure: MlopsError | None = None
    for place in sorted({item.region for item in registrations}):
        here = [item for item in registrations if item.region == place]
        try:
            left += ctx.registrar(place).destroy(here, ctx.installation)
        except MlopsError as error:
            left += here
            failure = error
    return left, failure
