"""Which runs are an agent's own: those of its runner's jobs, and what these have begun."""

from __future__ import annotations

from mlops_nb.core.runners import Runner
from mlops_nb.errors import NotFound
from mlops_nb.store.base import ServedStore


def is_its_run(store: ServedStore, runner: Runner, run_id: str) -> bool:
    """Return whether a run is one of its jobs' or was begun by it; what a job's notebook has begun is a part of the job's run."""
    if not run_id:
        return False
    if store.runners.may_write(runner.id, run_id):
        return True
    try:
        parent = store.get_run(run_id).parent_id  # begun on whichever machine the job was then
    except NotFound:
        return False
    return parent is not None and parent != run_id and store.runners.may_write(runner.id, parent)
