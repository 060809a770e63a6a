"""The shipper: one background thread per process that delivers journals to the store.

It alone talks to the store on behalf of the runs of this process. User code only appends to journals, so nothing
that happens here (no server, a locked database, a full disk) can make user code wait or fail.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from mlops_nb.errors import MlopsError, NotFound
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking.delivery import deliver
from mlops_nb.tracking.journal import Journal
from mlops_nb.tracking.recovery import SIGN_OF_LIFE_SECONDS, recover
from mlops_nb.tracking.target import Target, connect

logger = logging.getLogger("mlops_nb")

TICK_SECONDS = 0.1
_LONGEST_PAUSE = 10.0
_WARN_EVERY = 60.0
_SWEEP_EVERY = 1.0


class Shipper:
    """Delivers the journals of this process to one target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._journals: list[Journal] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._delivered = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._store: TrackingStore | None = None
        self._store_lock = threading.Lock()
        self._failures = 0
        self._retry_at = 0.0
        self._warned_at = -_WARN_EVERY
        self._beat_at = 0.0
        self._recovered_at: float | None = None
        self._busy = threading.Lock()
        self._sweep_for_children = False
        self._stopping = False

    def add(self, journal: Journal) -> None:
        """Deliver a journal from now on."""
        with self._lock:
            self._journals.append(journal)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mlops_nb-shipper", daemon=True)
                self._thread.start()
        self._wake.set()

    def finish(self, journal: Journal, timeout: float) -> bool:
        """Deliver the rest of a journal and let go of it.

        Returns:
            Whether all of it was delivered within `timeout` seconds; if not, the journal stays for the next process.
        """
        deadline = time.monotonic() + timeout
        complete = journal in self._journals and self.flush(timeout, only=journal)
        while complete and not journal.close(remove=True):  # another thread has just logged something
            complete = self.flush(max(0.0, deadline - time.monotonic()), only=journal)
        journal.close(remove=False)
        with self._lock:
            self._journals = [other for other in self._journals if other is not journal]
        return complete

    def flush(self, timeout: float, *, only: Journal | None = None) -> bool:
        """Wait until what has been logged so far is in the store.

        Returns:
            Whether it is; False after `timeout` seconds, or at once when the store has just been found unreachable.
        """
        deadline = time.monotonic() + timeout
        self._wake.set()
        with self._delivered:
            while True:
                waiting = [j for j in self._journals if (only is None or j is only) and not j.is_delivered]
                if not waiting:
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self._failures > 1 or self._thread is None:
                    return False
                self._delivered.wait(min(left, 0.05))

    def store(self) -> TrackingStore:
        """Return the connected store, for reading; the same one that is delivered to.

        Raises:
            StoreError: If it cannot be reached.
        """
        with self._store_lock:
            if self._store is None:
                self._store = connect(self.target)
                assert self._store is not None
            return self._store

    def _disconnect(self) -> None:
        with self._store_lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def stop(self) -> None:
        """End the thread and let go of the store. What is in journals stays there."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(1.0)
        self._disconnect()

    def pause(self, timeout: float) -> bool:
        """Before a fork: be at rest, with no import under way and no embedded store open, which a child must not inherit.

        Returns:
            Whether it is at rest; then `resume` must follow.
        """
        if not self._busy.acquire(timeout=timeout):
            return False
        self._disconnect()
        return True

    def resume(self, *, sweep: bool) -> None:
        """Go on after a fork. `sweep` has the journals of children delivered that end before the parent."""
        self._busy.release()
        self._sweep_for_children |= sweep

    def _work(self) -> None:
        while not self._stopping:
            self._wake.wait(TICK_SECONDS if self._journals else None)
            self._wake.clear()
            if time.monotonic() < self._retry_at:
                continue
            try:
                with self._busy:
                    self._deliver_all()
                self._failures = 0
            except MlopsError as error:
                self._pause(error)
            except Exception as error:  # a fault of ours must not end the thread: what is in the journal would wait for ever
                logger.debug("delivery failed", exc_info=True)
                self._pause(error)
            with self._delivered:
                self._delivered.notify_all()

    def _deliver_all(self) -> None:
        if self._recovered_at is None or (self._sweep_for_children and time.monotonic() - self._recovered_at > _SWEEP_EVERY):
            recover(self.target.journal_dir, self.store(), self.target.store_uri)
            self._recovered_at = time.monotonic()
        with self._lock:
            journals = list(self._journals)
        for journal in journals:
            while self._deliver_some(journal):
                pass
        if journals and time.monotonic() - self._beat_at > SIGN_OF_LIFE_SECONDS:
            self._beat_at = time.monotonic()
            for journal in journals:
                journal.touch()
            self.store().heartbeat([journal.header.run_id for journal in journals])

    def _deliver_some(self, journal: Journal) -> bool:
        events, receipt = journal.next_batch()
        if not events:
            return False
        try:
            deliver(self.store(), journal.header, journal.path, events)
        except NotFound:
            if not journal.header.owner or events[0].seq == 1:
                raise  # a child's journal waits for the parent's; a run that starts here cannot be missing
            if not journal.rewind():
                raise
            logger.warning("The store no longer knows run %s; sending it again from its beginning.", journal.header.run_id)
            return True
        with self._delivered:
            journal.mark_delivered(receipt)
            self._delivered.notify_all()
        return True

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        pause = min(_LONGEST_PAUSE, 0.25 * 2**self._failures)
        self._retry_at = time.monotonic() + pause * random.uniform(0.5, 1.0)
        # Also after a refusal: a server that was started anew has another token.
        self._disconnect()
        # One failure can be a server that restarts; say something when it lasts.
        if self._failures > 1 and time.monotonic() - self._warned_at > _WARN_EVERY:
            self._warned_at = time.monotonic()
            logger.warning("The tracking store cannot be reached; your code is unaffected and nothing is lost. %s", error)
