"""The time as a cloud has it: the `Date` of its answers. Pure; no I/O."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def dated(header: str) -> float | None:
    """Return the time of a `Date` header (s since 1970); None: there is none that can be read."""
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except (TypeError, ValueError):
        return None
