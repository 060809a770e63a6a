"""Our operation that gives the cells of a run back as a notebook in the project's folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.api.paths import artifact_folder
from mlops_nb.core.provenance import Notebook
from mlops_nb.core.records import Run
from mlops_nb.core.saved_notebook import parse_notebook
from mlops_nb.core.wire import Wire
from mlops_nb.errors import AlreadyExists, InvalidInput, MlopsError, NotFound, NotSupported
from mlops_nb.store.artifacts import check_artifact_path
from mlops_nb.store.artifacts.local import LocalArtifacts

log = logging.getLogger("mlops_nb.api")

_MAX_NOTEBOOK = 100_000_000


class RestoreNotebook(Wire, kw_only=True):
    """`folder` is where the notebook goes, relative to the project; by default beside the run's notebook."""

    run_id: str = ""
    folder: str | None = None


class RestoredNotebook(Wire, kw_only=True):
    """Where the notebook is, relative to the project."""

    path: str


@operation("runs.restoreNotebook", "POST", "/api/v1/runs/{run_id}/notebook", permission=Permission.WRITE, files=True)
def restore_notebook(context: Context, request: RestoreNotebook) -> RestoredNotebook:
    """Write the cells of a run as a new notebook into the project's folder; no file is ever replaced."""
    # nbformat is slow to import, and only this needs it.
    from mlops_nb.core.restoring import restored_names, restored_notebook, with_sources

    if not context.project.root:
        raise NotSupported("This server has no folder for notebooks: it serves a team's store.", hint="mlops-nb track restore RUN")
    run = context.store.get_run(request.run_id)
    files = LocalArtifacts(Path(context.project.root))
    place = _place_of(run)
    cells = with_sources(context.store.cells(run.run_id), _saved(files, place))
    if not cells:
        raise InvalidInput(f"Run {run.name} has no cells to restore: it was not recorded in a notebook.")
    content = restored_notebook(run, cells).encode("utf-8", "replace")
    names = list(restored_names(run, place.stem if place is not None else None))
    if request.folder is None and place is not None and not place.parts[0].startswith("."):
        try:
            return _write(files, place.parent.parts, names, content)
        except FileNotFoundError:  # the notebook's folder is gone: the project's own takes it
            log.info("The folder of the notebook of run %s is gone.", run.run_id)
    folder = artifact_folder(request.folder or "")
    if folder.startswith("."):
        raise InvalidInput(f"Notebooks are not written to '{folder}'.", hint="Name a folder that is not hidden.")
    try:
        return _write(files, PurePosixPath(folder).parts, names, content)
    except OSError as error:
        where = f"'{folder}'" if folder else "the project's folder"
        raise NotFound(f"A notebook cannot be written to {where}: {error.strerror}.", hint="Name another folder.") from error


def _write(files: LocalArtifacts, folder: tuple[str, ...], names: Sequence[str], content: bytes) -> RestoredNotebook:
    for name in names:
        parts = check_artifact_path("/".join((*folder, name)))
        try:
            files.create(parts, content, mode=0o644)
        except FileExistsError:
            continue
        return RestoredNotebook(path="/".join(parts))
    raise AlreadyExists("There are a thousand notebooks of this run already.", hint="Remove some of them.")


def _place_of(run: Run) -> PurePosixPath | None:
    """Return where a run's notebook is below the project; what the tag says is somebody's text, and may lie elsewhere."""
    if run.notebook is None:
        return None
    try:
        return PurePosixPath(*check_artifact_path(run.notebook))
    except InvalidInput:
        return None


def _saved(files: LocalArtifacts, place: PurePosixPath | None) -> Notebook | None:
    """Return the run's notebook as it is now, for the sources that the ledger did not keep."""
    if place is None:
        return None
    try:
        file = files.open(place.parts)
    except (MlopsError, OSError):  # it was moved or deleted: the ledger alone has to do
        return None
    try:
        if file.stat.size > _MAX_NOTEBOOK:
            return None
        return parse_notebook(b"".join(file.pieces()), saved_at=0)
    except MlopsError as error:
        log.info("The notebook of a run cannot be read: %s", error)
        return None
    finally:
        file.close()


OPERATIONS = (restore_notebook,)
