"""A process that is killed while it brings a store up to date: the store has the old schema or the new, and all of its data."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from mlops_nb.core.records import Metric
from mlops_nb.store.sql import blocks
from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.schema import SCHEMA_VERSION
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.durability.children import Board, context, end, open_only
from tests.durability.figures import report, seed
from tests.durability.fleet import wait_until
from tests.durability.oracle import bits_of

_OLD = "0001"
_RUNS, _POINTS = 20, 3000
_RUN = (
    'INSERT INTO runs (run_id, experiment_id, name, "user", status, start_time, lifecycle_stage, revision) '
    "VALUES (?, 0, ?, 'me', 'FINISHED', ?, 'active', ?)"
)
_LATEST = "INSERT INTO latest_metrics (run, key, step, timestamp, bits, value) VALUES (?, ?, ?, ?, ?, ?)"


def _make(path: Path) -> None:
    """Make a store as version 0.1 made it."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), module=sqlite_driver())
    config = Config()
    config.set_main_option("script_location", "mlops_nb:store/migrations")
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, _OLD)
        connection.commit()
        connection.exec_driver_sql("INSERT INTO metric_keys (id, name) VALUES (1, 'loss')")
        for number in range(1, _RUNS + 1):
            points = [(number, 1, step, step, bits_of(_value(number, step))) for step in range(_POINTS)]
            newest = points[-1]
            connection.exec_driver_sql(_RUN, (f"{number:032x}", f"run {number}", number, number))
            connection.exec_driver_sql("INSERT INTO metric_points (run, key, step, timestamp, bits) VALUES (?, ?, ?, ?, ?)", points)
            connection.exec_driver_sql(_LATEST, (*newest, _value(number, _POINTS - 1)))
            connection.exec_driver_sql("INSERT INTO params (run, key, value) VALUES (?, 'lr', ?)", (number, str(number)))
            connection.exec_driver_sql("INSERT INTO tags (run, key, value) VALUES (?, 'team', ?)", (number, f"team {number}"))
        connection.commit()
    engine.dispose()


def _value(run: int, step: int) -> float:
    return run + step / 7


def _schema(path: Path) -> str:
    with contextlib.closing(sqlite_driver().connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _check(path: Path) -> None:
    """Check that a store has the present schema and all data of the old one."""
    store = SqlStore.in_file(path)
    for number in range(1, _RUNS + 1):
        run = store.get_run(f"{number:032x}")
        assert (run.name, run.params, run.tags) == (f"run {number}", {"lr": str(number)}, {"team": f"team {number}"})
        history = store.metric_history(run.run_id, "loss", max_results=None).items
        assert history == [Metric(key="loss", step=step, timestamp=step, value=_value(number, step)) for step in range(_POINTS)]
    store.close()
    with contextlib.closing(sqlite_driver().connect(path)) as database:
        assert miscounts(lambda query: database.execute(query).fetchall()) == []


def test_an_upgrade_that_fails_at_its_last_step_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    _make(path)

    def fail(_connection: sa.Connection) -> None:
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(blocks, "seal_all", fail)
        with pytest.raises(RuntimeError, match="power"):
            SqlStore.in_file(path)
    assert _schema(path) == _OLD
    _check(path)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_killed_migration_leaves_the_old_schema_or_the_new_and_is_finished_later(tmp_path: Path, kills: int) -> None:
    number = seed()
    chance = random.Random(number)
    original = tmp_path / "original.db"
    _make(original)
    whole = _open(tmp_path / "whole", original, None)
    left = {_OLD: 0, SCHEMA_VERSION: 0}
    for _ in range(kills):
        folder = tmp_path / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        _open(folder, original, chance.uniform(0, 1.1) * whole)
        path, backup = folder / "store.db", folder / f"store.db.{_OLD}.bak"
        found = _schema(path)
        left[found] += 1
        if found == SCHEMA_VERSION:
            assert _schema(backup) == _OLD
        _check(path)
        assert _schema(path) == SCHEMA_VERSION
        assert _schema(backup) == _OLD
        assert sorted(p.name for p in folder.iterdir() if p.suffix == ".part") == []
    report("migration-killed", kills, seed=number, seconds=[whole], left=left)
    assert sum(left.values()) == kills


def _open(folder: Path, original: Path, kill_after: float | None) -> float:
    """Open a copy of a store in a child, kill that after some time, and return how long it lived."""
    folder.mkdir()
    shutil.copy(original, folder / "store.db")
    board = Board(folder / "board")
    process = context().Process(target=open_only, args=(str(folder / "board"), str(folder / "store.db")))
    process.start()
    started = time.monotonic()
    board.go()
    try:
        if kill_after is None:
            wait_until(lambda: board.is_done, 60, "the store was not opened")
            assert board.notes() == []
        else:
            time.sleep(kill_after)
        return time.monotonic() - started
    finally:
        end(process)
        board.close()
