"""What completion knows of the store: names, metrics, experiments. Read in the background, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from mlops_nb.core.records import Run
from mlops_nb.errors import MlopsError
from mlops_nb.store.base import RunQuery, TrackingStore
from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

MAX_RUNS = 10_000
_PAGE = 500
_FRESH_SECONDS = 2.0
_FIRST_SECONDS = 0.015


class Knowledge:
    """Names of the store as they were a few seconds ago. Any thread may read; `refresh` returns at once.

    Attributes:
        runs: The name of each run by id, the newest first.
        metrics: Keys of metrics.
        experiments: Names of experiments.
    """

    def __init__(self, session: Session) -> None:
        self.runs: dict[str, str] = {}
        self.metrics: tuple[str, ...] = ()
        self.experiments: tuple[str, ...] = ()
        self._session = session
        self._store: TrackingStore | None = None
        self._revision = -1
        self._read_at = float("-inf")
        self._first = threading.Event()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read anew in the background what is older than a few seconds; one reader at a time."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS and self._lock.acquire(blocking=False):
            self._read_at = time.monotonic()
            try:
                threading.Thread(target=self._work, name="mlops_nb-completion", daemon=True).start()
            except RuntimeError:  # no thread can be started at the end of the interpreter
                self._lock.release()

    def wait_for_first(self) -> None:
        """Wait a moment, the first time only: a store on this machine has mostly answered by then."""
        if not self._first.is_set():
            self._first.wait(_FIRST_SECONDS)

    def _work(self) -> None:
        try:
            self._read()
        except MlopsError as error:
            logger.debug("completion does without the store: %s", error)
        except Exception:  # a thread that nobody waits for must not print into the notebook
            logger.debug("completion cannot read the store", exc_info=True)
        finally:
            self._first.set()
            self._lock.release()

    def _read(self) -> None:
        shipper = self._session.shipper()
        if shipper.target.is_empty:
            return
        store = shipper.store()
        if store is not self._store:
            self._store, self._revision, self.runs = store, -1, {}
        revision = store.revision()
        if revision == self._revision:
            return
        if self._revision < 0:
            self._read_all(store)
        else:
            self._take_in(store.changed_runs(self._revision, max_results=_PAGE), is_newer=True)
        self.experiments = tuple(experiment.name for experiment in store.list_experiments().items)
        self._revision = revision

    def _read_all(self, store: TrackingStore) -> None:
        token = None
        while len(self.runs) < MAX_RUNS:
            page = store.search_runs(RunQuery(max_results=_PAGE, page_token=token))
            self._take_in(page.items, is_newer=False)
            self._first.set()
            token = page.token
            if token is None:
                return
            time.sleep(0.002)  # lets the notebook's own thread in between the pages

    def _take_in(self, runs: Sequence[Run], *, is_newer: bool) -> None:
        found = {run.run_id: run.name for run in runs if run.lifecycle_stage.value == "active"}
        self.runs = {**dict(reversed(found.items())), **self.runs, **found} if is_newer else {**self.runs, **found}
        keys = {key for run in runs for key in run.metrics}
        if not keys <= set(self.metrics):
            self.metrics = tuple(sorted({*self.metrics, *keys}))
