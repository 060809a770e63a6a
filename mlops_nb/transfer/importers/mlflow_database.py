"""MLflow's database, of any version since 1.0: what a version does not have yet is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc

from mlops_nb.core.datasets import Dataset, DatasetInput, ModelOutput, RunInputs
from mlops_nb.core.logged_models import LoggedModel, LoggedModelStatus, ModelMetric
from mlops_nb.core.records import TAG_RUN_NAME, Experiment, LifecycleStage, Metric, Run
from mlops_nb.core.registry import ModelVersion, RegisteredModel, stage_of
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, MissingDependencyError, StoreUnreachable
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.transfer.places import files_at
from mlops_nb.transfer.source import Source, SourceFile, SourceRun

MODEL_STATUS = {1: LoggedModelStatus.PENDING, 2: LoggedModelStatus.READY, 3: LoggedModelStatus.FAILED}
_CHUNK = 200
_FETCH = 10_000
_TABLES = (
    "experiments experiment_tags runs params tags metrics inputs input_tags datasets logged_models logged_model_params "
    "logged_model_tags logged_model_metrics registered_models registered_model_tags registered_model_aliases model_versions "
    "model_version_tags trace_info"
).split()

Row = dict[str, Any]


class MlflowDatabase(Source):
    """MLflow's tables, read and never written. Of its workspaces the default one is read.

    Args:
        url: SQLAlchemy's URL.
        base: Where relative paths in it begin.
        artifacts: Where its server keeps `mlflow-artifacts:/...`.
        options: For `create_engine`.

    Raises:
        InvalidInput: If it has none of MLflow's tables.
        StoreUnreachable: If it cannot be read.
    """

    def __init__(self, url: str, base: Path, *, artifacts: str | None = None, **options: Any) -> None:
        self._base, self._artifacts = base, artifacts
        name = url
        try:
            name = sa.make_url(url).render_as_string(hide_password=True)
            self._engine = sa.create_engine(url, **options)
            self._connection = self._engine.connect()
            self._tables = _reflected(self._connection)
        except ModuleNotFoundError as error:
            if name.startswith("postgres"):
                raise MissingDependencyError(str(error.name), extra="postgresql", purpose=f"Reading {name}") from error
            hint = "Install the driver that MLflow's server uses for it."
            raise InvalidInput(f"Reading {name} needs the package '{error.name}', which is not installed.", hint=hint) from error
        except (exc.DBAPIError, exc.ArgumentError) as error:
            raise StoreUnreachable(f"{name} cannot be read: {getattr(error, 'orig', error)}.", hint="Is it MLflow's database?") from error
        if not {"experiments", "runs"} <= self._tables.keys() or "run_uuid" not in self._tables["runs"].c:
            self.close()
            raise InvalidInput(f"{name} is no database of MLflow's.", hint="It lacks MLflow's tables 'experiments' and 'runs'.")

    @classmethod
    def in_file(cls, path: Path, *, artifacts: str | None = None) -> MlflowDatabase:
        """Open a SQLite file for reading."""
        driver = sqlite_driver()
        place = f"file:{quote(str(path.absolute()))}?mode=ro"
        options = {"module": driver, "creator": lambda: driver.connect(place, uri=True, check_same_thread=False)}
        return cls(f"sqlite:///{path}", path.absolute().parent, artifacts=artifacts, **options)

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()

    # -- what is there

    def experiments(self) -> Iterator[Experiment]:
        tags = _grouped(self._rows("experiment_tags", ("experiment_id", "key", "value")), "experiment_id")
        columns = ("experiment_id", "name", "artifact_location", "lifecycle_stage", *_TIMES)
        for row in self._rows("experiments", columns, order="experiment_id"):
            yield Experiment(
                experiment_id=str(row["experiment_id"]),
                name=row["name"],
                artifact_location=row["artifact_location"] or "",
                lifecycle_stage=_stage(row),
                creation_time=row["creation_time"] or 0,
                last_update_time=row["last_update_time"] or row["creation_time"] or 0,
                tags=tags.get(row["experiment_id"], {}),
            )

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        columns = ("run_uuid", "name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri", "deleted_time")
        rows = self._rows("runs", columns, order="run_uuid", experiment_id=[int(experiment_id)])
        for chunk in _chunks(rows):
            ids = [row["run_uuid"] for row in chunk]
            params = _grouped(self._rows("params", ("run_uuid", "key", "value"), run_uuid=ids), "run_uuid")
            tags = _grouped(self._rows("tags", ("run_uuid", "key", "value"), run_uuid=ids), "run_uuid")
            datasets = self._datasets(ids)
            read = self._models_of(ids, "RUN_INPUT")
            made = self._models_of(ids, "RUN_OUTPUT")
            for row in chunk:
                run_id = row["run_uuid"]
                its_tags = tags.get(run_id, {})
                run = Run(
                    run_id=run_id,
                    experiment_id=experiment_id,
                    name=row["name"] or its_tags.get(TAG_RUN_NAME) or run_id[:8],
                    user=row["user_id"] or "",
                    status=RunStatus(row["status"] or "RUNNING"),
                    start_time=row["start_time"] or 0,
                    end_time=row["end_time"],
                    lifecycle_stage=_stage(row),
                    artifact_uri=row["artifact_uri"] or "",
                    params=params.get(run_id, {}),
                    tags=its_tags,
                    inputs=RunInputs(datasets=datasets.get(run_id, []), models=[one.model_id for one in read.get(run_id, [])]),
                    outputs=made.get(run_id, []),
                )
                yield SourceRun(run=run, deleted_time=row["deleted_time"])

    def points(self, run_id: str) -> Iterator[Metric]:
        table = self._tables.get("metrics")
        if table is None:
            return
        has = {name: name in table.c for name in ("step", "is_nan")}
        step = table.c.step if has["step"] else sa.literal(0)
        is_nan = table.c.is_nan if has["is_nan"] else sa.false()
        query = sa.select(table.c.key, table.c.value, table.c.timestamp, step, is_nan).where(table.c.run_uuid == run_id)
        nan = float("nan")
        for key, value, timestamp, at, flag in self._streamed(query.order_by(table.c.key, step, table.c.timestamp, table.c.value)):
            yield Metric(key=key, value=nan if flag or value is None else float(value), timestamp=timestamp or 0, step=at or 0)

    def models(self, experiment_id: str) -> Iterator[LoggedModel]:
        for chunk in _chunks(self._rows("logged_models", _MODEL, order="model_id", experiment_id=[int(experiment_id)])):
            ids = [row["model_id"] for row in chunk]
            params = _grouped(self._rows("logged_model_params", ("model_id", "param_key", "param_value"), model_id=ids), "model_id")
            tags = _grouped(self._rows("logged_model_tags", ("model_id", "tag_key", "tag_value"), model_id=ids), "model_id")
            metrics: dict[str, list[ModelMetric]] = {}
            for row in self._rows("logged_model_metrics", _MODEL_METRIC, model_id=ids):
                metrics.setdefault(row["model_id"], []).append(_model_metric(row))
            for row in chunk:
                yield LoggedModel(
                    model_id=row["model_id"],
                    experiment_id=experiment_id,
                    name=row["name"],
                    status=MODEL_STATUS.get(row["status"], LoggedModelStatus.PENDING),
                    status_message=row["status_message"],
                    model_type=row["model_type"] or "",
                    source_run_id=row["source_run_id"] or "",
                    artifact_location=row["artifact_location"],
                    lifecycle_stage=_stage(row),
                    creation_time=row["creation_timestamp_ms"],
                    last_update_time=row["last_updated_timestamp_ms"],
                    params=params.get(row["model_id"], {}),
                    tags=tags.get(row["model_id"], {}),
                    metrics=metrics.get(row["model_id"], []),
                )

    def traces(self, experiment_id: str) -> int:
        return sum(1 for _ in self._rows("trace_info", ("request_id",), experiment_id=[int(experiment_id)]))

    def registered_models(self) -> Iterator[tuple[RegisteredModel, list[ModelVersion]]]:
        columns = ("name", "creation_time", "last_updated_time", "description")
        for chunk in _chunks(self._rows("registered_models", columns, order="name")):
            names = [row["name"] for row in chunk]
            tags = _grouped(self._rows("registered_model_tags", ("name", "key", "value"), name=names), "name")
            aliases = _grouped(self._rows("registered_model_aliases", ("name", "alias", "version"), name=names), "name")
            versions = self._versions(names)
            for row in chunk:
                model = RegisteredModel(
                    name=row["name"],
                    creation_time=row["creation_time"] or 0,
                    last_update_time=row["last_updated_time"] or row["creation_time"] or 0,
                    description=row["description"] or "",
                    tags=tags.get(row["name"], {}),
                    aliases={alias: int(version) for alias, version in aliases.get(row["name"], {}).items()},
                )
                yield model, versions.get(row["name"], [])

    def files(self, uri: str) -> Iterator[SourceFile]:
        return files_at(uri, self._base, self._artifacts)

    # -- what belongs to it

    def _datasets(self, run_ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
        among: dict[str, Any] = {"source_type": ["DATASET"], "destination_type": ["RUN"], "destination_id": run_ids}
        links = list(self._rows("inputs", ("input_uuid", "source_id", "destination_id"), **among))
        if not links:
            return {}
        tags = _grouped(
            self._rows("input_tags", ("input_uuid", "name", "value"), input_uuid=[link["input_uuid"] for link in links]), "input_uuid"
        )
        columns = ("dataset_uuid", "name", "digest", "dataset_source_type", "dataset_source", "dataset_schema", "dataset_profile")
        known = {row["dataset_uuid"]: row for row in self._rows("datasets", columns, dataset_uuid=[link["source_id"] for link in links])}
        found: dict[str, list[DatasetInput]] = {}
        for link in links:
            if (row := known.get(link["source_id"])) is not None:
                dataset = Dataset(
                    name=row["name"],
                    digest=row["digest"],
                    source_type=row["dataset_source_type"],
                    source=row["dataset_source"],
                    schema=row["dataset_schema"],
                    profile=row["dataset_profile"],
                )
                found.setdefault(link["destination_id"], []).append(DatasetInput(dataset=dataset, tags=tags.get(link["input_uuid"], {})))
        return found

    def _models_of(self, run_ids: Sequence[str], kind: str) -> dict[str, list[ModelOutput]]:
        found: dict[str, list[ModelOutput]] = {}
        for row in self._rows("inputs", ("source_id", "destination_id", "step"), source_type=[kind], source_id=run_ids):
            found.setdefault(row["source_id"], []).append(ModelOutput(model_id=row["destination_id"], step=row["step"] or 0))
        return found

    def _versions(self, names: Sequence[str]) -> dict[str, list[ModelVersion]]:
        tags: dict[tuple[str, int], dict[str, str]] = {}
        for row in self._rows("model_version_tags", ("name", "version", "key", "value"), name=names):
            tags.setdefault((row["name"], row["version"]), {})[row["key"]] = row["value"] or ""
        found: dict[str, list[ModelVersion]] = {}
        for row in self._rows("model_versions", _VERSION, order="version", name=names):
            found.setdefault(row["name"], []).append(version_of(row, tags.get((row["name"], row["version"]), {})))
        return found

    # -- reading

    def _rows(self, table: str, columns: Sequence[str], *, order: str | None = None, **among: Sequence[Any]) -> Iterator[Row]:
        """Return rows of a table whose columns are among given values; a column that is missing reads as None."""
        its = self._tables.get(table)
        if its is None or not all(name in its.c for name in among):
            return
        query = sa.select(*(its.c[name] if name in its.c else sa.null().label(name) for name in columns))
        query = query.where(*(its.c[name].in_(list(values)) for name, values in among.items()))
        if "workspace" in its.c:
            query = query.where(its.c.workspace == "default")
        for row in self._streamed(query if order is None else query.order_by(its.c[order])):
            yield dict(zip(columns, row, strict=True))

    def _streamed(self, query: sa.Select[Any]) -> Iterator[Any]:
        try:
            yield from self._connection.execution_options(stream_results=True, yield_per=_FETCH).execute(query)
        except exc.DBAPIError as error:
            raise StoreUnreachable(f"MLflow's database cannot be read: {error.orig}.", hint="Is it whole, and used by no other?") from error


_TIMES = ("creation_time", "last_update_time")
_MODEL = (
    "model_id name artifact_location creation_timestamp_ms last_updated_timestamp_ms status lifecycle_stage model_type source_run_id "
    "status_message"
).split()
_MODEL_METRIC = ("model_id metric_name metric_timestamp_ms metric_step metric_value run_id dataset_name dataset_digest").split()
_VERSION = (
    "name version creation_time last_updated_time description user_id current_stage source run_id status status_message run_link "
    "storage_location"
).split()


def version_of(row: Row, tags: dict[str, str]) -> ModelVersion:
    """Return a model version from MLflow's columns."""
    source = row["source"] or ""
    return ModelVersion(
        name=row["name"],
        version=int(row["version"]),
        creation_time=row["creation_time"] or 0,
        last_update_time=row["last_updated_time"] or row["creation_time"] or 0,
        stage=stage_of(row["current_stage"] or "None"),
        description=row["description"] or "",
        user=row["user_id"] or "",
        source=source,
        storage_location=row["storage_location"] or source,
        run_id=row["run_id"] or "",
        run_link=row["run_link"] or "",
        model_id=row.get("model_id") or (source.removeprefix("models:/") if source.startswith("models:/m-") else ""),
        status=row["status"] or "READY",
        status_message=row["status_message"] or "",
        tags=tags,
    )


