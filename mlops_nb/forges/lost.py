"""Writes whose answer may be lost, and states that are waited for: the parts that all forges do alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

from mlops_nb.forges.base import Comment, OutcomeUnknown, RequestRefused

T = TypeVar("T")
CLOCK_SKEW_SECONDS: Final = 300.0


class Clock(Protocol):
    """What `ForgeClient` has to wait with."""

    @property
    def clock(self) -> Callable[[], float]: ...
    @property
    def sleep(self) -> Callable[[float], None]: ...


def once(create: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Create something once: where the answer is lost, look for it, and create it again only if it is not there."""
    try:
        return create()
    except OutcomeUnknown:
        found = find()
        return create() if found is None else found


def poll(client: Clock, seconds: float, step: Callable[[], T | None], *, every: float = 1.0) -> T | None:
    """Call `step` until it returns something, at growing intervals; None where nothing came within so many seconds."""
    deadline = client.clock() + seconds
    while True:
        found = step()
        left = deadline - client.clock()
        if found is not None or left <= 0:
            return found
        client.sleep(min(every, left))
        every = min(every * 1.5, 10.0)


def same_comment(comments: Iterable[Comment], author: str, body: str, since: float) -> Comment | None:
    """Return the newest comment with this author and text that was made since then (s since 1970 UTC), or None.

    Clocks of forges may differ from ours by `CLOCK_SKEW_SECONDS`.
    """
    earliest = datetime.fromtimestamp(since - CLOCK_SKEW_SECONDS, UTC)
    same = [one for one in comments if one.author == author and _plain(one.body) == _plain(body) and _time(one.created) >= earliest]
    return same[-1] if same else None


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def fitting(body: str, limit: int, forge: str) -> str:
    """Return a text that is short enough for a comment; raises `RequestRefused` for one that is not."""
    if len(body) > limit:
        raise RequestRefused(
            f"The comment has {len(body):,} characters, and {forge} takes {limit:,}.",
            hint="Shorten the report, or link to the whole of it.",
            status=422,
        )
    return body
