"""Many processes that open a new store at once: all work, and the schema is made once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_nb.store.open import open_store
from tests.durability.children import context, end, write_points
from tests.durability.figures import report, seed
from tests.postgres import PostgresServer, needs_postgres

_ROUNDS = pytest.mark.parametrize(
    ("rounds", "processes"), [(1, 20), pytest.param(20, 50, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)


def _open_together(name: str, new_store: Callable[[int], str], folder: Path, rounds: int, processes: int) -> None:
    number = seed()
    errors: list[str] = []
    seconds: list[float] = []
    for at in range(rounds):
        uri = new_store(at)
        begin = time.monotonic() + 0.5 + processes / 25
        children = []
        try:
            for client in range(processes):
                ours, theirs = context().Pipe(duplex=False)
                arguments = (uri, str(folder / "artifacts"), f"{client + 1:032x}", client, number, 1, 10, begin, theirs)
                child = context().Process(target=write_points, args=arguments)
                child.start()
                theirs.close()
                children.append((child, ours))
            for _, ours in children:
                _, failed, ended = ours.recv()
                errors += failed
                seconds.append(ended - begin)
        finally:
            for child, ours in children:
                ours.close()
                end(child)
        store = open_store(uri, artifact_root=str(folder / "artifacts"))
        assert store is not None
        assert store.status().run_count == processes
        assert [e.name for e in store.list_experiments().items] == ["together", "Default"]
        store.close()
    report(name, rounds * processes, errors=len(errors), seconds=seconds, seed=number, rounds=rounds)
    assert errors == []


@_ROUNDS
def test_many_processes_open_a_new_file_at_once(tmp_path: Path, rounds: int, processes: int) -> None:
    _open_together("first-open-sqlite", lambda at: f"sqlite:///{tmp_path}/{at}/store.db", tmp_path, rounds, processes)
    assert list(tmp_path.rglob("*.bak")) == []


@needs_postgres
@_ROUNDS
def test_many_processes_open_a_new_database_of_postgresql_at_once(
    postgres: PostgresServer, tmp_path: Path, rounds: int, processes: int
) -> None:
    _open_together("first-open-postgresql", lambda at: postgres.new_database(), tmp_path, rounds, processes)
