"""The ledger of runners and their jobs: what is there, and what launchers outside of this server write into it."""

from __future__ import annotations

import time

from mlops_nb.api.operation import AgentScope, Context, Nothing, Permission, operation
from mlops_nb.core.runner_wire import (
    HoldAnswer,
    HoldRequest,
    InstallationAnswer,
    JobAdd,
    JobAnswer,
    JobList,
    JobName,
    JobsAnswer,
    JobSave,
    LogAnswer,
    LogAsked,
    RunnerAdd,
    RunnerAnswer,
    RunnerEventsAnswer,
    RunnerId,
    RunnerList,
    RunnerName,
    RunnersAnswer,
    RunnerSave,
    TicketAnswer,
    TicketRequest,
)
from mlops_nb.core.wire import Done, Wire
from mlops_nb.errors import InvalidInput, NotFound

_PATH = "/api/v1/runners"
_JOBS = "/api/v1/runner-jobs"


class RunnerRun(Wire, kw_only=True):
    runner_id: str = ""
    run_id: str = ""


@operation("runners.list", "GET", _PATH, permission=Permission.READ)
def list_runners(context: Context, request: RunnerList) -> RunnersAnswer:
    """Return runners, the newest first: by default those that are not gone, and those that ended in the last day."""
    ledger = context.store.runners
    changes = ledger.changes()  # read first: who asks again when it has grown misses nothing
    found = ledger.list(states=request.states, max_results=request.max_results)
    return RunnersAnswer(runners=found, now=time.time(), changes=changes)


@operation("runners.get", "GET", f"{_PATH}/{{runner}}", permission=Permission.READ)
def get_runner(context: Context, request: RunnerName) -> RunnerAnswer:
    """Return a runner by its id, a beginning of it, or its name."""
    return RunnerAnswer(runner=context.store.runners.get(request.runner))


@operation("runners.add", "POST", _PATH, permission=Permission.WRITE, files=True)
def add_runner(context: Context, request: RunnerAdd) -> RunnerAnswer:
    """Write a new runner down, synced, before anything is asked of a cloud."""
    return RunnerAnswer(runner=context.store.runners.add(request.runner, request.event))


@operation("runners.save", "PUT", f"{_PATH}/{{runner_id}}", permission=Permission.WRITE, files=True)
def save_runner(context: Context, request: RunnerSave) -> RunnerAnswer:
    """Write a changed runner and what happened to it, if nobody has changed it since it was read."""
    if request.runner.id != request.runner_id:
        raise InvalidInput("The runner in the body is another one than in the path.")
    return RunnerAnswer(runner=context.store.runners.save(request.runner, *request.events))


@operation("runners.events", "GET", f"{_PATH}/{{runner_id}}/events", permission=Permission.READ)
def list_events(context: Context, request: RunnerId) -> RunnerEventsAnswer:
    """Return what happened to a runner, in order."""
    return RunnerEventsAnswer(events=context.store.runners.events(request.runner_id))


@operation("runners.log", "GET", f"{_PATH}/{{runner_id}}/log", permission=Permission.READ)
def get_log(context: Context, request: LogAsked) -> LogAnswer:
    """Return a piece of what a runner's machine has said."""
    page = context.store.runners.log(request.runner_id, after=request.after, max_bytes=request.max_bytes)
    return LogAnswer(text=page.text, start=page.start, end=page.end)


@operation("runners.ticket", "POST", f"{_PATH}/{{runner_id}}/ticket", permission=Permission.WRITE, files=True)
def issue_ticket(context: Context, request: TicketRequest) -> TicketAnswer:
    """Keep a secret for a runner's machine, encrypted, and return the ticket that it is exchanged for, once."""
    return TicketAnswer(ticket=context.store.runners.issue_ticket(request.runner_id, request.secret, seconds=request.seconds))


@operation("runners.addRun", "PUT", f"{_PATH}/{{runner_id}}/runs/{{run_id}}", permission=Permission.WRITE, files=True)
def add_run(context: Context, request: RunnerRun) -> Done:
    """Note a run that a runner's machine may write besides those of its jobs."""
    context.store.runners.add_run(request.runner_id, request.run_id)
    return Done()


@operation("runners.mayWrite", "GET", f"{_PATH}/{{runner_id}}/runs/{{run_id}}", permission=Permission.READ)
def may_write(context: Context, request: RunnerRun) -> Done:
    """Say whether a runner's machine may write a run."""
    if not context.store.runners.may_write(request.runner_id, request.run_id):
        raise NotFound(f"The run {request.run_id[:64]} is not the runner's.")
    return Done()


@operation("runners.installation", "POST", f"{_PATH}/-/installation", permission=Permission.WRITE, files=True)
def get_installation(context: Context, request: Nothing) -> InstallationAnswer:
    """Return the id that all machines of this store carry, made on first use."""
    return InstallationAnswer(installation=context.store.runners.installation())


@operation("runners.hold", "POST", f"{_PATH}/-/hold", permission=Permission.WRITE, files=True)
def hold(context: Context, request: HoldRequest) -> HoldAnswer:
    """Take, keep or let go what only one process at a time shall do."""
    return HoldAnswer(held=context.store.runners.hold(request.name, request.holder, request.seconds))


# -- jobs


@operation("runnerJobs.list", "GET", _JOBS, permission=Permission.READ)
def list_jobs(context: Context, request: JobList) -> JobsAnswer:
    """Return jobs of runners, the newest first."""
    found = context.store.runners.jobs(runner_id=request.runner_id, states=request.states, max_results=request.max_results)
    return JobsAnswer(jobs=found)


@operation("runnerJobs.get", "GET", f"{_JOBS}/{{job}}", permission=Permission.READ, agent=AgentScope.JOB)
def get_job(context: Context, request: JobName) -> JobAnswer:
    """Return a job by its id, a beginning of it, or its name."""
    return JobAnswer(job=context.store.runners.job(request.job))


@operation("runnerJobs.add", "POST", _JOBS, permission=Permission.WRITE, files=True)
def add_job(context: Context, request: JobAdd) -> JobAnswer:
    """Write a new job down, which a runner then takes."""
    return JobAnswer(job=context.store.runners.add_job(request.job))


@operation("runnerJobs.save", "PUT", f"{_JOBS}/{{job_id}}", permission=Permission.WRITE, files=True, agent=AgentScope.JOB)
def save_job(context: Context, request: JobSave) -> JobAnswer:
    """Write how far a job is, if nobody has changed it since it was read."""
    if request.job.id != request.job_id:
        raise InvalidInput("The job in the body is another one than in the path.")
    return JobAnswer(job=context.store.runners.save_job(request.job))


OPERATIONS = (
    list_runners,
    get_runner,
    add_runner,
    save_runner,
    list_events,
    get_log,
    issue_ticket,
    add_run,
    may_write,
    get_installation,
    hold,
    list_jobs,
    get_job,
    add_job,
    save_job,
)
