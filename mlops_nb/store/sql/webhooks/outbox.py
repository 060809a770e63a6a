"""Messages to webhooks, written in the transaction of the change that they tell of, and taken out by whoever sends them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.registry import TAG_IS_PROMPT, TAG_PROMPT_TEXT, ModelVersion, RegisteredModel, Stage, is_prompt
from mlops_nb.core.webhooks import EVENTS_OF, Change, Delivery, DeliveryState, WebhookStatus, message, shown_tags
from mlops_nb.errors import NotFound
from mlops_nb.store.sql.schema import registered_model_tags, webhook_deliveries, webhook_events, webhooks

_PENDING = DeliveryState.PENDING.value
_MAX_ERROR = 500
_d = webhook_deliveries.c


def note(c: sa.Connection, change: Change, model: int, data: Mapping[str, Any], prompt_data: Mapping[str, Any] | None = None) -> None:
    """Write a message to each active webhook that wants to know of a change.

    Args:
        model: The row of the model or prompt that it happened to.
        data: What is told of a model.
        prompt_data: What is told of a prompt, where that differs.
    """
    events = EVENTS_OF[change]
    wanted = (
        sa.select(webhook_events.c.event, webhooks.c.id)
        .join(webhooks, webhooks.c.id == webhook_events.c.webhook)
        .where(webhook_events.c.event.in_([event for event in events if event]), webhooks.c.status == WebhookStatus.ACTIVE.value)
    )
    found = c.execute(wanted).all()
    if not found:  # nearly always
        return
    tags = registered_model_tags.c
    flag = c.execute(sa.select(tags.value).where(tags.model == model, tags.key == TAG_IS_PROMPT)).scalar()
    prompt = is_prompt({} if flag is None else {TAG_IS_PROMPT: flag})
    event = events[1] if prompt else events[0]
    if event is None:
        return
    now = now_ms()
    body = message(event, prompt_data if prompt and prompt_data is not None else data, now)
    rows = [
        {
            **{"delivery_id": str(uuid.uuid4()), "webhook": webhook, "event": event, "body": body, "state": _PENDING},
            **{"attempts": 0, "due": now, "creation_time": now, "error": ""},
        }
        for wanted_event, webhook in found
        if wanted_event == event
    ]
    if rows:
        c.execute(webhook_deliveries.insert(), rows)


def note_model(c: sa.Connection, row: int, model: RegisteredModel) -> None:
    """Tell that a model or prompt was created."""
    data = {"name": model.name, "tags": model.tags, "description": model.description}
    note(c, Change.MODEL_CREATED, row, data, {**data, "tags": shown_tags(model.tags)})


def note_version(c: sa.Connection, row: int, version: ModelVersion) -> None:
    """Tell that a version was created."""
    data = {"name": version.name, "version": str(version.version)}
    rest = {"tags": version.tags, "description": version.description or None}
    model = {**data, "source": version.source, "run_id": version.run_id or None, **rest}
    prompt = {**data, "template": version.tags.get(TAG_PROMPT_TEXT), **rest, "tags": shown_tags(version.tags)}
    note(c, Change.VERSION_CREATED, row, model, prompt)


def note_stage(c: sa.Connection, row: int, name: str, version: int, before: str, after: Stage) -> None:
    """Tell that a version is in another stage."""
    if before != after.value:
        note(c, Change.STAGE_SET, row, {"name": name, "version": str(version), "from_stage": before, "to_stage": after.value})


def claim(c: sa.Connection, limit: int, busy: Collection[str], seconds: float) -> list[sa.RowMapping]:
    """Take the message of each active webhook that has waited longest, and let it be due again only after so many seconds."""
    now = now_ms()
    first = (
        sa.select(sa.func.min(_d.id))
        .join(webhooks, webhooks.c.id == _d.webhook)
        .where(_d.state == _PENDING, _d.due <= now, webhooks.c.status == WebhookStatus.ACTIVE.value)
        .where(webhooks.c.webhook_id.not_in(list(busy)))
        .group_by(_d.webhook)
        .limit(limit)
    )
    rows = list(c.execute(first).scalars())
    if not rows:
        return []
    c.execute(webhook_deliveries.update().where(_d.id.in_(rows)).values(due=now + int(seconds * 1000), attempts=_d.attempts + 1))
    columns = (_d.delivery_id, _d.event, _d.body, _d.attempts, _d.creation_time, webhooks.c.webhook_id, webhooks.c.url, webhooks.c.secret)
    query = sa.select(*columns).join(webhooks, webhooks.c.id == _d.webhook).where(_d.id.in_(rows)).order_by(_d.id)
    return list(c.execute(query).mappings())


def finish(c: sa.Connection, delivery_id: str, response_status: int | None, error: str, retry_seconds: float | None) -> None:
    """Note what came of an attempt; the webhook, and with it the message, may have been deleted meanwhile."""
    now = now_ms()
    row = c.execute(sa.select(_d.id, _d.webhook).where(_d.delivery_id == delivery_id)).first()
    if row is None:
        return
    ended: dict[str, Any]
    if error and retry_seconds is not None:
        ended = {"due": now + int(retry_seconds * 1000)}
    else:  # what was said is no longer needed, and may be long
        ended = {"state": (DeliveryState.FAILED if error else DeliveryState.DELIVERED).value, "end_time": now, "body": ""}
    said = {"response_status": response_status, "error": error[:_MAX_ERROR]}
    c.execute(webhook_deliveries.update().where(_d.id == row[0]).values(**said, **ended))
    told = {"last_time": now, "last_status": response_status, "last_error": error[:_MAX_ERROR]}
    c.execute(webhooks.update().where(webhooks.c.id == row[1]).values(**told))


def due_in(c: sa.Connection) -> float | None:
    """Return in how many seconds the next message to an active webhook is due."""
    active = webhooks.c.status == WebhookStatus.ACTIVE.value
    query = sa.select(sa.func.min(_d.due)).join(webhooks, webhooks.c.id == _d.webhook).where(_d.state == _PENDING, active)
    due = c.execute(query).scalar()
    return None if due is None else max(0.0, (due - now_ms()) / 1000)


def log(c: sa.Connection, webhook: int, webhook_id: str, limit: int) -> list[Delivery]:
    """Return the newest messages to a webhook."""
    rows = c.execute(sa.select(webhook_deliveries).where(_d.webhook == webhook).order_by(_d.id.desc()).limit(limit)).mappings()
    return [
        Delivery(
            delivery_id=row["delivery_id"],
            webhook_id=webhook_id,
            event=row["event"],
            state=DeliveryState(row["state"]),
            attempts=row["attempts"],
            creation_time=row["creation_time"],
            next_time=row["due"] if row["state"] == _PENDING else None,
            end_time=row["end_time"],
            response_status=row["response_status"],
            error=row["error"],
        )
        for row in rows
    ]


def prune(c: sa.Connection, keep_seconds: float, keep_each: int, expire_seconds: float) -> int:
    """Forget ended messages and give up stale ones."""
    now = now_ms()
    stale = webhook_deliveries.update().where(_d.state == _PENDING, _d.creation_time < now - int(expire_seconds * 1000))
    error = f"nobody took it within {expire_seconds / 3600:g} h"
    changed = c.execute(stale.values(state=DeliveryState.FAILED.value, end_time=now, body="", error=error)).rowcount
    changed += c.execute(webhook_deliveries.delete().where(_d.state != _PENDING, _d.end_time < now - int(keep_seconds * 1000))).rowcount
    ended = _d.state != _PENDING
    for (webhook,) in c.execute(sa.select(_d.webhook).where(ended).group_by(_d.webhook).having(sa.func.count() > keep_each)).all():
        newest = sa.select(_d.id).where(_d.webhook == webhook, ended).order_by(_d.id.desc()).offset(keep_each).limit(1)
        last = c.execute(newest).scalar()
        changed += c.execute(webhook_deliveries.delete().where(_d.webhook == webhook, ended, _d.id <= last)).rowcount
    return changed


def row_of(c: sa.Connection, webhook_id: str) -> sa.RowMapping:
    """Return the row of a webhook.

    Raises:
        NotFound: If there is none of this id.
    """
    found = c.execute(sa.select(webhooks).where(webhooks.c.webhook_id == webhook_id)).mappings().first()
    if found is None:
        raise NotFound(f"Webhook with ID {webhook_id[:64]} not found.", hint="mlops-nb webhooks list")
    return found


def now_ms() -> int:
    """Return the time as the store writes it."""
    return time.time_ns() // 1_000_000
