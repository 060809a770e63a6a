"""Changing the record of a job that others change, too: read, changed and written until nobody came between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mlops_nb.core.runner_jobs import MOST_ATTEMPTS, Job, JobState
from mlops_nb.core.runners import Runner, RunnerRequest, RunnerState
from mlops_nb.errors import AlreadyExists, Conflict, IllegalTransition, NotFound, StoreUnreachable
from mlops_nb.store.runners import RunnerLedger

_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE = 10.0


def change(ledger: RunnerLedger, job_id: str, changes: Callable[[Job], Mapping[str, Any]], *, patience: float = 0.0) -> Job:
    """Change a job and return it; `changes` sees it as it is now, and may be asked several times. No change: nothing is written.

    Args:
        ledger: Where it is.
        job_id: Which.
        changes: Returns the fields that become others.
        patience: How long a ledger that does not answer is asked again (s).

    Raises:
        StoreUnreachable: If it did not answer all the time.
        NotFound: If there is no such job.
    """
    deadline = time.monotonic() + patience
    pause = _PAUSE_SECONDS
    while True:
        try:
            job = ledger.job(job_id)
            fields = dict(changes(job))
            if not fields:
                return job
            return ledger.save_job(msgspec.structs.replace(job, updated=time.time(), **fields))
        except Conflict:
            continue
        except StoreUnreachable:
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def cancel(ledger: RunnerLedger, job: str) -> Job:
    """Ask that a job ends: one that waits is over at once, one that runs is ended by its machine.

    Raises:
        NotFound: If there is none.
        IllegalTransition: If it is over already.
    """
    found = ledger.job(job)

    def end(now: Job) -> Mapping[str, Any]:
        if now.state.is_over:
            raise IllegalTransition(f"The job '{now.name}' is {now.state} already.", hint="See: mlops-nb runner jobs")
        if now.state is JobState.RUNNING:
            return {"cancel": True}
        return {"cancel": True, "state": JobState.CANCELLED, "reason": "cancelled before it began", "ended": time.time()}

    return change(ledger, found.id, end)


def after_interruption(job: Job, reason: str) -> dict[str, Any]:
    """Return what becomes of a job whose machine was taken away: it waits for another one, once."""
    if job.state.is_over:
        return {}
    if job.cancel:
        return {"state": JobState.CANCELLED, "reason": "cancelled", "ended": time.time()}
    if job.attempts >= MOST_ATTEMPTS:
        why = f"interrupted for the second time: {reason}"
        return {"state": JobState.FAILED, "reason": why[:500], "ended": time.time()}
    return {"state": JobState.INTERRUPTED, "reason": reason[:500], "runner_id": "", "before": job.runner_id}


def tend_jobs(ledger: RunnerLedger, launch: Callable[[RunnerRequest], Runner]) -> Sequence[Job]:
    """Give back the jobs of lost machines, and launch another machine for each job that was interrupted on one of its own.

    For one process at a time, every so often. A second machine of a job is never launched twice: its name is that of the first
    with `-again`.

    Args:
        ledger: Where jobs and runners are.
        launch: Writes a runner down as requested and launches it, in the background.

    Returns:
        The jobs that changed.
    Raises:
        MlopsError: If a machine could not be had; it is tried again.
    """
    changed = list(release_lost(ledger))
    for job in ledger.jobs(states=[JobState.INTERRUPTED], max_results=1000):
        if job.runner_id or not job.before or job.cancel:
            continue
        request = ledger.get(job.before).request
        if request.cloud == "local" or not request.agent.single:  # others of its kind take it, or its owner begins one
            continue
        try:
            runner = launch(msgspec.structs.replace(request, name=f"{request.name[:41].rstrip('-')}-again"))
        except AlreadyExists:
            continue

        def assign(now: Job, runner: Runner = runner) -> Mapping[str, Any]:
            return {"runner_id": runner.id} if now.state is JobState.INTERRUPTED and not now.runner_id else {}

        changed.append(change(ledger, job.id, assign))
    return changed


def release_lost(ledger: RunnerLedger) -> Sequence[Job]:
    """Give back the jobs of runners that are no more, so that another one can take them, and return those that changed.

    For whoever looks after the ledger: a job whose machine ended without a word is interrupted, and waits again, once.
    """
    released = []
    for job in ledger.jobs(states=[JobState.RUNNING, JobState.QUEUED, JobState.INTERRUPTED], max_results=1000):
        if not job.runner_id:
            continue
        try:
            runner = ledger.get(job.runner_id)
        except NotFound:
            continue
        if runner.state not in (RunnerState.GONE, RunnerState.DESTROYING):
            continue
        why = runner.reason or f"its runner {runner.name} is {runner.state}"

        def give_back(now: Job, before: Job = job, why: str = why) -> Mapping[str, Any]:
            if now.runner_id != before.runner_id or now.state.is_over:
                return {}
            if now.state is JobState.RUNNING:
                return after_interruption(now, why)
            return {"runner_id": ""}  # it had not begun there

        changed = change(ledger, job.id, give_back)
        if changed.revision != job.revision:
            released.append(changed)
    return released
