"""Runs in the store: finding one, changing it, deleting it."""

from __future__ import annotations

from collections.abc import Mapping

from mlops_nb.core import selectors
from mlops_nb.core.records import TAG_ARCHIVED, TAG_NOTE, LifecycleStage, Run
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.lookup import find_run
from mlops_nb.tracking.run import ActiveRun


def get_run(selector: str | Run | ActiveRun = "@last") -> Run:
    """Return a run as the store has it now.

    Args:
        selector: `@last`, `@last~1`, `@best:METRIC`, `@worst:METRIC`, `@main`, `tag:NAME`, the beginning of an id, a name, or a run.

    Raises:
        NotFound, SelectorError: If none fits, or several do.
        StoreError: If the store cannot be reached.
    """
    if isinstance(selector, str):  # a wrong selector is said even where there is nothing to find yet
        selectors.parse(selector)
    return find_run(sessions.current.fresh_store(), selector)


def get_parent_run(run_id: str) -> Run | None:
    """Return the run that a run is a part of, or None."""
    parent = get_run(run_id).parent_id
    return None if parent is None else get_run(parent)


def tag_run(selector: str | Run | ActiveRun, tags: Mapping[str, str | None]) -> None:
    """Set tags of any run; None removes one."""
    store = sessions.current.fresh_store()
    store.log_batch(find_run(store, selector).run_id, tags=tags)


def note_run(selector: str | Run | ActiveRun, text: str) -> None:
    """Set the note (Markdown) of any run."""
    tag_run(selector, {TAG_NOTE: text})


def archive_run(selector: str | Run | ActiveRun, *, undo: bool = False) -> None:
    """Take a run out of the lists that do not ask for archived ones, or put it back. Everything of it stays."""
    tag_run(selector, {TAG_ARCHIVED: None if undo else "true"})


def delete_run(selector: str | Run | ActiveRun) -> None:
    """Delete a run; `restore_run` brings it back."""
    store = sessions.current.fresh_store()
    store.update_run(find_run(store, selector).run_id, lifecycle_stage=LifecycleStage.DELETED)


def restore_run(selector: str | Run | ActiveRun) -> None:
    """Bring a deleted run back, named by the beginning of its id."""
    store = sessions.current.fresh_store()
    store.update_run(find_run(store, selector).run_id, lifecycle_stage=LifecycleStage.ACTIVE)
