"""What the machines of runners ask: their secret for their ticket, once; then signs of life, log, jobs, and what needs the forge's token.

All but the first take the agent's token, for its own runner alone; see `api.agents`.
"""

from __future__ import annotations

import msgspec

from mlops_nb.api.operation import AgentScope, Context, Nothing, Permission, operation
from mlops_nb.core.runner_wire import (
    ClaimAnswer,
    ClaimRequest,
    HeartbeatRequest,
    InterruptedAnswer,
    InterruptedRequest,
    LogAppend,
    LogLength,
    MachineAct,
    OrdersAnswer,
    RedeemAnswer,
    RedeemRequest,
    RemovedAnswer,
    RunnerAnswer,
    SecretAnswer,
)
from mlops_nb.errors import PermissionDenied

_ROOT = "/api/v1/runners/-"
_PATH = "/api/v1/runners/{runner_id}"


@operation("machines.redeem", "POST", f"{_ROOT}/redeem", permission=Permission.TICKET, files=True)
def redeem(context: Context, request: RedeemRequest) -> RedeemAnswer:
    """Exchange a machine's ticket, once, for the token of its agent and the secret that its launcher has left."""
    runner, token, secret = context.project.store().runners.redeem(request.ticket)
    return RedeemAnswer(runner=runner, token=token, secret=secret)


@operation("machines.agent", "GET", f"{_ROOT}/agent", permission=Permission.READ, agent=AgentScope.ANY)
def get_agent(context: Context, request: Nothing) -> RunnerAnswer:
    """Return the runner of the agent whose token came with the request."""
    if context.runner is None:
        raise PermissionDenied("The token is of no runner that is there.", hint="Ask by name: mlops-nb runner list")
    return RunnerAnswer(runner=context.runner)


@operation("machines.heartbeat", "POST", f"{_PATH}/heartbeat", permission=Permission.WRITE, files=True, agent=AgentScope.RUNNER)
def heartbeat(context: Context, request: HeartbeatRequest) -> OrdersAnswer:
    """Note a machine's sign of life, renew its lease, and return what its agent shall do."""
    orders = context.store.runners.heartbeat(request.runner_id, request.beat)
    if request.beat.leaving and context.project.runner_host is not None:
        context.project.runner_host.left(request.runner_id)
    return OrdersAnswer(orders=orders)


@operation("machines.appendLog", "POST", f"{_PATH}/log", permission=Permission.WRITE, files=True, agent=AgentScope.RUNNER)
def append_log(context: Context, request: LogAppend) -> LogLength:
    """Add to a machine's log, exactly once whatever is sent again; without text it only says where the log ends."""
    return LogLength(length=context.store.runners.append_log(request.runner_id, request.offset, request.text))


@operation("machines.claimJob", "POST", f"{_PATH}/claim", permission=Permission.WRITE, files=True, agent=AgentScope.RUNNER)
def claim_job(context: Context, request: ClaimRequest) -> ClaimAnswer:
    """Give the oldest job that waits for a runner to it."""
    return ClaimAnswer(job=context.store.runners.claim_job(request.runner_id, claim=request.claim))


@operation("machines.registration", "POST", f"{_PATH}/registration", permission=Permission.WRITE, slow=True, agent=AgentScope.RUNNER)
def next_registration(context: Context, request: MachineAct) -> SecretAnswer:
    """Register a runner at its forge anew, for the next job, and return what its agent starts with."""
    return SecretAnswer(secret=context.runner_host.registration(request.runner_id))


@operation("machines.unregister", "POST", f"{_PATH}/unregister", permission=Permission.WRITE, slow=True, agent=AgentScope.RUNNER)
def unregister(context: Context, request: MachineAct) -> RemovedAnswer:
    """Remove a runner's registrations at its forge."""
    return RemovedAnswer(removed=context.runner_host.unregister(request.runner_id))


@operation("machines.interrupted", "POST", f"{_PATH}/interrupted", permission=Permission.WRITE, slow=True, agent=AgentScope.RUNNER)
def interrupted(context: Context, request: InterruptedRequest) -> InterruptedAnswer:
    """Have the forge do the job again, once, that is cut off on a machine."""
    job = None if request.job is None else msgspec.structs.asdict(request.job)
    rerun = context.runner_host.interrupted(request.runner_id, job)
    return InterruptedAnswer(state=rerun.state, url=rerun.url, reason=rerun.reason)


OPERATIONS = (redeem, get_agent, heartbeat, append_log, claim_job, next_registration, unregister, interrupted)
