"""The Python API: one function per verb, on the process's session. `import mlops_nb` shows all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_nb.core import filters, selectors
from mlops_nb.core.names import check_experiment_name
from mlops_nb.core.records import LifecycleStage, Run
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import RunQuery
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import Runs, find_run
from mlops_nb.tracking.run import ActiveRun

if TYPE_CHECKING:
    from mlops_nb.core.comparison import RunComparison

__all__ = [
    "active_run",
    "compare",
    "delete_run",
    "get_run",
    "log",
    "log_artifact",
    "log_dict",
    "log_figure",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_text",
    "restore_run",
    "search_runs",
    "set_experiment",
    "set_tag",
    "set_tags",
    "start_run",
    "stop_run",
    "tag_run",
]


def start_run(
    name: str | None = None,
    *,
    experiment: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    note: str | None = None,
    nested: bool = False,
    parent: str | Run | ActiveRun | None = None,
    resume: str | Run | ActiveRun | None = None,
    tracking_uri: str | None = None,
) -> ActiveRun:
    """Start a run and make it the active one. Use it as a context manager, or end it with `stop_run`.

    Nothing here waits for the store: the run is on disk when this returns and in the store a moment later.

    Args:
        name: What people call it; a pronounceable one is made up by default.
        experiment: The experiment it belongs to; made where it is missing.
        params: Logged at once.
        tags: Set at once.
        note: Markdown.
        nested: Allow an open run; this one becomes its child.
        parent: The parent, if it is another run than the open one.
        resume: Go on with this run instead of starting a new one.
        tracking_uri: Where to record, for this run.

    Raises:
        InvalidInput: If a run is open and `nested` is false, or a name is not allowed.
        NotFound: If there is no run to resume.
    """
    session = sessions.current
    return session.start(
        name,
        experiment=experiment,
        params=params,
        tags=tags,
        note=note,
        nested=nested,
        parent_id=None if parent is None else parent if isinstance(parent, str) and len(parent) == 32 else get_run(parent).run_id,
        resume=None if resume is None else get_run(resume),
        tracking_uri=tracking_uri,
    )


def stop_run(status: str = "FINISHED", reason: str | None = None) -> None:
    """End the active run, if there is one."""
    run = sessions.current.active
    if run is not None:
        run.stop(status, reason)


def active_run() -> ActiveRun | None:
    """Return the innermost open run, or None."""
    return sessions.current.active


def _active_or_new() -> ActiveRun:
    return sessions.current.active or sessions.current.start()


def log(metrics: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any) -> None:
    """Log metrics to the active run, starting one if none is open; see `ActiveRun.log`."""
    _active_or_new().log(metrics, step=step, **more)


def log_metric(key: str, value: Any, step: int | None = None, *, timestamp: int | None = None) -> None:
    """Log one point of a metric to the active run, starting one if none is open."""
    _active_or_new().log_metric(key, value, step, timestamp=timestamp)


def log_metrics(metrics: Mapping[str, Any], step: int | None = None) -> None:
    """Log metrics to the active run, starting one if none is open."""
    _active_or_new().log(metrics, step=step)


def log_param(key: str, value: Any) -> Any:
    """Log a param to the active run, starting one if none is open, and return the value."""
    return _active_or_new().log_param(key, value)


def log_params(params: Mapping[str, Any]) -> None:
    """Log params to the active run, starting one if none is open."""
    _active_or_new().log_params(params)


def set_tag(key: str, value: Any) -> None:
    """Set a tag of the active run, starting one if none is open."""
    _active_or_new().set_tag(key, value)


def set_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the active run, starting one if none is open."""
    _active_or_new().set_tags(tags)


def log_artifact(local_path: str | Path, artifact_path: str | None = None) -> None:
    """Keep a copy of a file or folder with the active run, starting one if none is open."""
    _active_or_new().log_artifact(local_path, artifact_path)


def log_text(text: str, artifact_file: str) -> None:
    """Keep text as a file with the active run, starting one if none is open."""
    _active_or_new().log_text(text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str) -> None:
    """Keep a JSON value as a file with the active run, starting one if none is open."""
    _active_or_new().log_dict(dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str) -> None:
    """Keep a figure with the active run, starting one if none is open."""
    _active_or_new().log_figure(figure, artifact_file)


def set_experiment(name: str) -> None:
    """Make this the experiment of the runs that follow."""
    sessions.current.experiment = check_experiment_name(name)


def get_run(selector: str | Run | ActiveRun = "@last") -> Run:
    """Return a run as the store has it now.

    Args:
        selector: `@last`, `@last~1`, `@best:METRIC`, `@worst:METRIC`, `tag:NAME`, the beginning of an id, a name, or a run.

    Raises:
        NotFound, SelectorError: If none fits, or several do.
        StoreError: If the store cannot be reached.
    """
    if isinstance(selector, str):  # a wrong selector is said even where there is nothing to find yet
        selectors.parse(selector)
    return find_run(sessions.current.fresh_store(), selector)


def tag_run(selector: str | Run | ActiveRun, tags: Mapping[str, str | None]) -> None:
    """Set tags of any run; None removes one."""
    store = sessions.current.fresh_store()
    store.log_batch(find_run(store, selector).run_id, tags=tags)


def delete_run(selector: str | Run | ActiveRun) -> None:
    """Delete a run; `restore_run` brings it back."""
    store = sessions.current.fresh_store()
    store.update_run(find_run(store, selector).run_id, lifecycle_stage=LifecycleStage.DELETED)


def restore_run(selector: str | Run | ActiveRun) -> None:
    """Bring a deleted run back, named by the beginning of its id."""
    store = sessions.current.fresh_store()
    store.update_run(find_run(store, selector).run_id, lifecycle_stage=LifecycleStage.ACTIVE)


def search_runs(query: str = "", *, order_by: Sequence[str] = (), max_results: int = 100, experiment: str | None = None) -> Runs:
    """Return runs, the newest first.

    Args:
        query: A filter (`metrics.val_auc > 0.9 and params.lr = '0.1'`) or free text that a name or tag contains.
        order_by: Such as `["metrics.val_auc desc"]`.
        max_results: At most this many.
        experiment: Only runs of this experiment.

    Raises:
        FilterError: If the filter does not parse; with the position.
    """
    is_filter = filters.looks_like_filter(query)
    if is_filter:  # said even where there is nothing to find yet
        filters.parse(query)
    try:
        store = sessions.current.fresh_store()
    except NotFound:  # nothing has been recorded here: that is no error for a list
        return Runs()
    ids = None
    if experiment is not None:
        found = store.get_experiment_by_name(experiment)
        if found is None:
            raise InvalidInput(f"There is no experiment '{experiment}'.")
        ids = [found.experiment_id]
    page = store.search_runs(
        RunQuery(
            experiment_ids=ids,
            filter=query if is_filter else "",
            text="" if is_filter else query,
            order_by=list(order_by),
            max_results=max_results,
        )
    )
    return Runs(page.items)


def compare(base: str | Run | ActiveRun = "@last~1", *others: str | Run | ActiveRun) -> RunComparison:
    """Compare runs with a base: which metrics got better, which params changed.

    Args:
        base: The run that the others are held against.
        *others: The newest run by default.
    """
    from mlops_nb.core.comparison import compare as compare_runs

    store = sessions.current.fresh_store()
    return compare_runs(find_run(store, base), [find_run(store, other) for other in others or ("@last",)])
