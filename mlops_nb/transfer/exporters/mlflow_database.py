"""A database that MLflow 3.17 opens as its own. Its empty tables are made by statements read from one that MLflow made."""

from __future__ import annotations

import json
import math
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.core.artifacts import OwnerKind
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotSupported, StoreUnreachable
from mlops_nb.store.base import ServedStore
from mlops_nb.store.transfer import StoreExport
from mlops_nb.transfer.exporters.owned_files import copy_files, folder_of, owners
from mlops_nb.transfer.exporters.swap import move_in, unfinished

SCHEMA = "mlflow_3_17.sql"
LARGEST = 1.7976931348623157e308
"""What MLflow writes for infinity, which the databases that it knows do not keep."""

_MARK = "mlops_nb_export"
_MODEL_STATUS = {"PENDING": 1, "READY": 2, "FAILED": 3}
_NAMES = uuid.UUID("9c3f0b52-6d5c-4a55-8f0e-3f1f2f0a6c11")

Row = dict[str, Any]


class MlflowExported(msgspec.Struct, kw_only=True):
    """What an export holds."""

    runs: int = 0
    points: int = 0
    files: int = 0
    problems: list[str] = []


def export_mlflow_database(store: ServedStore, file: str | Path, *, files: bool = True) -> MlflowExported:
    """Write everything that MLflow has a place for to a database of its own. Memory is bounded.

    Args:
        store: As it is when this begins.
        file: Missing, or an earlier export, which is replaced.
        files: Copy the files of runs and models to the folder `FILE.artifacts`.

    Raises:
        InvalidInput: If the file is something else.
    """
    place = Path(file)
    _check_replaceable(place)
    folder = place.absolute().with_name(f"{place.name}.artifacts")
    done = MlflowExported()
    with unfinished(place) as part, unfinished(folder) as copied, store.export() as export:
        part.touch()  # a folder that cannot be written is said by the system in better words
        database = sqlite3.connect(part, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=OFF")  # it is thrown away if it does not become complete
            database.execute("PRAGMA synchronous=OFF")
            database.executescript(resources.files(__package__).joinpath(SCHEMA).read_text(encoding="utf-8"))
            database.execute("BEGIN")
            _Writer(export, database, folder, done).all()
            database.execute(f"CREATE TABLE {_MARK} (created_by TEXT)")
            database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise StoreUnreachable(f"{place} cannot be written: {error}.", hint="Is there room on the disk?") from error
        finally:
            database.close()
        if files:
            copied.mkdir()
            for owner in owners(export):
                if owner.kind is not OwnerKind.TRACE:
                    try:
                        done.files += copy_files(store, owner, copied / folder_of(owner))
                    except NotSupported as error:
                        done.problems.append(f"Files of {owner.owner_id} stay behind: {error}")
            move_in(copied, folder)
        move_in(part, place)
    return done


def _check_replaceable(place: Path) -> None:
    if not place.exists():
        return
    try:
        database = sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)
        try:
            ours = database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_MARK,)).fetchone()
        finally:
            database.close()
    except sqlite3.DatabaseError:
        ours = None
    if ours is None:
        raise InvalidInput(f"{place} is there, and no export.", hint="Give another file, or remove this one.")


