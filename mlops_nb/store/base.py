"""The contract of a tracking store. Every store passes the test class `tests/contract/test_store_contract.py`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import msgspec

from mlops_nb.core.artifacts import ArtifactOwner
from mlops_nb.core.datasets import DatasetInput, DatasetSummary, ModelOutput
from mlops_nb.core.events import AnyEvent
from mlops_nb.core.records import CellExecution, Experiment, LifecycleStage, Metric, Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.files import OwnedFiles
from mlops_nb.store.logged_models import LoggedModelStore
from mlops_nb.store.page import MAX_PAGE as MAX_PAGE
from mlops_nb.store.page import Page as Page
from mlops_nb.store.purge import Purged, PurgeQuery
from mlops_nb.store.queries import ExperimentQuery as ExperimentQuery
from mlops_nb.store.queries import RunQuery as RunQuery
from mlops_nb.store.registry import ModelRegistry
from mlops_nb.store.run_files import RunFiles
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.store.traces import TraceStore
from mlops_nb.store.transfer import StoreExport, StoreImport
from mlops_nb.store.webhooks import WebhookStore

LEASE_SECONDS = 60.0


class MetricColumns(NamedTuple):
    """Points of a metric, as columns of the same length."""

    steps: Sequence[int]
    timestamps: Sequence[int]
    values: Sequence[float]


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of itself. `revision` is the highest revision of any run."""

    revision: int
    experiment_count: int
    run_count: int


