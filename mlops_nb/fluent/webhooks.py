"""Webhooks on changes of the model registry, with the names and arguments of MLflow's client."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.core.webhooks import Delivery, TestResult, Webhook
from mlops_nb.store.page import Page
from mlops_nb.tracking import session as sessions
from mlops_nb.webhooks.reaching import Webhooks


def create_webhook(
    name: str, url: str, events: Sequence[str], description: str | None = None, secret: str | None = None, status: str | None = None
) -> Webhook:
    """Tell a URL of changes from now on.

    A server of the store sends the messages; without one they wait for it, or for `mlops-nb webhooks deliver`. How a receiver
    checks that they are ours: `python -m pydoc mlops_nb.webhooks`.

    Args:
        name: For people: letters, digits, '.', '_' and '-'.
        url: Of the receiver. One inside a private network must be allowed where messages are sent: `MLOPS_NB_ALLOWED_HOSTS`.
        events: Such as `model_version.created`; `mlops_nb.core.webhooks.EVENTS` has all.
        description: What it is for.
        secret: Signs the messages; kept encrypted, never shown.
        status: `ACTIVE` or `DISABLED`.

    Raises:
        InvalidInput, PermissionDenied: If one of them cannot be, or the URL may not be reached.
        StoreError: If the store cannot be reached.
    """
    return _webhooks().create(name, url, events, description=description or "", secret=secret, status=status or "ACTIVE")


def get_webhook(webhook_id: str) -> Webhook:
    """Return a webhook.

    Raises:
        NotFound: If there is none of this id.
    """
    return _webhooks().get(webhook_id)


def list_webhooks(max_results: int | None = None, page_token: str | None = None) -> Page[Webhook]:
    """Return webhooks, the newest first, with what came of their last messages."""
    return _webhooks().page(max_results=max_results or 100, page_token=page_token)


def update_webhook(
    webhook_id: str,
    name: str | None = None,
    description: str | None = None,
    url: str | None = None,
    events: Sequence[str] | None = None,
    secret: str | None = None,
    status: str | None = None,
) -> Webhook:
    """Change what is given of a webhook; an empty secret removes it. For the errors see `create_webhook`."""
    return _webhooks().update(webhook_id, name=name, description=description, url=url, events=events, secret=secret, status=status)


def delete_webhook(webhook_id: str) -> None:
    """Delete a webhook, with the messages that wait for it."""
    _webhooks().delete(webhook_id)


def test_webhook(webhook_id: str, event: str | None = None) -> TestResult:
    """Send an example now, and return what came of it."""
    return _webhooks().test(webhook_id, event)


def webhook_deliveries(webhook_id: str, max_results: int = 50) -> list[Delivery]:
    """Return the newest messages to a webhook, the newest first."""
    return _webhooks().deliveries(webhook_id, max_results=max_results)


def _webhooks() -> Webhooks:
    return Webhooks(sessions.current.fresh_store())
