"""MLflow's operations on artifacts: the listing of a run, and the proxy through which clients read and write files."""

from __future__ import annotations

import posixpath

from mlops_nb.api.mlflow.wire import Answer, Empty, Request, RunId, required, twins
from mlops_nb.api.operation import Context, Permission, Stream, operation
from mlops_nb.api.paths import artifact_file, artifact_folder, split_proxy_path
from mlops_nb.core.records import Artifact
from mlops_nb.errors import NotFound

_PROXY = ("/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts")
_PROXY_FILE = tuple(f"{path}/{{artifact_path...}}" for path in _PROXY)


class ListArtifacts(RunId, kw_only=True):
    path: str | None = None
    page_token: str | None = None


class ListFolder(Request, kw_only=True):
    path: str | None = None


class ProxyPath(Request, kw_only=True):
    artifact_path: str | None = None


class FileInfo(Answer, kw_only=True):
    path: str
    is_dir: bool
    file_size: int | None = None


class RunFilesAnswer(Answer, kw_only=True):
    root_uri: str
    files: list[FileInfo] = []


class FilesAnswer(Answer, kw_only=True):
    files: list[FileInfo] = []


@operation("mlflow.artifacts.list", "GET", twins("/artifacts/list"), permission=Permission.READ)
def list_artifacts(context: Context, request: ListArtifacts) -> RunFilesAnswer:
    """List a folder of a run; paths begin at the run's root."""
    run = context.store.get_run(request.id())
    found = context.store.list_artifacts(run.run_id, artifact_folder(request.path or ""))
    return RunFilesAnswer(root_uri=run.artifact_uri, files=[_info(artifact, artifact.path) for artifact in found])


@operation("mlflow.artifacts.proxyList", "GET", _PROXY, permission=Permission.READ)
def list_folder(context: Context, request: ListFolder) -> FilesAnswer:
    """List a folder of the proxy; paths are bare names. What is not there lists as empty: clients then take it for a file."""
    run_id, path = _place(context, required(request.path, "path"))
    if run_id is None:
        return FilesAnswer()
    found = context.store.list_artifacts(run_id, artifact_folder(path))
    return FilesAnswer(files=[_info(artifact, posixpath.basename(artifact.path)) for artifact in found])


@operation("mlflow.artifacts.download", "GET", _PROXY_FILE, permission=Permission.READ)
def download_artifact(context: Context, request: ProxyPath) -> Stream:
    """Return the bytes of a file."""
    run_id, path = _existing(context, request)
    return Stream(chunks=context.store.read_artifact(run_id, artifact_file(path)), file_name=path)


@operation("mlflow.artifacts.upload", "PUT", _PROXY_FILE, permission=Permission.WRITE, upload=True)
def upload_artifact(context: Context, request: ProxyPath) -> Empty:
    """Write a file."""
    run_id, path = _existing(context, request)
    context.store.write_artifact(run_id, artifact_file(path), context.upload)
    return Empty()


@operation("mlflow.artifacts.delete", "DELETE", _PROXY_FILE, permission=Permission.WRITE, files=True)
def delete_artifact(context: Context, request: ProxyPath) -> Empty:
    """Remove a file, or a folder with all in it."""
    run_id, path = _existing(context, request)
    folder = artifact_folder(path)
    targets = [folder] if folder else [artifact.path for artifact in context.store.list_artifacts(run_id)]
    for target in targets:
        context.store.delete_artifact(run_id, target)
    return Empty()


def _place(context: Context, proxy_path: str) -> tuple[str | None, str]:
    """Return the run and the path within it; no run where there is none of that id in that experiment."""
    experiment_id, run_id, path = split_proxy_path(proxy_path)
    artifact_folder(proxy_path)
    try:
        run = context.store.get_run(run_id)
    except NotFound:
        return None, path
    return (run.run_id if run.experiment_id == experiment_id else None), path


def _existing(context: Context, request: ProxyPath) -> tuple[str, str]:
    proxy_path = required(request.artifact_path, "artifact_path")
    run_id, path = _place(context, proxy_path)
    if run_id is None:
        raise NotFound(f"There is no run that '{proxy_path[:200]}' could belong to.")
    return run_id, path


def _info(artifact: Artifact, path: str) -> FileInfo:
    return FileInfo(path=path, is_dir=artifact.is_dir, file_size=artifact.file_size)


OPERATIONS = (list_artifacts, list_folder, download_artifact, upload_artifact, delete_artifact)
