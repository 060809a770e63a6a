"""Our operations on the artifacts of runs and the files of models."""

from __future__ import annotations

from mlops_nb.api.operation import AgentScope, Context, Permission, Stream, operation
from mlops_nb.api.owners import model_owner, run_owner
from mlops_nb.api.paths import artifact_file, artifact_folder
from mlops_nb.core.wire import ArtifactAnswer, ArtifactsAnswer, Done, Wire

_PATH = "/api/v1/runs/{run_id}/artifacts"
_FILE = f"{_PATH}/files/{{path...}}"


class ArtifactList(Wire, kw_only=True):
    run_id: str
    path: str = ""
    recursive: bool = True


class ArtifactPath(Wire, kw_only=True):
    run_id: str
    path: str


class ModelPath(Wire, kw_only=True):
    model_id: str
    path: str


@operation("artifacts.list", "GET", _PATH, permission=Permission.READ, agent=AgentScope.RUN)
def list_artifacts(context: Context, request: ArtifactList) -> ArtifactsAnswer:
    """List all files below a folder of a run, or what is directly in it."""
    found = context.store.list_artifacts(request.run_id, artifact_folder(request.path), recursive=request.recursive)
    return ArtifactsAnswer(artifacts=found)


@operation("artifacts.read", ("GET", "HEAD"), _FILE, permission=Permission.READ, agent=AgentScope.RUN)
def read_artifact(context: Context, request: ArtifactPath) -> Stream:
    """Return the bytes of a file."""
    path = artifact_file(request.path)
    return Stream(file=context.store.files.open(run_owner(context, request.run_id), path), file_name=path)


@operation("artifacts.write", "PUT", _FILE, permission=Permission.WRITE, upload=True, agent=AgentScope.RUN)
def write_artifact(context: Context, request: ArtifactPath) -> ArtifactAnswer:
    """Write a file, or replace it."""
    owner, upload = run_owner(context, request.run_id), context.upload
    artifact = context.store.files.write(owner, artifact_file(request.path), upload.as_file(), size=upload.size)
    context.store.files_changed(owner)
    return ArtifactAnswer(artifact=artifact, sha256=upload.sha256)


@operation("artifacts.delete", "DELETE", _FILE, permission=Permission.WRITE, files=True, agent=AgentScope.RUN)
def delete_artifact(context: Context, request: ArtifactPath) -> Done:
    """Remove a file, or a folder with all in it."""
    context.store.delete_artifact(request.run_id, artifact_file(request.path))
    return Done()


@operation(
    "models.writeArtifact",
    "PUT",
    "/api/v1/models/{model_id}/artifacts/files/{path...}",
    permission=Permission.WRITE,
    upload=True,
    agent=AgentScope.MODEL,
)
def write_model_file(context: Context, request: ModelPath) -> ArtifactAnswer:
    """Write a file of a logged model, or replace it."""
    upload = context.upload
    artifact = context.store.files.write(
        model_owner(context, request.model_id), artifact_file(request.path), upload.as_file(), size=upload.size
    )
    return ArtifactAnswer(artifact=artifact, sha256=upload.sha256)


OPERATIONS = (list_artifacts, read_artifact, write_artifact, delete_artifact, write_model_file)
