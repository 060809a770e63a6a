"""From the URI of an artifact root to its store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlops_nb.errors import InvalidInput
from mlops_nb.store.artifacts.base import ArtifactStore
from mlops_nb.store.artifacts.local import LocalArtifacts
from mlops_nb.store.artifacts.paths import is_artifact_path

_HINT = "Use a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix."


def open_artifacts(uri: str) -> ArtifactStore:
    """Return the store of an artifact root, connecting to nothing yet.

    Args:
        uri: A folder, `file:///folder`, or `s3://`, `gs://`, `az://` (`abfs://`, `abfss://`) with bucket and prefix.

    Raises:
        InvalidInput: If it is none of these.
        MissingDependencyError: If the package for it is not installed.
    """
    parts = urlsplit(uri)
    if "://" not in uri and not uri.startswith("file:"):
        if not uri:
            raise InvalidInput("The artifact root is empty.", hint=_HINT)
        return LocalArtifacts(Path(uri))
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InvalidInput(f"The artifact root '{uri}' is no folder of this machine.", hint="Write file:///folder.")
        return LocalArtifacts(Path(unquote(parts.path)))
    prefix = parts.path.strip("/")
    if not parts.hostname or parts.query or parts.fragment or parts.password is not None or (prefix and not is_artifact_path(prefix)):
        raise InvalidInput(f"The artifact root '{parts.scheme}://{parts.hostname}{parts.path}' is not understood.", hint=_HINT)
    if parts.scheme in ("s3", "s3a"):
        from mlops_nb.store.artifacts.s3 import S3Artifacts

        return S3Artifacts(uri)
    if parts.scheme == "memory":
        from mlops_nb.store.artifacts.memory import MemoryArtifacts

        return MemoryArtifacts(uri)
    from mlops_nb.store.artifacts.remote import RemoteArtifacts

    if parts.scheme in ("gs", "gcs"):
        return RemoteArtifacts(uri, package="gcsfs", extra="gcs")
    if parts.scheme in ("az", "abfs", "abfss"):
        return RemoteArtifacts(uri, package="adlfs", extra="azure")
    raise InvalidInput(f"'{parts.scheme}' is no kind of artifact root that mlops_nb knows.", hint=_HINT)
