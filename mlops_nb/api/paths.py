"""Artifact paths as clients send them, checked before a store sees them."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

from mlops_nb.core.artifacts import FOLDER, PROXY_SCHEME, OwnerKind
from mlops_nb.errors import InvalidInput
from mlops_nb.store.artifacts import check_artifact_path

_MAX_DECODINGS = 5
_MAX_MEANINGS = 3


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


class ProxyPlace(NamedTuple):
    """What a path of MLflow's artifact proxy may mean: `path` within the files of an owner, whose root is at `uri`."""

    kind: OwnerKind
    owner_id: str
    uri: str
    path: str


def proxy_places(path: str) -> list[ProxyPlace]:
    """Return what a path of MLflow's artifact proxy may mean, the most likely first.

    It is the location of an experiment, its owner and a path: `1/<run id>/artifacts/a.txt`, `1/models/<model id>/artifacts/b`,
    `1/traces/<trace id>/artifacts/c`; but an experiment's location, and a path, may have such names in them too.

    Raises:
        InvalidInput: If it leads out, or means none of these.
    """
    artifact_folder(path)
    parts = path.removesuffix("/").split("/")
    places: list[ProxyPlace] = []
    for at in [at for at, part in enumerate(parts) if part == FOLDER and at][:_MAX_MEANINGS]:
        uri = f"{PROXY_SCHEME}:/{'/'.join(parts[: at + 1])}"
        inner = "/".join(parts[at + 1 :])
        kind = parts[at - 2] if at > 1 else ""
        if kind and kind in (OwnerKind.MODEL, OwnerKind.TRACE):
            places.append(ProxyPlace(OwnerKind(kind), parts[at - 1], uri, inner))
        places.append(ProxyPlace(OwnerKind.RUN, parts[at - 1], uri, inner))
    if not places:
        raise InvalidInput(f"Invalid path: '{path[:80]}' is not below the artifacts of a run, a logged model or a trace.")
    return places