class TrackingStore(RunFiles):
    """Where experiments, runs, metrics and artifacts are kept.

    Threads: every method may be called from any thread at the same time.
    Processes: any number may have the same store open; none ever sees a lock error.
    Ownership: whoever makes a store closes it; `close` may be called twice.
    Crash: a method that returned has taken effect and survives the death of this process and of the server's
        (with SQLite also a power cut, at synchronous=FULL). One that did not return has taken effect wholly or
        not at all. Artifacts become visible whole.
    Errors: `NotFound`, `AlreadyExists`, `InvalidInput` for the caller's mistakes; `StoreUnreachable`,
        `StoreDamaged`, `StoreVersionError` when the store cannot serve.
    Times: milliseconds since 1970 UTC.

    Attributes:
        is_remote: Whether it lies behind a server, so that this process has nothing of it open but connections.
    """

    is_remote = False

    # -- experiments

    @abstractmethod
    def create_experiment(self, name: str, *, artifact_location: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Create an experiment and return its id.

        Raises:
            AlreadyExists: If an experiment has the name, even a deleted one.
        """

    @abstractmethod
    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment, deleted ones too.

        Raises:
            NotFound: If there is none of this id.
        """

    @abstractmethod
    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """Return the experiment of this name, deleted ones too, or None."""

    @abstractmethod
    def list_experiments(
        self, *, lifecycle_stage: LifecycleStage | None = LifecycleStage.ACTIVE, max_results: int = 1000, page_token: str | None = None
    ) -> Page[Experiment]:
        """Return experiments, newest first, with the number of active runs of each."""

    @abstractmethod
    def update_experiment(self, experiment_id: str, *, name: str | None = None, lifecycle_stage: LifecycleStage | None = None) -> None:
        """Rename, delete (its runs too) or restore an experiment.

        Raises:
            NotFound, AlreadyExists: As their names say.
        """

    @abstractmethod
    def set_experiment_tag(self, experiment_id: str, key: str, value: str | None) -> None:
        """Set a tag of an experiment; None removes it."""

    # -- runs

    @abstractmethod
    def create_run(
        self, experiment_id: str, *, name: str = "", user: str = "", start_time: int | None = None, tags: Mapping[str, str] | None = None
    ) -> Run:
        """Create a run in state RUNNING, with a new id, and a name where none is given.

        Raises:
            NotFound: If there is no such active experiment.
        """

    @abstractmethod
    def get_run(self, run_id: str) -> Run:
        """Return a run, deleted ones too.

        Raises:
            NotFound: If there is none of this id.
        """

    @abstractmethod
    def update_run(
        self,
        run_id: str,
        *,
        name: str | None = None,
        status: RunStatus | None = None,
        end_time: int | None = None,
        reason: str | None = None,
        lifecycle_stage: LifecycleStage | None = None,
    ) -> Run:
        """Change what is given and return the run.

        Raises:
            NotFound: If there is none of this id.
            IllegalTransition: If the state cannot follow the present one.
        """

    @abstractmethod
    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        """Log all of it or nothing. A point that is already there, bit for bit, is stored once.

        Raises:
            NotFound: If the run or the logged model of a point is not there.
            InvalidInput: If the run is deleted, a param has another value already, or a point names half a data set.
        """

    @abstractmethod
    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[str] = ()) -> None:
        """Note the data sets and the logged models, by id, that a run read. What is noted already stays as it is.

        A data set is stored once per experiment, name and digest, as it came first.

        Raises:
            NotFound: If the run or a model is not there.
            InvalidInput: If the run is deleted, or a text is too long.
        """

    @abstractmethod
    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        """Note the logged models that a run made. Of one that is noted already the step changes.

        Raises:
            NotFound: If the run or a model is not there.
            InvalidInput: If the run is deleted.
        """

    @abstractmethod
    def search_runs(self, query: RunQuery) -> Page[Run]:
        """Return the runs that fit.

        Raises:
            FilterError: If the filter or the order does not parse.
        """

    @abstractmethod
    def changed_runs(self, since: int, *, max_results: int = 200) -> list[Run]:
        """Return runs whose revision is greater than `since`, deleted ones too, smallest revision first."""

    # -- metrics and the ledger

    @abstractmethod
    def metric_history(self, run_id: str, key: str, *, max_results: int | None = None, page_token: str | None = None) -> Page[Metric]:
        """Return the points of a metric by step, timestamp, value."""

    @abstractmethod
    def series(
        self,
        run_id: str,
        keys: Sequence[str] | None = None,
        *,
        max_points: int = 1000,
        start_step: int | None = None,
        end_step: int | None = None,
    ) -> list[Series]:
        """Return the metrics of a run thinned for charts, ordered by key; None means every metric.

        Of what lies between the two steps, both included, the first, the last and the extremes of each stretch are kept.
        """

    @abstractmethod
    def cells(self, run_id: str) -> list[CellExecution]:
        """Return the ledger of a run by index, with what each cell gave the run."""

    # -- the write path of our own clients

    @abstractmethod
    def ingest(self, run_id: str, source: str, events: Sequence[AnyEvent]) -> int:
        """Apply events of one source in order, each exactly once however often it is sent.

        `RunStarted` creates the experiment and the run where they are missing. Nothing is refused because of the
        state of the run; a sign of life heals a LOST one. A param that has another value keeps the first.

        Returns:
            The highest `seq` of this source that is applied now.
        Raises:
            NotFound: If the run is not there and the events do not start it.
        """

    @abstractmethod
    def heartbeat(self, run_ids: Iterable[str]) -> None:
        """Renew the leases of runs; heal the LOST ones among them. Unknown ids are ignored."""

    @abstractmethod
    def expire_leases(self, *, older_than_seconds: float = LEASE_SECONDS) -> list[str]:
        """Mark RUNNING runs whose lease was not renewed as LOST and return their ids. A run without lease has none to lose."""

    # -- runners

    @property
    @abstractmethod
    def runners(self) -> RunnerLedger:
        """The ledger of runners and their jobs."""

    # -- itself

    def group(self) -> AbstractContextManager[None]:
        """Let the writes of this thread that follow be acknowledged together: each may fail alone, all take effect at the end.

        A store that cannot do that lets each take effect by itself.

        Raises:
            StoreError: At the end, if none of them has taken effect.
        """
        return nullcontext()

    @abstractmethod
    def revision(self) -> int:
        """Return the revision of the last change of any run."""

    @abstractmethod
    def status(self) -> StoreStatus:
        """Return the totals, without touching more than indexes."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""


class ServedStore(TrackingStore):
    """A store that a server can serve: it also keeps the model registry, logged models, traces and their files."""

    @abstractmethod
    def search_experiments(self, query: ExperimentQuery) -> Page[Experiment]:
        """Return the experiments that fit, with the number of active runs of each.

        Raises:
            FilterError: If the filter or the order does not parse.
        """

    @property
    @abstractmethod
    def files(self) -> OwnedFiles:
        """The files of runs, logged models and traces."""

    @abstractmethod
    def files_changed(self, owner: ArtifactOwner) -> None:
        """Let followers of a run see that its files are others now. Other owners have no followers."""

    @property
    @abstractmethod
    def registry(self) -> ModelRegistry:
        """The model registry."""

    @property
    @abstractmethod
    def logged_models(self) -> LoggedModelStore:
        """The logged models."""

    @property
    @abstractmethod
    def traces(self) -> TraceStore:
        """The traces."""

    @property
    @abstractmethod
    def webhooks(self) -> WebhookStore:
        """The webhooks, and the messages that wait for them."""

    @property
    @abstractmethod
    def importing(self) -> StoreImport:
        """The way in for what another store has."""

    @abstractmethod
    def export(self) -> AbstractContextManager[StoreExport]:
        """Give everything in the store, as it is when the block begins."""

    @abstractmethod
    def check(self) -> list[str]:
        """Read the whole database and return what is wrong in it, in words."""

    @abstractmethod
    def purge(self, query: PurgeQuery) -> Purged:
        """Remove what was deleted for good, with its files; running runs stay.

        Crash: a run is there whole or not at all; files that were not removed yet go with the next purge.

        Raises:
            NotFound, InvalidInput: If the query names what is not there or may not go; then nothing has gone.
        """

    @abstractmethod
    def dataset_summaries(self, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
        """Return the data sets of experiments with what runs read them for, each once, at most 1,000."""

    @abstractmethod
    def log_model_history(self, run_id: str, entry: Mapping[str, Any]) -> None:
        """Append a model to the tag in which clients of MLflow 2 keep the models of a run.

        Raises:
            NotFound: If the run is not there.
            InvalidInput: If the run is deleted, or the tag holds something else.
        """

    @abstractmethod
    def sampled_metric(
        self, run_ids: Sequence[str], key: str, *, max_points: int, start_step: int | None = None, end_step: int | None = None
    ) -> dict[str, list[tuple[int, int, float]]]:
        """Return about `max_points` points of a metric of each run as (step, timestamp, value), in order.

        They lie at even distances between the two steps, both included; the ends and the extremes are always among them.
        Runs that are not there, or lack the metric, are left out.
        """

    @abstractmethod
    def metric_page(self, run_id: str, key: str, *, max_results: int, page_token: str | None = None) -> tuple[MetricColumns, str | None]:
        """Return a page of the points of a metric, as `metric_history` does, and the token of the next."""

    @abstractmethod
    def metric_points(self, run_id: str, key: str) -> Iterator[MetricColumns]:
        """Return all points of a metric, in order, in pieces: there may be more than memory holds.

        Raises:
            NotFound: When the first piece is taken, if the run is not there.
        """
