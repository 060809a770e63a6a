"""From a server's error answer back to the error that it stands for."""

from __future__ import annotations

import msgspec

from mlops_nb.errors import (
    AlreadyExists,
    FilterError,
    IllegalTransition,
    InvalidInput,
    MlopsError,
    NotFound,
    NotSupported,
    PermissionDenied,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnreachable,
    StoreVersionError,
)

_BY_CODE: dict[str, type[MlopsError]] = {
    kind.code: kind
    for kind in (InvalidInput, NotFound, AlreadyExists, PermissionDenied, NotSupported, StoreUnreachable, StoreFull, StoreDamaged)
}


class _Document(msgspec.Struct, kw_only=True):
    error_code: str
    message: str
    hint: str | None = None
    position: int | msgspec.UnsetType | None = msgspec.UNSET


def error_of(base_url: str, status: int, body: bytes) -> MlopsError:
    """Return the error that an answer stands for.

    Args:
        base_url: For the message where the answer is not one of our server's.
        status: Of HTTP, not 200.
        body: The answer.
    """
    try:
        document = msgspec.json.decode(body, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _foreign(base_url, status)
    if document.position is not msgspec.UNSET:
        return FilterError(document.message, position=document.position, hint=document.hint)
    if document.error_code == IllegalTransition.code:
        # The caller's mistake and a store of another version have one code in MLflow's API; the status tells them apart.
        kind: type[MlopsError] = IllegalTransition if status < 500 else StoreVersionError
    else:
        kind = _BY_CODE.get(document.error_code, StoreError)
    return kind(document.message, hint=document.hint)


def _foreign(base_url: str, status: int) -> MlopsError:
    if status in (502, 503, 504):
        return StoreUnreachable(f"The tracking server {base_url} is not ready (HTTP {status}).", hint="Try again in a moment.")
    if status in (401, 403):
        return PermissionDenied(f"{base_url} refuses access (HTTP {status}).", hint="Set MLOPS_NB_TRACKING_TOKEN to the server's token.")
    return StoreUnreachable(
        f"{base_url} is not the address of an mlops_nb server (HTTP {status}).", hint="It usually ends in /mlops, as http://host:8888/mlops"
    )
