"""The store that a command works on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_nb.store.base import ServedStore, TrackingStore
    from mlops_nb.tracking.target import Target

STORE_HELP = "The database: sqlite:////path/store.db or postgresql://…; by default the project's own."
FILES_HELP = "Where the store keeps its files, as the server's option of this name; by default beside the database."

EXPERIMENTS_HINT = "mlops-nb experiments search --view all lists the experiments."
RUNS_HINT = "mlops-nb track ls lists the runs."


@contextlib.contextmanager
def tracking_store(*, create: bool = False, hint: str | None = None) -> Iterator[TrackingStore]:
    """Open the store of the project, or the one that the environment names, through its server where there is one.

    What is not found gives `hint` as what to do next.
    """
    from mlops_nb.errors import NotFound
    from mlops_nb.store.open import open_empty_store
    from mlops_nb.tracking.target import connect

    # Whoever only reads makes no files; what waits in the journals of the project is delivered by others.
    store = connect(_target(), create=create) or open_empty_store()
    try:
        yield store
    except NotFound as error:
        error.hint = error.hint or hint
        raise
    finally:
        store.close()


def _target() -> Target:
    """Decide which store a command works on: a name that is none is refused, for the wrong one might be changed.

    A database that MLflow's variable names is MLflow's, and is passed over with a word about it.
    """
    from mlops_nb import config
    from mlops_nb.tracking.target import resolve

    chosen = config.tracking_uri()
    return resolve(None if chosen is None or config.is_mlflows(chosen) else chosen)


@contextlib.contextmanager
def served_store(uri: str | None, artifacts: str | None = None, *, create: bool = False) -> Iterator[ServedStore]:
    """Open a store's database itself, beside a server that may have it open.

    Raises:
        InvalidInput: If the store is behind a server.
        NotFound: If there is none at `uri`, and `create` is not set.
    """
    from mlops_nb.errors import InvalidInput, NotFound
    from mlops_nb.store.base import ServedStore
    from mlops_nb.store.open import open_empty_store, open_store

    target = _target() if uri is None else None
    chosen = target.store_uri if target is not None else str(uri)
    if chosen.startswith(("http://", "https://")):
        raise InvalidInput(
            f"{chosen} is a tracking server; this command works on the database itself.",
            hint="Run it where the server runs, with the server's --backend-store-uri.",
        )
    if create and target is not None and chosen == target.project.store_uri:
        target.project.create()
    store = open_store(chosen, create=create, artifact_root=artifacts)
    if store is None and target is None:
        raise NotFound(f"There is no store at {chosen}.", hint="Look at the path: sqlite:///relative.db, sqlite:////absolute.db.")
    store = store or open_empty_store()
    assert isinstance(store, ServedStore)
    try:
        yield store
    finally:
        store.close()
