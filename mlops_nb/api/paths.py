"""Artifact paths as clients send them, checked before a store sees them."""

from __future__ import annotations

from urllib.parse import unquote

from mlops_nb.errors import InvalidInput
from mlops_nb.store.artifacts import check_artifact_path

_MAX_DECODINGS = 5


def artifact_file(path: str) -> str:
    """Return the path of a file.

    Raises:
        InvalidInput: If it is empty, absolute, over-long or leads out, as it stands or when decoded again.
    """
    _check(path)
    return path


def artifact_folder(path: str) -> str:
    """Return the path of a folder; "" is the root of the run.

    Raises:
        InvalidInput: As `artifact_file`.
    """
    path = path.removesuffix("/") if path != "/" else path
    if path:
        _check(path)
    return path


def _check(path: str) -> None:
    # The router has decoded the path once. What a second server or a careless reader would make of it must be harmless as well.
    for _ in range(_MAX_DECODINGS):
        check_artifact_path(path)
        decoded = unquote(path, errors="replace")
        if decoded == path:
            return
        path = decoded
    raise InvalidInput("Invalid path: it is encoded over and over.")


def split_proxy_path(path: str) -> tuple[str, str, str]:
    """Return (experiment id, run id, path within the run) of a path of MLflow's artifact proxy.

    Raises:
        InvalidInput: If it is not `<experiment id>/<run id>/artifacts[/...]`.
    """
    parts = path.split("/", 3)
    if len(parts) < 3 or parts[2] != "artifacts" or not parts[0] or not parts[1]:
        raise InvalidInput(f"Invalid path: '{path[:80]}' is not below the artifacts of a run.")
    return parts[0], parts[1], parts[3] if len(parts) == 4 else ""
