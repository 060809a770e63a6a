"""Handing events to a store: the one way in, for journals of this process and for leftovers of dead ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mlops_nb.core.events import AnyEvent, ArtifactAdded
from mlops_nb.errors import InvalidInput, StoreUnreachable
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking.journal import Header, set_aside

BATCH = 5000


def deliver(
    store: TrackingStore, header: Header, journal: Path, events: Sequence[AnyEvent], on_taken: Callable[[int], None] = lambda seq: None
) -> None:
    """Put the spooled files of events into the store, then the events. Safe to repeat.

    `on_taken` is told up to which number the store has them, as often as that goes on.

    Raises:
        StoreError: If the store cannot take them now.
        NotFound: If the store does not know the run.
    """
    files = journal.with_suffix(".files")
    start = applied = 0
    for i, event in enumerate(events):
        if event.seq <= applied:  # an earlier try has got further than anybody noted
            start = i + 1
            continue
        is_file = isinstance(event, ArtifactAdded) and event.spool is not None
        if i > start and (is_file or i - start == BATCH):
            applied = _ingest(store, header, journal, events[start:i])
            on_taken(applied)
            start = i
            if event.seq <= applied:
                start = i + 1
                continue
        if isinstance(event, ArtifactAdded) and event.spool is not None:
            # After what comes before it, which may start the run; before its own event, which says that it is there.
            try:
                _deliver_file(store, header.run_id, event, files / event.spool)
            except InvalidInput as error:
                _set_aside(journal, event, error)
                start = i + 1
    if start < len(events):
        on_taken(_ingest(store, header, journal, events[start:]))


def _deliver_file(store: TrackingStore, run_id: str, event: ArtifactAdded, spooled: Path) -> None:
    try:
        content = spooled.open("rb")
    except FileNotFoundError:  # delivered by an earlier try that did not live to note it
        return
    with content:
        if event.model_id is None:
            store.write_artifact(run_id, event.path, content)
        else:
            store.write_model_file(event.model_id, event.path, content)
    spooled.unlink(missing_ok=True)


def _ingest(store: TrackingStore, header: Header, journal: Path, events: Sequence[AnyEvent]) -> int:
    """Ingest events; one that the store finds invalid is set aside, so that it does not hold up the others.

    Returns:
        Up to which number the store has them, or needs them no more.
    """
    try:
        applied = store.ingest(header.run_id, header.source, events)
        if applied < events[-1].seq:  # whoever answered, it was not a store that has them
            raise StoreUnreachable(f"The store has {applied} of the events, not the {events[-1].seq} that it was sent.")
    except InvalidInput as error:
        if len(events) > 1:
            middle = len(events) // 2
            _ingest(store, header, journal, events[:middle])
            return _ingest(store, header, journal, events[middle:])
        _set_aside(journal, events[0], error)
        return events[0].seq
    return applied


def _set_aside(journal: Path, event: AnyEvent, error: InvalidInput) -> None:
    set_aside(journal, msgspec.json.encode(event), f"The store refuses an event: {error}")
