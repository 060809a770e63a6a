"""Messages arrive signed, once where all goes well, and again where it does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mlops_nb.core.webhooks import DeliveryState
from mlops_nb.errors import InvalidInput
from mlops_nb.outgoing import ENV_ALLOWED_HOSTS, AddressRefused
from mlops_nb.store.sql.store import SqlStore
from mlops_nb.webhooks import managing, sending
from mlops_nb.webhooks.delivering import Courier, Delivered
from mlops_nb.webhooks.sending import MAX_ATTEMPTS, Sent, retry_in
from tests.outgoing.sockets import Answer, Received, Receiver, free_port, receiving, speaking

EVENTS = ["registered_model.created", "model_version_tag.set"]


@contextmanager
def delivering(store: SqlStore) -> Iterator[Courier]:
    courier = Courier(lambda: store.webhooks, poll_seconds=0.05)
    courier.start()
    try:
        yield courier
    finally:
        courier.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attempts follow each other without the seconds between them."""
    monkeypatch.setattr(sending, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(sending, "LONGEST_RETRY_SECONDS", 2.0)
    monkeypatch.setattr(sending, "_ANSWER_SECONDS", 0.5)


def deliver(store: SqlStore) -> Delivered:
    return Courier(lambda: store.webhooks).deliver_due()


def verified(request: Received, secret: str) -> bool:
    """What the documentation tells receivers to do."""
    delivery_id, timestamp = request.headers["X-MLflow-Delivery-Id"], request.headers["X-MLflow-Timestamp"]
    expected = hmac.new(secret.encode(), f"{delivery_id}.{timestamp}.".encode() + request.body, hashlib.sha256).digest()
    given = base64.b64decode(request.headers["X-MLflow-Signature"].removeprefix("v1,"))
    return hmac.compare_digest(given, expected) and abs(time.time() - int(timestamp)) < 300


def test_a_message_arrives_signed_as_mlflow_signs(store: SqlStore) -> None:
    with receiving() as receiver:
        hook = managing.create(store.webhooks, "ci", receiver.url + "/hook", EVENTS, secret="s3crét")
        store.registry.create_model("naïve", tags={"a": "b"})
        assert deliver(store) == Delivered(delivered=1)
        [request] = receiver.received
    assert request.path == "/hook"
    assert request.headers["Content-Type"] == "application/json"
    assert verified(request, "s3crét")
    assert not verified(request._replace(body=request.body + b" "), "s3crét")
    body = json.loads(request.body)
    assert (body["entity"], body["action"], body["data"]["name"]) == ("registered_model", "created", "naïve")
    mlflows = pytest.importorskip("mlflow.webhooks.delivery")._generate_hmac_signature
    headers = request.headers
    assert headers["X-MLflow-Signature"] == mlflows(
        "s3crét", headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"], request.body.decode()
    )
    [entry] = store.webhooks.deliveries(hook.webhook_id)
    assert (entry.state, entry.response_status, entry.attempts) == (DeliveryState.DELIVERED, 200, 1)
    assert entry.delivery_id == headers["X-MLflow-Delivery-Id"]


@pytest.mark.usefixtures("quick")
def test_a_receiver_that_fails_at_first_gets_the_same_message_again(store: SqlStore) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(500) if len(receiver.received) < 3 else Answer()
        hook = managing.create(store.webhooks, "ci", receiver.url, EVENTS, secret="s")
        with delivering(store) as courier:
            store.registry.create_model("iris")
            courier.wake()
            requests = receiver.wait_for(3)
    assert len({request.headers["X-MLflow-Delivery-Id"] for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    assert all(verified(request, "s") for request in requests)
    assert store.webhooks.get(hook.webhook_id).last_error == ""
    assert store.webhooks.deliveries(hook.webhook_id)[0].attempts == 3


@pytest.mark.usefixtures("quick")
def test_retry_after_is_heeded(store: SqlStore) -> None:
    times: list[float] = []

    def answer(_: Received) -> Answer:
        times.append(time.monotonic())
        return Answer(429, {"Retry-After": "1"}) if len(times) == 1 else Answer()

    with receiving(answer) as receiver, delivering(store) as courier:
        managing.create(store.webhooks, "ci", receiver.url, EVENTS)
        store.registry.create_model("iris")
        courier.wake()
        receiver.wait_for(2)
    assert times[1] - times[0] >= 0.99


@pytest.mark.usefixtures("quick")
def test_a_receiver_that_is_down_gets_it_when_it_is_back(store: SqlStore) -> None:
    port = free_port()
    hook = managing.create(store.webhooks, "ci", f"http://127.0.0.1:{port}/", EVENTS)
    store.registry.create_model("iris")
    assert deliver(store).retried >= 1
    assert "cannot be reached" in store.webhooks.get(hook.webhook_id).last_error
    with delivering(store):
        receiver = Receiver(port=port)
        assert receiver.wait_for(1)
        receiver.stop()


@pytest.mark.usefixtures("quick")
def test_a_receiver_that_does_not_answer_holds_no_other_one_up(store: SqlStore) -> None:
    release = threading.Event()

    def hang(_: socket.socket) -> None:
        release.wait(20)

    with speaking(hang) as silent, receiving() as receiver:
        slow = managing.create(store.webhooks, "slow", silent, EVENTS)
        store.registry.create_model("first")
        managing.create(store.webhooks, "quick", receiver.url, EVENTS)
        with delivering(store) as courier:
            for number in range(3):
                store.registry.create_model(f"m{number}")
                courier.wake()
            receiver.wait_for(3, seconds=10)
            deadline = time.monotonic() + 10
            while "in time" not in store.webhooks.get(slow.webhook_id).last_error and time.monotonic() < deadline:
                time.sleep(0.05)
        release.set()
    assert "did not answer in time" in store.webhooks.get(slow.webhook_id).last_error


@pytest.mark.parametrize(("status", "state"), [(404, "failed"), (400, "failed"), (503, "pending"), (408, "pending"), (204, "delivered")])
def test_what_will_not_change_is_not_tried_again(store: SqlStore, status: int, state: str) -> None:
    with receiving(lambda _: Answer(status, {}, b"")) as receiver:
        hook = managing.create(store.webhooks, "ci", receiver.url, EVENTS)
        store.registry.create_model("iris")
        [message] = store.webhooks.claim(1)
        with sending.Sender() as sender:
            sent = sender.send(message)
        retry = retry_in(sent, message.attempts)
        store.webhooks.finish(message.delivery_id, response_status=sent.status, error=sent.error, retry_seconds=retry)
    assert store.webhooks.deliveries(hook.webhook_id)[0].state == state


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:{port}/other"])
def test_a_redirect_is_never_followed(store: SqlStore, target: str) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _: Answer(307, {"Location": target.format(port=receiver.port)})
        hook = managing.create(store.webhooks, "ci", receiver.url, EVENTS, secret="s")
        store.registry.create_model("iris")
        assert deliver(store) == Delivered(failed=1)
        assert len(receiver.received) == 1
    assert "redirects to http://1" in store.webhooks.get(hook.webhook_id).last_error


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "metadata.google.internal", "2130706433"])
def test_a_private_address_is_refused_when_the_webhook_is_made_and_changed(
    store: SqlStore, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = managing.create(store.webhooks, "ci", "https://receiver.invalid/", EVENTS)
    monkeypatch.delenv(ENV_ALLOWED_HOSTS)
    with pytest.raises(AddressRefused, match="nothing is sent there"):
        managing.create(store.webhooks, "ci", f"http://{host}/", EVENTS)
    with pytest.raises(AddressRefused):
        managing.update(store.webhooks, hook.webhook_id, url=f"http://{host}/")
    assert [one.url for one in store.webhooks.page().items] == ["https://receiver.invalid/"]


def test_a_private_address_is_refused_again_when_a_message_is_sent(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        hook = managing.create(store.webhooks, "ci", receiver.url, EVENTS)
        store.registry.create_model("iris")
        monkeypatch.delenv(ENV_ALLOWED_HOSTS)
        assert deliver(store) == Delivered(failed=1)
        assert "nothing is sent there" in store.webhooks.get(hook.webhook_id).last_error
        assert "nothing is sent there" in str(managing.send_example(store.webhooks, hook.webhook_id).error_message)
        assert receiver.received == []


@pytest.mark.parametrize("url", ["ftp://example.org/", "javascript:alert(1)", "example.org/hook", "https://user:pw@example.org/", ""])
def test_a_url_that_is_none_is_refused(store: SqlStore, url: str) -> None:
    with pytest.raises(InvalidInput):
        managing.create(store.webhooks, "ci", url, EVENTS)


def test_an_example_says_what_the_receiver_answered(store: SqlStore) -> None:
    with receiving(lambda _: Answer(418, {}, b"<b>no</b>" + b"x" * 5000)) as receiver:
        hook = managing.create(store.webhooks, "ci", receiver.url, EVENTS, secret="s")
        result = managing.send_example(store.webhooks, hook.webhook_id, "model_version_alias.created")
        assert json.loads(receiver.received[0].body)["data"] == {"name": "example_model", "alias": "example_alias", "version": "1"}
        assert verified(receiver.received[0], "s")
    assert (result.success, result.response_status, len(result.response_body or "")) == (False, 418, 1000)


def test_attempts_grow_apart_and_end() -> None:
    error = Sent(status=500, error="x")
    waits = [retry_in(error, attempt) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert waits[-1] is None
    longest = [min(3600, 4**n) for n in range(MAX_ATTEMPTS - 1)]
    assert all(wait is not None and high / 2 <= wait <= high for wait, high in zip(waits[:-1], longest, strict=True))
    assert retry_in(Sent(status=429, error="x", retry_after=1e9), 1) == 3600
    assert retry_in(Sent(status=404, error="x", is_final=True), 1) is None


def test_the_log_does_not_have_the_address_of_a_receiver(store: SqlStore, caplog: pytest.LogCaptureFixture) -> None:
    """That of many chat programs is all that is needed to write there."""
    hook = managing.create(store.webhooks, "chat", f"http://127.0.0.1:{free_port()}/services/T0/S3CRET", EVENTS)
    store.registry.create_model("m")
    with caplog.at_level("INFO", logger="mlops_nb"):
        assert deliver(store).retried == 1
    assert hook.webhook_id in caplog.text
    assert "S3CRET" not in caplog.text
