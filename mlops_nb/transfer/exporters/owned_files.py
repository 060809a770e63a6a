"""Copying the files of runs, models and traces out of a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlops_nb.core.artifacts import ArtifactOwner, OwnerKind, artifact_uri
from mlops_nb.errors import InvalidInput, NotSupported
from mlops_nb.store.base import ServedStore
from mlops_nb.store.transfer import StoreExport


def owners(export: StoreExport) -> Iterator[ArtifactOwner]:
    """Return all owners of files."""
    locations = {str(row[0]): str(row[2]) for part in export.rows("experiments") for row in part}
    for part in export.rows("runs"):
        for run_id, experiment_id, *_ in part:
            uri = artifact_uri(locations[str(experiment_id)], OwnerKind.RUN, str(run_id))
            yield ArtifactOwner(kind=OwnerKind.RUN, experiment_id=str(experiment_id), owner_id=str(run_id), uri=uri)
    places = [name for table in export.tables if table.name == "logged_models" for name in table.columns].index("artifact_location")
    for part in export.rows("logged_models"):
        for row in part:
            yield ArtifactOwner(kind=OwnerKind.MODEL, experiment_id=str(row[1]), owner_id=str(row[0]), uri=str(row[places]))
    for part in export.rows("traces"):
        for trace_id, experiment_id, *_ in part:
            uri = artifact_uri(locations[str(experiment_id)], OwnerKind.TRACE, str(trace_id))
            yield ArtifactOwner(kind=OwnerKind.TRACE, experiment_id=str(experiment_id), owner_id=str(trace_id), uri=uri)


def folder_of(owner: ArtifactOwner) -> str:
    """Return where an owner's files are in an export: as in MLflow's own folders."""
    return artifact_uri(owner.experiment_id, owner.kind, owner.owner_id)


def copy_files(store: ServedStore, owner: ArtifactOwner, folder: Path) -> int:
    """Copy the files of an owner into a folder and return how many there are.

    Raises:
        NotSupported: If they are in a place of their own, which the store does not read.
    """
    try:
        found = store.files.list(owner, recursive=True)
    except InvalidInput as error:
        raise NotSupported(f"they are at {owner.uri}, not below the store's own place for files.") from error
    for one in found:
        place = folder / one.path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            for piece in store.files.read(owner, one.path):
                file.write(piece)
    return len(found)
