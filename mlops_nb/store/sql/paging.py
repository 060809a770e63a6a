"""Page tokens: opaque to clients; base64 of where the last page ended."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from mlops_nb.errors import InvalidInput


def bounds(max_results: int, token: str | None, largest: int) -> tuple[int, int]:
    """Return (limit, offset).

    Raises:
        InvalidInput: If the limit is out of range or the token is not one of ours.
    """
    if not 1 <= max_results <= largest:
        raise InvalidInput(f"Invalid value {max_results} for parameter 'max_results': it must be 1 to {largest}.")
    if not token:
        return max_results, 0
    try:
        offset = int(json.loads(base64.urlsafe_b64decode(token))["offset"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise InvalidInput(f"Invalid page token {token!r}.", hint="Use next_page_token of the last answer as it is.") from None
    return max_results, max(0, offset)


def next_token(found: int, limit: int, offset: int) -> str | None:
    """Return the token of the next page; `found` of at most limit + 1 rows says whether there is one."""
    if found <= limit:
        return None
    return base64.urlsafe_b64encode(json.dumps({"offset": offset + limit}).encode()).decode()


def limit_of(max_results: int, largest: int) -> int:
    """Return how many results a page holds.

    Raises:
        InvalidInput: If it is out of range.
    """
    if not 1 <= max_results <= largest:
        raise InvalidInput(f"Invalid value {max_results} for parameter 'max_results': it must be 1 to {largest}.")
    return max_results


def to_token(values: list[Any]) -> str:
    """Return the token that stands for where a page ends: what the last item is sorted by."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def from_token(token: str) -> list[Any]:
    """Return the values that `to_token` was given.

    Raises:
        InvalidInput: If the token is not one of ours.
    """
    try:
        values = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        values = None
    if not isinstance(values, list):
        raise InvalidInput(f"Invalid page token {token[:80]!r}.", hint="Use next_page_token of the last answer as it is.")
    return values
