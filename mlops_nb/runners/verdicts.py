"""Who is over, and what may be destroyed: the rules of the reaper. Pure; times are seconds since 1970, of one clock."""

from __future__ import annotations

from mlops_nb.core.runners import GRACE_SECONDS, LONGEST_HOURS, REGISTER_SECONDS, Resource, Runner, RunnerState

LAUNCH_SECONDS = 600.0 + REGISTER_SECONDS + GRACE_SECONDS
"""How long a launch may take: to find a machine, until it reports, and some more. Who is still at it then has lost its launcher."""

_LAUNCHING = (RunnerState.REQUESTED, RunnerState.CREATING, RunnerState.BOOTING)


def lease_is_over(runner: Runner, now: float) -> bool:
    """Whether a runner that sends signs of life has sent none for longer than its lease."""
    watched = (RunnerState.BOOTING, RunnerState.IDLE, RunnerState.BUSY)
    return runner.state in watched and runner.lease_expires is not None and now > runner.lease_expires


def why_over(runner: Runner, now: float) -> str | None:
    """Return why a runner has to be ended, for people; None: it need not.

    Its machine's own switch comes first: each rule waits for `GRACE_SECONDS` longer than the switch.
    """
    if runner.state in (RunnerState.DESTROYING, RunnerState.GONE):
        return runner.reason or "it was being destroyed"
    if now > runner.hard_stop + GRACE_SECONDS:
        return "its time was over"
    alive = runner.last_seen is not None and now <= runner.last_seen + REGISTER_SECONDS
    if runner.state in _LAUNCHING and runner.ready is None and now > runner.created + LAUNCH_SECONDS and not alive:
        return "its launch was cut off"
    # The lease may have passed while the ledger's server was away: a machine that lives reports first.
    if runner.state is RunnerState.LOST and now > max(runner.updated, runner.lease_expires or 0.0) + GRACE_SECONDS:
        return "it gave no sign of life"
    if runner.lease_expires is None:
        return None
    if runner.state is RunnerState.DRAINING and now > runner.lease_expires + GRACE_SECONDS:
        return runner.reason or "it has left"
    idle = runner.request.guards.idle
    if runner.state is RunnerState.IDLE and runner.idle_since is not None and now > runner.idle_since + idle + GRACE_SECONDS:
        return "it had no work for longer than its idle limit, and did not end by itself"
    return None


def why_destroy(resource: Resource, runner: Runner | None, now: float) -> str | None:
    """Return why something that carries our installation's tag has to go; None: it may stay.

    `runner` is whose it is by the ledger; None: the ledger does not know. Then its own tag decides; without one that can be
    read it stays as long as the longest runner lives.
    """
    if runner is not None:
        return why_over(runner, now)
    if resource.expires is not None:
        return "its time is over" if now > resource.expires + GRACE_SECONDS else None
    if resource.created is not None and now > resource.created + LONGEST_HOURS * 3600 + GRACE_SECONDS:
        return "it is older than any runner may get"
    return None
