"""`mlops-nb artifacts ...`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import click

from mlops_nb.cli.output import output_option, say
from mlops_nb.cli.stores import RUNS_HINT, tracking_store

if TYPE_CHECKING:
    from mlops_nb.store.base import TrackingStore

_RUN = click.option("-r", "--run-id", required=True, help="The id of the run.")


@click.group()
def artifacts() -> None:
    """List, download and log the files of runs."""


@artifacts.command("list")
@_RUN
@click.option("-a", "--artifact-path", default="", help="A folder of the run instead of its root.")
@output_option
def list_artifacts(run_id: str, artifact_path: str, as_json: bool) -> None:
    """List what is directly in a folder of a run; always JSON."""
    with tracking_store(hint=RUNS_HINT) as store:
        found = store.list_artifacts(run_id, artifact_path.strip("/"))
    say([{"path": one.path, "is_dir": one.is_dir, "file_size": one.file_size} for one in found], None, as_json=True)


@artifacts.command()
@click.option("-r", "--run-id", help="The id of the run.")
@click.option("-a", "--artifact-path", default="", help="A file or folder of the run instead of all.")
@click.option("-u", "--artifact-uri", help="runs:/RUN_ID/PATH or mlflow-artifacts:/EXPERIMENT/RUN_ID/artifacts/PATH.")
@click.option("-d", "--dst-path", type=click.Path(file_okay=False), help="Where to put it; by default a new temporary folder.")
@output_option
def download(run_id: str | None, artifact_path: str, artifact_uri: str | None, dst_path: str | None, as_json: bool) -> None:
    """Download a file or folder of a run; the answer is where it is now."""
    import tempfile

    if (run_id is None) == (artifact_uri is None):
        raise click.UsageError("Give either --run-id or --artifact-uri.")
    owner, path = (str(run_id), artifact_path) if artifact_uri is None else _of_uri(artifact_uri)
    with tracking_store(hint=RUNS_HINT) as store:
        store.get_run(owner)
        target = Path(dst_path) if dst_path else Path(tempfile.mkdtemp(prefix="mlops-"))
        place = _fetch(store, owner, path.strip("/"), target)
    say({"path": str(place)}, str(place), as_json=as_json)


def _of_uri(uri: str) -> tuple[str, str]:
    """Return the run and the path within it that a URI names."""
    from mlops_nb.errors import InvalidInput

    parts = urlsplit(uri)
    names = unquote(parts.path).strip("/").split("/")
    if parts.scheme == "runs" and names[0]:
        return names[0], "/".join(names[1:])
    if parts.scheme == "mlflow-artifacts" and len(names) >= 3 and names[2] == "artifacts":
        return names[1], "/".join(names[3:])
    raise InvalidInput(f"The artifact URI '{uri}' names no run.", hint="Use runs:/RUN_ID/PATH, or --run-id and --artifact-path.")


def _fetch(store: TrackingStore, run_id: str, path: str, target: Path) -> Path:
    from mlops_nb.errors import NotFound

    listed = store.list_artifacts(run_id, path, recursive=True)
    if not listed and path:
        try:
            return _write(store, run_id, path, target, path.rsplit("/", 1)[-1])
        except NotFound as error:
            error.hint = f"mlops-nb artifacts list -r {run_id} lists what there is."
            raise
    if not listed:
        raise NotFound(f"Run {run_id} has no artifacts.", hint="mlops-nb artifacts log-artifact gives it some.")
    # A folder keeps its name, the root of a run has none.
    base = path.rpartition("/")[0]
    for one in listed:
        _write(store, run_id, one.path, target, one.path.removeprefix(base).lstrip("/"))
    return target / path.rsplit("/", 1)[-1] if path else target


def _write(store: TrackingStore, run_id: str, path: str, target: Path, name: str) -> Path:
    """Write a file beside its place and move it in: what is there under its name is whole."""
    import tempfile

    pieces = store.read_artifact(run_id, path)
    place = target / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".mlops-", delete=False) as file:
        try:
            for piece in pieces:
                file.write(piece)
            file.close()
            Path(file.name).replace(place)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return place


@artifacts.command("log-artifact")
@click.option("-l", "--local-file", required=True, type=click.Path(exists=True, dir_okay=False), help="The file.")
@_RUN
@click.option("-a", "--artifact-path", default="", help="The folder of the run that it goes to.")
@output_option
def log_artifact(local_file: str, run_id: str, artifact_path: str, as_json: bool) -> None:
    """Keep a copy of a file with a run."""
    with tracking_store(hint=RUNS_HINT) as store:
        written = _log(store, run_id, Path(local_file), artifact_path, Path(local_file).name)
    say({"run_id": run_id, "artifacts": [written]}, f"Logged {local_file} as {written} of run {run_id}.", as_json=as_json)


@artifacts.command("log-artifacts")
@click.option("-l", "--local-dir", required=True, type=click.Path(exists=True, file_okay=False), help="The folder.")
@_RUN
@click.option("-a", "--artifact-path", default="", help="The folder of the run that its files go to.")
@output_option
def log_artifacts(local_dir: str, run_id: str, artifact_path: str, as_json: bool) -> None:
    """Keep copies of all files in a folder with a run."""
    root = Path(local_dir)
    files = sorted(file for file in root.rglob("*") if file.is_file())
    with tracking_store(hint=RUNS_HINT) as store:
        store.get_run(run_id)
        written = [_log(store, run_id, file, artifact_path, file.relative_to(root).as_posix()) for file in files]
    say({"run_id": run_id, "artifacts": written}, f"Logged {len(written)} files of {local_dir} to run {run_id}.", as_json=as_json)


def _log(store: TrackingStore, run_id: str, file: Path, folder: str, name: str) -> str:
    path = "/".join(part for part in (folder.strip("/"), name) if part)
    with file.open("rb") as content:
        return store.write_artifact(run_id, path, content).path
