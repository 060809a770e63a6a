"""Webhooks with what came of their messages; they are made and changed by MLflow's operations."""

from __future__ import annotations

import msgspec

from mlops_nb.api.operation import Context, Permission, operation
from mlops_nb.core.webhooks import Delivery, Webhook
from mlops_nb.store.webhooks import MAX_WEBHOOKS_PAGE


class WebhooksRequest(msgspec.Struct, kw_only=True):
    max_results: int = 100
    page_token: str | None = None


class WebhooksPage(msgspec.Struct, kw_only=True):
    webhooks: list[Webhook]
    next_page_token: str | None = None


class WebhookName(msgspec.Struct, kw_only=True):
    webhook_id: str


class DeliveriesRequest(WebhookName, kw_only=True):
    max_results: int = 50


class DeliveriesAnswer(msgspec.Struct, kw_only=True):
    deliveries: list[Delivery]


@operation("webhooks.list", "GET", "/api/v1/webhooks", permission=Permission.WRITE, files=True)
def list_webhooks(context: Context, request: WebhooksRequest) -> WebhooksPage:
    """Return the webhooks, the newest first, with what came of their last messages."""
    page = context.project.store().webhooks.page(max_results=min(request.max_results, MAX_WEBHOOKS_PAGE), page_token=request.page_token)
    return WebhooksPage(webhooks=page.items, next_page_token=page.token)


@operation("webhooks.get", "GET", "/api/v1/webhooks/{webhook_id}", permission=Permission.WRITE, files=True)
def get_webhook(context: Context, request: WebhookName) -> Webhook:
    """Return a webhook with what came of its last message."""
    return context.project.store().webhooks.get(request.webhook_id)


@operation("webhooks.deliveries", "GET", "/api/v1/webhooks/{webhook_id}/deliveries", permission=Permission.WRITE, files=True)
def list_deliveries(context: Context, request: DeliveriesRequest) -> DeliveriesAnswer:
    """Return the newest messages to a webhook, the newest first."""
    return DeliveriesAnswer(deliveries=context.project.store().webhooks.deliveries(request.webhook_id, max_results=request.max_results))


OPERATIONS = (list_webhooks, get_webhook, list_deliveries)
