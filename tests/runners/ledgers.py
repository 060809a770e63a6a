"""The ledger in SQLite with a clock that tests turn, and a word before each write."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_nb.core.runners import Runner, RunnerEvent
from mlops_nb.store.secrets import SecretBox
from mlops_nb.store.sql.runners import SqlRunners
from mlops_nb.store.sql.sqlite import SqliteDatabase

INSTALLATION = "1" * 32


class TurnedTime:
    """Stands in for the module `time` where the ledger reads the clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.time = now
        self.monotonic = time.monotonic


class WatchedLedger(SqlRunners):
    """The ledger of a SQLite file. `before_save` is told each runner before it is saved, and may raise."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            shutil.copy(_empty(), path)
        self.database = SqliteDatabase(path)
        super().__init__(self.database, SecretBox(path.parent / "key", subject="runner"))
        self.before_save: Callable[[Runner], None] = lambda runner: None

    def save(self, runner: Runner, *events: RunnerEvent) -> Runner:
        self.before_save(runner)
        return super().save(runner, *events)

    def close(self) -> None:
        self.database.close()


def turn(monkeypatch: pytest.MonkeyPatch, now: Callable[[], float]) -> None:
    """Let the ledgers of this process go by another clock, and be of the installation of the tests."""
    monkeypatch.setattr("mlops_nb.store.sql.runners.store.time", TurnedTime(now))
    monkeypatch.setenv("MLOPS_NB_INSTALLATION", INSTALLATION)


@functools.cache
def _empty() -> Path:
    """Return a new store, made once: its tables take longer than a test."""
    path = Path(tempfile.mkdtemp(prefix="mlops-nb-test-")) / "store.db"
    SqliteDatabase(path).close()
    return path