class _Writer:
    """Turns the tables of a store into MLflow's."""

    def __init__(self, export: StoreExport, database: sqlite3.Connection, folder: Path, done: MlflowExported) -> None:
        self._export, self._database, self._folder, self._done = export, database, folder, done
        self._columns = {table.name: list(table.columns) for table in export.tables}

    def all(self) -> None:
        self._experiments()
        self._runs()
        self._metrics()
        self._datasets()
        self._models()
        self._registry()

    def _experiments(self) -> None:
        rows = self._rows("experiments")
        self._put("experiments", ({**row, "artifact_location": str(self._folder / str(row["experiment_id"]))} for row in rows))
        self._put("experiment_tags", self._rows("experiment_tags"))

    def _runs(self) -> None:
        self._put("runs", (self._run(row) for row in self._rows("runs")))
        for table in ("params", "tags"):
            self._put(table, (_renamed(row, run_id="run_uuid") for row in self._rows(table)))

    def _run(self, row: Row) -> Row:
        self._done.runs += 1
        return {
            "run_uuid": row["run_id"],
            "name": row["name"],
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": row["user"],
            "status": RunStatus(row["status"]).as_mlflow,
            "start_time": row["start_time"],
            "end_time": row["end_time"],
            "source_version": "",
            "lifecycle_stage": row["lifecycle_stage"],
            "artifact_uri": str(self._folder / str(row["experiment_id"]) / row["run_id"] / "artifacts"),
            "experiment_id": row["experiment_id"],
            "deleted_time": row["deleted_time"],
        }

    def _metrics(self) -> None:
        self._put("latest_metrics", (_point(row) for row in self._rows("latest_metrics")))
        self._put("metrics", self._counted(_point(row) for row in self._rows("metric_points")))

    def _counted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self._done.points += 1
            yield row

    def _datasets(self) -> None:
        names = {"source_type": "dataset_source_type", "source": "dataset_source", "schema": "dataset_schema", "profile": "dataset_profile"}
        self._put("datasets", ({"dataset_uuid": _dataset_id(row), **_renamed(row, **names)} for row in self._rows("datasets")))
        tags: list[Row] = []

        def links() -> Iterator[Row]:
            for row in self._rows("run_inputs"):
                link = _id("input", row["run_id"], _dataset_id(row))
                tags.extend({"input_uuid": link, "name": key, "value": value} for key, value in json.loads(row["tags"]).items())
                yield _link(link, "DATASET", _dataset_id(row), "RUN", row["run_id"], 0)

        self._put("inputs", links())
        self._put("input_tags", tags)

    def _models(self) -> None:
        self._put("logged_models", (self._model(row) for row in self._rows("logged_models")))
        experiments = {row["model_id"]: row["experiment_id"] for row in self._rows("logged_models")}
        for table, key, value in (("logged_model_params", "param_key", "param_value"), ("logged_model_tags", "tag_key", "tag_value")):
            rows = self._rows(table)
            self._put(table, ({"experiment_id": experiments[row["model_id"]], **_renamed(row, key=key, value=value)} for row in rows))
        self._put("logged_model_metrics", (_model_metric(row, experiments[row["model_id"]]) for row in self._rows("logged_model_metrics")))
        self._put("inputs", (_model_link(row) for row in self._rows("run_models")))

    def _model(self, row: Row) -> Row:
        location = self._folder / str(row["experiment_id"]) / "models" / row["model_id"] / "artifacts"
        renamed = _renamed(row, creation_time="creation_timestamp_ms", last_update_time="last_updated_timestamp_ms")
        return {**renamed, "status": _MODEL_STATUS[row["status"]], "artifact_location": str(location)}

    def _registry(self) -> None:
        places = self._places()
        models = self._rows("registered_models")
        self._put("registered_models", (_described(_renamed(row, last_update_time="last_updated_time")) for row in models))
        self._put("registered_model_tags", self._rows("registered_model_tags"))
        self._put("model_versions", (_version(row, places) for row in self._rows("model_versions")))
        self._put("model_version_tags", self._rows("model_version_tags"))
        self._put("registered_model_aliases", self._rows("model_aliases"))

    def _places(self) -> dict[str, tuple[str, str]]:
        """Return where the files of runs and models that versions name were, and where they are in the export."""
        wanted = {row[name] for row in self._rows("model_versions") for name in ("run_id", "model_id")}
        return {
            owner.owner_id: (owner.uri, str(self._folder / folder_of(owner))) for owner in owners(self._export) if owner.owner_id in wanted
        }

    def _rows(self, table: str) -> Iterator[Row]:
        columns = self._columns[table]
        for part in self._export.rows(table):
            for row in part:
                yield dict(zip(columns, row, strict=True))

    def _put(self, table: str, rows: Iterable[Row]) -> None:
        """Insert rows; what MLflow's keys cannot tell apart is written once."""
        iterator = iter(rows)
        first = next(iterator, None)
        if first is None:
            return
        known = [row[1] for row in self._database.execute("SELECT * FROM pragma_table_info(?)", (table,))]
        names = [name for name in known if name in first]
        columns, values = ", ".join(f'"{name}"' for name in names), ", ".join("?" for _ in names)
        statement = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({values})"  # noqa: S608 - names are MLflow's own
        self._database.execute(statement, [first[name] for name in names])
        self._database.executemany(statement, ([row[name] for name in names] for row in iterator))


def _renamed(row: Row, **names: str) -> Row:
    return {names.get(name, name): value for name, value in row.items()}


def _point(row: Row) -> Row:
    value, is_nan = _number(row["value"])
    point = {"run_uuid": row["run_id"], "key": row["key"], "step": row["step"], "timestamp": row["timestamp"]}
    return {**point, "value": value, "is_nan": is_nan}


def _number(value: float) -> tuple[float, int]:
    """Return a value as MLflow writes it, and whether it is NaN."""
    if math.isnan(value):
        return 0.0, 1
    return (math.copysign(LARGEST, value) if math.isinf(value) else value), 0


def _model_metric(row: Row, experiment: int) -> Row:
    return {
        "model_id": row["model_id"],
        "metric_name": row["key"],
        "metric_timestamp_ms": row["timestamp"],
        "metric_step": row["step"],
        "metric_value": _number(row["value"])[0],
        "experiment_id": experiment,
        "run_id": row["run_id"],
        "dataset_name": row["dataset_name"] or None,
        "dataset_digest": row["dataset_digest"] or None,
    }


def _model_link(row: Row) -> Row:
    kind = row["role"].upper()
    link = _id("model", row["run_id"], kind, row["model_id"])
    return _link(link, f"RUN_{kind}", row["run_id"], f"MODEL_{kind}", row["model_id"], row["step"])


def _link(identity: str, source: str, source_id: str, destination: str, destination_id: str, step: int) -> Row:
    ends = {"source_type": source, "source_id": source_id, "destination_type": destination, "destination_id": destination_id}
    return {"input_uuid": identity, **ends, "step": step}


def _version(row: Row, places: dict[str, tuple[str, str]]) -> Row:
    renamed = _renamed(row, last_update_time="last_updated_time", user="user_id", stage="current_stage")
    for owner in (row["run_id"], row["model_id"]):
        if owner in places:
            old, new = places[owner]
            for name in ("source", "storage_location"):
                if renamed[name] == old or renamed[name].startswith(old + "/"):
                    renamed[name] = new + renamed[name].removeprefix(old)
    return _described(renamed)


def _described(row: Row) -> Row:
    """Return a row as MLflow writes it: what has no description has NULL."""
    return {**row, "description": row["description"] or None}


def _dataset_id(row: Row) -> str:
    return _id("dataset", str(row["experiment_id"]), row["name"], row["digest"])


def _id(*parts: str) -> str:
    """Return an id that the same things always get."""
    return uuid.uuid5(_NAMES, "\n".join(parts)).hex
