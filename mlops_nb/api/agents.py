"""What the agent on a runner's machine may do by its own token: what belongs to its runner, its jobs and their runs. Default deny.

Rented machines are less trusted than people: a token that leaks from one opens nothing of the others, no list, and no files
but those of its own runs, and it is void when the runner is gone.
"""

from __future__ import annotations

import re
from typing import Any

from mlops_nb.api.operation import AgentScope, Operation
from mlops_nb.core.records import TAG_EXECUTION
from mlops_nb.core.runners import Runner
from mlops_nb.errors import NotFound, PermissionDenied
from mlops_nb.store.base import ServedStore

_BEGINS = "runs.ingest"
_EXECUTION = re.compile(rf"tags\.`{re.escape(TAG_EXECUTION)}` = '([0-9a-f]{{16}})'", re.ASCII)


def admit(store: ServedStore, token: str, operation: Operation, request: Any) -> Runner:
    """Return the runner whose agent asks, if it may do what it asks for.

    Raises:
        PermissionDenied: If the token is of no runner that is there, or the operation is not its own.
    """
    runner = store.runners.agent(token)
    match operation.agent:
        case AgentScope.ANY:
            return runner
        case AgentScope.RUNNER if request.runner_id == runner.id:
            return runner
        case AgentScope.JOB if _is_its_job(store, runner, request):
            return runner
        case AgentScope.RUN if _is_its_run(store, runner, operation, request.run_id):
            return runner
        case AgentScope.RUNS if all(store.runners.may_write(runner.id, run_id) for run_id in request.run_ids):
            return runner
        case AgentScope.EXECUTION if _is_its_execution(store, runner, request.filter or ""):
            return runner
    raise PermissionDenied(
        f"The agent of the runner '{runner.name}' may not do this ({operation.name}).",
        hint="Its token opens what belongs to its own runner, jobs and runs.",
    )


def _is_its_job(store: ServedStore, runner: Runner, request: Any) -> bool:
    """Return whether a job is of this runner, and stays so or goes back to those that wait."""
    given = getattr(request, "job", None)
    job_id = getattr(request, "job_id", None) or given
    try:
        kept = store.runners.job(str(job_id))
    except NotFound:
        return False
    stays = isinstance(given, str) or (given is not None and given.id == kept.id and given.runner_id in (runner.id, ""))
    return kept.runner_id == runner.id and stays


def _is_its_run(store: ServedStore, runner: Runner, operation: Operation, run_id: str) -> bool:
    """Return whether a run is one of its jobs' or was begun by it; the first events of a new run begin it."""
    if store.runners.may_write(runner.id, run_id):
        return True
    try:
        # What a job's notebook has started is a part of the job's run, on whichever machine it was.
        parent = store.get_run(run_id).parent_id
        return parent is not None and parent != run_id and store.runners.may_write(runner.id, parent)
    except NotFound:
        if operation.name != _BEGINS:
            return False
        store.runners.add_run(runner.id, run_id)
        return True


def _is_its_execution(store: ServedStore, runner: Runner, wanted: str) -> bool:
    """Return whether a filter names the execution of a job of this runner, and nothing else."""
    match = _EXECUTION.fullmatch(wanted)
    return match is not None and any(job.id.startswith(match[1]) for job in store.runners.jobs(runner_id=runner.id, max_results=1000))
