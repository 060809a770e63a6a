"""Files of a store that were damaged: it opens and reads right, or it says what is broken and what to do; it never crashes."""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.events import RunStarted
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.durability.children import RUN, Board, context, end, log_one, read_all
from tests.durability.figures import report, seed
from tests.durability.fleet import wait_until
from tests.durability.oracle import batch

_BATCHES, _SIZE = 40, 50
_PAGE = 4096
Mutation = Callable[[random.Random, Path], None]
"""Damages the store in a folder: `store.db`, `store.db-wal`, `store.db-shm`."""


def _in(file: Path, chance: random.Random, change: Callable[[bytearray, int], None]) -> None:
    content = bytearray(file.read_bytes())
    change(content, chance.randrange(len(content)))
    file.write_bytes(content)


def _flip(content: bytearray, at: int) -> None:
    content[at] ^= 1 << (at % 8)


def _zero(content: bytearray, at: int) -> None:
    start = at - at % _PAGE
    content[start : start + _PAGE] = bytes(len(content[start : start + _PAGE]))


def _cut(content: bytearray, at: int) -> None:
    del content[at:]


def _junk(content: bytearray, at: int) -> None:
    content[at : at + 512] = random.Random(at).randbytes(len(content[at : at + 512]))


def _damage(name: str, change: Callable[[bytearray, int], None]) -> Mutation:
    return lambda chance, folder: _in(folder / name, chance, change)


def _lose(name: str) -> Mutation:
    return lambda _, folder: (folder / name).unlink()


def _foreign_wal(chance: random.Random, folder: Path) -> None:
    shutil.copy(folder.parent / "other" / "store.db-wal", folder / "store.db-wal")
    if chance.random() < 0.5:
        (folder / "store.db-shm").unlink()


_MUTATIONS: dict[str, Mutation] = {
    "db bit": _damage("store.db", _flip),
    "db page": _damage("store.db", _zero),
    "db cut": _damage("store.db", _cut),
    "db junk": _damage("store.db", _junk),
    "wal bit": _damage("store.db-wal", _flip),
    "wal page": _damage("store.db-wal", _zero),
    "wal cut": _damage("store.db-wal", _cut),
    "wal foreign": _foreign_wal,
    "wal gone": _lose("store.db-wal"),
    "shm bit": _damage("store.db-shm", _flip),
    "shm zero": _damage("store.db-shm", _zero),
    "shm cut": _damage("store.db-shm", _cut),
    "shm gone": _lose("store.db-shm"),
}
_HARMLESS = ("shm bit", "shm zero", "shm cut", "shm gone")


def _make(folder: Path, number: int) -> None:
    """Make a store whose process died with half of the data in the database and half in the WAL."""
    folder.mkdir()
    store = SqlStore.in_file(folder / "store.db")
    store.ingest(RUN, "source", [RunStarted(seq=1, ts=1, experiment="e", name="n")])
    for at in range(_BATCHES):
        log_one(store, batch(number, 0, at, _SIZE))
    store.close()
    board = Board(folder / "board")
    process = context().Process(target=_log_and_wait, args=(str(folder / "board"), str(folder / "store.db"), number))
    process.start()
    wait_until(lambda: board.is_done, 60, "the second half was not written")
    end(process)
    board.close()
    assert (folder / "store.db-wal").stat().st_size > _PAGE and (folder / "store.db-shm").exists()


def _log_and_wait(board_path: str, path: str, number: int) -> None:
    store = SqlStore.in_file(Path(path))
    for at in range(_BATCHES, 2 * _BATCHES):
        log_one(store, batch(number, 0, at, _SIZE))
    Board(Path(board_path)).done()
    signal.pause()


def _expected(number: int, batches: int) -> set[tuple[str, int, int, int]]:
    return {point for at in range(batches) for point in batch(number, 0, at, _SIZE).points}


def _sqlite_can_tell(path: Path) -> bool:
    try:
        database = sqlite_driver().connect(path)
        try:
            return bool(database.execute("PRAGMA integrity_check").fetchall() != [("ok",)])
        finally:
            database.close()
    except sqlite_driver().Error:
        return True


