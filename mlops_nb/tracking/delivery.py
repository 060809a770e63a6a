"""Handing events to a store: the one way in, for journals of this process and for leftovers of dead ones."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mlops_nb.core.events import AnyEvent, ArtifactAdded
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking.journal import Header

logger = logging.getLogger("mlops_nb")

BATCH = 5000


def deliver(store: TrackingStore, header: Header, journal: Path, events: Sequence[AnyEvent]) -> None:
    """Put the spooled files of events into the store, then the events. Safe to repeat.

    Raises:
        StoreError: If the store cannot take them now.
        NotFound: If the store does not know the run.
    """
    files = journal.with_suffix(".files")
    start = 0
    for i, event in enumerate(events):
        is_file = isinstance(event, ArtifactAdded) and event.spool is not None
        if i > start and (is_file or i - start == BATCH):
            _ingest(store, header, journal, events[start:i])
            start = i
        if isinstance(event, ArtifactAdded) and event.spool is not None:
            # After what comes before it, which may start the run; before its own event, which says that it is there.
            try:
                _deliver_file(store, header.run_id, event.path, files / event.spool)
            except InvalidInput as error:
                _set_aside(journal, event, error)
                start = i + 1
    if start < len(events):
        _ingest(store, header, journal, events[start:])


def _deliver_file(store: TrackingStore, run_id: str, path: str, spooled: Path) -> None:
    try:
        content = spooled.open("rb")
    except FileNotFoundError:  # delivered by an earlier try that did not live to note it
        return
    with content:
        store.write_artifact(run_id, path, content)
    spooled.unlink(missing_ok=True)


def _ingest(store: TrackingStore, header: Header, journal: Path, events: Sequence[AnyEvent]) -> None:
    """Ingest events; one that the store finds invalid is set aside, so that it does not hold up the others."""
    try:
        store.ingest(header.run_id, header.source, events)
    except InvalidInput as error:
        if len(events) > 1:
            middle = len(events) // 2
            _ingest(store, header, journal, events[:middle])
            _ingest(store, header, journal, events[middle:])
            return
        _set_aside(journal, events[0], error)


def _set_aside(journal: Path, event: AnyEvent, error: InvalidInput) -> None:
    logger.error("The store refuses an event: %s It is kept in %s.", error, journal.with_suffix(".refused"))
    with contextlib.suppress(OSError), journal.with_suffix(".refused").open("ab") as refused:
        refused.write(msgspec.json.encode(event) + b"\n")
