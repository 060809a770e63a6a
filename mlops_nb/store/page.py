"""One page of the results of a search."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

MAX_PAGE = 50_000


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some of the results. `token` continues after them; None: there are no more."""

    items: list[T]
    token: str | None = None