class _Trial:
    """A damaged copy, opened in a process of its own twice: a crash must not become a loop, nor the second answer another."""

    def __init__(self, original: Path, name: str, chance: random.Random) -> None:
        self.folder = original.parent / "copy"
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(original, self.folder)
        if name.startswith("db"):  # of a database beside a WAL little is read that is not in the WAL
            SqlStore.in_file(self.folder / "store.db").close()
        _MUTATIONS[name](chance, self.folder)
        self.outcomes = [self._read() for _ in range(2)]

    def _read(self) -> dict[str, Any]:
        ours, theirs = context().Pipe(duplex=False)
        process = context().Process(target=read_all, args=(str(self.folder / "store.db"), theirs))
        process.start()
        theirs.close()
        try:
            if not ours.poll(60):
                return {"unexpected": "it hung", "error": None, "found": None, "wrote": False}
            return dict(ours.recv())
        except EOFError:
            process.join()
            return {"unexpected": f"it ended with {process.exitcode}", "error": None, "found": None, "wrote": False}
        finally:
            ours.close()
            end(process)

    @staticmethod
    def _misses_the_run(name: str, outcome: dict[str, Any]) -> bool:
        return name.startswith("db") and str(outcome["error"]).startswith("NotFound")

    def problems(self, name: str, whole: set[tuple[str, int, int, int]], half: set[tuple[str, int, int, int]]) -> tuple[str, list[str]]:
        """Return what happened in a word, and what should not have."""
        wrong = []
        for outcome in self.outcomes:
            if outcome["unexpected"]:
                wrong.append(outcome["unexpected"])
            elif self._misses_the_run(name, outcome):
                pass  # damage that SQLite does not see while it reads: an answer that is wrong, and no crash
            elif outcome["error"] and not (outcome["hint"] and outcome["error"].startswith("Store")):
                wrong.append(f"an error without a remedy: {outcome['error']}")
        first = self.outcomes[0]
        if first["error"]:
            return "the run is missed" if self._misses_the_run(name, first) else "refused", wrong
        if first["unexpected"]:
            return "crashed", wrong
        points = {tuple(point) for point in first["found"]["points"]}
        if points == whole and len(first["found"]["points"]) == len(whole):
            return "whole", wrong
        if name in _HARMLESS:
            wrong.append(f"{len(whole - points)} points are lost, {len(points - whole)} are wrong")
        if name.startswith("wal") and name != "wal foreign":
            # SQLite drops what follows the first damaged frame; what is left must be the store as it was at some moment.
            wrong += (
                [] if half <= points <= whole else [f"of the first half {len(half - points)} are lost, {len(points - whole)} are wrong"]
            )
            return "rolled back", wrong
        return ("wrong, SQLite can tell" if _sqlite_can_tell(self.folder / "store.db") else "wrong, SQLite cannot tell"), wrong


def _trials(tmp_path: Path, number: int, names: list[str]) -> tuple[Counter[str], list[str]]:
    chance = random.Random(number)
    _make(tmp_path / "original", number)
    _make(tmp_path / "other", number + 1)
    whole, half = _expected(number, 2 * _BATCHES), _expected(number, _BATCHES)
    told: Counter[str] = Counter()
    problems = []
    for name in names:
        word, wrong = _Trial(tmp_path / "original", name, chance).problems(name, whole, half)
        told[f"{name}: {word}"] += 1
        problems += [f"{name}: {problem}" for problem in wrong]
    return told, problems


def test_damaged_files_are_read_right_or_refused_with_a_remedy(tmp_path: Path) -> None:
    number = seed()
    names = random.Random(number).sample(list(_MUTATIONS), 6)
    told, problems = _trials(tmp_path, number, names)
    report("damaged-files", len(names), errors=len(problems), seed=number, told=dict(sorted(told.items())))
    assert problems == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_damaged_stores_are_read_right_or_refused_with_a_remedy(tmp_path: Path) -> None:
    number = seed()
    names = list(_MUTATIONS) * (1000 // len(_MUTATIONS) + 1)
    told, problems = _trials(tmp_path, number, names)
    report("damaged-files-full", len(names), errors=len(problems), seed=number, told=dict(sorted(told.items())))
    assert problems == []
