"""A message is written with the change that it tells of, once for each webhook that wants to know."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mlops_nb.core.registry import Stage
from mlops_nb.core.webhooks import EVENTS, DeliveryState, WebhookStatus
from mlops_nb.errors import InvalidInput, MlopsError, NotFound
from mlops_nb.store.sql.schema import webhook_deliveries, webhooks
from mlops_nb.store.sql.store import SqlStore

ALL = list(EVENTS)
PROMPT = {"mlflow.prompt.is_prompt": "true"}


def told(store: SqlStore) -> list[tuple[str, dict[str, Any]]]:
    """Take all messages out and return event and data of each, the oldest first."""
    found: list[tuple[str, dict[str, Any]]] = []
    while taken := store.webhooks.claim(10):
        for message in taken:
            body = json.loads(message.body)
            assert f"{body['entity']}.{body['action']}" == message.event
            found.append((message.event, body["data"]))
            store.webhooks.finish(message.delivery_id, response_status=200)
    return found


def test_every_change_of_a_model_is_told_as_mlflow_tells_it(store: SqlStore, tmp_path: Path) -> None:
    store.webhooks.create("all", "https://example.org/hook", ALL)
    registry, run = store.registry, store.create_run("0")
    registry.create_model("iris", description="d", tags={"a": "b"})
    for _ in range(2):
        registry.create_version("iris", f"runs:/{run.run_id}/model", run_id=run.run_id, tags={"k": "v"})
    registry.set_model_tag("iris", "team", "x")
    registry.set_version_tag("iris", 1, "key", "value")
    registry.delete_version_tag("iris", 1, "key")
    registry.set_alias("iris", "prod", 1)
    registry.delete_alias("iris", "prod")
    registry.move_version("iris", 1, Stage.PRODUCTION)
    registry.move_version("iris", 2, Stage.PRODUCTION, archive_existing=True)
    registry.move_version("iris", 2, Stage.PRODUCTION)
    version = {"name": "iris", "source": f"runs:/{run.run_id}/model", "run_id": run.run_id, "tags": {"k": "v"}, "description": None}
    moved = {"name": "iris", "version": "1"}
    assert told(store) == [
        ("registered_model.created", {"name": "iris", "tags": {"a": "b"}, "description": "d"}),
        ("model_version.created", {**version, "version": "1"}),
        ("model_version.created", {**version, "version": "2"}),
        ("model_version_tag.set", {"name": "iris", "version": "1", "key": "key", "value": "value"}),
        ("model_version_tag.deleted", {"name": "iris", "version": "1", "key": "key"}),
        ("model_version_alias.created", {"name": "iris", "alias": "prod", "version": "1"}),
        ("model_version_alias.deleted", {"name": "iris", "alias": "prod"}),
        ("model_version_stage.set", {**moved, "from_stage": "None", "to_stage": "Production"}),
        ("model_version_stage.set", {**moved, "from_stage": "Production", "to_stage": "Archived"}),
        ("model_version_stage.set", {"name": "iris", "version": "2", "from_stage": "None", "to_stage": "Production"}),
    ]


def test_every_change_of_a_prompt_is_told_as_one_of_a_prompt(store: SqlStore) -> None:
    store.webhooks.create("all", "https://example.org/hook", ALL)
    registry = store.registry
    registry.create_model("greeting", tags={**PROMPT, "a": "b"})
    registry.create_version("greeting", "dummy-source", tags={**PROMPT, "mlflow.prompt.text": "Hello {{name}}", "k": "v"})
    registry.set_model_tag("greeting", "team", "x")
    registry.delete_model_tag("greeting", "team")
    registry.set_version_tag("greeting", 1, "key", "value")
    registry.delete_version_tag("greeting", 1, "key")
    registry.set_alias("greeting", "prod", 1)
    registry.delete_alias("greeting", "prod")
    found = told(store)
    assert [event for event, _ in found] == [event for event in ALL if event.startswith("prompt")]
    assert found[0][1]["tags"] == {"a": "b"}
    assert found[1][1] == {"name": "greeting", "version": "1", "template": "Hello {{name}}", "tags": {"k": "v"}, "description": None}


def test_the_data_of_each_event_has_the_fields_that_mlflow_gives_it() -> None:
    mlflow = pytest.importorskip("mlflow.webhooks.types")
    from mlflow.entities.webhook import WebhookEvent

    for event in ALL:
        if event != "model_version_stage.set":
            example = mlflow.get_example_payload_for_event(WebhookEvent.from_str(event))
            assert set(EVENTS[event]) == set(example), event


def test_a_change_that_fails_is_not_told(store: SqlStore) -> None:
    store.webhooks.create("all", "https://example.org/hook", ALL)
    store.registry.create_model("iris")
    for wrong in (lambda: store.registry.create_model("iris"), lambda: store.registry.set_alias("iris", "prod", 7)):
        with pytest.raises(MlopsError):
            wrong()
    with pytest.raises(RuntimeError), store.database.write() as c:  # the whole transaction is undone
        store.webhooks.example(store.webhooks.page().items[0].webhook_id)
        c.execute(webhook_deliveries.update().values(event="x"))
        raise RuntimeError
    assert [event for event, _ in told(store)] == ["registered_model.created"]


def test_only_active_webhooks_that_want_it_are_told(store: SqlStore) -> None:
    made = store.webhooks.create("a", "https://example.org/1", ["registered_model.created"])
    store.webhooks.create("b", "https://example.org/2", ["model_version.created"])
    store.webhooks.create("c", "https://example.org/3", ["registered_model.created"], status=WebhookStatus.DISABLED)
    store.registry.create_model("iris")
    assert [message.webhook_id for message in store.webhooks.claim(10)] == [made.webhook_id]


def test_what_waits_for_a_webhook_that_is_disabled_goes_when_it_is_enabled_and_with_it_when_it_is_deleted(store: SqlStore) -> None:
    hook = store.webhooks.create("a", "https://example.org/1", ALL)
    store.registry.create_model("iris")
    store.webhooks.update(hook.webhook_id, status=WebhookStatus.DISABLED)
    assert store.webhooks.due_in() is None
    assert store.webhooks.claim(10) == []
    store.webhooks.update(hook.webhook_id, status=WebhookStatus.ACTIVE)
    assert store.webhooks.get(hook.webhook_id).pending == 1
    [message] = store.webhooks.claim(10)
    store.webhooks.delete(hook.webhook_id)
    store.webhooks.finish(message.delivery_id, response_status=200)
    with pytest.raises(NotFound, match="not found"):
        store.webhooks.deliveries(hook.webhook_id)


def test_a_message_is_given_to_one_taker_and_again_when_that_one_has_died(store: SqlStore, tmp_path: Path) -> None:
    store.webhooks.create("a", "https://example.org/1", ALL)
    store.registry.create_model("iris")
    other = SqlStore.in_file(tmp_path / "state" / "store.db", durability="normal")
    [first] = store.webhooks.claim(10)
    assert other.webhooks.claim(10) == []
    with store.database.write() as c:  # a minute later
        c.execute(webhook_deliveries.update().values(due=0))
    [second] = other.webhooks.claim(10)
    other.close()
    assert (second.delivery_id, second.body, second.attempts) == (first.delivery_id, first.body, 2)


def test_secrets_are_not_in_the_database_and_the_key_is_private(store: SqlStore, tmp_path: Path) -> None:
    hook = store.webhooks.create("a", "https://example.org/1", ALL, secret="s3cret-of-the-hook")
    store.registry.create_model("iris")
    files = list((tmp_path / "state").glob("store.db*"))
    assert all(b"s3cret-of-the-hook" not in file.read_bytes() for file in files)
    key = tmp_path / "state" / "webhooks.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "s3cret" not in repr(hook)
    [message] = store.webhooks.claim(1)
    assert message.secret == "s3cret-of-the-hook"
    assert store.webhooks.update(hook.webhook_id, secret="").has_secret is False


def test_a_secret_whose_key_is_gone_is_told_and_the_message_is_not_sent_unsigned(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.webhooks.create("a", "https://example.org/1", ALL, secret="s3cret")
    store.registry.create_model("iris")
    (tmp_path / "state" / "webhooks.key").unlink()
    [message] = store.webhooks.claim(1)
    assert message.secret is None
    assert "key that the webhook's secret was encrypted with is missing" in message.problem
    monkeypatch.setenv("MLOPS_NB_WEBHOOK_SECRET_KEY", "too short")
    with pytest.raises(InvalidInput, match="holds no key that encrypts"):
        store.webhooks.create("b", "https://example.org/1", ALL, secret="s3cret")


def test_a_key_that_cannot_be_read_is_told_and_holds_up_no_other_message(store: SqlStore, tmp_path: Path) -> None:
    store.webhooks.create("a", "https://example.org/1", ALL, secret="s3cret")
    store.webhooks.create("b", "https://example.org/2", ALL)
    store.registry.create_model("iris")
    (tmp_path / "state" / "webhooks.key").unlink()
    (tmp_path / "state" / "webhooks.key").mkdir()
    signed, plain = store.webhooks.claim(2)
    assert "webhooks.key, cannot be read or made: Is a directory" in signed.problem
    assert (plain.problem, signed.secret) == ("", None)
    with pytest.raises(InvalidInput, match="cannot be read or made"):
        store.webhooks.create("c", "https://example.org/1", ALL, secret="s3cret")


def test_a_key_of_the_environment_may_be_exchanged(store: SqlStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    old, new = (Fernet.generate_key().decode() for _ in range(2))
    monkeypatch.setenv("MLOPS_NB_WEBHOOK_SECRET_KEY", old)
    hook = store.webhooks.create("a", "https://example.org/1", ALL, secret="s3cret")
    assert not (tmp_path / "state" / "webhooks.key").exists()
    monkeypatch.setenv("MLOPS_NB_WEBHOOK_SECRET_KEY", f"{new},{old}")
    assert store.webhooks.example(hook.webhook_id).secret == "s3cret"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "is invalid"),
        ({"name": "<script>"}, "is invalid"),
        ({"name": "x" * 64}, "is invalid"),
        ({"events": []}, "at least one event"),
        ({"events": ["model_version.create"]}, r"Did you mean 'model_version.created'\?"),
        ({"events": ["budget_policy.exceeded"]}, "no budget policies"),
        ({"url": "https://example.org/" + "x" * 3000}, "at most 2000 characters"),
        ({"secret": "x" * 3000}, "at most 1000 characters"),
    ],
)
def test_what_cannot_be_is_refused(store: SqlStore, change: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"name": "a", "url": "https://example.org/", "events": ["model_version.created"]}
    with pytest.raises(InvalidInput, match=words):
        store.webhooks.create(**{**good, **change})
    assert store.webhooks.page().items == []


def test_pages_go_through_all_webhooks_the_newest_first(store: SqlStore) -> None:
    for number in range(5):
        store.webhooks.create(f"n{number}", "https://example.org/", ALL)
    first = store.webhooks.page(max_results=3)
    second = store.webhooks.page(max_results=3, page_token=first.token)
    assert [one.name for one in (*first.items, *second.items)] == ["n4", "n3", "n2", "n1", "n0"]
    assert second.token is None
    with pytest.raises(InvalidInput):
        store.webhooks.page(page_token="nonsense")


def test_the_log_is_kept_short_and_what_nobody_takes_is_given_up(store: SqlStore) -> None:
    hook = store.webhooks.create("a", "https://example.org/1", ["model_version_tag.set"])
    run = store.create_run("0")
    store.registry.create_model("iris")
    store.registry.create_version("iris", f"runs:/{run.run_id}/m", run_id=run.run_id)
    for number in range(12):
        store.registry.set_version_tag("iris", 1, "k", f"long text {number}")
    for _ in range(10):
        [message] = store.webhooks.claim(1)
        store.webhooks.finish(message.delivery_id, response_status=500, error="The receiver answered 500.")
    with store.database.read() as c:
        kept = c.execute(sa.select(webhook_deliveries.c.body).where(webhook_deliveries.c.state == "failed")).scalars().all()
    assert set(kept) == {""}
    store.webhooks.prune(keep_seconds=1000, keep_each=4, expire_seconds=-1)
    log = store.webhooks.deliveries(hook.webhook_id)
    assert len(log) == 4
    assert {one.state for one in log} == {DeliveryState.FAILED}
    assert "nobody took it" in log[0].error
    store.webhooks.prune(keep_seconds=-1, keep_each=4, expire_seconds=1000)
    assert store.webhooks.deliveries(hook.webhook_id) == []
    with store.database.read() as c:
        assert c.execute(sa.select(webhooks.c.last_error)).scalar() == "The receiver answered 500."
