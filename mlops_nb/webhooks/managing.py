"""Making and changing webhooks, where it is looked at what their URLs lead to."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.core.webhooks import Outgoing, TestResult, Webhook, WebhookStatus
from mlops_nb.store.webhooks import WebhookStore
from mlops_nb.webhooks.sending import Sender

_SHOWN_BODY = 1000


def create(
    store: WebhookStore,
    name: str,
    url: str,
    events: Sequence[str],
    *,
    description: str = "",
    secret: str | None = None,
    status: WebhookStatus = WebhookStatus.ACTIVE,
) -> Webhook:
    """Create a webhook whose URL may be sent to; see `WebhookStore.create`.

    Raises:
        InvalidInput: Also if the URL is none, or has a password in it.
        AddressRefused: If its host may not be reached.
    """
    from mlops_nb.outgoing import check_url

    check_url(url)
    return store.create(name, url, events, description=description, secret=secret, status=status)


def update(
    store: WebhookStore,
    webhook_id: str,
    *,
    name: str | None = None,
    url: str | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    secret: str | None = None,
    status: WebhookStatus | None = None,
) -> Webhook:
    """Change a webhook; see `create`."""
    from mlops_nb.outgoing import check_url

    if url is not None:
        check_url(url)
    return store.update(webhook_id, name=name, url=url, events=events, description=description, secret=secret, status=status)


def send_example(store: WebhookStore, webhook_id: str, event: str | None = None) -> TestResult:
    """Send an example of a message, signed as a real one, and return what came of it.

    Raises:
        NotFound, InvalidInput: If there is no such webhook or event.
    """
    example: Outgoing = store.example(webhook_id, event)
    with Sender() as sender:
        sent = sender.send(example)
    body = None if sent.body is None else sent.body[:_SHOWN_BODY].decode("utf-8", errors="replace")
    return TestResult(success=not sent.error, response_status=sent.status, response_body=body, error_message=sent.error or None)
