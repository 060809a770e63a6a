"""A GitHub of one's own for each test, and a clock that passes without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_nb.forges.context import discover
from mlops_nb.forges.github import GitHub
from mlops_nb.forges.tokens import find_token
from tests.forges.github import LoopbackGitHub


class Clock:
    """Time that passes only when somebody waits; `told` is what was said on stderr."""

    def __init__(self) -> None:
        self.time = time.time()
        self.waits: list[float] = []
        self.told: list[str] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[LoopbackGitHub]:
    forge = LoopbackGitHub(tmp_path)
    yield forge
    forge.close()


Connect = Callable[..., GitHub]


@pytest.fixture
def connect_to(tmp_path: Path, clock: Clock) -> Iterator[Connect]:
    """Connect as a step of a workflow does: `connect_to(loopback, event, number, token=...)`."""
    made: list[GitHub] = []

    def connect(forge: LoopbackGitHub, event: str = "push", pull: int | None = None, *, token: str = "ghs_workflow") -> GitHub:
        environment = forge.actions(tmp_path, event, pull, token=token)
        context = discover(environment, tmp_path)
        github = GitHub(context, find_token("github", environment), clock=clock.now, sleep=clock.sleep, tell=clock.told.append)
        made.append(github)
        return github

    yield connect
    for each in made:
        each.client.close()


@pytest.fixture
def github(loopback: LoopbackGitHub, connect_to: Connect) -> GitHub:
    return connect_to(loopback)
