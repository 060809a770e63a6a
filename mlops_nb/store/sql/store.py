"""`SqlStore`: the contract on a database. Transactions are made here; the statements are in the modules beside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from mlops_nb.core.events import AnyEvent
from mlops_nb.core.records import Artifact, CellExecution, Experiment, LifecycleStage, Metric, Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.artifacts import LocalArtifacts
from mlops_nb.store.base import LEASE_SECONDS, Page, RunQuery, ServedStore, StoreStatus
from mlops_nb.store.sql import experiments, ingest, metrics, revision, runs, search
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.logged_models import SqlLoggedModels
from mlops_nb.store.sql.registry import SqlRegistry
from mlops_nb.store.sql.sqlite import SqliteDatabase
from mlops_nb.store.sql.traces import SqlTraces


class SqlStore(ServedStore):
    """A tracking store in a database, with the artifacts beside it.

    Args:
        database: Closed with the store.
        artifacts: Where the files of the runs are.
    """

    def __init__(self, database: Database, artifacts: LocalArtifacts) -> None:
        self.database = database
        self._artifacts = artifacts
        self._read, self._write = database.read, database.write
        self._registry = SqlRegistry(database)
        self._logged_models = SqlLoggedModels(database)
        self._traces = SqlTraces(database)

    @classmethod
    def in_file(cls, path: Path, *, artifact_root: Path | None = None, durability: str = "full") -> SqlStore:
        """Open, or make, the store in a SQLite file; see `SqliteDatabase`. The artifacts are in `artifacts` beside it."""
        return cls(SqliteDatabase(path, durability=durability), LocalArtifacts(artifact_root or path.parent / "artifacts"))

    @property
    def registry(self) -> SqlRegistry:
        return self._registry

    @property
    def logged_models(self) -> SqlLoggedModels:
        return self._logged_models

    @property
    def traces(self) -> SqlTraces:
        return self._traces

    def group(self) -> AbstractContextManager[None]:
        return self.database.group()

    # -- experiments

    def create_experiment(self, name: str, *, artifact_location: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        with self._write() as c:
            return str(experiments.create(c, name, artifact_location, tags or {}, now_ms()))

    def get_experiment(self, experiment_id: str) -> Experiment:
        with self._read() as c:
            return experiments.get(c, experiment_id)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        with self._read() as c:
            return experiments.by_name(c, name)

    def list_experiments(
        self, *, lifecycle_stage: LifecycleStage | None = LifecycleStage.ACTIVE, max_results: int = 1000, page_token: str | None = None
    ) -> Page[Experiment]:
        with self._read() as c:
            return experiments.page(c, lifecycle_stage, max_results, page_token)

    def update_experiment(self, experiment_id: str, *, name: str | None = None, lifecycle_stage: LifecycleStage | None = None) -> None:
        with self._write() as c:
            experiments.update(c, experiment_id, name, lifecycle_stage, now_ms())

    def set_experiment_tag(self, experiment_id: str, key: str, value: str | None) -> None:
        with self._write() as c:
            experiments.set_tag(c, experiment_id, key, value)

    # -- runs

    def create_run(
        self, experiment_id: str, *, name: str = "", user: str = "", start_time: int | None = None, tags: Mapping[str, str] | None = None
    ) -> Run:
        with self._write() as c:
            return runs.create(c, experiment_id, name, user, now_ms() if start_time is None else start_time, tags or {})

    def get_run(self, run_id: str) -> Run:
        with self._read() as c:
            return runs.get(c, run_id)

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
        with self._write() as c:
            return runs.update(c, run_id, name=name, status=status, end_time=end_time, reason=reason, lifecycle_stage=lifecycle_stage)

    def log_batch(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> None:
        with self._write() as c:
            runs.log_batch(c, run_id, metrics, params or {}, tags or {})

    def search_runs(self, query: RunQuery) -> Page[Run]:
        with self._read() as c:
            return search.runs_page(c, query)

    def changed_runs(self, since: int, *, max_results: int = 200) -> list[Run]:
        with self._read() as c:
            return runs.changed(c, since, max_results)

    # -- metrics and the ledger

    def metric_history(self, run_id: str, key: str, *, max_results: int | None = None, page_token: str | None = None) -> Page[Metric]:
        with self._read() as c:
            return metrics.history(c, runs.row_id(c, run_id), key, max_results, page_token)

    def series(
        self,
        run_id: str,
        keys: Sequence[str] | None = None,
        *,
        max_points: int = 1000,
        start_step: int | None = None,
        end_step: int | None = None,
    ) -> list[Series]:
        with self._read() as c:
            return metrics.series(c, runs.row_id(c, run_id), keys, max_points, start_step, end_step)

    def cells(self, run_id: str) -> list[CellExecution]:
        with self._read() as c:
            return ingest.ledger(c, runs.row_id(c, run_id))

    # -- the write path of our own clients

    def ingest(self, run_id: str, source: str, events: Sequence[AnyEvent]) -> int:
        with self._write() as c:
            return ingest.apply(c, run_id, source, events, now_ms())

    def heartbeat(self, run_ids: Iterable[str]) -> None:
        with self._write() as c:
            ingest.heartbeat(c, list(run_ids), now_ms())

    def expire_leases(self, *, older_than_seconds: float = LEASE_SECONDS) -> list[str]:
        limit = now_ms() - int(older_than_seconds * 1000)
        with self._read() as c:  # nearly always there is nothing to do: no write lock for that
            if not ingest.expired(c, limit):
                return []
        with self._write() as c:
            return ingest.expire(c, limit)

    # -- artifacts

    def list_artifacts(self, run_id: str, path: str = "", *, recursive: bool = False) -> list[Artifact]:
        return self._artifacts.entries(self._folder(run_id), path, recursive=recursive)

    def read_artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        return self._artifacts.read(self._folder(run_id), path)

    def write_artifact(self, run_id: str, path: str, content: BinaryIO) -> Artifact:
        artifact = self._artifacts.write(self._folder(run_id), path, content)
        with self._write() as c:
            runs.touch(c, runs.row_id(c, run_id))
        return artifact

    def delete_artifact(self, run_id: str, path: str) -> None:
        self._artifacts.delete(self._folder(run_id), path)
        with self._write() as c:
            runs.touch(c, runs.row_id(c, run_id))

    def _folder(self, run_id: str) -> tuple[str, ...]:
        """Return where a run's artifacts are, below the root; asked of the database, never of the client."""
        with self._read() as c:
            return (runs.experiment_of(c, run_id), run_id, "artifacts")

    # -- itself

    def revision(self) -> int:
        with self._read() as c:
            return revision.current(c)

    def status(self) -> StoreStatus:
        with self._read() as c:
            return runs.totals(c)

    def close(self) -> None:
        self.database.close()


def now_ms() -> int:
    """Return the time as the store writes it."""
    return time.time_ns() // 1_000_000
