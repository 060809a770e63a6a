"""The ledger of runners on SQLite, on PostgreSQL, and over HTTP; and what SQLite keeps where."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from mlops_nb.core.runners import Heartbeat, RunnerState
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.open import open_store
from mlops_nb.store.rest import RestStore
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.store.sql.schema import runner_tickets, runners
from mlops_nb.store.sql.store import SqlStore
from tests.contract.runner_contract import RunnerContract, event, new_runner
from tests.postgres import PostgresServer, needs_postgres
from tests.team import TOKEN, TeamProcess


class TestSqliteRunners(RunnerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[RunnerLedger]:
        store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
        yield store.runners
        store.close()


@pytest.fixture(scope="module")
def on_postgres(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerLedger]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLOPS_NB_WEBHOOK_SECRET_KEY", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=")
        store = open_store(postgres.new_database(), artifact_root=str(tmp_path_factory.mktemp("files")))
        assert store is not None
        yield store.runners
        store.close()


@needs_postgres
class TestPostgresRunners(RunnerContract):
    @pytest.fixture
    def ledger(self, on_postgres: RunnerLedger) -> RunnerLedger:
        return on_postgres


class TestRestRunners(RunnerContract):
    @pytest.fixture
    def ledger(self, team: TeamProcess) -> Iterator[RunnerLedger]:
        store = RestStore(team.mount, token=TOKEN)
        yield store.runners
        store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
    yield store
    store.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were synced, in order."""
    names: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        names.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return names


def test_what_is_written_of_runners_is_synced_also_with_quick_settings(store: SqlStore, synced: list[str]) -> None:
    store.create_run("0")
    assert synced == []
    runner = store.runners.add(new_runner(), event())
    assert synced == ["store.db-wal"]
    with store.group():
        store.runners.heartbeat(runner.id, Heartbeat(state="booting"))
        assert synced == ["store.db-wal"]
    assert synced == ["store.db-wal"] * 2, "within a group when that ends"


@needs_postgres
def test_a_postgresql_that_answers_early_is_asked_to_wait_for_its_disk(postgres: PostgresServer, tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    store = open_store(url, artifact_root=str(tmp_path))
    assert isinstance(store, SqlStore)
    for is_synced, setting in ((False, "off"), (True, "on")):
        with store.database.write(synced=is_synced) as written:
            assert written.exec_driver_sql("SHOW synchronous_commit").scalar() == setting
    store.close()


def test_neither_secrets_nor_tickets_nor_tokens_are_in_the_database(store: SqlStore, tmp_path: Path) -> None:
    runner = store.runners.add(new_runner(), event())
    ticket = store.runners.issue_ticket(runner.id, b"THE-JIT-CONFIGURATION")
    waiting = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    _, token, secret = store.runners.redeem(ticket)
    assert secret == b"THE-JIT-CONFIGURATION"
    for content in (waiting, b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))):
        for private in (b"THE-JIT-CONFIGURATION", b"VEhFLUpJVC1DT05GSUdVUkFUSU9O", ticket.encode(), token.encode(), token[5:].encode()):
            assert private not in content
    with store.database.read() as c:
        assert c.execute(sa.select(runner_tickets.c.secret)).scalar_one() is None
        assert c.execute(sa.select(runners.c.agent)).scalar_one() != token


def test_a_secret_that_no_machine_has_fetched_goes_with_its_runner(store: SqlStore) -> None:
    runner = store.runners.add(new_runner(), event())
    store.runners.issue_ticket(runner.id, b"x")
    store.runners.save(replace(runner, state=RunnerState.DESTROYING))
    with store.database.read() as c:
        assert c.execute(sa.select(sa.func.count()).select_from(runner_tickets)).scalar() == 0


def test_logs_of_runners_that_ended_long_ago_make_room(store: SqlStore) -> None:
    ended = {}
    for days in (29, 31):
        runner = store.runners.add(new_runner(), event())
        store.runners.append_log(runner.id, 0, "said\n")
        ended[days] = store.runners.save(replace(runner, state=RunnerState.GONE, ended=time.time() - days * 86_400))
    store.runners.add(new_runner(), event())
    assert {days: store.runners.log(runner.id).text for days, runner in ended.items()} == {29: "said\n", 31: ""}
    assert store.runners.get(ended[31].id) == ended[31]


def test_a_secret_whose_key_is_lost_says_what_to_do(store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_NB_WEBHOOK_SECRET_KEY", raising=False)
    runner = store.runners.add(new_runner(), event())
    ticket = store.runners.issue_ticket(runner.id, b"x")
    (tmp_path / "webhooks.key").unlink()
    with pytest.raises(InvalidInput, match="runner's secret") as caught:
        store.runners.redeem(ticket)
    assert "launch the runner again" in str(caught.value)


def test_an_ambiguous_beginning_of_an_id_is_refused(store: SqlStore) -> None:
    for number in range(2):
        runner = new_runner()
        store.runners.add(
            type(runner)(**{**{f: getattr(runner, f) for f in runner.__struct_fields__}, "id": f"abcdef{number:026x}"}), event()
        )
    with pytest.raises(InvalidInput, match="Several"):
        store.runners.get("abcdef")
    with pytest.raises(NotFound):
        store.runners.get("abcdee")


def test_hundreds_of_runners_are_listed_in_a_moment(store: SqlStore) -> None:
    with store.group():
        for number in range(500):
            store.runners.add(new_runner(f"n{number}"), event())
    began = time.perf_counter()
    found = store.runners.list(max_results=100_000)
    seconds = time.perf_counter() - began
    print(f"500 runners listed in {seconds * 1000:.0f} ms")
    assert len(found) == 500 and seconds < 5


def test_a_store_before_anything_was_tracked_lists_nothing_and_makes_no_file(start_team: Callable[..., TeamProcess]) -> None:
    server = start_team()
    listed = server.request("GET", "/api/v1/runners").json()
    assert (listed["runners"], listed["changes"]) == ([], 0)
    assert server.request("GET", "/api/v1/runner-jobs").json()["jobs"] == []
