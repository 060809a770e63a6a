"""The baseline as a file in the repository, `.mlops/baseline.json`: what a run's metrics were, and of which data and rows.

It is for repositories whose jobs share no tracking store. A reviewer sees in its diff what the numbers are to be from now on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mlops_nb import config
from mlops_nb.comparing.predictions import RunPredictions
from mlops_nb.core.datasets import CONTEXT_TAG, Dataset, DatasetInput, RunInputs
from mlops_nb.core.formatting import one_line
from mlops_nb.core.records import (
    TAG_CI,
    TAG_CI_EVENT,
    TAG_GIT_BRANCH,
    TAG_GIT_COMMIT,
    TAG_NOTEBOOK,
    TAG_PARENT,
    Metric,
    Run,
    float_from_json,
    float_to_json,
)
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.reports.writing import write_file
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import find_run

_MAX_BYTES = 8_000_000
_LOOKED_AT = 500
_RunId = Annotated[str, Meta(pattern=r"^[0-9a-f]{0,64}$")]
_Text = Annotated[str, Meta(max_length=8_000)]
_Number = float | Literal["NaN", "Infinity", "-Infinity"]


class _Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of what the file holds."""


class KeptMetric(_Kept, frozen=True, kw_only=True):
    """A value. `data` is the digest of the data set that it was logged for, `rows` that of the rows that it was computed of."""

    value: _Number
    data: str | None = None
    rows: str | None = None


class KeptData(_Kept, frozen=True, kw_only=True):
    """A data set that the run read, and for what."""

    name: _Text
    digest: _Text
    context: _Text | None = None


class KeptNotebook(_Kept, frozen=True, kw_only=True):
    """A notebook's baseline. Times in ms since 1970, durations in ms."""

    run_id: _RunId = ""
    run: _Text = ""
    commit: _Text = ""
    branch: _Text = ""
    ended: int = 0
    duration: int = 0
    metrics: Annotated[dict[_Text, KeptMetric], Meta(max_length=5_000)] = {}
    params: Annotated[dict[_Text, _Text], Meta(max_length=5_000)] = {}
    data: Annotated[list[KeptData], Meta(max_length=1_000)] = []


class _File(_Kept, frozen=True, kw_only=True, omit_defaults=False):
    version: Literal[1] = 1
    notebooks: Annotated[dict[_Text, KeptNotebook], Meta(max_length=1_000)] = {}


def read_baselines(path: Path) -> dict[str, KeptNotebook]:
    """Return the baselines of a file, by the notebook's path.

    Raises:
        NotFound: If there is no such file.
        InvalidInput: If it holds something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no baseline file {path}.", hint="Write one: mlops-nb ci baseline write") from None
    except OSError as error:
        raise InvalidInput(f"The baseline file {path} cannot be read: {error.strerror or error}.", hint="Name a readable file.") from None
    if len(content) > _MAX_BYTES:
        raise InvalidInput(f"The baseline file {path} is larger than {_MAX_BYTES:,} bytes.", hint="Write it anew.")
    try:
        return msgspec.json.decode(content, type=_File).notebooks
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"{path} is no baseline file: {one_line(str(error))[:300]}.", hint="Write it anew: mlops-nb ci baseline write"
        ) from None


def write_baselines(path: Path, store: TrackingStore, runs: dict[str, Run]) -> None:
    """Write runs as the baselines of their notebooks; those of other notebooks in the file stay.

    Args:
        path: The file.
        store: Where the runs are.
        runs: By the notebook's path.

    Raises:
        InvalidInput: If there is a file that holds something else.
        PermissionDenied: If it may not be written.
    """
    known = read_baselines(path) if path.exists() else {}
    known |= {name: _kept(store, run) for name, run in runs.items()}
    content = msgspec.json.encode(_File(notebooks=dict(sorted(known.items()))))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, msgspec.json.format(content, indent=2) + b"\n")


def _kept(store: TrackingStore, run: Run) -> KeptNotebook:
    rows = rows_of(store, run)
    return KeptNotebook(
        run_id=run.run_id,
        run=run.name,
        commit=run.tags.get(TAG_GIT_COMMIT, ""),
        branch=run.tags.get(TAG_GIT_BRANCH, ""),
        ended=run.end_time or 0,
        duration=run.duration_ms or 0,
        metrics={
            key: KeptMetric(value=float_to_json(metric.value), data=metric.dataset_digest, rows=rows.get(key))  # type: ignore[arg-type]
            for key, metric in sorted(run.metrics.items())
        },
        params=dict(sorted(run.params.items())),
        data=[KeptData(name=used.dataset.name, digest=used.dataset.digest, context=used.context) for used in run.inputs.datasets],
    )


def rows_of(store: TrackingStore, run: Run) -> dict[str, str]:
    """Return, by metric, the digest of the rows that it was computed of, where the run has kept their predictions."""
    predictions = RunPredictions(store, run.run_id)
    found = {}
    for key, metric in run.metrics.items():
        source = predictions.source_of(key, metric.value)
        kept = predictions.of(source.file) if source is not None else None
        if kept is not None:
            found[key] = kept.info.digest
    return found


def as_run(name: str, kept: KeptNotebook) -> Run:
    """Return a baseline as the run that it was, as far as the file tells."""
    metrics = {
        key: Metric(key=key, value=float_from_json(metric.value), timestamp=kept.ended, dataset_digest=metric.data)
        for key, metric in kept.metrics.items()
    }
    inputs = [
        DatasetInput(
            dataset=Dataset(name=data.name, digest=data.digest, source_type="", source=""),
            tags={CONTEXT_TAG: data.context} if data.context else {},
        )
        for data in kept.data
    ]
    tags = {TAG_NOTEBOOK: name, TAG_GIT_COMMIT: kept.commit, TAG_GIT_BRANCH: kept.branch}
    return Run(
        run_id=kept.run_id,
        experiment_id="",
        name=kept.run or "baseline",
        status=RunStatus.FINISHED,
        start_time=kept.ended - kept.duration,
        end_time=kept.ended,
        metrics=metrics,
        params=kept.params,
        tags={key: value for key, value in tags.items() if value},
        inputs=RunInputs(datasets=inputs),
    )


# -- which runs


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
        if run.notebook is not None and run.tags.get(TAG_CI_EVENT) != "baseline":
            found.setdefault(run.notebook, run)
    if not found:
        raise NotFound("No notebook has a finished run of `mlops-nb ci run` here.", hint="Run one, or name a run.")
    return list(found.values())
