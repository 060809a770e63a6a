"""What the agent on a runner's machine may do by its own token: what belongs to its runner, its jobs and their runs. Default deny.

Rented machines are less trusted than people: a token that leaks from one opens nothing of the others, no list, and no files
but those of its own runs and the models that they made, and it is void when the runner is gone.
"""

from __future__ import annotations

import re
from typing import Any

from mlops_nb.api.agent_models import begins_model, is_its_file, is_its_model, is_its_source, is_its_version, is_new_name, names_its_models
from mlops_nb.api.agent_runs import is_its_run
from mlops_nb.api.operation import AgentScope, Context, Operation
from mlops_nb.api.project import ServedProject
from mlops_nb.core.names import is_run_id
from mlops_nb.core.records import TAG_EXECUTION
from mlops_nb.core.runner_jobs import Job
from mlops_nb.core.runners import Runner
from mlops_nb.errors import NotFound, PermissionDenied
from mlops_nb.store.base import ServedStore

_BEGINS = "runs.ingest"
_EXECUTION = re.compile(rf"tags\.`{re.escape(TAG_EXECUTION)}` = '([0-9a-f]{{16}})'", re.ASCII)
_PROGRESS = frozenset(
    {"revision", "runner_id", "before", "state", "reason", "cell", "cells_total", "checkpoint_cell", "digests", "updated", "ended"}
)
"""What of a job its machine writes. The rest says what is executed, and for whom: it is whoever has submitted it that says so."""


def admit(project: ServedProject, token: str, operation: Operation, request: Any) -> Runner:
    """Return the runner whose agent asks, if it may do what it asks for.

    Raises:
        PermissionDenied: If the token is of no runner that is there, or the operation is not its own.
    """
    context = Context(project, permission=operation.permission)
    runner = project.store().runners.agent(token)
    if operation.agent is not None and _may(context, runner, operation, request):
        return runner
    raise PermissionDenied(
        f"The agent of the runner '{runner.name}' may not do this ({operation.name}).",
        hint="Its token opens what belongs to its own runner, jobs, runs and the models that they made.",
    )


def _may(context: Context, runner: Runner, operation: Operation, request: Any) -> bool:
    store = context.store
    match operation.agent:
        case AgentScope.ANY | AgentScope.NEW_RUN:
            return True
        case AgentScope.RUNNER:
            return bool(request.runner_id == runner.id)
        case AgentScope.JOB:
            return _is_its_job(store, runner, request)
        case AgentScope.RUN:
            run_id = request.id() if hasattr(request, "id") else request.run_id
            its = is_its_run(store, runner, run_id) or (operation.name == _BEGINS and _begins(store, runner, run_id))
            return its and names_its_models(store, runner, operation.name, request)
        case AgentScope.RUNS:
            return all(store.runners.may_write(runner.id, run_id) for run_id in request.run_ids)
        case AgentScope.EXECUTION:
            return _is_its_execution(store, runner, request.filter or "")
        case AgentScope.MODEL:
            return is_its_model(store, runner, request.model_id or "")
        case AgentScope.NEW_MODEL:
            return begins_model(store, runner, request)
        case AgentScope.FILE:
            return is_its_file(context, runner, request)
        case AgentScope.NEW_NAME:
            return is_new_name(request)
        case AgentScope.VERSION:
            return is_its_version(store, runner, *request.numbered())
        case AgentScope.NEW_VERSION:
            return is_its_source(context, runner, request)
    return False


def _is_its_job(store: ServedStore, runner: Runner, request: Any) -> bool:
    """Return whether a job is of this runner, and is only read, or goes on, ends, or goes back to those that wait."""
    given = getattr(request, "job", None)
    job_id = getattr(request, "job_id", None) or given
    try:
        kept = store.runners.job(str(job_id))
    except NotFound:
        return False
    return kept.runner_id == runner.id and (isinstance(given, str) or (given is not None and _goes_on(kept, given, runner)))


def _goes_on(kept: Job, given: Job, runner: Runner) -> bool:
    """Return whether a machine changes no more of its job than how far it is."""
    stays = all(getattr(kept, field) == getattr(given, field) for field in Job.__struct_fields__ if field not in _PROGRESS)
    return stays and given.runner_id in (runner.id, "") and given.before in (kept.before, runner.id)


def _begins(store: ServedStore, runner: Runner, run_id: str) -> bool:
    """Note a run that is not there yet as this runner's: its first events begin it."""
    if not is_run_id(run_id):
        return False
    try:
        store.get_run(run_id)
    except NotFound:
        store.runners.add_run(runner.id, run_id)
        return True
    return False


def _is_its_execution(store: ServedStore, runner: Runner, wanted: str) -> bool:
    """Return whether a filter names the execution of a job of this runner, and nothing else."""
    match = _EXECUTION.fullmatch(wanted)
    return match is not None and any(job.id.startswith(match[1]) for job in store.runners.jobs(runner_id=runner.id, max_results=1000))
