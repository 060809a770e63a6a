"""Page tokens: opaque to clients; base64 of where the last page ended."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from mlops_nb.errors import InvalidInput


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
    except (ValueError, binascii.Error, RecursionError):  # the last: JSON that is nested without end
        values = None
    if not isinstance(values, list):
        raise InvalidInput(f"Invalid page token {token[:80]!r}.", hint="Use next_page_token of the last answer as it is.")
    return values
