"""Webhooks: which changes of the registry are told to whom, and what such a message looks like.

Names, payloads and the signature are MLflow's, which follows Standard Webhooks; receivers written for it work unchanged.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.core.registry import TAG_IS_PROMPT, TAG_PROMPT_TEXT
from mlops_nb.errors import InvalidInput, did_you_mean

HEADER_ID = "X-MLflow-Delivery-Id"
HEADER_TIMESTAMP = "X-MLflow-Timestamp"
HEADER_SIGNATURE = "X-MLflow-Signature"
MAX_URL = 2000
MAX_DESCRIPTION = 1000
MAX_SECRET = 1000

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.IGNORECASE)
_HIDDEN_TAGS = {TAG_IS_PROMPT, TAG_PROMPT_TEXT, "_mlflow_prompt_type"}
_MODEL: dict[str, Any] = {"name": "example_model"}
_PROMPT: dict[str, Any] = {"name": "example_prompt"}
_KEY = {"key": "example_key"}
_SET = {**_KEY, "value": "example_value"}
_MORE: dict[str, Any] = {"tags": {"example_key": "example_value"}, "description": "An example"}

STAGE_SET = "model_version_stage.set"
"""What MLflow has no event for: its clients do not see it, and its server does not send it."""

EVENTS: dict[str, dict[str, Any]] = {
    "registered_model.created": {**_MODEL, **_MORE},
    "model_version.created": {**_MODEL, "version": "1", "source": "models:/123", "run_id": "abcd1234abcd5678", **_MORE},
    "model_version_tag.set": {**_MODEL, "version": "1", **_SET},
    "model_version_tag.deleted": {**_MODEL, "version": "1", **_KEY},
    "model_version_alias.created": {**_MODEL, "alias": "example_alias", "version": "1"},
    "model_version_alias.deleted": {**_MODEL, "alias": "example_alias"},
    STAGE_SET: {**_MODEL, "version": "1", "from_stage": "Staging", "to_stage": "Production"},
    "prompt.created": {**_PROMPT, **_MORE},
    "prompt_version.created": {**_PROMPT, "version": "1", "template": "Hello {{name}}!", **_MORE},
    "prompt_tag.set": {**_PROMPT, **_SET},
    "prompt_tag.deleted": {**_PROMPT, **_KEY},
    "prompt_version_tag.set": {**_PROMPT, "version": "1", **_SET},
    "prompt_version_tag.deleted": {**_PROMPT, "version": "1", **_KEY},
    "prompt_alias.created": {**_PROMPT, "alias": "example_alias", "version": "1"},
    "prompt_alias.deleted": {**_PROMPT, "alias": "example_alias"},
}
"""Every event with an example of its data, which `test_webhook` sends."""


class Change(StrEnum):
    """What happened in the registry; whether a model or a prompt it happened to decides which event that is."""

    MODEL_CREATED = "model created"
    VERSION_CREATED = "version created"
    MODEL_TAG_SET = "model tag set"
    MODEL_TAG_DELETED = "model tag deleted"
    VERSION_TAG_SET = "version tag set"
    VERSION_TAG_DELETED = "version tag deleted"
    ALIAS_SET = "alias set"
    ALIAS_DELETED = "alias deleted"
    STAGE_SET = "stage set"


# For a model, for a prompt; None: MLflow tells nobody.
EVENTS_OF: dict[Change, tuple[str | None, str | None]] = {
    Change.MODEL_CREATED: ("registered_model.created", "prompt.created"),
    Change.VERSION_CREATED: ("model_version.created", "prompt_version.created"),
    Change.MODEL_TAG_SET: (None, "prompt_tag.set"),
    Change.MODEL_TAG_DELETED: (None, "prompt_tag.deleted"),
    Change.VERSION_TAG_SET: ("model_version_tag.set", "prompt_version_tag.set"),
    Change.VERSION_TAG_DELETED: ("model_version_tag.deleted", "prompt_version_tag.deleted"),
    Change.ALIAS_SET: ("model_version_alias.created", "prompt_alias.created"),
    Change.ALIAS_DELETED: ("model_version_alias.deleted", "prompt_alias.deleted"),
    Change.STAGE_SET: (STAGE_SET, None),
}


class WebhookStatus(StrEnum):
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


class DeliveryState(StrEnum):
    """Where a message is: waiting for its next attempt, taken by the receiver, or given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Webhook(Record, frozen=True, kw_only=True):
    """An address that is told of changes.

    Attributes:
        has_secret: Whether its messages are signed; the secret itself is never shown.
        pending: How many messages wait.
        last_time: When the last attempt ended, or None.
        last_status: What the receiver answered to it, or None where it did not.
        last_error: Why the last attempt failed, or "".
    """

    webhook_id: str
    name: str
    url: str
    events: list[str]
    description: str = ""
    status: WebhookStatus = WebhookStatus.ACTIVE
    has_secret: bool = False
    creation_time: int
    last_update_time: int
    pending: int = 0
    last_time: int | None = None
    last_status: int | None = None
    last_error: str = ""


