"""Several servers of one store share the messages: each is sent by one of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from mlops_nb.errors import InvalidInput
from mlops_nb.store.open import open_store
from mlops_nb.store.sql.store import SqlStore
from mlops_nb.webhooks import managing
from mlops_nb.webhooks.delivering import Courier, Delivered
from tests.outgoing.sockets import receiving
from tests.postgres import PostgresServer, needs_postgres

Open = Callable[[], SqlStore]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def open_it(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    if request.param == "sqlite":
        uri = f"sqlite:///{tmp_path}/store.db?durability=normal"
    else:
        postgres: PostgresServer = request.getfixturevalue("postgres")
        uri = postgres.new_database()
    opened: list[SqlStore] = []

    def open_again() -> SqlStore:
        store = open_store(uri, artifact_root=str(tmp_path / "files"))
        assert isinstance(store, SqlStore)
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        store.close()


def test_each_message_is_sent_once_by_one_of_them(open_it: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_NB_WEBHOOK_SECRET_KEY", Fernet.generate_key().decode())
    first = open_it()
    with receiving() as receiver:
        for number in range(4):
            managing.create(first.webhooks, f"n{number}", f"{receiver.url}/{number}", ["registered_model.created"], secret="s")
        for number in range(10):
            first.registry.create_model(f"model-{number}")
        done: list[Delivered] = []
        stores = [first, open_it(), open_it()]
        threads = [
            threading.Thread(target=lambda store=store: done.append(Courier(lambda: store.webhooks).deliver_due())) for store in stores
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sum(one.delivered for one in done) == 40
    assert Counter(request.headers["X-MLflow-Delivery-Id"] for request in receiver.received).most_common(1)[0][1] == 1
    assert Counter(request.path for request in receiver.received) == {f"/{number}": 10 for number in range(4)}
    assert first.webhooks.due_in() is None


@needs_postgres
def test_a_database_without_a_folder_needs_the_key_from_the_environment(postgres: PostgresServer, tmp_path: Path) -> None:
    store = open_store(postgres.new_database(), artifact_root=str(tmp_path))
    assert isinstance(store, SqlStore)
    with pytest.raises(InvalidInput, match="MLOPS_NB_WEBHOOK_SECRET_KEY for every server"):
        store.webhooks.create("ci", "https://example.org/", ["registered_model.created"], secret="s")
    assert store.webhooks.create("ci", "https://example.org/", ["registered_model.created"]).has_secret is False
    store.close()
