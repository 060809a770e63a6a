"""Taking messages out of the store and sending them, beside whatever else the process does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from mlops_nb.core.webhooks import Outgoing
from mlops_nb.errors import MlopsError
from mlops_nb.store.webhooks import WebhookStore
from mlops_nb.webhooks.sending import Sender, retry_in

log = logging.getLogger("mlops_nb.webhooks")

POLL_SECONDS = 2.0
KEEP_SECONDS = 7 * 86400.0
KEEP_EACH = 500
EXPIRE_SECONDS = 3 * 86400.0

_SENDERS = 8
_PRUNE_EVERY = 3600.0
_WARN_EVERY = 60.0


class Delivered(msgspec.Struct, kw_only=True):
    """How many messages were taken by their receivers, come again later, and were given up; and how many still wait."""

    delivered: int = 0
    retried: int = 0
    failed: int = 0
    waiting: int = 0


class Courier:
    """Sends what is due, one message to a webhook at a time, so that a slow receiver keeps no other waiting.

    Args:
        store: Gives the store, or raises `MlopsError` where there is none to open.
        poll_seconds: How often the store is asked what is due, if nobody says that there is something.
    """

    def __init__(self, store: Callable[[], WebhookStore], *, poll_seconds: float = POLL_SECONDS) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._sender: Sender | None = None
        self._pruned = -_PRUNE_EVERY
        self._warned = -_WARN_EVERY

    def start(self) -> None:
        """Begin to deliver in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="mlops-webhooks", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that something may be due. Costs nothing."""
        self._wake.set()

    def stop(self) -> None:
        """Stop; an attempt that runs is waited for, and noted. It may be called without `start`."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def deliver_due(self) -> Delivered:
        """Send all that is due now, and return what came of it.

        Raises:
            StoreError: If the store cannot be reached.
        """
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="mlops-webhook") as pool:
            done = self._drain(pool)
        self._close()
        return done

    def _run(self) -> None:
        with ThreadPoolExecutor(_SENDERS, thread_name_prefix="mlops-webhook") as pool:
            while not self._stopping:
                self._wake.wait(self._poll_seconds)
                self._wake.clear()
                if self._stopping:
                    break
                try:
                    self._drain(pool)
                    self._prune()
                except Exception as error:  # noqa: BLE001 - a courier that has stopped would let every later message lie
                    self._warn(error)
        self._close()

    def _drain(self, pool: ThreadPoolExecutor) -> Delivered:
        """Send what is due until nothing is; what becomes due meanwhile is sent too."""
        store, done = self._store(), Delivered()
        if self._sender is None:
            self._sender = Sender()
        running: dict[Future[str], str] = {}
        try:
            while not self._stopping:
                due = store.due_in()  # nearly always nothing is: no write lock for that
                if due is not None and due <= 0 and len(running) < _SENDERS:
                    for message in store.claim(_SENDERS - len(running), busy=list(running.values())):
                        running[pool.submit(_attempt, self._sender, store, message)] = message.webhook_id
                if not running:
                    break
                for future in wait(running, timeout=self._poll_seconds, return_when=FIRST_COMPLETED).done:
                    del running[future]
                    outcome = future.result()
                    setattr(done, outcome, getattr(done, outcome) + 1)
        finally:
            wait(running)
        return done

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > _PRUNE_EVERY:
            self._pruned = time.monotonic()
            prune(self._store())

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned > _WARN_EVERY:
            self._warned = time.monotonic()
            expected = isinstance(error, MlopsError)
            log.warning("Webhooks cannot be delivered yet: %s", error, exc_info=None if expected else error)

    def _close(self) -> None:
        if self._sender is not None:
            self._sender.__exit__()
            self._sender = None


def _attempt(sender: Sender, store: WebhookStore, message: Outgoing) -> str:
    sent = sender.send(message)
    retry = retry_in(sent, message.attempts) if sent.error else None
    store.finish(message.delivery_id, response_status=sent.status, error=sent.error, retry_seconds=retry)
    if not sent.error:
        return "delivered"
    # Not where it goes: the addresses of many receivers are secrets themselves, and logs are read by more people.
    answer = "no answer" if sent.status is None else f"answer {sent.status}"
    log.info("A %s to the webhook %s was not taken (attempt %d): %s", message.event, message.webhook_id, message.attempts, answer)
    return "failed" if retry is None else "retried"


def prune(store: WebhookStore) -> int:
    """Keep the log of messages short; return how many rows changed."""
    return store.prune(keep_seconds=KEEP_SECONDS, keep_each=KEEP_EACH, expire_seconds=EXPIRE_SECONDS)