class Delivery(Record, frozen=True, kw_only=True):
    """A message to a webhook.

    Attributes:
        delivery_id: The same in every attempt, so that a receiver can tell a repetition.
        attempts: How many there were.
        next_time: When the next one is due, of one that is pending.
        end_time: When it was delivered or given up.
        response_status: What the receiver answered last, or None.
    """

    delivery_id: str
    webhook_id: str
    event: str
    state: DeliveryState
    attempts: int
    creation_time: int
    next_time: int | None = None
    end_time: int | None = None
    response_status: int | None = None
    error: str = ""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message that whoever claimed it sends now.

    Attributes:
        body: The JSON, the same in every attempt.
        secret: What signs it, or None.
        problem: Why it cannot be signed, or "".
    """

    delivery_id: str
    webhook_id: str
    url: str
    event: str
    body: str
    attempts: int
    creation_time: int
    secret: str | None = msgspec.field(default=None)
    problem: str = ""


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of sending an example."""

    __test__ = False

    success: bool
    response_status: int | None = None
    response_body: str | None = None
    error_message: str | None = None


def message(event: str, data: Mapping[str, Any], now_ms: int) -> str:
    """Return the JSON of a message about an event that happened at this time."""
    entity, _, action = event.partition(".")
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()
    return json.dumps({"entity": entity, "action": action, "timestamp": moment, "data": dict(data)})


def signature(secret: str, delivery_id: str, timestamp: str, body: str) -> str:
    """Return the signature of a message: `v1,` and base64 of HMAC-SHA256 of `delivery_id.timestamp.body`."""
    signed = f"{delivery_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def shown_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a prompt without those that make it one."""
    return {key: value for key, value in tags.items() if key not in _HIDDEN_TAGS}


def check_name(name: str) -> str:
    """Return `name` if it may name a webhook.

    Raises:
        InvalidInput: In MLflow's words, if it may not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"Webhook name {name[:80]!r} is invalid. It must start and end with a letter or digit, be less than 63 characters long, "
            "and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
        )
    return name


def check_events(events: Sequence[str]) -> list[str]:
    """Return events, each once, if there are such.

    Raises:
        InvalidInput: If there is none, or one that never happens here.
    """
    if not events:
        raise InvalidInput("A webhook needs at least one event.", hint=f"There are: {', '.join(EVENTS)}")
    for event in events:
        if event == "budget_policy.exceeded":
            raise InvalidInput("mlops_nb has no budget policies, so 'budget_policy.exceeded' would never be sent.", hint="Leave it out.")
        if event not in EVENTS:
            hint = did_you_mean(event, EVENTS) or f"There are: {', '.join(EVENTS)}"
            raise InvalidInput(f"'{event[:80]}' is no event that a webhook can be told of.", hint=hint)
    return list(dict.fromkeys(events))


def check_status(status: str) -> WebhookStatus:
    """Return the status of this name.

    Raises:
        InvalidInput: If there is none.
    """
    try:
        return WebhookStatus(status.upper())
    except ValueError:
        raise InvalidInput(f"'{status[:40]}' is no status of a webhook.", hint="There are ACTIVE and DISABLED.") from None


def check_limits(url: str, description: str | None, secret: str | None) -> None:
    """Refuse texts that are too long.

    Raises:
        InvalidInput: It names the first one.
    """
    for what, text, limit in (("URL", url, MAX_URL), ("description", description, MAX_DESCRIPTION), ("secret", secret, MAX_SECRET)):
        if text is not None and len(text) > limit:
            raise InvalidInput(f"The {what} of a webhook has at most {limit} characters; this one has {len(text)}.")
