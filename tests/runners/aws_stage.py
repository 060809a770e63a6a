"""Runners on the AWS of the tests: the whole life of one, as a process of its own could live it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mlops_nb.clouds.aws.cloud import AwsCloud
from mlops_nb.clouds.base import Found
from mlops_nb.core.runners import AgentWish, CloudName, Heartbeat, MachineWish, Runner, RunnerRequest, RunnerState
from mlops_nb.errors import MlopsError
from mlops_nb.runners.base import Reaped
from mlops_nb.runners.cancelling import Interrupted
from mlops_nb.runners.manager import Runners
from mlops_nb.runners.verdicts import LAUNCH_SECONDS
from tests.clouds.aws_world import AwsWorld
from tests.runners.ledgers import INSTALLATION, WatchedLedger
from tests.runners.small_world import PLACE, SmallClock, SmallForge, SmallPreparation

REGIONS = ["us-east-1", "eu-west-1"]


class TurnedAws(AwsCloud):
    """AWS by the clock of the test: its answers are dated as that has it."""

    def __init__(self, clock: SmallClock, environment: Any, **options: Any) -> None:
        super().__init__(environment, sleep=lambda seconds: None, **options)
        self._clock = clock

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        return replace(super().find(installation, regions=regions or REGIONS), clock=self._clock.now())


class Stage:
    """One AWS, one forge and one ledger, and processes that come and go."""

    def __init__(self, world: AwsWorld, folder: Path, clock: SmallClock) -> None:
        self.world = world
        self.folder = folder
        self.clock = clock
        self.forge = SmallForge(folder / "forge")
        self.names = iter(range(100_000))
        self.ready = 10.0
        self.read_timeout = 5.0

    def request(self, *, ssh: bool = False, spot: bool = False, **machine: Any) -> RunnerRequest:
        agent = AgentWish(kind="github", repository=PLACE)
        wish = MachineWish(region="us-east-1", types=machine.pop("types", ("t3.medium",)), spot=spot, **machine)
        return RunnerRequest(name=f"r-{next(self.names)}", cloud="aws", machine=wish, agent=agent, ssh=ssh)

    def live(self, request: RunnerRequest, *, attempts: int = 1, down: bool = True, key: str = "", settle: float = 0.0) -> str:
        """Launch a runner whose agent reports, and end it; return how that went. Opens the ledger anew, as a process does."""
        with_ledger = WatchedLedger(self.folder / "store.db")
        try:
            runners = self.runners(with_ledger, attempts=attempts, settle=settle)
            plan = runners.plan(request)
            runner = runners.request(plan)
            if self.ready >= 0:
                self.clock.plan(self.ready, lambda: self._beat(with_ledger, runner))
            runners.launch(runner, plan, SmallPreparation(self.forge, INSTALLATION), ssh_public_key=key)
            if down:
                runners.down(runner.id)
        except (MlopsError, Interrupted) as error:
            return type(error).__name__
        finally:
            with_ledger.close()
        return "ok"

    def reap(self, *, after: float = LAUNCH_SECONDS + 1) -> Reaped:
        """Let the time of a launch pass, and have one pass of a reaper from another process."""
        self.clock.wait(after)
        return self.with_runners(lambda runners: runners.reap(["aws"], repositories=[PLACE]))

    def with_runners(self, action: Callable[[Runners], Any]) -> Any:
        """Do something as a process of its own."""
        ledger = WatchedLedger(self.folder / "store.db")
        try:
            return action(self.runners(ledger, attempts=3))
        finally:
            ledger.close()

    def runners(self, ledger: WatchedLedger, *, attempts: int, settle: float = 0.0) -> Runners:
        def cloud(name: CloudName) -> AwsCloud:
            assert name == "aws"
            return TurnedAws(self.clock, self.world.environment, settle=settle, attempts=attempts, read_timeout=self.read_timeout)

        return Runners(ledger, cloud, lambda place: self.forge, installation=INSTALLATION, clock=self.clock)

    @property
    def registrations(self) -> list[str]:
        return sorted(path.name for path in self.forge.folder.iterdir())

    def unfinished(self) -> list[Runner]:
        """Return the runners of the ledger that are not gone."""
        found: list[Runner] = self.with_runners(lambda runners: list(runners.list()))
        return found

    def _beat(self, ledger: WatchedLedger, runner: Runner) -> None:
        if ledger.get(runner.id).state in (RunnerState.CREATING, RunnerState.BOOTING):
            ledger.heartbeat(runner.id, Heartbeat(state="idle"))
