"""Fifty processes that write to one store at once, directly and through one server: none is refused, nothing is lost."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from mlops_nb.store.open import open_store
from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.sqlite import sqlite_driver
from tests.durability.children import context, end, found_in, make_with_own_sqlite, write_points, write_with_own_sqlite
from tests.durability.figures import report, rss_mb, seed
from tests.durability.fleet import Fleet
from tests.durability.oracle import Log, judge
from tests.durability.servers import TeamPlace, kill
from tests.postgres import PostgresServer, needs_postgres

_MANY = pytest.mark.parametrize(
    ("writers", "batches", "size"), [(8, 4, 100), pytest.param(50, 100, 100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)


def _write_directly(
    name: str, uri: str, folder: Path, writers: int, batches: int, size: int, write: Callable[..., None] = write_points
) -> None:
    number = seed()
    first = open_store(uri, artifact_root=str(folder / "artifacts"))
    assert first is not None
    begin = time.monotonic() + 0.5 + writers / 20
    children = []
    seconds: list[float] = []
    errors: list[str] = []
    ends: list[float] = []
    try:
        for client in range(writers):
            ours, theirs = context().Pipe(duplex=False)
            run_id = f"{client + 1:032x}"
            arguments = (uri, str(folder / "artifacts"), run_id, client, number, batches, size, begin, theirs)
            child = context().Process(target=write, args=arguments)
            child.start()
            theirs.close()
            children.append((child, ours))
        last_start = max(begin, time.monotonic())
        for _, ours in children:
            took, failed, ended = ours.recv()
            seconds += took
            errors += failed
            ends.append(ended)
    finally:
        for child, ours in children:
            ours.close()
            end(child)
    lost = dup = altered = n = 0
    wrong: list[str] = []
    for client in range(writers):
        done = set(range(batches))
        run = found_in(first, f"{client + 1:032x}")
        verdict = judge(number, [Log(sent=done, acknowledged=done)], [run], size, first=client)
        n, lost, dup, altered = n + verdict.n, lost + verdict.lost, dup + verdict.dup, altered + verdict.altered
        wrong += verdict.wrong
    first.close()
    report(
        name,
        n,
        lost=lost,
        dup=dup,
        altered=altered,
        errors=len(errors),
        seconds=seconds,
        seed=number,
        writers=writers,
        total_s=round(max(ends) - last_start, 2),
    )
    assert errors == []
    assert (n, lost, dup, altered, wrong) == (writers * batches * size, 0, 0, 0, [])


@_MANY
def test_many_processes_write_directly_to_one_file(tmp_path: Path, writers: int, batches: int, size: int) -> None:
    path = tmp_path / "store.db"
    _write_directly("many-writers-embedded", f"sqlite:///{path}", tmp_path, writers, batches, size)
    with contextlib.closing(sqlite_driver().connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert miscounts(lambda query: database.execute(query).fetchall()) == []


@pytest.mark.skipif(sqlite3.sqlite_version_info >= (3, 51, 3), reason="Python's own SQLite is safe with a WAL here.")
def test_where_only_an_older_sqlite_is_to_be_had_many_processes_write_without_a_wal(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make_with_own_sqlite(path)
    _write_directly("many-writers-older-sqlite", f"sqlite:///{path}", tmp_path, 4, 4, 50, write_with_own_sqlite)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() != ("wal",)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@needs_postgres
@_MANY
def test_many_processes_write_directly_to_postgresql(
    postgres: PostgresServer, tmp_path: Path, writers: int, batches: int, size: int
) -> None:
    uri = postgres.new_database()
    _write_directly("many-writers-postgresql", uri, tmp_path, writers, batches, size)
    with psycopg.connect(uri) as connection:
        assert miscounts(lambda query: connection.execute(query).fetchall()) == []  # type: ignore[call-overload]


@_MANY
def test_many_processes_write_through_one_server(tmp_path: Path, writers: int, batches: int, size: int) -> None:
    number = seed()
    path = tmp_path / "store.db"
    place = TeamPlace(tmp_path / "team", random.Random(number), f"sqlite:///{path}")
    server = place.start()
    fleet = Fleet(server, place.token, tmp_path, number, writers, size=size)
    try:
        fleet.start(batches=batches)
        started = time.monotonic()
        fleet.wait(800)
        total = time.monotonic() - started
        logs = fleet.logs()
        verdict = judge(number, logs, fleet.found(server), size)
        memory = rss_mb(server.process.pid)
    finally:
        fleet.end()
        kill(server)
    errors = [error for log in logs for error in log.errors] + list(fleet.refusals())
    report(
        "many-writers-server",
        verdict.n,
        lost=verdict.lost,
        dup=verdict.dup,
        altered=verdict.altered,
        errors=len(errors),
        seconds=[second for log in logs for second in log.seconds],
        rss_mb=memory,
        seed=number,
        writers=writers,
        total_s=round(total, 2),
    )
    assert errors == []
    assert verdict.clean, verdict
    assert verdict.n == writers * batches * size