def _model_metric(row: Row) -> ModelMetric:
    value = row["metric_value"]
    return ModelMetric(
        key=row["metric_name"],
        value=float("nan") if value is None else float(value),
        timestamp=row["metric_timestamp_ms"],
        step=row["metric_step"],
        run_id=row["run_id"],
        dataset_name=row["dataset_name"],
        dataset_digest=row["dataset_digest"],
    )


def _reflected(connection: sa.Connection) -> dict[str, sa.Table]:
    present = set(sa.inspect(connection).get_table_names())
    metadata = sa.MetaData()
    wanted = [name for name in _TABLES if name in present]
    return {name: sa.Table(name, metadata, autoload_with=connection, resolve_fks=False) for name in wanted}


def _stage(row: Row) -> LifecycleStage:
    return LifecycleStage(row["lifecycle_stage"] or "active")


def _grouped(rows: Iterator[Row], owner: str) -> dict[Any, dict[str, str]]:
    """Return pairs of three columns (owner, key, value) by owner."""
    found: dict[Any, dict[str, str]] = {}
    for row in rows:
        key, value = (row[name] for name in row if name != owner)
        found.setdefault(row[owner], {})[key] = "" if value is None else value
    return found


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Return rows in lists, each read to its end before other statements run."""
    every = list(rows)
    return (every[at : at + _CHUNK] for at in range(0, len(every), _CHUNK))
