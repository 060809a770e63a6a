"""MLflow's operations by which clients send files to the object store and fetch them past the server.

The store must be one that can (S3); with another one the answer is 501, and clients send files through the server.
"""

from __future__ import annotations

import posixpath
import re

from mlops_nb.api.mlflow.wire import Answer, Empty, Request, required, twins
from mlops_nb.api.operation import AgentScope, Context, Permission, operation
from mlops_nb.api.owners import model_owner, owner_at, run_owner
from mlops_nb.api.paths import artifact_file
from mlops_nb.core.artifacts import ArtifactOwner
from mlops_nb.errors import InvalidInput

_ARTIFACTS = ("/api/2.0/mlflow-artifacts", "/ajax-api/2.0/mlflow-artifacts")
_MAX_SECONDS = 604_800
_UPLOAD_SECONDS = 900
_DOWNLOAD_SECONDS = 300
_MULTIPART_SECONDS = 3600
_SEPARATOR = re.compile(r"[/\\]")


def _paths(name: str) -> tuple[str, ...]:
    return tuple(f"{prefix}/{name}/{{artifact_path...}}" for prefix in _ARTIFACTS)


class BeginUpload(Request, kw_only=True):
    """`path` is the file on the client's machine: of it only the name counts."""

    artifact_path: str | None = None
    path: str | None = None
    num_parts: int | None = None


class Part(Request, kw_only=True):
    part_number: int | None = None
    etag: str | None = None
    url: str | None = None


class EndUpload(Request, kw_only=True):
    artifact_path: str | None = None
    path: str | None = None
    upload_id: str | None = None
    parts: list[Part] | None = None


class ProxyFile(Request, kw_only=True):
    artifact_path: str | None = None


class SignFile(Request, kw_only=True):
    run_id: str | None = None
    model_id: str | None = None
    path: str | None = None
    expiration: int | None = None


class Credential(Answer, kw_only=True):
    url: str
    part_number: int
    headers: dict[str, str] = {}


class BegunUpload(Answer, kw_only=True):
    upload_id: str
    credentials: list[Credential]


class DownloadUrl(Answer, kw_only=True, omit_defaults=False):
    url: str
    headers: dict[str, str]
    file_size: int


class SignedDownload(Answer, kw_only=True):
    presigned_url: str
    headers: dict[str, str] = {}
    file_size: int | None = None


class SignedUpload(Answer, kw_only=True):
    presigned_url: str
    headers: dict[str, str] = {}


@operation("mlflow.artifacts.beginUpload", "POST", _paths("mpu/create"), permission=Permission.WRITE, files=True, agent=AgentScope.FILE)
def begin_upload(context: Context, request: BeginUpload) -> BegunUpload:
    """Begin an upload in parts and say where each goes."""
    owner, path = _target(context, request.artifact_path, request.path)
    begun = context.store.files.begin_upload(owner, path, request.num_parts or 1, _MULTIPART_SECONDS)
    return BegunUpload(
        upload_id=begun.upload_id, credentials=[Credential(url=url, part_number=n) for n, url in enumerate(begun.urls, start=1)]
    )


@operation(
    "mlflow.artifacts.completeUpload", "POST", _paths("mpu/complete"), permission=Permission.WRITE, files=True, agent=AgentScope.FILE
)
def complete_upload(context: Context, request: EndUpload) -> Empty:
    """Make the file of the parts that have been sent."""
    owner, path = _target(context, request.artifact_path, request.path)
    etags = [(part.part_number or 0, part.etag or "") for part in request.parts or []]
    context.store.files.complete_upload(owner, path, required(request.upload_id, "upload_id"), etags)
    context.store.files_changed(owner)
    return Empty()


@operation("mlflow.artifacts.abortUpload", "POST", _paths("mpu/abort"), permission=Permission.WRITE, files=True, agent=AgentScope.FILE)
def abort_upload(context: Context, request: EndUpload) -> Empty:
    """Drop an upload in parts."""
    owner, path = _target(context, request.artifact_path, request.path)
    context.store.files.abort_upload(owner, path, required(request.upload_id, "upload_id"))
    return Empty()


@operation("mlflow.artifacts.presigned", "GET", _paths("presigned"), permission=Permission.READ, agent=AgentScope.FILE)
def presigned_download(context: Context, request: ProxyFile) -> DownloadUrl:
    """Say where a file can be read past the server."""
    owner, path = owner_at(context, required(request.artifact_path, "artifact_path"))
    signed, size = context.store.files.download_url(owner, artifact_file(path), _DOWNLOAD_SECONDS)
    return DownloadUrl(url=signed.url, headers=signed.headers, file_size=size)


@operation(
    "mlflow.artifacts.signDownload", "POST", twins("/artifacts/presigned-download-url"), permission=Permission.READ, agent=AgentScope.FILE
)
def sign_download(context: Context, request: SignFile) -> SignedDownload:
    """Say where a file of a run can be read past the server."""
    owner = run_owner(context, required(request.run_id, "run_id"))
    path = artifact_file(required(request.path, "path"))
    signed, size = context.store.files.download_url(owner, path, _seconds(request, _DOWNLOAD_SECONDS))
    return SignedDownload(presigned_url=signed.url, headers=signed.headers, file_size=size)


@operation(
    "mlflow.artifacts.signUpload",
    "POST",
    twins("/artifacts/presigned-upload-url"),
    permission=Permission.WRITE,
    files=True,
    agent=AgentScope.FILE,
)
def sign_upload(context: Context, request: SignFile) -> SignedUpload:
    """Say where a file of a run or a logged model can be written past the server."""
    if bool(request.run_id) == bool(request.model_id):
        raise InvalidInput("Exactly one of run_id and model_id must be provided.")
    owner = run_owner(context, request.run_id) if request.run_id else model_owner(context, request.model_id or "")
    path = artifact_file(required(request.path, "path"))
    signed = context.store.files.upload_url(owner, path, _seconds(request, _UPLOAD_SECONDS))
    return SignedUpload(presigned_url=signed.url, headers=signed.headers)


def _target(context: Context, folder: str | None, file: str | None) -> tuple[ArtifactOwner, str]:
    """Return whose file an upload makes, and its path: a folder of the proxy and the name of the client's own file."""
    owner, path = owner_at(context, required(folder, "artifact_path"))
    name = _SEPARATOR.split(required(file, "path"))[-1]
    return owner, artifact_file(posixpath.join(path, name) if path else name)


def _seconds(request: SignFile, default: int) -> int:
    seconds = default if request.expiration is None else request.expiration
    if not 1 <= seconds <= _MAX_SECONDS:
        raise InvalidInput(f"expiration must be between 1 and {_MAX_SECONDS} seconds (got {seconds}).")
    return seconds


OPERATIONS = (begin_upload, complete_upload, abort_upload, presigned_download, sign_download, sign_upload)
