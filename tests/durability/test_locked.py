"""A database that another process holds: writers wait and go on at once when it lets go, readers see nothing of it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from mlops_nb.core.events import RunStarted
from mlops_nb.store.sql import sqlite
from mlops_nb.store.sql.store import SqlStore
from tests.durability.children import RUN, Board, context, end, found_in, hold_lock, log_one, write_greedily
from tests.durability.figures import report, seed
from tests.durability.fleet import Fleet, wait_until
from tests.durability.oracle import Log, batch, judge
from tests.durability.servers import TeamPlace, kill


@pytest.mark.parametrize("seconds", [3, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_clients_of_a_server_see_only_a_wait_while_another_process_holds_the_database(tmp_path: Path, seconds: int) -> None:
    number = seed()
    chance = random.Random(number)
    path = tmp_path / "store.db"
    place = TeamPlace(tmp_path / "team", chance, f"sqlite:///{path}")
    server = place.start()
    fleet = Fleet(server, place.token, tmp_path, number, 4)
    board = Board(tmp_path / "board")
    holder = context().Process(target=hold_lock, args=(str(tmp_path / "board"), str(path), ["BEGIN EXCLUSIVE"], seconds))
    reads: list[float] = []
    try:
        fleet.start()
        wait_until(lambda: fleet.last_acknowledged() > 0, 30, "nothing was acknowledged")
        holder.start()
        wait_until(lambda: board.is_on, 30, "the lock was not taken")
        held = time.monotonic()
        while not board.is_done:
            started = time.monotonic()
            assert server.request("GET", f"/api/2.0/mlflow/runs/get?run_id={fleet.runs[0]}").status_code == 200
            assert server.request("POST", "/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"]}).status_code == 200
            reads.append(time.monotonic() - started)
            time.sleep(0.02)
        released = time.monotonic()
        wait_until(lambda: fleet.last_acknowledged() > released, 30, "nothing was acknowledged again")
        fleet.stop()
        logs = fleet.logs()
        acknowledged = sorted(at for log in logs for at in log.acknowledged_at)
        verdict = judge(number, logs, fleet.found(server))
    finally:
        fleet.end()
        end(holder)
        kill(server)
        board.close()
    wait = min(at for at in acknowledged if at > released) - released
    assert [at for at in acknowledged if held + 0.5 < at < released - 0.5] == [], "the lock was not held"
    errors = [error for log in logs for error in log.errors] + list(fleet.refusals())
    report(
        "locked-database",
        verdict.n,
        lost=verdict.lost,
        dup=verdict.dup,
        altered=verdict.altered,
        errors=len(errors),
        seconds=reads,
        seed=number,
        held=seconds,
        resumed_after=round(wait, 3),
    )
    assert verdict.clean, verdict
    assert errors == []
    assert wait <= 1
    assert max(reads) <= 2


@pytest.mark.parametrize("seconds", [3, pytest.param(120, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_a_long_reader_stops_no_writer(tmp_path: Path, seconds: int) -> None:
    number = seed()
    path = tmp_path / "store.db"
    store = SqlStore.in_file(path)
    store.ingest(RUN, "source", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
    board = Board(tmp_path / "board")
    statements = ["BEGIN", "SELECT count(*) FROM runs"]
    holder = context().Process(target=hold_lock, args=(str(tmp_path / "board"), str(path), statements, seconds))
    holder.start()
    took: list[float] = []
    largest = 0
    try:
        wait_until(lambda: board.is_on, 30, "the reader did not start")
        while not board.is_done:
            started = time.monotonic()
            log_one(store, batch(number, 0, len(took)))
            took.append(time.monotonic() - started)
            largest = max(largest, (tmp_path / "store.db-wal").stat().st_size)
            time.sleep(0.01)
        log_one(store, batch(number, 0, len(took)))
    finally:
        end(holder)
        board.close()
    log = Log(sent=set(range(len(took) + 1)), acknowledged=set(range(len(took) + 1)))
    verdict = judge(number, [log], [found_in(store)])
    store.close()
    counted = {"lost": verdict.lost, "dup": verdict.dup, "altered": verdict.altered}
    report("long-reader", verdict.n, **counted, seconds=took, seed=number, held=seconds, wal_mb=round(largest / 2**20, 1))  # type: ignore[arg-type]
    assert verdict.clean, verdict
    assert len(took) > 10
    assert max(took) < seconds


def test_a_wal_that_grew_under_a_long_reader_shrinks_when_it_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_LARGEST_JOURNAL", 1 << 20)
    store = SqlStore.in_file(tmp_path / "store.db", durability="normal")
    store.ingest(RUN, "source", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
    reader = sqlite.sqlite_driver().connect(tmp_path / "store.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM runs").fetchall()
    sizes: list[int] = []

    def log(count: int) -> None:
        for _ in range(count):
            store.log_batch(RUN, tags={f"t{i}": f"{len(sizes):05}" * 1000 for i in range(100)})
            sizes.append((tmp_path / "store.db-wal").stat().st_size)

    log(40)
    reader.close()
    log(3)
    store.close()
    assert sizes[39] > 16 << 20, "SQLite copies a WAL back only when it has 4000 pages"
    assert sizes[-1] <= 4 << 20


def test_a_writer_gets_its_turn_beside_one_that_hardly_ever_lets_go(tmp_path: Path) -> None:
    store = SqlStore.in_file(tmp_path / "store.db")
    store.ingest(RUN, "source", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
    board = Board(tmp_path / "board")
    greedy = context().Process(target=write_greedily, args=(str(tmp_path / "board"), str(tmp_path / "store.db")))
    greedy.start()
    took: list[float] = []
    try:
        wait_until(lambda: board.is_on, 30, "nobody else wrote")
        for number in range(8):
            time.sleep(0.01)  # so that it is the other's turn
            started = time.monotonic()
            store.log_batch(RUN, tags={"turn": str(number)})
            took.append(time.monotonic() - started)
    finally:
        end(greedy)
        board.close()
        store.close()
    report("greedy-writer", len(took), seconds=took)
    assert sum(took) < 6
