"""A server that is killed in mid-ingest, again and again: what it acknowledged is there, exactly once and bit for bit."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.sqlite import sqlite_driver
from tests.durability.figures import quantile, report, seed
from tests.durability.fleet import Fleet, wait_until
from tests.durability.oracle import judge
from tests.durability.servers import JupyterPlace, TeamPlace, kill
from tests.postgres import PostgresServer, needs_postgres


def _hammer(
    name: str,
    place: TeamPlace | JupyterPlace,
    folder: Path,
    chance: random.Random,
    number: int,
    *,
    kills: int,
    clients: int,
    size: int = 100,
    after_kill: Callable[[int], None],
) -> None:
    """Let clients write while their server is killed and started again, then compare what they know with what is there."""
    server = place.start()
    fleet = Fleet(server, place.token, folder, number, clients, size=size)
    waits: list[float] = []
    try:
        fleet.start()
        for at in range(kills):
            started = time.monotonic()
            wait_until(lambda since=started: fleet.last_acknowledged() > since, 60, "nothing was acknowledged")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.8))
            kill(server)
            after_kill(at)
            if isinstance(place, TeamPlace) and at % 10 == 1:
                place.start_and_kill(chance.uniform(0.2, 1.5))
            started = time.monotonic()
            server = place.start()
            wait_until(lambda since=started: fleet.last_acknowledged() > since, 60, "nothing was acknowledged again")  # type: ignore[misc]
            waits.append(min(moment for log in fleet.logs() for moment in log.acknowledged_at if moment > started) - started)
        fleet.stop()
        logs = fleet.logs()
        verdict = judge(number, logs, fleet.found(server), size)
        errors = [error for log in logs for error in log.errors]
        report(
            f"server-killed-{name}",
            verdict.n,
            lost=verdict.lost,
            dup=verdict.dup,
            altered=verdict.altered,
            errors=len(errors),
            seconds=[second for log in logs for second in log.seconds],
            seed=number,
            kills=kills,
            clients=clients,
            first_ack_p50=round(quantile(waits, 0.5), 2),
            first_ack_p95=round(quantile(waits, 0.95), 2),
            refused=dict(fleet.refusals()),
            sent_again=sum(log.unanswered for log in logs),
        )
        assert verdict.clean, verdict
        assert errors == []
        assert verdict.n > 0
        assert sum(log.unanswered for log in logs) >= kills, "the kills did not come in the middle of calls"
    finally:
        fleet.end()
        if server.process.poll() is None:
            kill(server)


def _check_file(path: Path) -> None:
    """Check a database file as its server left it: whole, and its counters right."""
    with contextlib.closing(sqlite_driver().connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert miscounts(lambda query: database.execute(query).fetchall()) == []


def _is_whole(path: Path) -> None:
    """Check a file between two servers. A reader of its own process: the next server finds the WAL as the dead one left it."""
    with contextlib.closing(sqlite_driver().connect(f"file:{path}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]


def _on_sqlite(
    name: str, place: TeamPlace | JupyterPlace, path: Path, folder: Path, chance: random.Random, number: int, **size: int
) -> None:
    _hammer(name, place, folder, chance, number, after_kill=lambda at: _is_whole(path) if at % 5 == 4 else None, **size)
    _check_file(path)


def test_a_team_server_killed_in_mid_ingest_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    number = seed()
    chance = random.Random(number)
    path = tmp_path / "store.db"
    _on_sqlite("team", TeamPlace(tmp_path / "team", chance, f"sqlite:///{path}"), path, tmp_path, chance, number, kills=2, clients=3)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_team_server_killed_a_hundred_times_loses_nothing_of_ten_clients(tmp_path: Path) -> None:
    number = seed()
    chance = random.Random(number)
    path = tmp_path / "store.db"
    place = TeamPlace(tmp_path / "team", chance, f"sqlite:///{path}")
    _on_sqlite("team-full", place, path, tmp_path, chance, number, kills=100, clients=10, size=400)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_jupyter_server_killed_in_mid_ingest_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    number = seed()
    chance = random.Random(number)
    place = JupyterPlace(tmp_path / "jupyter", chance)
    path = place.project / ".mlops" / "store.db"
    _on_sqlite("jupyter", place, path, tmp_path, chance, number, kills=20, clients=10)


@needs_postgres
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_team_server_on_postgresql_killed_in_mid_ingest_loses_nothing_that_it_acknowledged(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    number = seed()
    chance = random.Random(number)
    uri = postgres.new_database()
    place = TeamPlace(tmp_path / "team", chance, uri)
    _hammer("postgresql", place, tmp_path, chance, number, kills=20, clients=10, after_kill=lambda at: None)
    with psycopg.connect(uri) as connection:
        assert miscounts(lambda query: connection.execute(query).fetchall()) == []  # type: ignore[call-overload]
