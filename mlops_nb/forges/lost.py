"""Writes whose answer may be lost, and states that are waited for: the parts that all forges do alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from mlops_nb.forges.base import OutcomeUnknown

T = TypeVar("T")


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
