"""MLflow's operations on artifacts: the listing of a run, and the proxy through which clients read and write files."""

from __future__ import annotations

import posixpath

from mlops_nb.api.mlflow.wire import Answer, Empty, Request, RunId, required, twins
from mlops_nb.api.operation import AgentScope, Context, Permission, Stream, operation
from mlops_nb.api.owners import find_owner, owner_at, run_owner, version_files
from mlops_nb.api.paths import artifact_file, artifact_folder
from mlops_nb.core.artifacts import ArtifactOwner
from mlops_nb.core.records import Artifact
from mlops_nb.errors import InvalidInput

_PROXY = ("/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts")
_PROXY_FILE = tuple(f"{path}/{{artifact_path...}}" for path in _PROXY)
_READ = ("GET", "HEAD")


class ListArtifacts(RunId, kw_only=True):
    path: str | None = None
    page_token: str | None = None


class ListFolder(Request, kw_only=True):
    path: str | None = None


class ProxyPath(Request, kw_only=True):
    artifact_path: str | None = None


class RunFile(RunId, kw_only=True):
    path: str | None = None


class VersionFile(Request, kw_only=True):
    name: str | None = None
    version: str | None = None
    path: str | None = None


class FileInfo(Answer, kw_only=True):
    path: str
    is_dir: bool
    file_size: int | None = None


class RunFilesAnswer(Answer, kw_only=True):
    root_uri: str
    files: list[FileInfo] = []


class FilesAnswer(Answer, kw_only=True):
    files: list[FileInfo] = []


@operation("mlflow.artifacts.list", "GET", twins("/artifacts/list"), permission=Permission.READ, agent=AgentScope.RUN)
def list_artifacts(context: Context, request: ListArtifacts) -> RunFilesAnswer:
    """List a folder of a run; paths begin at the run's root."""
    owner = run_owner(context, request.id())
    found = context.store.files.list(owner, artifact_folder(request.path or ""))
    return RunFilesAnswer(root_uri=owner.uri, files=[_info(artifact, artifact.path) for artifact in found])


@operation("mlflow.artifacts.proxyList", "GET", _PROXY, permission=Permission.READ, agent=AgentScope.FILE)
def list_folder(context: Context, request: ListFolder) -> FilesAnswer:
    """List a folder of the proxy; paths are bare names. What is not there lists as empty: clients then take it for a file."""
    place = find_owner(context, required(request.path, "path"))
    if place is None:
        return FilesAnswer()
    owner, path = place
    found = context.store.files.list(owner, artifact_folder(path))
    return FilesAnswer(files=[_info(artifact, posixpath.basename(artifact.path)) for artifact in found])


@operation("mlflow.artifacts.download", _READ, _PROXY_FILE, permission=Permission.READ, agent=AgentScope.FILE)
def download_artifact(context: Context, request: ProxyPath) -> Stream:
    """Return the bytes of a file."""
    return _file(context, *owner_at(context, required(request.artifact_path, "artifact_path")))


@operation("mlflow.artifacts.upload", "PUT", _PROXY_FILE, permission=Permission.WRITE, upload=True, agent=AgentScope.FILE)
def upload_artifact(context: Context, request: ProxyPath) -> Empty:
    """Write a file."""
    return _write(context, *owner_at(context, required(request.artifact_path, "artifact_path")))


@operation("mlflow.artifacts.delete", "DELETE", _PROXY_FILE, permission=Permission.WRITE, files=True)
def delete_artifact(context: Context, request: ProxyPath) -> Empty:
    """Remove a file, or a folder with all in it."""
    owner, path = owner_at(context, required(request.artifact_path, "artifact_path"))
    context.store.files.delete(owner, artifact_folder(path))
    context.store.files_changed(owner)
    return Empty()


@operation("mlflow.artifacts.get", _READ, "/get-artifact", permission=Permission.READ, agent=AgentScope.RUN)
def get_artifact(context: Context, request: RunFile) -> Stream:
    """Return the bytes of a file of a run."""
    return _file(context, run_owner(context, request.id()), required(request.path, "path"))


@operation("mlflow.artifacts.getOfVersion", _READ, "/model-versions/get-artifact", permission=Permission.READ)
def get_version_artifact(context: Context, request: VersionFile) -> Stream:
    """Return the bytes of a file of a model version."""
    path = artifact_file(required(request.path, "path"))
    version = required(request.version, "version")
    if not (version.isascii() and version.isdigit()):
        raise InvalidInput(f"Invalid value {version[:80]!r} for parameter 'version' supplied: it must be a whole number.")
    owner, folder = version_files(context, required(request.name, "name"), int(version))
    return _file(context, owner, posixpath.join(folder, path))


@operation("mlflow.artifacts.post", "POST", "/ajax-api/2.0/mlflow/upload-artifact", permission=Permission.WRITE, upload=True)
def post_artifact(context: Context, request: RunFile) -> Empty:
    """Write a file of a run."""
    return _write(context, run_owner(context, request.id()), required(request.path, "path"))


def _file(context: Context, owner: ArtifactOwner, path: str) -> Stream:
    return Stream(file=context.store.files.open(owner, artifact_file(path)), file_name=path)


def _write(context: Context, owner: ArtifactOwner, path: str) -> Empty:
    upload = context.upload
    context.store.files.write(owner, artifact_file(path), upload.as_file(), size=upload.size)
    context.store.files_changed(owner)
    return Empty()


def _info(artifact: Artifact, path: str) -> FileInfo:
    return FileInfo(path=path, is_dir=artifact.is_dir, file_size=artifact.file_size)


OPERATIONS = (
    list_artifacts,
    list_folder,
    download_artifact,
    upload_artifact,
    delete_artifact,
    get_artifact,
    get_version_artifact,
    post_artifact,
)
