"""Importing: from any source into a store, in transactions of bounded size, and again as often as one likes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import islice
from types import TracebackType

import msgspec

from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind, owner_of_run
from mlops_nb.core.logged_models import LoggedModel
from mlops_nb.core.records import Experiment
from mlops_nb.core.registry import ModelVersion
from mlops_nb.errors import MlopsError, NotFound, did_you_mean
from mlops_nb.store.base import ServedStore
from mlops_nb.transfer.source import Source

_POINTS = 10_000
_ROWS = 20_000


class Imported(msgspec.Struct, kw_only=True):
    """What an import met, and how much of it was new.

    Attributes:
        traces_left: Traces of the source, which stay behind.
        problems: What could not be brought in, a sentence each; everything else was.
    """

    experiments: int = 0
    runs: int = 0
    new_runs: int = 0
    new_points: int = 0
    logged_models: int = 0
    registered_models: int = 0
    model_versions: int = 0
    new_files: int = 0
    traces_left: int = 0
    problems: list[str] = []

    def told(self) -> str:
        """Return it in words."""
        lines = [
            f"{self.runs} runs in {self.experiments} experiments: {self.new_runs} new runs, {self.new_points} new points, "
            f"{self.new_files} new files."
        ]
        if self.logged_models or self.registered_models:
            lines.append(f"{self.logged_models} logged models; {self.registered_models} registered models, {self.model_versions} versions.")
        if self.traces_left:
            lines.append(f"{self.traces_left} traces stay behind.")
        return "\n".join(lines)


def bring_in(source: Source, store: ServedStore, *, names: Sequence[str] | None = None, files: bool = True) -> Imported:
    """Import from a source.

    Each run comes in one transaction with the first of its points, the others in steps. Files follow when all rows are
    there. Killed at any time, it is finished by doing it again.

    Args:
        source: Read only.
        store: Where to.
        names: Only experiments of these names, and no registered models.
        files: Copy the files of runs and models, too.

    Raises:
        NotFound: If there is no experiment of a name.
        StoreError: If the source or the store cannot be reached.
    """
    return _Import(source, store, files=files).all(names)


class _Import:
    def __init__(self, source: Source, store: ServedStore, *, files: bool) -> None:
        self._source, self._store, self._files = source, store, files
        self._into = store.importing
        self._done = Imported()
        self._places: dict[str, tuple[str, ArtifactOwner]] = {}

    def all(self, names: Sequence[str] | None) -> Imported:
        chosen = _chosen(list(self._source.experiments()), names)
        ours = {experiment.experiment_id: self._into.put_experiment(experiment) for experiment in chosen}
        self._done.experiments = len(chosen)
        self._done.traces_left = sum(self._source.traces(experiment.experiment_id) for experiment in chosen)
        with _Groups(self._store) as group:  # models before runs, which name them
            for experiment in chosen:
                for model in self._source.models(experiment.experiment_id):
                    group.wrote(1)
                    self._model(model, ours[experiment.experiment_id])
        with _Groups(self._store) as group:
            for experiment in chosen:
                self._runs(experiment, ours[experiment.experiment_id], group)
        with _Groups(self._store) as group:
            for experiment in chosen:
                for model in self._source.models(experiment.experiment_id):
                    group.wrote(1 + len(model.metrics))
                    self._into.put_model_metrics(model.model_id, model.metrics)
        for experiment in chosen:
            for found in self._source.runs(experiment.experiment_id):
                run = found.run
                self._places[run.run_id] = (run.artifact_uri, owner_of_run(self._store.get_run(run.run_id)))
        if names is None:
            self._registry()
        if self._files:
            for uri, owner in self._places.values():
                self._copy(uri, owner)
        return self._done

    def _model(self, model: LoggedModel, experiment: Experiment) -> None:
        placed = self._into.put_logged_model(msgspec.structs.replace(model, experiment_id=experiment.experiment_id))
        owner = ArtifactOwner(
            kind=OwnerKind.MODEL, experiment_id=placed.experiment_id, owner_id=placed.model_id, uri=placed.artifact_location
        )
        self._places[model.model_id] = (model.artifact_location, owner)
        self._done.logged_models += 1

    def _runs(self, experiment: Experiment, ours: Experiment, group: _Groups) -> None:
        for found in self._source.runs(experiment.experiment_id):
            run = msgspec.structs.replace(found.run, experiment_id=ours.experiment_id)
            group.wrote(1 + len(run.params) + len(run.tags))
            self._done.new_runs += self._into.put_run(run, deleted_time=found.deleted_time)
            self._done.runs += 1
            points = self._source.points(run.run_id)
            while chunk := list(islice(points, _POINTS)):
                group.wrote(len(chunk))
                self._done.new_points += self._into.put_points(run.run_id, chunk)

    def _registry(self) -> None:
        for model, versions in self._source.registered_models():
            self._into.put_registered_model(model, [self._moved(version) for version in versions])
            self._done.registered_models += 1
            self._done.model_versions += len(versions)

    def _moved(self, version: ModelVersion) -> ModelVersion:
        """Return a version that names its files where they are now."""
        source, storage = version.source, version.storage_location
        for owner_id in (version.run_id, version.model_id):
            if owner_id in self._places:
                old, owner = self._places[owner_id]
                source, storage = _moved(source, old, owner.uri), _moved(storage, old, owner.uri)
        return msgspec.structs.replace(version, source=source, storage_location=storage)

    def _copy(self, uri: str, owner: ArtifactOwner) -> None:
        """Copy the files that are missing, or have another size: a file of the store is whole."""
        store = self._store.files
        new = 0
        try:
            present = {one.path: one.file_size for one in store.list(owner, recursive=True)}
            for file in self._source.files(uri):
                if present.get(file.path) != file.size:
                    with file.open() as content:
                        store.write(owner, file.path, content, size=file.size)
                    new += 1
        except (MlopsError, OSError) as error:
            self._done.problems.append(f"Files of {owner.owner_id} stay behind: {error}")
        if new:
            self._done.new_files += new
            self._store.files_changed(owner)


class _Groups:
    """Lets writes take effect together, about `_ROWS` rows at a time: a sync of the disk for each would take most of the time."""

    def __init__(self, store: ServedStore) -> None:
        self._store = store
        self._open = contextlib.ExitStack()
        self._rows = 0

    def __enter__(self) -> _Groups:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)

    def wrote(self, rows: int) -> None:
        """Make room for a write of so many rows."""
        if self._rows == 0 or self._rows + rows > _ROWS:
            self._open.close()
            self._open.enter_context(self._store.group())
            self._rows = 0
        self._rows += rows


def _chosen(experiments: Sequence[Experiment], names: Sequence[str] | None) -> list[Experiment]:
    known = [experiment.name for experiment in experiments]
    for name in names or ():
        if name not in known:
            raise NotFound(f"The source has no experiment '{name}'.", hint=did_you_mean(name, known))
    return [experiment for experiment in experiments if names is None or experiment.name in names]


def _moved(uri: str, old: str, new: str) -> str:
    plain, root = uri.removeprefix("file://"), old.removeprefix("file://").rstrip("/")
    return new + plain.removeprefix(root) if root and (plain == root or plain.startswith(root + "/")) else uri
