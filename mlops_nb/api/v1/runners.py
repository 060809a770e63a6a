"""What is done with machines by this server: launch, stop, end, extend, reap, look after them. See `runners.hosting`.

A launch is answered when it is written down; the server goes on with it whatever becomes of who asked.
"""

from __future__ import annotations

from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.runner_wire import (
    ActRequest,
    DoctorAnswer,
    DoctorLine,
    DoctorRequest,
    DownRequest,
    ExtendRequest,
    LaunchRequest,
    PlanAnswer,
    PlanRequest,
    ReapAnswer,
    ReapRequest,
    RunnerAnswer,
)

_PATH = "/api/v1/runners"


@operation("runners.plan", "POST", f"{_PATH}/-/plan", permission=Permission.WRITE, slow=True)
def plan_runner(context: Context, request: PlanRequest) -> PlanAnswer:
    """Return what a launch would try and cost; nothing is created."""
    plan = context.runner_host.plan(request.request)
    return PlanAnswer(offers=plan.offers, seconds=plan.seconds, hard_stop=plan.hard_stop, most=plan.most)


@operation("runners.launch", "POST", f"{_PATH}/-/launch", permission=Permission.WRITE, slow=True)
def launch_runner(context: Context, request: LaunchRequest) -> RunnerAnswer:
    """Write a runner down as requested, and launch it in the background."""
    return RunnerAnswer(runner=context.runner_host.launch(request.request, user=context.user, ssh_public_key=request.ssh_public_key))


@operation("runners.stop", "POST", f"{_PATH}/{{runner}}/stop", permission=Permission.WRITE, slow=True)
def stop_runner(context: Context, request: ActRequest) -> RunnerAnswer:
    """Let a runner take no more work and end after its present job."""
    return RunnerAnswer(runner=context.runner_host.stop(request.runner))


@operation("runners.down", "POST", f"{_PATH}/{{runner}}/down", permission=Permission.WRITE, slow=True)
def down_runner(context: Context, request: DownRequest) -> RunnerAnswer:
    """End a runner now, whatever it does; the answer comes when that is written down, and the server goes on until nothing is left."""
    return RunnerAnswer(runner=context.runner_host.down(request.runner, request.reason))


@operation("runners.extend", "POST", f"{_PATH}/{{runner}}/extend", permission=Permission.WRITE, slow=True)
def extend_runner(context: Context, request: ExtendRequest) -> RunnerAnswer:
    """Move the latest end of a runner."""
    return RunnerAnswer(runner=context.runner_host.extend(request.runner, request.seconds, request.max_cost))


@operation("runners.reap", "POST", f"{_PATH}/-/reap", permission=Permission.WRITE, slow=True)
def reap_runners(context: Context, request: ReapRequest) -> ReapAnswer:
    """Destroy what carries this installation's tag and ought to be gone, and say what could not be seen."""
    done = context.runner_host.reap(request.clouds, request.regions, request.repositories, names=request.names, dry_run=request.dry_run)
    return ReapAnswer(
        destroyed=done.destroyed,
        left=done.left,
        unseen=done.unseen,
        kept=done.kept,
        ended=done.ended,
        skew=done.skew,
        dry_run=done.dry_run,
        clean=done.is_clean,
    )


@operation("runners.doctor", "POST", f"{_PATH}/-/doctor", permission=Permission.WRITE, slow=True)
def doctor(context: Context, request: DoctorRequest) -> DoctorAnswer:
    """Check credentials, permissions and limits of clouds, and whether they agree with the ledger."""
    found = context.runner_host.doctor(request.clouds, request.repositories)
    return DoctorAnswer(findings=[DoctorLine(what=one.what, ok=one.ok, text=one.text, hint=one.hint) for one in found])


OPERATIONS = (plan_runner, launch_runner, stop_runner, down_runner, extend_runner, reap_runners, doctor)
