"""The JSON forms of our own REST API, `/api/v1`: what `api.v1` answers and `store.rest` asks.

Records that are the same in JSON (`Experiment`, `Artifact`, `CellExecution`, the events) stand for themselves.
A request takes `null` for "not set" everywhere. Numbers that JSON cannot name travel as "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from mlops_nb.core.datasets import DatasetInput, ModelOutput, RunInputs
from mlops_nb.core.events import AnyEvent, MetricLogged
from mlops_nb.core.records import (
    Artifact,
    CellExecution,
    Experiment,
    LifecycleStage,
    Metric,
    Run,
    Series,
    float_from_json,
    float_to_json,
)
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=50_000)]


class Wire(msgspec.Struct, kw_only=True):
    """Base of the JSON forms. Requests are completed from the URL, so they are not frozen."""


class Lifecycle(StrEnum):
    """Which records a listing shows."""

    ACTIVE = "active"
    DELETED = "deleted"
    ALL = "all"

    @property
    def stage(self) -> LifecycleStage | None:
        """The stage that the store filters by; None: both."""
        return None if self is Lifecycle.ALL else LifecycleStage(self.value)

    @classmethod
    def of(cls, stage: LifecycleStage | None) -> Lifecycle:
        return cls.ALL if stage is None else cls(stage.value)


# -- experiments


class ExperimentAnswer(Wire, kw_only=True):
    experiment: Experiment | None


class ExperimentsAnswer(Wire, kw_only=True):
    experiments: list[Experiment]
    next_page_token: str | None = None


class ExperimentCreate(Wire, kw_only=True):
    name: str
    tags: dict[str, str] | None = None
    artifact_location: str | None = None


class ExperimentCreated(Wire, kw_only=True):
    experiment_id: str


class ExperimentPatch(Wire, kw_only=True):
    """What changes. A tag that is null goes."""

    experiment_id: str = ""
    name: str | None = None
    lifecycle_stage: LifecycleStage | None = None
    tags: dict[str, str | None] | None = None


# -- runs


class MetricJson(Wire, kw_only=True):
    key: str
    value: float | str
    step: Int64 = 0
    timestamp: Int64
    cell: int | None = None
    model_id: str | UnsetType | None = UNSET
    dataset_name: str | UnsetType | None = UNSET
    dataset_digest: str | UnsetType | None = UNSET


class RunJson(Wire, kw_only=True):
    run_id: str
    experiment_id: str
    name: str
    status: RunStatus
    reason: str | None
    start_time: int
    end_time: int | None
    lifecycle_stage: LifecycleStage
    user: str
    artifact_uri: str
    revision: int
    params: dict[str, str]
    metrics: list[MetricJson]
    tags: dict[str, str]
    inputs: RunInputs = RunInputs()
    outputs: list[ModelOutput] = []


class RunAnswer(Wire, kw_only=True):
    run: RunJson


class RunCreate(Wire, kw_only=True):
    experiment_id: str
    name: str | None = None
    user: str | None = None
    start_time: Int64 | None = None
    tags: dict[str, str] | None = None


class RunPatch(Wire, kw_only=True):
    """What changes. A tag that is null goes."""

    run_id: str = ""
    name: str | None = None
    tags: dict[str, str | None] | None = None
    lifecycle_stage: LifecycleStage | None = None
    status: RunStatus | None = None
    end_time: Int64 | None = None
    reason: str | None = None


class RunSearch(Wire, kw_only=True):
    """Which runs. `query` is what a person types: a filter where it reads as one, else free text."""

    experiment_ids: list[str] | None = None
    query: str | None = None
    filter: str | None = None
    text: str | None = None
    order_by: list[str] | None = None
    max_results: PageSize | None = None
    page_token: str | None = None
    lifecycle_stage: Lifecycle | None = None


class RunsAnswer(Wire, kw_only=True):
    """A page of runs. `revision` is the store's at the time: follow `changes?since=` from there."""

    runs: list[RunJson]
    next_page_token: str | None = None
    revision: int


class ChangesAnswer(Wire, kw_only=True):
    """Runs that changed, oldest change first. Ask again from `revision`, at once where there are `more`."""

    revision: int
    runs: list[RunJson]
    more: bool


class BatchRequest(Wire, kw_only=True):
    run_id: str = ""
    metrics: list[MetricJson] | None = None
    params: dict[str, str] | None = None
    tags: dict[str, str | None] | None = None


class InputsRequest(Wire, kw_only=True):
    """What a run read: data sets, and logged models by id."""

    run_id: str = ""
    datasets: list[DatasetInput] | None = None
    models: list[str] | None = None


class OutputsRequest(Wire, kw_only=True):
    run_id: str = ""
    models: list[ModelOutput]


