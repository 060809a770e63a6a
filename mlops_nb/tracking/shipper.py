"""The shipper: one background thread per process that delivers journals to the store.

It alone talks to the store on behalf of the runs of this process. User code only appends to journals, so nothing
that happens here (no server, a locked database, a full disk) can make user code wait or fail.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from mlops_nb.errors import MlopsError, NotFound, StoreUnreachable
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking.delivery import deliver
from mlops_nb.tracking.journal import READ_SIZE, Journal
from mlops_nb.tracking.recovery import SIGN_OF_LIFE_SECONDS, TOUCH_SECONDS, recover
from mlops_nb.tracking.target import Target, connect

logger = logging.getLogger("mlops_nb")

TICK_SECONDS = 0.1
# While the store fails it is asked at most once a second, and not by all clients at the same moment.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 8.0
_JITTER = 1.25
_LONGEST_REQUESTED_PAUSE = 300.0
_WARN_EVERY = 60.0
_SWEEP_EVERY = 1.0
_ROUND_SECONDS = 0.5
_LEAST_READ_SIZE = 1 << 14
_REQUEST_SECONDS = 0.1


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
        self._touched_at = 0.0
        self._swept_at = 0.0
        self._sweeps = 0
        self._sweep_wanted = True
        self._sweep_for_children = False
        self._busy = threading.Lock()
        self._rounds = 0
        self._waited_for = -1
        # A way that is slow or breaks often still takes small pieces.
        self._read_size = READ_SIZE
        self._may_go = threading.Event()
        self._may_go.set()
        self._stopping = False

    def add(self, journal: Journal) -> None:
        """Deliver a journal from now on."""
        with self._lock:
            self._journals.append(journal)
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="mlops_nb-shipper", daemon=True)
                try:
                    thread.start()
                    self._thread = thread
                except RuntimeError as error:  # no memory or no process for a thread; the next run tries again
                    logger.warning("Nothing can be sent to the store now (%s); what is logged stays in %s.", error, self.target.journal_dir)
        self._wake.set()

    def finish(self, journal: Journal, timeout: float) -> bool:
        """Deliver the rest of a journal and let go of it.

        Returns:
            Whether all of it was delivered within `timeout` seconds; if not, the journal stays for the next process.
        """
        deadline = time.monotonic() + timeout
        complete = journal in self._journals and self.flush(timeout, only=journal)
        if complete and self._sweep_for_children:
            self._sweep(deadline)
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

    def _sweep(self, deadline: float) -> None:
        """Have the journals of children that have ended delivered, now."""
        with self._delivered:
            before, self._sweep_wanted = self._sweeps, True
            self._wake.set()
            while (self._sweep_wanted or self._sweeps == before) and self._failures <= 1 and time.monotonic() < deadline:
                self._delivered.wait(0.05)

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

        What takes longer is waited for once. A request to a server, which may take a minute, hardly is: it hurts no child.

        Returns:
            Whether it is at rest; then `resume` must follow.
        """
        self._may_go.clear()
        store = self._store
        if self._waited_for == self._rounds:
            timeout = 0.0
        elif not self.target.store_uri.startswith("sqlite:") or (store is not None and store.is_remote):
            timeout = min(timeout, _REQUEST_SECONDS)
        if not self._busy.acquire(timeout=timeout):
            self._waited_for = self._rounds
            self._may_go.set()
            return False
        self._disconnect()
        return True

    def resume(self) -> None:
        """Go on after a fork."""
        self._busy.release()
        self._may_go.set()

    def expect_children(self) -> None:
        """Deliver the journals of children that end before this process, too."""
        self._sweep_for_children = True

    def _work(self) -> None:
        is_more = False
        while not self._stopping:
            if not is_more:
                self._wake.wait(TICK_SECONDS if self._journals else None)
            self._wake.clear()
            is_more = False
            self._touch()
            if time.monotonic() < self._retry_at:
                continue
            self._may_go.wait()
            try:
                with self._busy:
                    self._rounds += 1
                    is_more = self._deliver_round()
                self._failures = 0
            except MlopsError as error:
                self._pause(error)
            except Exception as error:  # a fault of ours must not end the thread: what is in the journal would wait for ever
                logger.debug("delivery failed", exc_info=True)
                self._pause(error)
            with self._delivered:
                self._delivered.notify_all()

    def _touch(self) -> None:
        """Leave a sign of life on the disk, also while the store is away."""
        if time.monotonic() - self._touched_at > TOUCH_SECONDS:
            self._touched_at = time.monotonic()
            with self._lock:
                journals = list(self._journals)
            for journal in journals:
                journal.touch()

    def _deliver_round(self) -> bool:
        """Deliver what there is, for a moment and from every journal alike; return whether there may be more."""
        began = time.monotonic()
        if self._sweep_wanted or (self._sweep_for_children and began - self._swept_at > _SWEEP_EVERY):
            self._sweep_wanted = False
            try:
                recover(self.target.journal_dir, self.store(), self.target.store_uri)
            except BaseException:
                self._sweep_wanted = True
                raise
            self._swept_at = time.monotonic()
            self._sweeps += 1
        with self._lock:
            journals = list(self._journals)
        is_more = True
        while is_more and time.monotonic() - began < _ROUND_SECONDS:
            is_more = sum(self._deliver_some(journal) for journal in journals) > 0
        if journals and time.monotonic() - self._beat_at > SIGN_OF_LIFE_SECONDS:
            self._beat_at = time.monotonic()
            self.store().heartbeat([journal.header.run_id for journal in journals])
        return is_more

    def _deliver_some(self, journal: Journal) -> bool:
        events, receipt = journal.next_batch(self._read_size)
        if not events:  # nothing there, or only what cannot be read
            journal.mark_delivered(receipt)
            return receipt != 0

        def note(seq: int) -> None:
            journal.taken, self._failures = seq, 0

        missing = [event for event in events if event.seq > journal.taken]
        try:
            deliver(self.store(), journal.header, journal.path, missing, note)
        except NotFound:
            if not journal.header.owner or events[0].seq == 1:
                raise  # a child's journal waits for the parent's; a run that starts here cannot be missing
            if not journal.rewind():
                raise
            logger.warning("The store no longer knows run %s; sending it again from its beginning.", journal.header.run_id)
            return True
        with self._delivered:
            journal.mark_delivered(receipt)
            self._failures = 0
            self._delivered.notify_all()
        self._read_size = min(READ_SIZE, 2 * self._read_size)
        return True

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        self._read_size = max(_LEAST_READ_SIZE, self._read_size // 2)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10)) * random.uniform(1.0, _JITTER)
        if isinstance(error, StoreUnreachable) and error.retry_after is not None:
            pause = max(pause, min(error.retry_after, _LONGEST_REQUESTED_PAUSE))
        self._retry_at = time.monotonic() + pause
        # Also after a refusal: a server that was started anew has another token.
        self._disconnect()
        # One failure can be a server that restarts; say something when it lasts.
        if self._failures > 1 and time.monotonic() - self._warned_at > _WARN_EVERY:
            self._warned_at = time.monotonic()
            logger.warning("The tracking store cannot be reached; your code is unaffected and nothing is lost. %s", error)
