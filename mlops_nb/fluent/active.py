"""Runs that this process records: starting, ending, resuming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_nb.core.names import is_run_id
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.fluent.stored import get_run
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun

_ID_LENGTH = 32


def start_run(
    name: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
    *,
    run_id: str | None = None,
    experiment: str | None = None,
    params: Mapping[str, Any] | None = None,
    note: str | None = None,
    parent: str | Run | ActiveRun | None = None,
    resume: str | Run | ActiveRun | None = None,
    tracking_uri: str | None = None,
) -> ActiveRun:
    """Start a run and make it the active one. Use it as a context manager, or end it with `stop_run`.

    Nothing here waits for the store, unless a run is resumed or an experiment or parent is given by what only the store
    knows: the run is on disk when this returns and in the store a moment later.

    Args:
        name: What people call it; a pronounceable one is made up by default. The whole id of a run resumes that run.
        experiment_id: The experiment by id, as in MLflow.
        run_name: MLflow's word for `name`.
        nested: Allow an open run; this one becomes its child.
        parent_run_id: MLflow's word for `parent`.
        tags: Set at once.
        description: MLflow's word for `note`.
        log_system_metrics: Give it system metrics at once, or never; by default once it is 10 s old.
        run_id: MLflow's word for `resume`.
        experiment: The experiment it belongs to; made where it is missing.
        params: Logged at once.
        note: Markdown.
        parent: The parent, if it is another run than the open one.
        resume: Go on with this run instead of starting a new one.
        tracking_uri: Where to record, for this run.

    Raises:
        InvalidInput: If a run is open and `nested` is false, or a name is not allowed.
        NotFound: If there is no run to resume, or no experiment of the id.
    """
    session = sessions.current
    wanted: str | Run | ActiveRun | None = resume if resume is not None else run_id
    if wanted is None and name is not None and _is_whole_id(name):
        name, wanted = None, name
    parent = parent if parent is not None else parent_run_id
    if experiment is None and experiment_id:
        experiment = session.fresh_store().get_experiment(str(experiment_id)).name
    run = session.start(
        name if name is not None else run_name,
        experiment=experiment,
        params=params,
        tags=tags,
        note=note if note is not None else description,
        nested=nested,
        parent_id=None if parent is None else parent if isinstance(parent, str) and _is_whole_id(parent) else get_run(parent).run_id,
        resume=None if wanted is None else get_run(wanted),
        tracking_uri=tracking_uri,
    )
    if log_system_metrics is not None:
        session.companions.system.choose(run, log_system_metrics)
    return run


def _is_whole_id(text: str) -> bool:
    return len(text) == _ID_LENGTH and all(c in "0123456789abcdef" for c in text)


def stop_run(status: str = "FINISHED", reason: str | None = None) -> None:
    """End the active run, if there is one."""
    run = sessions.current.active
    if run is not None:
        run.stop(status, reason)


def end_run(status: str = "FINISHED") -> None:
    """End the active run, if there is one: MLflow's word for `stop_run`."""
    stop_run(status)


def active_run() -> ActiveRun | None:
    """Return the innermost open run, or None."""
    return sessions.current.active


def last_active_run() -> Run | None:
    """Return the run that was started last in this process as the store has it, or None.

    Raises:
        StoreError: If the store cannot be reached.
    """
    run = sessions.current.last
    return None if run is None else get_run(run)


def flush_async_logging() -> None:
    """Wait until what was logged so far is in the store, for at most some seconds."""
    sessions.current.flush()


def active_or_new(run_id: str | None = None) -> ActiveRun:
    """Return the run to log to: the one of an id, else the active one, else a new one."""
    session = sessions.current
    if run_id is None:
        return session.active or session.start()
    if not is_run_id(run_id):
        raise InvalidInput(f"'{run_id[:80]}' is no id of a run.")
    return next((run for run in session.runs if run.run_id == run_id), None) or session.attach(run_id)
