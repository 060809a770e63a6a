"""What tests of runners share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_nb.core.runners import AgentWish, CloudName, Guards, Heartbeat, MachineWish, Runner, RunnerRequest
from mlops_nb.runners.base import Registrar
from mlops_nb.runners.manager import Runners
from tests.runners.ledgers import WatchedLedger, turn
from tests.runners.small_world import PLACE, SmallClock, SmallCloud, SmallForge, SmallPreparation


class World:
    """A manager over a small ledger, cloud, forge and clock."""

    def __init__(self, folder: Path, clock: SmallClock) -> None:
        self.folder = folder
        self.clock = clock
        self.cloud = SmallCloud(self.clock)
        self.forge = SmallForge(folder / "forge")
        self.ledger = WatchedLedger(folder / "store.db")
        self.preparation = SmallPreparation(self.forge)
        self.lines: list[str] = []
        self.runners = self.manager()

    def manager(self, clock: SmallClock | None = None) -> Runners:
        """Return another manager of the same installation, as another process has one."""

        def cloud(name: CloudName) -> SmallCloud:
            return self.cloud

        def registrar(place: str) -> Registrar:
            assert place == PLACE
            return self.forge

        return Runners(self.ledger, cloud, registrar, clock=clock or self.clock, tell=self.lines.append)

    def wish(self, name: str = "gpu", *, guards: Guards | None = None, ci: bool = True) -> RunnerRequest:
        agent = AgentWish(kind="github", repository=PLACE) if ci else AgentWish()
        return RunnerRequest(name=name, cloud="aws", machine=MachineWish(), agent=agent, guards=guards or Guards())

    def request(self, name: str = "gpu", *, guards: Guards | None = None, ci: bool = True) -> Runner:
        return self.runners.request(self.runners.plan(self.wish(name, guards=guards, ci=ci)))

    def launch(self, name: str = "gpu", *, guards: Guards | None = None, ready_after: float | None = 40, ci: bool = True) -> Runner:
        """Launch a runner whose agent reports so many seconds after its machine was made; None: never."""
        plan = self.runners.plan(self.wish(name, guards=guards, ci=ci))
        runner = self.runners.request(plan)
        if ready_after is not None:
            self.cloud.after_create = lambda made: self.clock.plan(ready_after, lambda: self.beat(runner))
        return self.runners.launch(runner, plan, self.preparation)

    def beat(self, runner: Runner, *, job: str = "", idle: float = 0.0, leaving: str = "") -> None:
        """Let the agent of a runner give a sign of life."""
        self.ledger.heartbeat(runner.id, Heartbeat(state="busy" if job else "idle", job=job, idle=idle, leaving=leaving))

    def get(self, runner: Runner) -> Runner:
        return self.ledger.get(runner.id)

    @property
    def registrations(self) -> list[str]:
        return sorted(path.name for path in self.forge.folder.iterdir())


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], World]]:
    """Return what gives a new world each time."""
    worlds: list[World] = []

    def make() -> World:
        folder = tmp_path / str(len(worlds))
        folder.mkdir()
        clock = SmallClock()
        turn(monkeypatch, clock.now)
        worlds.append(World(folder, clock))
        return worlds[-1]

    yield make
    for each in worlds:
        each.ledger.close()


@pytest.fixture
def world(build: Callable[[], World]) -> World:
    return build()
