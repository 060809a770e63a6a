"""The records that every layer passes around. Immutable, keyword-only, without behaviour that does I/O.

Times are whole milliseconds since 1970 UTC, as in MLflow's REST API.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from mlops_nb.core.datasets import ModelOutput, RunInputs
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.run_views import RunData, RunInfo


class LifecycleStage(StrEnum):
    """Deleted records stay in the store and can be restored."""

    ACTIVE = "active"
    DELETED = "deleted"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records."""


class Experiment(Record, frozen=True, kw_only=True):
    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: LifecycleStage = LifecycleStage.ACTIVE
    creation_time: int
    last_update_time: int
    tags: dict[str, str] = {}
    run_count: int = 0


class Metric(Record, frozen=True, kw_only=True):
    """One point of a metric. `cell` is the index of the ledger's cell execution that logged it.

    With a `model_id` it is a point of that logged model as well, on the data set where one is named.
    """

    key: str
    value: float
    timestamp: int
    step: int = 0
    cell: int | None = None
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class Artifact(Record, frozen=True, kw_only=True):
    """A file or folder of a run. `path` is POSIX, relative to the run's artifact root."""

    path: str
    is_dir: bool = False
    file_size: int | None = None
    media_type: str | None = None


class CellOutcome(StrEnum):
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    INTERRUPTED = "interrupted"


class ProductKind(StrEnum):
    """What a cell can give a run, besides points of metrics, which name their cell themselves."""

    PARAM = "param"
    ARTIFACT = "artifact"
    DATASET = "dataset"
    MODEL = "model"


class CellProduct(Record, frozen=True, kw_only=True):
    """Something that a cell gave a run: `name` is the param's key, the file's path, the data set's name or the model's id."""

    kind: ProductKind
    name: str


class CellExecution(Record, frozen=True, kw_only=True):
    """One execution of one cell while a run was open: a row of the ledger.

    `index` counts the executions within the run from 0. `source_hash` is the SHA-256 of the source in hex.
    `reads` are the global names whose values the cell used, `writes` those that it bound, changed or removed.
    `peak_memory` is the most memory that the kernel held meanwhile (bytes). `outputs` is a short text of what the cell
    showed, when the executor saw it. `products` is filled in by the store: what the run's events name the cell for.
    """

    index: int
    cell_id: str | None = None
    execution_count: int | None = None
    source: str
    source_hash: str
    started: int
    duration_ms: float = 0.0
    outcome: CellOutcome = CellOutcome.OK
    error: str | None = None
    reads: list[str] = []
    writes: list[str] = []
    peak_memory: int | None = None
    outputs: str | None = None
    products: list[CellProduct] = []


class Run(Record, frozen=True, kw_only=True):
    """A run with its params, tags, the latest point of each metric, what it read and which models it made.

    `revision` grows with every change of the run, store-wide, so that followers can ask for what is new.
    """

    run_id: str
    experiment_id: str
    name: str
    status: RunStatus
    start_time: int
    end_time: int | None = None
    reason: str | None = None
    lifecycle_stage: LifecycleStage = LifecycleStage.ACTIVE
    user: str = ""
    artifact_uri: str = ""
    revision: int = 0
    params: dict[str, str] = {}
    metrics: dict[str, Metric] = {}
    tags: dict[str, str] = {}
    inputs: RunInputs = RunInputs()
    outputs: list[ModelOutput] = []

    @property
    def info(self) -> RunInfo:
        """The run's own facts under MLflow's names."""
        return RunInfo(self)

    @property
    def data(self) -> RunData:
        """Params, latest metrics and tags as MLflow's scripts read them."""
        return RunData(params=self.params, metrics={key: metric.value for key, metric in self.metrics.items()}, tags=self.tags)

    @property
    def parent_id(self) -> str | None:
        return self.tags.get(TAG_PARENT)

    @property
    def notebook(self) -> str | None:
        return self.tags.get(TAG_NOTEBOOK)

    @property
    def duration_ms(self) -> int | None:
        """How long the run took; None while it is open."""
        return None if self.end_time is None else max(0, self.end_time - self.start_time)


class Series(Record, frozen=True, kw_only=True):
    """The points of one metric as (step, timestamp, value), in step order, thinned to what a chart can show.

    `total` is the number of points stored. Thinning keeps the first, the last and the extremes of each bucket.
    """

    key: str
    total: int
    points: list[tuple[int, int, float]]


# Tags that MLflow's clients and pages read.
TAG_RUN_NAME = "mlflow.runName"
TAG_PARENT = "mlflow.parentRunId"
TAG_USER = "mlflow.user"
TAG_SOURCE_NAME = "mlflow.source.name"
TAG_SOURCE_TYPE = "mlflow.source.type"
TAG_GIT_COMMIT = "mlflow.source.git.commit"
TAG_GIT_BRANCH = "mlflow.source.git.branch"
TAG_NOTE = "mlflow.note.content"
# Ours.
TAG_NOTEBOOK = "mlops.notebook"
TAG_SERIES = "mlops.series"
TAG_ATTEMPT = "mlops.attempt"
TAG_EXECUTION = "mlops.execution"
TAG_GIT_DIRTY = "mlops.git.dirty"
TAG_HYGIENE = "mlops.hygiene"
TAG_VERIFIED = "mlops.verified"
TAG_REPRODUCES = "mlops.reproduces"
TAG_ARCHIVED = "mlops.archived"
# Of runs that `mlops-nb ci run` executed: which CI (or "local"), what started it, for which pull request, where its page is.
TAG_CI = "mlops.ci"
TAG_CI_EVENT = "mlops.ci.event"
TAG_CI_PULL_REQUEST = "mlops.ci.pull_request"
TAG_CI_URL = "mlops.ci.url"
TAG_CI_SECONDS = "mlops.ci.seconds"
"""How long the notebook took, with its kernel (s)."""
# The name of the default branch, on runs of its commits: what later runs are compared with.
TAG_CI_DEFAULT_BRANCH = "mlops.ci.default_branch"
# What came of its gates, on a run that gates have judged: `passed` or `failed`. Nothing is compared with one that failed.
TAG_CI_GATES = "mlops.ci.gates"

DEFAULT_EXPERIMENT = "Default"
DEFAULT_EXPERIMENT_ID = "0"

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def float_to_json(value: float) -> float | str:
    """Return what stands for `value` in JSON, which has no NaN and no infinities (protobuf's JSON names)."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def float_from_json(value: float | str) -> float:
    """Return the float that `float_to_json` wrote; also takes numbers written as text."""
    if isinstance(value, str):
        return _NON_FINITE[value] if value in _NON_FINITE else float(value)
    return float(value)
