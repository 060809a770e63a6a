"""Searching runs: our way gives `Runs`, MLflow's way the DataFrame that its scripts read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from mlops_nb.core import filters
from mlops_nb.core.records import TAG_ARCHIVED, LifecycleStage, Run
from mlops_nb.errors import InvalidInput, MissingDependencyError, NotFound
from mlops_nb.fluent.experiments import STAGES, active_experiment
from mlops_nb.store.base import MAX_PAGE, RunQuery, TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import Runs

if TYPE_CHECKING:
    from pandas import DataFrame

_MLFLOWS_MAX = 100_000
_OURS_MAX = 100


@overload
def search_runs(
    query: str = "",
    *,
    order_by: Sequence[str] | None = None,
    max_results: int | None = None,
    experiment: str | None = None,
    archived: bool = False,
) -> Runs: ...


@overload
def search_runs(
    query: str | Sequence[str] | None = None,
    filter_string: str | None = None,
    run_view_type: int | None = None,
    max_results: int | None = None,
    order_by: Sequence[str] | None = None,
    output_format: str | None = None,
    search_all_experiments: bool | None = None,
    experiment_names: Sequence[str] | None = None,
    *,
    experiment_ids: Sequence[str] | None = None,
) -> DataFrame | Runs: ...


def search_runs(
    query: str | Sequence[str] | None = "",
    filter_string: str | None = None,
    run_view_type: int | None = None,
    max_results: int | None = None,
    order_by: Sequence[str] | None = None,
    output_format: str | None = None,
    search_all_experiments: bool | None = None,
    experiment_names: Sequence[str] | None = None,
    *,
    experiment_ids: Sequence[str] | None = None,
    experiment: str | None = None,
    archived: bool = False,
) -> Any:
    """Return runs, the newest first.

    Called with an argument that only MLflow has (or a list of experiment ids first), this is MLflow's: the runs of the
    experiments named, else of the active one, as a DataFrame. Otherwise it is ours: the runs of the project.

    Args:
        query: A filter (`metrics.val_auc > 0.9 and params.lr = '0.1'`) or free text that a name or tag contains.
        filter_string: MLflow's filter.
        run_view_type: 1 active runs, 2 deleted ones, 3 all, as MLflow's `ViewType`.
        max_results: At most this many.
        order_by: Such as `["metrics.val_auc desc"]`.
        output_format: `pandas` or `list`, as in MLflow.
        search_all_experiments: The runs of all experiments, as in MLflow.
        experiment_names: Only runs of these, as in MLflow.
        experiment_ids: Only runs of these, as in MLflow.
        experiment: Only runs of this experiment, by name.
        archived: Archived runs too.

    Returns:
        `Runs`, a list with `df`; for MLflow's calls a DataFrame, unless `output_format` is `list`.
    Raises:
        FilterError: If the filter does not parse; with the position.
        InvalidInput: If an experiment or a format is not known.
    """
    if query is not None and not isinstance(query, str):
        experiment_ids, query = query, ""
    mlflows = (filter_string, run_view_type, output_format, search_all_experiments, experiment_names, experiment_ids)
    if all(value is None for value in mlflows):
        return _ours(query or "", list(order_by or ()), _OURS_MAX if max_results is None else max_results, experiment, archived)
    if output_format not in (None, "pandas", "list"):
        raise InvalidInput(f"There is no output format '{output_format}'.", hint="Use 'pandas' or 'list'.")
    if run_view_type is not None and run_view_type not in STAGES:
        raise InvalidInput(f"There is no view type {run_view_type!r}.", hint="Use 1 (active), 2 (deleted) or 3 (all).")
    names = [experiment] if experiment is not None else experiment_names
    if names is None and experiment_ids is None and not search_all_experiments:
        names = [active_experiment()]
    runs = _mlflows_runs(
        RunQuery(
            filter=filter_string or query or "",
            order_by=list(order_by or ()),
            max_results=_MLFLOWS_MAX if max_results is None else max_results,
            lifecycle_stage=STAGES[run_view_type or 1],
        ),
        experiment_ids,
        names,
    )
    return runs if output_format == "list" else mlflows_table(runs)


def _ours(query: str, order_by: list[str], max_results: int, experiment: str | None, archived: bool) -> Runs:
    is_filter = filters.looks_like_filter(query)
    if is_filter:  # said even where there is nothing to find yet
        filters.parse(query)
        archived = archived or TAG_ARCHIVED in query
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
    wanted = RunQuery(
        experiment_ids=ids,
        filter=query if is_filter else "",
        text="" if is_filter else query,
        order_by=order_by,
        max_results=max_results,
    )
    return _collected(store, wanted, archived=archived)


def _mlflows_runs(query: RunQuery, ids: Sequence[str] | None, names: Sequence[str] | None) -> Runs:
    filters.parse(query.filter)
    try:
        store = sessions.current.fresh_store()
    except NotFound:
        return Runs()
    wanted = None if ids is None and names is None else [str(each) for each in ids or ()]
    for name in names or ():
        found = store.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage is LifecycleStage.ACTIVE and wanted is not None:
            wanted.append(found.experiment_id)
    if wanted == []:
        return Runs()
    return _collected(store, _replaced(query, experiment_ids=wanted), archived=True)


def _collected(store: TrackingStore, query: RunQuery, *, archived: bool) -> Runs:
    """Return as many runs as the query asks for, page by page; the archived ones are left out where they are not wanted."""
    found, token = Runs(), None
    while len(found) < query.max_results:
        missing = query.max_results - len(found)
        page = store.search_runs(_replaced(query, max_results=min(missing, MAX_PAGE), page_token=token))
        found += [run for run in page.items if archived or TAG_ARCHIVED not in run.tags]
        token = page.token
        if token is None:
            break
    return found


def _replaced(query: RunQuery, **changes: Any) -> RunQuery:
    import msgspec

    return msgspec.structs.replace(query, **changes)


def mlflows_table(runs: Sequence[Run]) -> DataFrame:
    """Return runs as the DataFrame that MLflow's `search_runs` gives: the same columns, NaN and None where a run has nothing.

    Raises:
        MissingDependencyError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependencyError("pandas", extra="demo", purpose="A table of runs") from None
    columns: dict[str, Any] = {
        "run_id": [run.run_id for run in runs],
        "experiment_id": [run.experiment_id for run in runs],
        "status": [run.status.as_mlflow for run in runs],
        "artifact_uri": [run.artifact_uri for run in runs],
        "start_time": pd.to_datetime([run.start_time for run in runs], unit="ms", utc=True),
        "end_time": pd.to_datetime([run.end_time for run in runs], unit="ms", utc=True),
    }
    for key in dict.fromkeys(key for run in runs for key in run.metrics):
        columns[f"metrics.{key}"] = [run.metrics[key].value if key in run.metrics else float("nan") for run in runs]
    for key in dict.fromkeys(key for run in runs for key in run.params):
        columns[f"params.{key}"] = [run.params.get(key) for run in runs]
    for key in dict.fromkeys(key for run in runs for key in run.tags):
        columns[f"tags.{key}"] = [run.tags.get(key) for run in runs]
    return pd.DataFrame(columns)
