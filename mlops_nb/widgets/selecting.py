"""Which runs a figure or a view is about: runs themselves, selectors, a filter or text."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.core import filters
from mlops_nb.core.records import TAG_ARCHIVED, Run
from mlops_nb.errors import NotFound
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.store.open import open_empty_store
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.run import ActiveRun

Which = str | Run | ActiveRun | Sequence[str | Run | ActiveRun] | None
"""Runs, selectors, one filter or text, or None: all runs here."""

_NOT_ARCHIVED = f"tags.`{TAG_ARCHIVED}` is null"


def session_store() -> TrackingStore:
    """Return the store of this process's runs, with what was logged so far; an empty one where nothing was ever recorded."""
    try:
        return sessions.current.fresh_store()
    except NotFound:
        return open_empty_store()


def query_of(text: str, *, order_by: Sequence[str] = (), max_results: int, page_token: str | None = None) -> RunQuery:
    """Return the search that a box for filters and text means; archived runs only where the filter names them.

    Raises:
        FilterError: If it is a filter that does not parse.
    """
    text = text.strip()
    is_filter = bool(text) and filters.looks_like_filter(text)
    if is_filter:
        filters.parse(text)
    wanted = text if is_filter else ""
    if TAG_ARCHIVED not in wanted:
        wanted = f"({wanted}) and {_NOT_ARCHIVED}" if wanted else _NOT_ARCHIVED
    return RunQuery(filter=wanted, text="" if is_filter else text, order_by=list(order_by), max_results=max_results, page_token=page_token)


def which_runs(store: TrackingStore, which: Which, *, most: int) -> list[Run]:
    """Return the runs that are meant, at most so many; a search gives the newest first.

    Raises:
        FilterError: If a filter does not parse.
        NotFound: If a selector fits nothing.
    """
    if which is None:
        return store.search_runs(query_of("", max_results=most)).items
    if isinstance(which, str):
        if filters.looks_like_filter(which) and not which.startswith(("@", "tag:")):
            return store.search_runs(query_of(which, max_results=most)).items
        return _tagged(store, which, most) if which.startswith("tag:") else _named(store, which, most)
    if isinstance(which, (Run, ActiveRun)):
        return [find_run(store, which)]
    found = [find_run(store, each) for each in list(which)[:most]]
    return list({run.run_id: run for run in found}.values())


def _tagged(store: TrackingStore, which: str, most: int) -> list[Run]:
    """Return all runs with a tag: of a selector that stands alone not only the newest is meant."""
    key, equals, value = which[4:].partition("=")
    name = "`" + key.replace("`", "``") + "`"
    wanted = f"tags.{name} = '" + value.replace("'", "''") + "'" if equals else f"tags.{name} is not null"
    return store.search_runs(query_of(wanted, max_results=most)).items


def _named(store: TrackingStore, which: str, most: int) -> list[Run]:
    if which.startswith("@"):
        return [find_run(store, which)]
    found = store.search_runs(query_of(which, max_results=most)).items
    return found or [find_run(store, which)]
