"""The N-th call of the system fails, for N = 1, 2, 3 and on until a run passes untouched, as SQLite tests itself."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mlops_nb.store.sql.checking import miscounts
from mlops_nb.store.sql.sqlite import sqlite_driver
from mlops_nb.store.sql.store import SqlStore
from tests.durability.children import Board, context, end, found_in, scripted_ingest
from tests.durability.figures import report, seed
from tests.durability.oracle import Found, Log, judge

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: it makes the calls fail.")

_BATCHES, _SIZE = 5, 40
_WRITES = ("pwrite64", "write", "fsync", "fdatasync", "ftruncate", "openat", "mmap", "unlink", "rename")
_FAULTS = [(call, error, plus) for call in _WRITES for error in ("EIO", "ENOSPC") for plus in ("", "+")]
_FAULTS += [(call, "EINTR", "") for call in ("pwrite64", "write", "fsync", "fdatasync", "openat")]
_LIKELY = [fault for fault in _FAULTS if fault[0] in ("pwrite64", "fsync", "openat")]


def _attach(pid: int, fault: str, trace: Path) -> subprocess.Popen[bytes]:
    call = fault.partition(":")[0]
    command = ["strace", "-f", "-qq", "-e", f"trace={call}", "-e", f"inject={fault}", "-o", str(trace), "-p", str(pid)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    status = Path(f"/proc/{pid}/status")
    deadline = time.monotonic() + 20
    while "TracerPid:\t0\n" in status.read_text():
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace may not look at other processes here: {tracer.stderr.read().decode()}")
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return tracer


class _Outcome:
    """What one run under a fault did."""

    def __init__(self, folder: Path, number: int, fault: str, *, new: bool) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path, trace = folder / "store.db", folder / "trace"
        if not new:
            SqlStore.in_file(path).close()
        self.board = Board(folder / "board")
        process = context().Process(target=scripted_ingest, args=(str(folder / "board"), str(path), number, _BATCHES, _SIZE))
        process.start()
        assert process.pid is not None
        try:
            tracer = _attach(process.pid, fault, trace)
            self.board.go()
            process.join(90)
            self.hung = process.is_alive()
        finally:
            end(process)
        tracer.wait(20)
        self.touched = "(INJECTED)" in trace.read_text()
        self.status = process.exitcode
        self.unexpected = [note for note in self.board.notes() if note.startswith("unexpected")]
        self.wrong = self._wrong(path, number)
        self.acknowledged = len(self.board.marked("A"))
        self.board.close()

    def _wrong(self, path: Path, number: int) -> list[str]:
        acknowledged = self.board.marked("A")
        log = Log(sent=acknowledged | self.board.marked("S"), acknowledged=acknowledged)
        if not path.exists():
            return ["the file is gone"] if acknowledged else []
        store = SqlStore.in_file(path)
        try:
            run = found_in(store) if store.status().run_count else Found([], {}, {}, {})
        finally:
            store.close()
        # Both the run of the client and the one that clients share are this one run.
        verdict = judge(number, [log], [run], _SIZE) if acknowledged or run.points else None
        wrong = [] if verdict is None or verdict.clean else [str(verdict)]
        with contextlib.closing(sqlite_driver().connect(path)) as database:
            checked = database.execute("PRAGMA integrity_check").fetchall()
            wrong += [] if checked == [("ok",)] else [str(checked)]
            wrong += miscounts(lambda query: database.execute(query).fetchall())
        return wrong

    @property
    def problems(self) -> list[str]:
        found = self.unexpected + self.wrong
        found += ["it hung"] if self.hung else []
        found += [f"it ended with {self.status}"] if self.status not in (0, None) and not self.hung else []
        return found


@needs_strace
def test_failing_calls_of_the_system_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    number = seed()
    chance = random.Random(number)
    problems = []
    touched = 0
    for _ in range(8):
        call, error, plus = chance.choice(_LIKELY)
        fault = f"{call}:error={error}:when={chance.randrange(1, 9)}{plus}"
        outcome = _Outcome(tmp_path / "one", number, fault, new=chance.random() < 0.3)
        touched += outcome.touched
        problems += [f"{fault}: {problem}" for problem in outcome.problems]
    report("io-errors", 8, errors=len(problems), seed=number, touched=touched)
    assert problems == []


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("new", [True, False], ids=["a new store", "a store"])
def test_no_failing_call_of_the_system_loses_what_was_acknowledged(tmp_path: Path, new: bool) -> None:
    number = seed()
    problems: list[str] = []
    runs = touched = acknowledged = 0
    for call, error, plus in _FAULTS:
        at = 1
        while True:
            fault = f"{call}:error={error}:when={at}{plus}"
            outcome = _Outcome(tmp_path / "one", number, fault, new=new)
            runs += 1
            touched += outcome.touched
            acknowledged += outcome.acknowledged
            problems += [f"{fault}: {problem}" for problem in outcome.problems]
            if not outcome.touched:
                break
            at += 1
    report("io-errors-full", runs, errors=len(problems), seed=number, touched=touched, acknowledged=acknowledged, new=new)
    assert problems == []
    assert touched > 100
