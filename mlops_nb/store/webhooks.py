"""The contract of webhooks: who is told of changes, and the messages that wait to be sent.

A message is written in the transaction of the change that it tells of: there is never one without the other. Whoever runs
sends them: `claim` gives a message to one caller at a time, and again if that one dies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from mlops_nb.core.webhooks import Delivery, Outgoing, Webhook, WebhookStatus
from mlops_nb.store.page import Page

MAX_WEBHOOKS_PAGE = 1000
CLAIM_SECONDS = 60.0


class WebhookStore(ABC):
    """Where webhooks are kept, and what they are to be sent.

    Threads, processes, crashes, times and errors: as for `TrackingStore`. Where it is looked at what a URL leads to is not
    here, see `webhooks.managing`.
    """

    @abstractmethod
    def create(
        self,
        name: str,
        url: str,
        events: Sequence[str],
        *,
        description: str = "",
        secret: str | None = None,
        status: WebhookStatus = WebhookStatus.ACTIVE,
    ) -> Webhook:
        """Create a webhook. Several may have the same name.

        Raises:
            InvalidInput: If the name, an event or a length cannot be, or the secret cannot be kept here.
        """

    @abstractmethod
    def get(self, webhook_id: str) -> Webhook:
        """Return a webhook.

        Raises:
            NotFound: If there is none of this id.
        """

    @abstractmethod
    def page(self, *, max_results: int = 100, page_token: str | None = None) -> Page[Webhook]:
        """Return webhooks, the newest first, at most `MAX_WEBHOOKS_PAGE`."""

    @abstractmethod
    def update(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        secret: str | None = None,
        status: WebhookStatus | None = None,
    ) -> Webhook:
        """Change what is given; an empty secret removes it.

        Raises:
            NotFound, InvalidInput: As in `get` and `create`.
        """

    @abstractmethod
    def delete(self, webhook_id: str) -> None:
        """Delete a webhook with its messages.

        Raises:
            NotFound: If there is none of this id.
        """

    @abstractmethod
    def example(self, webhook_id: str, event: str | None = None) -> Outgoing:
        """Return an example of a message about an event, by default the webhook's first; it is not queued.

        Raises:
            NotFound, InvalidInput: If there is no such webhook or event.
        """

    @abstractmethod
    def deliveries(self, webhook_id: str, *, max_results: int = 50) -> list[Delivery]:
        """Return the newest messages to a webhook, the newest first.

        Raises:
            NotFound: If there is none of this id.
        """

    @abstractmethod
    def claim(self, limit: int, *, busy: Collection[str] = ()) -> list[Outgoing]:
        """Take messages that are due to active webhooks, at most one each, for `CLAIM_SECONDS`.

        Args:
            limit: How many at most.
            busy: Ids of webhooks to leave out.
        """

    @abstractmethod
    def finish(self, delivery_id: str, *, response_status: int | None, error: str = "", retry_seconds: float | None = None) -> None:
        """Note what came of an attempt.

        Args:
            delivery_id: Of a message that was claimed.
            response_status: What the receiver answered, if it did.
            error: Why it was not taken; "": it was.
            retry_seconds: When to try again; None gives it up.
        """

    @abstractmethod
    def due_in(self) -> float | None:
        """Return in how many seconds the next message is due, at least 0; None where none waits."""

    @abstractmethod
    def prune(self, *, keep_seconds: float, keep_each: int, expire_seconds: float) -> int:
        """Forget ended messages and give up stale ones; return how many rows changed.

        Args:
            keep_seconds: How long an ended message is kept in the log.
            keep_each: How many ended ones of a webhook are kept at most.
            expire_seconds: How old a message may get that still waits.
        """
