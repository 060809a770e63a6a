"""From a server's error answer back to the error that it stands for."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import msgspec

from mlops_nb.errors import (
    AlreadyExists,
    Conflict,
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
    for kind in (InvalidInput, NotFound, AlreadyExists, Conflict, PermissionDenied, NotSupported, StoreUnreachable, StoreFull, StoreDamaged)
}


class _Document(msgspec.Struct, kw_only=True):
    error_code: str
    message: str
    hint: str | None = None
    position: int | msgspec.UnsetType | None = msgspec.UNSET


def error_of(base_url: str, status: int, body: bytes, retry_after: str | None = None) -> MlopsError:
    """Return the error that an answer stands for.

    Args:
        base_url: For the message where the answer is not one of our server's.
        status: Of HTTP, not 200.
        body: The answer.
        retry_after: The header of this name, if there is one.
    """
    error = _error_of(base_url, status, body)
    if isinstance(error, StoreUnreachable):
        error.retry_after = _seconds(retry_after)
    return error


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds that a `Retry-After` asks for, given as a number or as a date."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _error_of(base_url: str, status: int, body: bytes) -> MlopsError:
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
    if status in (429, 502, 503, 504):
        return StoreUnreachable(f"The tracking server {base_url} is not ready (HTTP {status}).", hint="Try again in a moment.")
    if status in (401, 403):
        return PermissionDenied(f"{base_url} refuses access (HTTP {status}).", hint="Set MLOPS_NB_TRACKING_TOKEN to the server's token.")
    return StoreUnreachable(
        f"{base_url} is not the address of an mlops_nb server (HTTP {status}).", hint="It usually ends in /mlops, as http://host:8888/mlops"
    )
