"""What child processes do to a store, forked from a small process that has imported all they need."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import multiprocessing
import os
import sqlite3
import time
import traceback
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import alembic.command  # noqa: F401 - so that no child imports it while it is disturbed
import msgspec
import psycopg  # noqa: F401

from mlops_nb.core.events import RunStarted
from mlops_nb.core.records import Metric
from mlops_nb.errors import MlopsError
from mlops_nb.store.base import TrackingStore
from mlops_nb.store.open import open_store
from mlops_nb.store.sql import sqlite
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.durability.oracle import Batch, Found, Point, batch, bits_of, value_of

sqlite_driver()

RUN = "0" * 31 + "1"
_SIZE = 1 << 16
_NOTES = 1 << 12
_GO = 0
_DONE = 1
_TRIES = 4


def context() -> ForkServerContext:
    """Return what makes processes that need no time to import."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([__name__])
    return found


class Board:
    """A shared page on which a child says what it has done: by plain memory, which no failing call of the system can stop."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._noted = _NOTES

    def go(self) -> None:
        self._memory[_GO] = 1

    @property
    def is_on(self) -> bool:
        return bool(self._memory[_GO])

    def wait(self) -> None:
        """Wait for `go`."""
        while not self.is_on:
            time.sleep(0.0005)

    def done(self) -> None:
        self._memory[_DONE] = 1

    @property
    def is_done(self) -> bool:
        return bool(self._memory[_DONE])

    def mark(self, number: int, what: str) -> None:
        self._memory[16 + number] = ord(what)

    def marked(self, what: str) -> set[int]:
        return {i - 16 for i in range(16, _NOTES) if self._memory[i] == ord(what)}

    def note(self, text: str) -> None:
        line = text.replace("\n", " | ").encode(errors="replace")[:1500] + b"\n"
        if self._noted + len(line) < _SIZE:
            self._memory[self._noted : self._noted + len(line)] = line
            self._noted += len(line)

    def notes(self) -> list[str]:
        return bytes(self._memory[_NOTES:]).rstrip(b"\0").decode().splitlines()

    def close(self) -> None:
        self._memory.close()


def log_one(store: TrackingStore, one: Batch, run_id: str = RUN) -> None:
    """Log a batch."""
    points = [Metric(key=key, step=step, timestamp=timestamp, value=value_of(bits)) for key, step, timestamp, bits in one.points]
    store.log_batch(run_id, metrics=points, params=one.params, tags=one.tags)


def found_in(store: TrackingStore, run_id: str = RUN) -> Found:
    """Return what a store answers about a run."""
    run = store.get_run(run_id)
    points: list[Point] = []
    for key in run.metrics:
        points += [(key, p.step, p.timestamp, bits_of(p.value)) for p in store.metric_history(run_id, key, max_results=None).items]
    latest = {key: (metric.step, metric.timestamp, bits_of(metric.value)) for key, metric in run.metrics.items()}
    return Found(points=points, latest=latest, params=run.params, tags=run.tags)


def scripted_ingest(board_path: str, path: str, seed: int, batches: int, size: int) -> None:
    """Open a store, log batches and checkpoint between them; try again what failed, as a client would."""
    board = Board(Path(board_path))
    board.wait()
    try:
        _ingest(board, Path(path), seed, batches, size)
    except BaseException as error:
        board.note(f"unexpected {type(error).__name__}: {error} {traceback.format_exc()[-1200:]}")
    board.done()
    os._exit(0)


def _ingest(board: Board, path: Path, seed: int, batches: int, size: int) -> None:
    store: SqlStore | None = None
    for number in range(batches):
        one = batch(seed, 0, number, size)
        for _ in range(_TRIES):
            try:
                if store is None:
                    store = SqlStore.in_file(path)
                store.ingest(RUN, "source", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
                board.mark(number, "S")
                log_one(store, one)
                board.mark(number, "A")
                store.get_run(RUN)
                break
            except MlopsError as error:
                board.note(f"{type(error).__name__}: {error}")
        if store is not None and number % 2 == 1:
            _checkpoint(store)
    if store is not None:
        store.close()


def ingest_until_killed(board_path: str, path: str, seed: int, durability: str) -> None:
    """Log batches without end; mark each as it is acknowledged, and those after which there was a checkpoint."""
    board = Board(Path(board_path))
    store = SqlStore.in_file(Path(path), durability=durability)
    store.ingest(RUN, "source", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
    for number in itertools.count():
        log_one(store, batch(seed, 0, number, 40))
        board.mark(number, "A")
        if number % 20 == 19:
            _checkpoint(store)
            board.mark(number, "C")
        board.go()


def _checkpoint(store: SqlStore) -> None:
    """Copy the WAL into the database; no caller hears of what fails there."""
    with contextlib.suppress(MlopsError), store.database.translated_errors():
        connection = store.database.engine().raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()


def read_all(path: str, answer: Any) -> None:
    """Open a store, read all of it, write to it, and say how that went."""
    answer.send(_read_all(Path(path)))
    answer.close()


def _read_all(path: Path) -> dict[str, Any]:
    outcome: dict[str, Any] = {"found": None, "error": None, "hint": None, "unexpected": None, "wrote": False}
    try:
        store = SqlStore.in_file(path)
        try:
            outcome["found"] = msgspec.structs.asdict(_plain(found_in(store)))
            store.log_batch(RUN, tags={"after": "it"})
            outcome["wrote"] = True
        finally:
            store.close()
    except MlopsError as error:
        outcome["error"], outcome["hint"] = f"{type(error).__name__}: {error.message}", error.hint
    except BaseException as error:
        outcome["unexpected"] = f"{type(error).__name__}: {error} {traceback.format_exc()[-1500:]}"
    return outcome


class _Plain(msgspec.Struct):
    points: list[Point]
    latest: dict[str, tuple[int, int, int]]
    params: dict[str, str]
    tags: dict[str, str]


def _plain(found: Found) -> _Plain:
    return _Plain(found.points, dict(found.latest), dict(found.params), dict(found.tags))


def open_only(board_path: str, path: str) -> None:
    """Open a store, which may bring it up to date."""
    board = Board(Path(board_path))
    board.wait()
    try:
        SqlStore.in_file(Path(path)).close()
    except BaseException as error:
        board.note(f"{type(error).__name__}: {error}")
    board.done()


def write_points(uri: str, artifacts: str, run_id: str, client: int, seed: int, batches: int, size: int, start: float, answer: Any) -> None:
    """Log the batches of a client directly, from a moment on, and say how long each took and what failed."""
    seconds: list[float] = []
    errors: list[str] = []
    time.sleep(max(0.0, start - time.monotonic()))
    try:
        store = open_store(uri, artifact_root=artifacts)
        assert store is not None
        store.ingest(run_id, f"source{client}", [RunStarted(seq=1, ts=1, experiment="together", name=f"client {client}")])
        for number in range(batches):
            one = batch(seed, client, number, size)
            started = time.monotonic()
            log_one(store, one, run_id)
            seconds.append(time.monotonic() - started)
        store.close()
    except BaseException as error:
        errors.append(f"{type(error).__name__}: {error}")
    answer.send((seconds, errors, time.monotonic()))
    answer.close()


def make_with_own_sqlite(path: Path) -> None:
    """Make a store as where only Python's own SQLite is to be had."""
    with mock.patch.object(sqlite, "sqlite_driver", lambda: sqlite3):
        SqlStore.in_file(path).close()


def write_with_own_sqlite(*arguments: Any) -> None:
    """Do as `write_points`, with Python's own SQLite."""
    with mock.patch.object(sqlite, "sqlite_driver", lambda: sqlite3):
        write_points(*arguments)


def hold_lock(board_path: str, path: str, statements: Sequence[str], seconds: float) -> None:
    """Hold a lock on a database: run statements, wait, and let go by ending the transaction."""
    board = Board(Path(board_path))
    database = sqlite_driver().connect(path, isolation_level=None, timeout=60)
    for statement in statements:
        database.execute(statement).fetchall()
    board.go()
    time.sleep(seconds)
    database.execute("COMMIT")
    board.done()
    database.close()


def write_greedily(board_path: str, path: str) -> None:
    """Take the lock on a database again a millisecond after each time that it was let go, until killed."""
    board = Board(Path(board_path))
    database = sqlite_driver().connect(path, isolation_level=None, timeout=60)
    while True:
        database.execute("BEGIN IMMEDIATE")
        board.go()
        time.sleep(0.05)
        database.execute("COMMIT")
        time.sleep(0.001)


def end(process: BaseProcess) -> None:
    """Kill a child if it still lives, and take its status."""
    if process.is_alive():
        process.kill()
    process.join()
