"""`WebhookStore` on a database: `store` keeps webhooks, `outbox` their messages."""

from mlops_nb.store.sql.webhooks.store import SqlWebhooks

__all__ = ["SqlWebhooks"]
