"""`SqlWebhooks`: the contract on a database."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.webhooks import (
    EVENTS,
    Delivery,
    DeliveryState,
    Outgoing,
    Webhook,
    WebhookStatus,
    check_events,
    check_limits,
    check_name,
    message,
)
from mlops_nb.errors import InvalidInput
from mlops_nb.store.page import Page
from mlops_nb.store.secrets import SecretBox
from mlops_nb.store.sql import paging
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.schema import webhook_deliveries, webhook_events, webhooks
from mlops_nb.store.sql.webhooks import outbox
from mlops_nb.store.webhooks import CLAIM_SECONDS, MAX_WEBHOOKS_PAGE, WebhookStore


class SqlWebhooks(WebhookStore):
    """See `WebhookStore`."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._read, self._write = database.read, database.write
        self._box = box

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
        now = outbox.now_ms()
        check_limits(url, description, secret)
        values = {
            **{"webhook_id": str(uuid.uuid4()), "name": check_name(name), "url": url, "description": description},
            **{"status": status.value, "secret": self._box.lock(secret) if secret else None},
            **{"creation_time": now, "last_update_time": now, "last_error": ""},
        }
        chosen = check_events(events)
        with self._write() as c:
            key = c.execute(webhooks.insert().values(**values)).inserted_primary_key
            assert key is not None
            _put_events(c, key[0], chosen)
            return _load(c, [outbox.row_of(c, str(values["webhook_id"]))])[0]

    def get(self, webhook_id: str) -> Webhook:
        with self._read() as c:
            return _load(c, [outbox.row_of(c, webhook_id)])[0]

    def page(self, *, max_results: int = 100, page_token: str | None = None) -> Page[Webhook]:
        limit = paging.limit_of(max_results, MAX_WEBHOOKS_PAGE)
        query = sa.select(webhooks).order_by(webhooks.c.id.desc()).limit(limit + 1)
        if page_token:
            match paging.from_token(page_token):
                case [int(last)]:
                    query = query.where(webhooks.c.id < last)
                case _:
                    raise InvalidInput("Invalid page token.", hint="Use next_page_token of the last answer as it is.")
        with self._read() as c:
            found = list(c.execute(query).mappings())
            token = paging.to_token([found[limit - 1]["id"]]) if len(found) > limit else None
            return Page(items=_load(c, found[:limit]), token=token)

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
        check_limits(url or "", description, secret)
        values: dict[str, Any] = {"last_update_time": outbox.now_ms()}
        given = {"name": None if name is None else check_name(name), "url": url, "description": description}
        values |= {key: value for key, value in given.items() if value is not None}
        if status is not None:
            values["status"] = status.value
        if secret is not None:
            values["secret"] = self._box.lock(secret) if secret else None
        chosen = None if events is None else check_events(events)
        with self._write() as c:
            row = outbox.row_of(c, webhook_id)["id"]
            c.execute(webhooks.update().where(webhooks.c.id == row).values(**values))
            if chosen is not None:
                c.execute(webhook_events.delete().where(webhook_events.c.webhook == row))
                _put_events(c, row, chosen)
            return _load(c, [outbox.row_of(c, webhook_id)])[0]

    def delete(self, webhook_id: str) -> None:
        with self._write() as c:
            row = outbox.row_of(c, webhook_id)["id"]
            for table in (webhook_deliveries, webhook_events):
                c.execute(table.delete().where(table.c.webhook == row))
            c.execute(webhooks.delete().where(webhooks.c.id == row))

    def example(self, webhook_id: str, event: str | None = None) -> Outgoing:
        with self._read() as c:
            row = outbox.row_of(c, webhook_id)
            chosen = check_events([event])[0] if event else _load(c, [row])[0].events[0]
        now = outbox.now_ms()
        made = {"delivery_id": str(uuid.uuid4()), "event": chosen, "body": message(chosen, EVENTS[chosen], now), "attempts": 1}
        return self._outgoing({**row, **made, "creation_time": now})

    def deliveries(self, webhook_id: str, *, max_results: int = 50) -> list[Delivery]:
        with self._read() as c:
            row = outbox.row_of(c, webhook_id)
            return outbox.log(c, row["id"], webhook_id, paging.limit_of(max_results, MAX_WEBHOOKS_PAGE))

    def claim(self, limit: int, *, busy: Collection[str] = ()) -> list[Outgoing]:
        with self._write() as c:
            taken = outbox.claim(c, limit, busy, CLAIM_SECONDS)
        return [self._outgoing(row) for row in taken]

    def finish(self, delivery_id: str, *, response_status: int | None, error: str = "", retry_seconds: float | None = None) -> None:
        with self._write() as c:
            outbox.finish(c, delivery_id, response_status, error, retry_seconds)

    def due_in(self) -> float | None:
        with self._read() as c:
            return outbox.due_in(c)

    def prune(self, *, keep_seconds: float, keep_each: int, expire_seconds: float) -> int:
        with self._read() as c:  # nearly always there is nothing: no write lock for that
            if c.execute(sa.select(webhook_deliveries.c.id).limit(1)).first() is None:
                return 0
        with self._write() as c:
            return outbox.prune(c, keep_seconds, keep_each, expire_seconds)

    def _outgoing(self, row: Any) -> Outgoing:
        secret, problem = None, ""
        if row["secret"]:
            try:
                secret = self._box.unlock(row["secret"])
            except InvalidInput as error:
                problem = str(error)
        names = ("delivery_id", "webhook_id", "url", "event", "body", "attempts", "creation_time")
        return Outgoing(**{name: row[name] for name in names}, secret=secret, problem=problem)


def _put_events(c: sa.Connection, row: int, events: Iterable[str]) -> None:
    c.execute(webhook_events.insert(), [{"webhook": row, "event": event} for event in events])


def _load(c: sa.Connection, rows: Sequence[Any]) -> list[Webhook]:
    numbers = [row["id"] for row in rows]
    events: dict[int, list[str]] = {number: [] for number in numbers}
    for event, number in c.execute(
        sa.select(webhook_events.c.event, webhook_events.c.webhook).where(webhook_events.c.webhook.in_(numbers))
    ):
        events[number].append(event)
    d = webhook_deliveries.c
    counted = (
        sa.select(d.webhook, sa.func.count()).where(d.webhook.in_(numbers), d.state == DeliveryState.PENDING.value).group_by(d.webhook)
    )
    pending: dict[int, int] = {int(number): int(count) for number, count in c.execute(counted)}
    order = list(EVENTS)
    return [
        Webhook(
            webhook_id=row["webhook_id"],
            name=row["name"],
            url=row["url"],
            events=sorted(events[row["id"]], key=order.index),
            description=row["description"],
            status=WebhookStatus(row["status"]),
            has_secret=row["secret"] is not None,
            creation_time=row["creation_time"],
            last_update_time=row["last_update_time"],
            pending=pending.get(row["id"], 0),
            last_time=row["last_time"],
            last_status=row["last_status"],
            last_error=row["last_error"],
        )
        for row in rows
    ]