class EventsRequest(Wire, kw_only=True):
    run_id: str = ""
    source: str
    events: list[AnyEvent]


class EventsAnswer(Wire, kw_only=True):
    """`applied` is the highest number of this source that the store has."""

    applied: int


class RunIds(Wire, kw_only=True):
    run_ids: list[str]


class LeasesRequest(Wire, kw_only=True):
    older_than_seconds: float | None = None


# -- what a run holds


class SeriesJson(Wire, kw_only=True):
    """`points` are [step, timestamp, value]."""

    key: str
    total: int
    points: list[tuple[int, int, float | str]]


class SeriesAnswer(Wire, kw_only=True):
    series: list[SeriesJson]


class HistoryAnswer(Wire, kw_only=True):
    metrics: list[MetricJson]
    next_page_token: str | None = None


class CellsAnswer(Wire, kw_only=True):
    cells: list[CellExecution]


class ArtifactAnswer(Wire, kw_only=True):
    """What was written; `sha256`, in hex, lets the client see that it is what it sent."""

    artifact: Artifact
    sha256: str | None = None


class ArtifactsAnswer(Wire, kw_only=True):
    artifacts: list[Artifact]


class ProjectJson(Wire, kw_only=True):
    name: str
    root: str


class StatusAnswer(Wire, kw_only=True):
    """What the server and its store are. With a `problem` the totals are 0."""

    version: str
    project: ProjectJson
    store: str
    revision: int = 0
    experiment_count: int = 0
    run_count: int = 0
    problem: str | None = None


class Done(Wire, kw_only=True):
    """Nothing to say: it is done."""


def metric_to_json(metric: Metric) -> MetricJson:
    value = metric.value
    return MetricJson(
        key=metric.key,
        value=value if math.isfinite(value) else float_to_json(value),
        step=metric.step,
        timestamp=metric.timestamp,
        cell=metric.cell,
        model_id=metric.model_id or UNSET,
        dataset_name=UNSET if metric.dataset_name is None else metric.dataset_name,
        dataset_digest=UNSET if metric.dataset_digest is None else metric.dataset_digest,
    )


def metric_from_json(json: MetricJson) -> Metric:
    """Return the metric that was written so.

    Raises:
        InvalidInput: If the value is text that names no number.
    """
    value = json.value
    if isinstance(value, str):
        try:
            value = float_from_json(value)
        except ValueError:
            raise InvalidInput(f"The metric '{json.key}' has the value {value!r}, which is not a number.") from None
    return Metric(
        key=json.key,
        value=value,
        step=json.step,
        timestamp=json.timestamp,
        cell=json.cell,
        model_id=json.model_id or None,
        dataset_name=None if json.dataset_name is UNSET else json.dataset_name,
        dataset_digest=None if json.dataset_digest is UNSET else json.dataset_digest,
    )


def run_to_json(run: Run) -> RunJson:
    return RunJson(
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        name=run.name,
        status=run.status,
        reason=run.reason,
        start_time=run.start_time,
        end_time=run.end_time,
        lifecycle_stage=run.lifecycle_stage,
        user=run.user,
        artifact_uri=run.artifact_uri,
        revision=run.revision,
        params=run.params,
        metrics=[metric_to_json(metric) for metric in run.metrics.values()],
        tags=run.tags,
        inputs=run.inputs,
        outputs=run.outputs,
    )


def run_from_json(json: RunJson) -> Run:
    return Run(
        run_id=json.run_id,
        experiment_id=json.experiment_id,
        name=json.name,
        status=json.status,
        reason=json.reason,
        start_time=json.start_time,
        end_time=json.end_time,
        lifecycle_stage=json.lifecycle_stage,
        user=json.user,
        artifact_uri=json.artifact_uri,
        revision=json.revision,
        params=json.params,
        metrics={metric.key: metric_from_json(metric) for metric in json.metrics},
        tags=json.tags,
        inputs=json.inputs,
        outputs=json.outputs,
    )


def series_to_json(series: Series) -> SeriesJson:
    points: list[tuple[int, int, float | str]] = [
        (step, timestamp, value if math.isfinite(value) else float_to_json(value)) for step, timestamp, value in series.points
    ]
    return SeriesJson(key=series.key, total=series.total, points=points)


def series_from_json(json: SeriesJson) -> Series:
    points = [(step, timestamp, float_from_json(value)) for step, timestamp, value in json.points]
    return Series(key=json.key, total=json.total, points=points)


def event_to_json(event: AnyEvent) -> AnyEvent:
    """Return the event with a value that JSON can name."""
    if isinstance(event, MetricLogged) and isinstance(event.value, float) and not math.isfinite(event.value):
        return msgspec.structs.replace(event, value=float_to_json(event.value))
    return event
