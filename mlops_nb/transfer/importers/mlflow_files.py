"""MLflow's folder: `mlruns/<experiment>/<run>/` with a meta.yaml, and a file for each metric, param and tag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mlops_nb.core.datasets import Dataset, DatasetInput, ModelOutput, RunInputs
from mlops_nb.core.logged_models import LoggedModel, LoggedModelStatus, ModelMetric
from mlops_nb.core.records import TAG_RUN_NAME, Experiment, LifecycleStage, Metric, Run
from mlops_nb.core.registry import ModelVersion, RegisteredModel
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound, StoreUnreachable
from mlops_nb.transfer.importers.mlflow_database import MODEL_STATUS, version_of
from mlops_nb.transfer.places import files_at
from mlops_nb.transfer.source import Source, SourceFile, SourceRun

_META = "meta.yaml"
_TRASH = ".trash"
_REGISTRY = "models"
_STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class MlflowFiles(Source):
    """A folder that MLflow has written, read and never written.

    Args:
        folder: `mlruns`.
        artifacts: Where its server keeps `mlflow-artifacts:/...`.

    Raises:
        InvalidInput: If no experiment is in it.
    """

    def __init__(self, folder: Path, *, artifacts: str | None = None) -> None:
        self._root, self._artifacts = folder.resolve(), artifacts
        self._moved: dict[str, Path] = {}
        self._experiments = {meta["experiment_id"]: place for place, meta in self._found()}
        self._runs: dict[str, Path] = {}
        if not self._experiments:
            raise InvalidInput(f"{folder} is no folder of MLflow's: none in it has a {_META}.", hint="Give the folder 'mlruns' itself.")

    def _found(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for parent in (self._root, self._root / _TRASH):
            for place in _folders(parent):
                if place.name not in (_TRASH, _REGISTRY) and (place / _META).exists():
                    meta = _meta(place)
                    yield place, {**meta, "experiment_id": str(meta.get("experiment_id") or place.name)}

    def experiments(self) -> Iterator[Experiment]:
        for place, meta in self._found():
            stage = "deleted" if place.parent.name == _TRASH else meta.get("lifecycle_stage") or "active"
            created = meta.get("creation_time") or int((place / _META).stat().st_mtime * 1000)
            yield Experiment(
                experiment_id=meta["experiment_id"],
                name=str(meta["name"]),
                artifact_location=meta.get("artifact_location") or str(place),
                lifecycle_stage=LifecycleStage(stage),
                creation_time=created,
                last_update_time=meta.get("last_update_time") or created,
                tags=_texts(place / "tags"),
            )

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        home = self._experiments[experiment_id]
        for place in _folders(home):
            if place.name in ("models", "datasets", "traces", "tags") or not (place / _META).exists():
                continue
            meta = _meta(place)
            run_id = str(meta.get("run_id") or meta.get("run_uuid") or place.name)
            self._runs[run_id] = place
            tags = _texts(place / "tags")
            datasets, read = _inputs(home, place)
            run = Run(
                run_id=run_id,
                experiment_id=experiment_id,
                name=str(meta.get("run_name") or meta.get("name") or tags.get(TAG_RUN_NAME) or run_id[:8]),
                user=str(meta.get("user_id") or ""),
                status=RunStatus(_STATUS.get(meta.get("status", 1), str(meta.get("status")))),
                start_time=meta.get("start_time") or 0,
                end_time=meta.get("end_time"),
                lifecycle_stage=LifecycleStage(meta.get("lifecycle_stage") or "active"),
                artifact_uri=self._place(place, meta.get("artifact_uri")),
                params=_texts(place / "params"),
                tags=tags,
                inputs=RunInputs(datasets=datasets, models=read),
                outputs=_outputs(place),
            )
            yield SourceRun(run=run, deleted_time=meta.get("deleted_time"))

    def points(self, run_id: str) -> Iterator[Metric]:
        folder = self._runs[run_id] / "metrics"
        for path in _files(folder):
            key = path.relative_to(folder).as_posix()
            for words in _lines(path):
                yield Metric(key=key, timestamp=int(words[0]), value=float(words[1]), step=int(words[2]) if len(words) > 2 else 0)

    def models(self, experiment_id: str) -> Iterator[LoggedModel]:
        for place in _folders(self._experiments[experiment_id] / "models"):
            if not (place / _META).exists():
                continue
            meta = _meta(place)
            yield LoggedModel(
                model_id=str(meta["model_id"]),
                experiment_id=experiment_id,
                name=str(meta["name"]),
                status=MODEL_STATUS.get(meta.get("status", 0), LoggedModelStatus.PENDING),
                status_message=meta.get("status_message"),
                model_type=meta.get("model_type") or "",
                source_run_id=meta.get("source_run_id") or "",
                artifact_location=self._place(place, meta.get("artifact_location")),
                lifecycle_stage=LifecycleStage(meta.get("lifecycle_stage") or "active"),
                creation_time=meta["creation_timestamp"],
                last_update_time=meta["last_updated_timestamp"],
                params=_texts(place / "params"),
                tags=_texts(place / "tags"),
                metrics=list(_model_metrics(place / "metrics")),
            )

    def traces(self, experiment_id: str) -> int:
        return len(_folders(self._experiments[experiment_id] / "traces"))

    def registered_models(self) -> Iterator[tuple[RegisteredModel, list[ModelVersion]]]:
        for place in _folders(self._root / _REGISTRY):
            if not (place / _META).exists():
                continue
            meta = _meta(place)
            created = meta.get("creation_timestamp") or 0
            model = RegisteredModel(
                name=str(meta["name"]),
                creation_time=created,
                last_update_time=meta.get("last_updated_timestamp") or created,
                description=meta.get("description") or "",
                tags=_texts(place / "tags"),
                aliases={alias: int(version) for alias, version in _texts(place / "aliases").items()},
            )
            versions = [_version(one) for one in _folders(place) if (one / _META).exists()]
            yield model, sorted(versions, key=lambda version: version.version)

    def files(self, uri: str) -> Iterator[SourceFile]:
        beside = self._moved.get(uri)
        return files_at(uri if beside is None else str(beside), self._root.parent, self._artifacts)

    def _place(self, place: Path, uri: str | None) -> str:
        """Return where the files of a run or model are, as its meta.yaml says. Those beside it are read: folders are moved."""
        beside = place / "artifacts"
        uri = uri or str(beside)
        if beside.is_dir():
            self._moved[uri] = beside
        return uri


def _version(place: Path) -> ModelVersion:
    meta = _meta(place)
    names = ("name", "version", "description", "user_id", "current_stage", "source", "run_id", "status", "status_message", "run_link")
    row = {name: meta.get(name) for name in (*names, "storage_location", "model_id")}
    row |= {"creation_time": meta.get("creation_timestamp"), "last_updated_time": meta.get("last_updated_timestamp")}
    return version_of(row, _texts(place / "tags"))


def _inputs(home: Path, run: Path) -> tuple[list[DatasetInput], list[str]]:
    """Return the data sets and the models that a run read."""
    datasets: list[DatasetInput] = []
    models: list[str] = []
    for place in _folders(run / "inputs"):
        meta = _meta(place)
        if meta.get("source_type") == "MODEL":
            models.append(str(meta["source_id"]))
            continue
        folder = home / "datasets" / str(meta.get("source_id"))
        if (folder / _META).exists():
            its = _meta(folder)
            names = ("name", "digest", "source_type", "source", "schema", "profile")
            dataset = msgspec.convert({name: its.get(name) for name in names}, Dataset)
            datasets.append(DatasetInput(dataset=dataset, tags={str(key): str(value) for key, value in (meta.get("tags") or {}).items()}))
    return datasets, models


def _outputs(run: Path) -> list[ModelOutput]:
    found = [_meta(place) for place in _folders(run / "outputs")]
    return [ModelOutput(model_id=str(meta["destination_id"]), step=meta.get("step") or 0) for meta in found]


def _model_metrics(folder: Path) -> Iterator[ModelMetric]:
    for path in _files(folder):
        for words in _lines(path):
            name, digest = (words[4], words[5]) if len(words) > 5 else (None, None)
            yield ModelMetric(
                key=path.relative_to(folder).as_posix(),
                timestamp=int(words[0]),
                value=float(words[1]),
                step=int(words[2]),
                run_id=words[3],
                dataset_name=name,
                dataset_digest=digest,
            )


# -- the files of the layout


def _meta(place: Path) -> dict[str, Any]:
    try:
        meta = yaml.load((place / _META).read_text(encoding="utf-8"), Loader=_LOADER)  # the safe loader
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise StoreUnreachable(f"{place / _META} cannot be read: {error}.", hint="Mend or remove its folder.") from error
    if not isinstance(meta, dict):
        raise NotFound(f"{place / _META} is empty.", hint="Remove its folder: MLflow was interrupted when it made it.")
    return meta


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []


def _texts(folder: Path) -> dict[str, str]:
    """Return a file's content for each name in a folder: names may have parts."""
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in _files(folder)}


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            words = line.split(maxsplit=5)
            if not words:
                continue
            if len(words) < 2:
                raise StoreUnreachable(f"{path} has no point in line {number}: {line.strip()[:60]!r}.", hint="Remove the line.")
            yield words
