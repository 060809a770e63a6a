"""The store that a command works on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_nb.store.base import ServedStore, TrackingStore

STORE_HELP = "The database: sqlite:////path/store.db or postgresql://…; by default the project's own."
FILES_HELP = "Where the store keeps its files, as the server's option of this name; by default beside the database."


@contextlib.contextmanager
def tracking_store(*, create: bool = False) -> Iterator[TrackingStore]:
    """Open the store of the project, or the one that the environment names, through its server where there is one."""
    from mlops_nb.store.open import open_empty_store
    from mlops_nb.tracking.target import connect, resolve

    target = resolve()
    # Whoever only reads makes no files; what waits in the journals of the project is delivered by others.
    store = connect(target, create=create) or open_empty_store()
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def served_store(uri: str | None, artifacts: str | None = None, *, create: bool = False) -> Iterator[ServedStore]:
    """Open a store's database itself, beside a server that may have it open.

    Raises:
        InvalidInput: If the store is behind a server.
    """
    from mlops_nb.errors import InvalidInput
    from mlops_nb.store.base import ServedStore
    from mlops_nb.store.open import open_empty_store, open_store
    from mlops_nb.tracking.target import resolve

    target = resolve() if uri is None else None
    chosen = target.store_uri if target is not None else str(uri)
    if chosen.startswith(("http://", "https://")):
        raise InvalidInput(
            f"{chosen} is a tracking server; this command works on the database itself.",
            hint="Run it where the server runs, with the server's --backend-store-uri.",
        )
    if create and target is not None and chosen == target.project.store_uri:
        target.project.create()
    store = open_store(chosen, create=create, artifact_root=artifacts) or open_empty_store()
    assert isinstance(store, ServedStore)
    try:
        yield store
    finally:
        store.close()
