"""Finding runs by selector, in any store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_nb import config
from mlops_nb.core import selectors
from mlops_nb.core.records import TAG_CI_DEFAULT_BRANCH, TAG_CI_GATES, TAG_NOTEBOOK, TAG_SERIES, Run
from mlops_nb.core.selectors import Extreme, Last, Main, Named, Tagged
from mlops_nb.errors import MissingDependencyError, NotFound, SelectorError, did_you_mean
from mlops_nb.store.base import RunQuery, TrackingStore

if TYPE_CHECKING:
    from pandas import DataFrame

    from mlops_nb.tracking.run import ActiveRun

_SEEN_FOR_HINTS = 200


class Runs(list[Run]):
    """Runs in order; `df` gives them as a pandas table, of which the columns and methods can be used directly."""

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, (int, slice)) else self.df[key]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what displays and copies ask for
            raise AttributeError(name)
        return getattr(self.df, name)

    @property
    def df(self) -> DataFrame:
        """The runs as a table: one row a run, columns as MLflow names them (`metrics.x`, `params.y`, `tags.z`).

        Raises:
            MissingDependencyError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingDependencyError("pandas", extra="demo", purpose="A table of runs") from None
        rows: list[dict[str, object]] = []
        for run in self:
            row: dict[str, object] = {
                "run_id": run.run_id,
                "name": run.name,
                "status": run.status.value,
                "experiment_id": run.experiment_id,
            }
            row["start_time"] = pd.Timestamp(run.start_time, unit="ms", tz="UTC")
            row["end_time"] = None if run.end_time is None else pd.Timestamp(run.end_time, unit="ms", tz="UTC")
            row |= {f"metrics.{key}": metric.value for key, metric in run.metrics.items()}
            row |= {f"params.{key}": value for key, value in run.params.items()}
            row |= {f"tags.{key}": value for key, value in run.tags.items()}
            rows.append(row)
        return pd.DataFrame(rows)


def find_run(store: TrackingStore, selector: str | Run | ActiveRun, *, notebook: str | None = None) -> Run:
    """Return the run that a selector means; see `core.selectors`. A run stands for itself.

    Args:
        store: Where to look.
        selector: Text, or a run, of which the present state is returned; `models:/NAME@ALIAS` is the run that made the version.
        notebook: Whose run `@main` is, as its runs are tagged; by default that of this kernel, where there is one.

    Raises:
        SelectorError: If it does not parse, or an id prefix fits several runs.
        NotFound: If no run fits; with what there is instead.
    """
    if not isinstance(selector, str):
        return store.get_run(selector.run_id)
    if selector.startswith("models:/"):
        return _of_version(store, selector)
    parsed = selectors.parse(selector)
    if isinstance(parsed, Last):
        return _last(store, parsed)
    if isinstance(parsed, Extreme):
        return _extreme(store, parsed)
    if isinstance(parsed, Main):
        return _main(store, notebook)
    if isinstance(parsed, Tagged):
        condition = f"tags.{_quoted(parsed.key)} is not null"
        if parsed.value is not None:
            condition = f"tags.{_quoted(parsed.key)} = {_text(parsed.value)}"
        return _first(store, condition) or _raise_none(f"No run has the tag '{selector[4:]}'.")
    return _named(store, parsed)


def _of_version(store: TrackingStore, uri: str) -> Run:
    from mlops_nb.models.lineage import lineage, wanted

    found = lineage(store, wanted(uri))
    if not found.run_id:
        raise NotFound(f"It is not known which run made {found.uri}.", hint=f"mlops-nb models show {found.name}/{found.version}")
    return store.get_run(found.run_id)


def _last(store: TrackingStore, selector: Last) -> Run:
    runs = store.search_runs(RunQuery(max_results=selector.back + 1)).items
    if len(runs) <= selector.back:
        count = {0: "are no runs", 1: "is only one run"}.get(len(runs), f"are only {len(runs)} runs")
        raise NotFound(f"There {count} here.", hint="Start one with %track start.")
    return runs[selector.back]


def _main(store: TrackingStore, notebook: str | None) -> Run:
    name = notebook or _notebook_here()
    condition = f"tags.`{TAG_CI_DEFAULT_BRANCH}` is not null and status = 'FINISHED'"
    condition += f" and (tags.`{TAG_CI_GATES}` is null or tags.`{TAG_CI_GATES}` != 'failed')"
    if name is not None:
        condition += f" and tags.`{TAG_NOTEBOOK}` = {_text(name)}"
    found = _first(store, condition)
    if found is None:
        of = f" of {name}" if name else ""
        raise NotFound(
            f"The default branch has no finished run{of} here that passed its gates.", hint="Run it there: mlops-nb ci run NOTEBOOK"
        )
    return found


def _notebook_here() -> str | None:
    from mlops_nb.tracking import session as sessions
    from mlops_nb.tracking.capture import notebook_path, notebook_tags

    path = notebook_path(sessions.current.user_ns)
    return None if path is None else notebook_tags(path, config.find_project())[TAG_NOTEBOOK]


def _extreme(store: TrackingStore, selector: Extreme) -> Run:
    descending = selector.best != selectors.lower_is_better(selector.key)
    key = f"metrics.{_quoted(selector.key)}"
    query = RunQuery(
        filter=f"{key} is not null",
        order_by=[f"{key} {'desc' if descending else 'asc'}"],
        max_results=1,
    )
    runs = store.search_runs(query).items
    if runs:
        return runs[0]
    seen = store.search_runs(RunQuery(max_results=_SEEN_FOR_HINTS)).items
    keys = sorted({key for run in seen for key in run.metrics})
    have = f"Have: {', '.join(keys[:8])}." if keys else "Log one with %track log NAME=value."
    guess = did_you_mean(selector.key, keys)
    raise NotFound(f"No metric '{selector.key}' in {len(seen)} runs here.", hint=f"{have} {guess}" if guess else have)


def _named(store: TrackingStore, selector: Named) -> Run:
    if selector.id_prefix is not None:
        query = RunQuery(filter=f"run_id like '{selector.id_prefix}%'", lifecycle_stage=None, max_results=2)
        runs = store.search_runs(query).items
        if len(runs) == 1:
            return runs[0]
        if len(runs) > 1:
            raise SelectorError(f"The id prefix '{selector.text}' fits several runs.", hint="Give more digits.")
    found = _first(store, f"run_name = {_text(selector.text)} or tags.`{TAG_SERIES}` = {_text(selector.text)}")
    if found is not None:
        return found
    seen = store.search_runs(RunQuery(max_results=_SEEN_FOR_HINTS)).items
    raise NotFound(
        f"There is no run '{selector.text[:80]}' here.",
        hint=did_you_mean(selector.text, (run.name for run in seen)) or "See %track ls for what there is.",
    )


def _first(store: TrackingStore, condition: str) -> Run | None:
    runs = store.search_runs(RunQuery(filter=condition, max_results=1)).items
    return runs[0] if runs else None


def _raise_none(message: str) -> Run:
    raise NotFound(message, hint="See %track ls for what there is.")


def _quoted(key: str) -> str:
    return f"`{key}`" if "`" not in key else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
