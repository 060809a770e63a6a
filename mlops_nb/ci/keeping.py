"""`mlops-nb ci baseline write`: which runs become the baselines of their notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlops_nb import config
from mlops_nb.ci.baseline_file import write_baselines
from mlops_nb.core.records import TAG_CI, TAG_PARENT, Run
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import find_run

_LOOKED_AT = 500


def write_baseline_file(runs: Sequence[str] = (), path: str | Path | None = None) -> tuple[Path, list[str]]:
    """Write runs as the baselines of their notebooks.

    Args:
        runs: Selectors; by default of each notebook the last finished run that `mlops-nb ci run` made.
        path: The file; by default `.mlops/baseline.json`.

    Returns:
        The file, and a line for each notebook.
    Raises:
        NotFound: If there is no such run.
        InvalidInput: If a run belongs to no notebook, or two to the same.
        PermissionDenied: If the file may not be written.
    """
    store = sessions.current.fresh_store()
    chosen = [find_run(store, run) for run in runs] if runs else _last_of_each(store)
    by_notebook: dict[str, Run] = {}
    for run in chosen:
        if run.notebook is None:
            raise InvalidInput(f"Run {run.name} belongs to no notebook.", hint="Name a run that a notebook made.")
        if run.notebook in by_notebook:
            raise InvalidInput(f"Two of these runs belong to {run.notebook}.", hint="Name one run a notebook.")
        by_notebook[run.notebook] = run
    project = config.find_project()
    place = project.state_dir / config.BASELINE_FILE if path is None else Path(path).expanduser()
    if path is None:
        project.create()
    write_baselines(place, store, by_notebook)
    return place, [f"{name}: run {run.name} ({run.run_id[:8]}), {len(run.metrics)} metrics" for name, run in sorted(by_notebook.items())]


def _last_of_each(store: TrackingStore) -> list[Run]:
    condition = f"tags.`{TAG_CI}` is not null and status = 'FINISHED' and tags.`{TAG_PARENT}` is null"
    found: dict[str, Run] = {}
    for run in store.search_runs(RunQuery(filter=condition, max_results=_LOOKED_AT)).items:
        if run.notebook is not None and run.tags.get("mlops.ci.event") != "baseline":
            found.setdefault(run.notebook, run)
    if not found:
        raise NotFound("No notebook has a finished run of `mlops-nb ci run` here.", hint="Run one, or name a run.")
    return list(found.values())
