"""`SqlStore`: the contract on a database. Transactions are made here; the statements are in the modules beside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind, artifact_uri
from mlops_nb.core.datasets import DatasetInput, DatasetSummary, ModelOutput
from mlops_nb.core.events import AnyEvent
from mlops_nb.core.logged_models import owner_of_model
from mlops_nb.core.records import Artifact, CellExecution, Experiment, LifecycleStage, Metric, Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.store.artifacts import ArtifactStore, LocalArtifacts, check_artifact_path, open_artifacts
from mlops_nb.store.base import LEASE_SECONDS, ExperimentQuery, MetricColumns, Page, RunQuery, ServedStore, StoreStatus
from mlops_nb.store.files import OwnedFiles
from mlops_nb.store.purge import Purged, PurgeQuery
from mlops_nb.store.secrets import SecretBox
from mlops_nb.store.sql import (
    checking,
    experiments,
    exporting,
    ingest,
    inputs,
    ledger,
    metrics,
    point_stream,
    purge,
    revision,
    run_records,
    runs,
    sampling,
)
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.importing import SqlImport
from mlops_nb.store.sql.leases import LeaseClock
from mlops_nb.store.sql.logged_models import SqlLoggedModels
from mlops_nb.store.sql.registry import SqlRegistry
from mlops_nb.store.sql.runners import SqlRunners
from mlops_nb.store.sql.search.run_pages import runs_page
from mlops_nb.store.sql.sqlite import SqliteDatabase
from mlops_nb.store.sql.traces import SqlTraces
from mlops_nb.store.sql.webhooks import SqlWebhooks
from mlops_nb.store.transfer import StoreExport

KEY_FILE = "webhooks.key"
_LONGEST_LEASE = 1e12  # what a column holds in milliseconds; NaN is not below it


class SqlStore(ServedStore):
    """A tracking store in a database, with the artifacts beside it.

    Args:
        database: Closed with the store.
        artifacts: Where the files of the runs are.
        key_file: Where the key is that encrypts secrets, if the environment has none; None: nowhere else.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore, *, key_file: Path | None = None) -> None:
        self.database = database
        self._artifacts = artifacts
        self._files = OwnedFiles(artifacts)
        self._read, self._write = database.read, database.write
        self._registry = SqlRegistry(database)
        self._logged_models = SqlLoggedModels(database)
        self._traces = SqlTraces(database)
        self._webhooks = SqlWebhooks(database, SecretBox(key_file))
        self._runners = SqlRunners(database, SecretBox(key_file, subject="runner"))
        self._importing = SqlImport(database)
        self._lease_clock = LeaseClock()

    @classmethod
    def in_file(cls, path: Path, *, artifact_root: str | None = None, durability: str = "full") -> SqlStore:
        """Open, or make, the store in a SQLite file; see `SqliteDatabase`.

        The artifacts are at the URI `artifact_root`, else in the folder `artifacts` beside the file.
        """
        artifacts = open_artifacts(artifact_root) if artifact_root else LocalArtifacts(path.parent / "artifacts")
        return cls(SqliteDatabase(path, durability=durability), artifacts, key_file=path.parent / KEY_FILE)

    @property
    def files(self) -> OwnedFiles:
        return self._files

    @property
    def registry(self) -> SqlRegistry:
        return self._registry

    @property
    def logged_models(self) -> SqlLoggedModels:
        return self._logged_models

    @property
    def traces(self) -> SqlTraces:
        return self._traces

    @property
    def webhooks(self) -> SqlWebhooks:
        return self._webhooks

    @property
    def runners(self) -> SqlRunners:
        return self._runners

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
            query = ExperimentQuery(lifecycle_stage=lifecycle_stage, max_results=max_results, page_token=page_token)
            return experiments.page(c, query)

    def search_experiments(self, query: ExperimentQuery) -> Page[Experiment]:
        with self._read() as c:
            return experiments.page(c, query)

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

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[str] = ()) -> None:
        with self._write() as c:
            row = runs.active_row(c, run_id)
            inputs.add_inputs(c, row, datasets, models)
            runs.touch(c, row)

    def log_outputs(self, run_id: str, models: Sequence[ModelOutput]) -> None:
        with self._write() as c:
            row = runs.active_row(c, run_id)
            inputs.add_outputs(c, row, models)
            runs.touch(c, row)

    def log_model_history(self, run_id: str, entry: Mapping[str, Any]) -> None:
        with self._write() as c:
            row = runs.active_row(c, run_id)
            inputs.add_model_history(c, row, entry)
            runs.touch(c, row)

    def dataset_summaries(self, experiment_ids: Sequence[str]) -> list[DatasetSummary]:
        with self._read() as c:
            return inputs.summaries(c, experiment_ids)

    def search_runs(self, query: RunQuery) -> Page[Run]:
        with self._read() as c:
            return runs_page(c, query)

    def changed_runs(self, since: int, *, max_results: int = 200) -> list[Run]:
        with self._read() as c:
            return run_records.changed(c, since, max_results)

    # -- metrics and the ledger

    def metric_history(self, run_id: str, key: str, *, max_results: int | None = None, page_token: str | None = None) -> Page[Metric]:
        with self._read() as c:
            return metrics.history(c, runs.row_id(c, run_id), key, max_results, page_token)

    def sampled_metric(
        self, run_ids: Sequence[str], key: str, *, max_points: int, start_step: int | None = None, end_step: int | None = None
    ) -> dict[str, list[tuple[int, int, float]]]:
        with self._read() as c:
            return sampling.sampled(c, run_ids, key, max_points, start_step, end_step)

    def metric_page(self, run_id: str, key: str, *, max_results: int, page_token: str | None = None) -> tuple[MetricColumns, str | None]:
        with self._read() as c:
            return metrics.columns(c, runs.row_id(c, run_id), key, max_results, page_token)

    def metric_points(self, run_id: str, key: str) -> Iterator[MetricColumns]:
        return point_stream.pieces(self.database, run_id, key)

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
            return ledger.read(c, runs.row_id(c, run_id))

    # -- the write path of our own clients

    def ingest(self, run_id: str, source: str, events: Sequence[AnyEvent]) -> int:
        with self._write() as c:
            return ingest.apply(c, run_id, source, events, now_ms())

    def heartbeat(self, run_ids: Iterable[str]) -> None:
        with self._write() as c:
            ingest.heartbeat(c, list(run_ids), now_ms())

    def expire_leases(self, *, older_than_seconds: float = LEASE_SECONDS) -> list[str]:
        if not abs(older_than_seconds) < _LONGEST_LEASE:
            raise InvalidInput(f"No lease is {older_than_seconds} s old.", hint="Give a number of seconds.")
        if self._lease_clock.has_jumped():  # how old a lease is cannot be told: each run gets one more to show that it lives
            with self._write() as c:
                ingest.renew_all(c, now_ms())
        limit = now_ms() - int(older_than_seconds * 1000)
        with self._read() as c:  # nearly always there is nothing to do: no write lock for that
            if not ingest.expired(c, limit):
                return []
        with self._write() as c:
            return ingest.expire(c, limit)

    # -- in, out and away

    @property
    def importing(self) -> SqlImport:
        return self._importing

    def export(self) -> AbstractContextManager[StoreExport]:
        return exporting.export(self.database)

    def check(self) -> list[str]:
        with self._read() as c:
            return checking.faults(c)

    def purge(self, query: PurgeQuery) -> Purged:
        return purge.purge(self.database, self._files, query, now_ms())

    # -- artifacts

    def list_artifacts(self, run_id: str, path: str = "", *, recursive: bool = False) -> list[Artifact]:
        return self._files.list(self._owner(run_id), path, recursive=recursive)

    def read_artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        return self._files.read(self._owner(run_id), path)

    def write_artifact(self, run_id: str, path: str, content: BinaryIO) -> Artifact:
        owner = self._owner(run_id)
        artifact = self._files.write(owner, path, content)
        self.files_changed(owner)
        return artifact

    def write_model_file(self, model_id: str, path: str, content: BinaryIO) -> Artifact:
        return self._files.write(owner_of_model(self._logged_models.get(model_id)), path, content)

    def delete_artifact(self, run_id: str, path: str) -> None:
        owner = self._owner(run_id)
        check_artifact_path(path)
        self._files.delete(owner, path)
        self.files_changed(owner)

    def files_changed(self, owner: ArtifactOwner) -> None:
        if owner.kind is OwnerKind.RUN:
            with self._write() as c:
                runs.touch(c, runs.row_id(c, owner.owner_id))

    def _owner(self, run_id: str) -> ArtifactOwner:
        """Return a run as the owner of its files; where they are is asked of the database, never of the client."""
        with self._read() as c:
            experiment_id, location = runs.place_of(c, run_id)
        uri = artifact_uri(location, OwnerKind.RUN, run_id)
        return ArtifactOwner(kind=OwnerKind.RUN, experiment_id=experiment_id, owner_id=run_id, uri=uri)

    # -- itself

    def revision(self) -> int:
        with self._read() as c:
            return revision.current(c)

    def status(self) -> StoreStatus:
        with self._read() as c:
            return runs.totals(c)

    def close(self) -> None:
        self.database.close()
        self._artifacts.close()


def now_ms() -> int:
    """Return the time as the store writes it."""
    return time.time_ns() // 1_000_000
