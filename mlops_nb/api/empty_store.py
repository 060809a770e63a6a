"""What a project answers before anything was tracked in it: no runs, and no file made by asking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, NoReturn

from mlops_nb.core.events import AnyEvent
from mlops_nb.core.records import (
    DEFAULT_EXPERIMENT,
    DEFAULT_EXPERIMENT_ID,
    Artifact,
    CellExecution,
    Experiment,
    LifecycleStage,
    Metric,
    Run,
    Series,
)
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import NotFound, StoreUnreachable
from mlops_nb.store.base import LEASE_SECONDS, Page, RunQuery, StoreStatus, TrackingStore

_DEFAULT = Experiment(
    experiment_id=DEFAULT_EXPERIMENT_ID,
    name=DEFAULT_EXPERIMENT,
    artifact_location=f"mlflow-artifacts:/{DEFAULT_EXPERIMENT_ID}",
    creation_time=0,
    last_update_time=0,
)


def _no_run(run_id: str) -> NoReturn:
    raise NotFound(f"There is no run '{run_id}'.", hint="Nothing has been tracked in this project yet.")


def _read_only() -> NoReturn:
    raise StoreUnreachable("This project has no store yet, and reading does not make one.", hint="Start a run first.")


class EmptyStore(TrackingStore):
    """A store with the default experiment and nothing else, which cannot be written."""

    def create_experiment(self, name: str, *, artifact_location: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        _read_only()

    def get_experiment(self, experiment_id: str) -> Experiment:
        if experiment_id != DEFAULT_EXPERIMENT_ID:
            raise NotFound(f"There is no experiment with the id '{experiment_id}'.")
        return _DEFAULT

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        return _DEFAULT if name == DEFAULT_EXPERIMENT else None

    def list_experiments(
        self, *, lifecycle_stage: LifecycleStage | None = LifecycleStage.ACTIVE, max_results: int = 1000, page_token: str | None = None
    ) -> Page[Experiment]:
        return Page(items=[] if lifecycle_stage is LifecycleStage.DELETED else [_DEFAULT])

    def update_experiment(self, experiment_id: str, *, name: str | None = None, lifecycle_stage: LifecycleStage | None = None) -> None:
        _read_only()

    def set_experiment_tag(self, experiment_id: str, key: str, value: str | None) -> None:
        _read_only()

    def create_run(
        self, experiment_id: str, *, name: str = "", user: str = "", start_time: int | None = None, tags: Mapping[str, str] | None = None
    ) -> Run:
        _read_only()

    def get_run(self, run_id: str) -> Run:
        _no_run(run_id)

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
        _read_only()

    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        _read_only()

    def search_runs(self, query: RunQuery) -> Page[Run]:
        # A filter that does not parse is a mistake here as well.
        from mlops_nb.core import filters

        filters.parse(query.filter)
        for clause in query.order_by:
            filters.parse_order_by(clause)
        return Page(items=[])

    def changed_runs(self, since: int, *, max_results: int = 200) -> list[Run]:
        return []

    def metric_history(self, run_id: str, key: str, *, max_results: int | None = None, page_token: str | None = None) -> Page[Metric]:
        _no_run(run_id)

    def series(self, run_id: str, keys: Sequence[str] | None = None, *, max_points: int = 1000) -> list[Series]:
        _no_run(run_id)

    def cells(self, run_id: str) -> list[CellExecution]:
        _no_run(run_id)

    def ingest(self, run_id: str, source: str, events: Sequence[AnyEvent]) -> int:
        _read_only()

    def heartbeat(self, run_ids: Iterable[str]) -> None:
        _read_only()

    def expire_leases(self, *, older_than_seconds: float = LEASE_SECONDS) -> list[str]:
        return []

    def list_artifacts(self, run_id: str, path: str = "", *, recursive: bool = False) -> list[Artifact]:
        return []

    def read_artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        _no_run(run_id)

    def write_artifact(self, run_id: str, path: str, content: BinaryIO) -> Artifact:
        _read_only()

    def delete_artifact(self, run_id: str, path: str) -> None:
        _read_only()

    def status(self) -> StoreStatus:
        return StoreStatus(revision=0, experiment_count=1, run_count=0)

    def close(self) -> None:
        pass
