"""A power cut: what was not synced is lost, torn or there, in any order; with `durability=full` all that was acknowledged is kept.

The server's process runs with a library that keeps a copy of each file as it was at its last sync. When the process has been
killed, the disk after a power cut is made of these copies and of any of the sectors that were written since.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.durability.children import Board, found_in
from tests.durability.figures import report, seed
from tests.durability.fleet import ROOT, wait_until
from tests.durability.oracle import batch

needs_cc = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux", reason="A C compiler makes what keeps the synced files: there is none here."
)

_LONG = [pytest.mark.slow, pytest.mark.timeout(900)]
_SIZE = 40
_SECTOR = 512
_FILES = ("store.db", "store.db-wal")
_CHILD = "import sys; from tests.durability.children import ingest_until_killed as go; go(*sys.argv[1:3], int(sys.argv[3]), *sys.argv[4:])"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded into the process that loses its power."""
    path = tmp_path_factory.mktemp("library") / "keep_synced.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(Path(__file__).with_name("keep_synced.c"))], check=True)
    return path


def _after_the_cut(chance: random.Random, synced: bytes, written: bytes) -> bytes:
    """Return what a disk may hold of a file of which some was synced and some only written."""
    share = chance.choice((0.0, 1.0, chance.random()))
    length = len(written if chance.random() < share else synced)
    content = bytearray()
    for at in range(0, length, _SECTOR):
        first, second = (written, synced) if chance.random() < share else (synced, written)
        piece = first[at : at + _SECTOR] or second[at : at + _SECTOR]
        content += piece.ljust(_SECTOR, b"\0")
    return bytes(content[:length])


class _Cut:
    """A process that logs batches, killed at a moment of chance, and the disks that a power cut at that moment may leave."""

    def __init__(self, folder: Path, library: Path, chance: random.Random, number: int, durability: str) -> None:
        self.number = number
        self._folder, self._kept = folder / "store", folder / "kept"
        self._path = self._folder / "store.db"
        self._kept.mkdir(parents=True)
        SqlStore.in_file(self._path).close()
        shutil.copy(self._path, self._kept)
        board = Board(folder / "board")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(library), "KEEP_SYNCED": str(self._kept)}
        arguments = [str(folder / "board"), str(self._path), str(number), durability]
        process = subprocess.Popen([sys.executable, "-c", _CHILD, *arguments], env=environment, cwd=folder)
        try:
            wait_until(lambda: board.is_on or process.poll() is not None, 60, "nothing was logged")
            time.sleep(chance.uniform(0.1, 0.6))
            assert process.poll() is None, board.notes()
        finally:
            process.kill()
            process.wait()
        safe = board.marked("C")
        self.acknowledged = max(board.marked("A") | safe, default=-1) + 1
        self.checkpointed = max(safe, default=-1) + 1
        board.close()
        self._synced = {name: self._content(self._kept / name) for name in _FILES}
        self._written = {name: self._content(self._folder / name) for name in _FILES}

    @staticmethod
    def _content(path: Path) -> bytes:
        return path.read_bytes() if path.exists() else b""

    def kept_batches(self, chance: random.Random) -> int:
        """Return how many of the batches a possible disk has: the first ones, whole and bit for bit, and nothing else."""
        disk = self._folder.with_name("disk")
        shutil.rmtree(disk, ignore_errors=True)
        disk.mkdir()
        for name in _FILES:
            if content := _after_the_cut(chance, self._synced[name], self._written[name]):
                (disk / name).write_bytes(content)
        store = SqlStore.in_file(disk / "store.db")
        try:
            there = found_in(store) if store.status().run_count else None
        finally:
            store.close()
        with contextlib.closing(sqlite_driver().connect(disk / "store.db")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert miscounts(lambda query: database.execute(query).fetchall()) == []
        if there is None or not there.points:
            return 0
        count = int(there.tags["t0"]) + 1
        expected = [point for at in range(count) for point in batch(self.number, 0, at, _SIZE).points]
        assert len(there.points) == len(set(expected)), "points are lost, or there twice"
        assert set(there.points) == set(expected)
        return count


@needs_cc
@pytest.mark.parametrize(
    ("durability", "cuts", "disks"),
    [("full", 2, 6), pytest.param("full", 20, 50, marks=_LONG), pytest.param("normal", 20, 50, marks=_LONG)],
)
def test_a_power_cut_takes_nothing_acknowledged_from_a_durable_store_and_breaks_none(
    library: Path, tmp_path: Path, durability: str, cuts: int, disks: int
) -> None:
    number = seed()
    chance = random.Random(number)
    acknowledged = lost = most = 0
    for at in range(cuts):
        cut = _Cut(tmp_path / str(at), library, chance, number, durability)
        for _ in range(disks):
            missing = max(0, cut.acknowledged - cut.kept_batches(chance))
            assert missing <= cut.acknowledged - cut.checkpointed, "what was before the last checkpoint is lost"
            acknowledged += cut.acknowledged * _SIZE
            lost += missing * _SIZE
            most = max(most, missing)
        shutil.rmtree(tmp_path / str(at))
    report(f"power-cut-{durability}", acknowledged, lost=lost, seed=number, cuts=cuts, disks=cuts * disks, most_batches_lost=most)
    assert acknowledged > 0
    if durability == "full":
        assert lost == 0
    else:
        assert lost > 0, "nothing was lost where that is allowed: the power was not cut"
