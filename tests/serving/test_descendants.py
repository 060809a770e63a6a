"""Whose processes are ended: what our workers have started, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from mlops_nb.serving import descendants


@pytest.fixture
def marked() -> Iterator[subprocess.Popen[bytes]]:
    variables = {**os.environ, descendants.VARIABLE: descendants.new_mark()}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=variables)
    yield process
    process.kill()
    process.communicate()


def test_what_a_living_supervisor_has_started_is_left_alone_when_the_clock_has_been_set(
    marked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 3600)  # as after a clock that was set by an hour
    descendants.end_abandoned()
    assert marked.poll() is None


def test_a_number_that_has_become_another_process_is_not_ended(marked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    mark = descendants.new_mark()
    found = iter([[(marked.pid, mark)]])  # the list was made before the number was given to another
    monkeypatch.setattr(descendants, "_marks", lambda: next(found, []))
    assert descendants.end_marked(mark) == 0
    assert marked.poll() is None


def test_what_another_version_of_the_program_has_marked_is_left_alone() -> None:
    variables = {**os.environ, descendants.VARIABLE: f"{os.getpid()}:1763769600.12:00"}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=variables)
    try:
        descendants.end_abandoned()
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_a_mark_of_another_start_of_the_same_number_is_abandoned() -> None:
    pid, began, rest = descendants.new_mark().split(":")
    variables = {**os.environ, descendants.VARIABLE: f"{pid}:t{int(began[1:]) - 100}:{rest}"}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=variables)
    try:
        descendants.end_abandoned()
        assert process.wait(10) == -9
    finally:
        process.kill()
        process.communicate()
