"""A cloud, a forge and a clock small enough to say what each does, call by call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from mlops_nb.clouds.base import CloudError, Finding, Found, Machine, MachineOrder, Note
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, CloudName, MachineWish, Offer, Resource, Runner

START = 1_900_000_000.0
CLOUD: CloudName = "aws"
PLACE = "https://forge.example/o/r"


class SmallClock:
    """Time that passes when it is waited for. What was planned happens when its time has come."""

    def __init__(self) -> None:
        self.time = START
        self._plans: list[tuple[float, Callable[[], object]]] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        end = self.time + seconds
        while due := sorted((plan for plan in self._plans if plan[0] <= end), key=lambda plan: plan[0]):
            self._plans.remove(due[0])
            self.time = max(self.time, due[0][0])
            due[0][1]()
        self.time = end

    def plan(self, seconds: float, action: Callable[[], object]) -> None:
        """Let something happen so many seconds from now."""
        self._plans.append((self.time + seconds, action))


class SmallCloud:
    """An account that keeps what was made of it. `refusals`: what the next creates, finds or destroys raise, in their order."""

    name = CLOUD

    def __init__(self, clock: SmallClock) -> None:
        self.clock = clock
        self.things: dict[str, Resource] = {}
        self.orders: list[tuple[MachineOrder, Offer]] = []
        self.touched: list[str] = []
        self.offered: Sequence[Offer] = [Offer(cloud=CLOUD, type="m", region="r1", zone=zone, hourly=0.5) for zone in ("r1a", "r1b")]
        self.refusals: dict[str, list[CloudError | None]] = {"create": [], "find": [], "destroy": [], "describe": []}
        self.after_create: Callable[[Resource], object] = lambda resource: None
        self.unseen: Mapping[str, str] = {}
        self.time: float | None = None
        self.stubborn: set[str] = set()
        self.switched_off: set[str] = set()
        self._ids = itertools.count(1)

    def check(self) -> Sequence[Finding]:
        return [Finding(what="credentials", ok=True, text="of the test")]

    def offers(self, wish: MachineWish) -> Sequence[Offer]:
        return self.offered

    def create(self, order: MachineOrder, offer: Offer, note: Note) -> Machine:
        self.orders.append((order, offer))
        note(Resource(kind="machine", id="", region=offer.region, tags=order.tags))
        self._refuse("create")
        made = self.put(order.tags, region=offer.region)
        self.after_create(made)
        note(made)
        return Machine(resource=made, phase="starting")

    def describe(self, machine: Resource) -> Machine:
        self._refuse("describe")
        known = self.things.get(machine.id)
        if known and machine.id in self.switched_off:
            return Machine(resource=machine, phase="stopping", reason="switched off from within")
        return Machine(resource=machine, phase="running" if known else "gone", reason="" if known else "spot capacity taken back")

    def console(self, machine: Resource) -> str:
        return "\x1b[31mcloud-init: no route to host\x1b[0m\r\nAKIAIOSFODNN7EXAMPLE\n"

    def find(self, installation: str, *, regions: Collection[str] = ()) -> Found:
        self._refuse("find")
        mine = [item for item in self.things.values() if item.installation == installation and (not regions or item.region in regions)]
        return Found(resources=mine, unseen=self.unseen, clock=self.time)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        self._refuse("destroy")
        left = []
        for wanted in resources:
            runner = wanted.tags.get(TAG_RUNNER)
            ids = [wanted.id] if wanted.id else [key for key, item in self.things.items() if item.tags.get(TAG_RUNNER) == runner]
            for key in ids:
                if key in self.things and self.things[key].tags.get(TAG_INSTALLATION) == installation:
                    if key in self.stubborn:
                        left.append(self.things[key])
                    else:
                        self.touched.append(key)
                        del self.things[key]
        return left

    def put(self, tags: Mapping[str, str], *, region: str = "r1", created: float | None = None) -> Resource:
        """Put in a machine by hand."""
        made = Resource(kind="machine", id=f"i-{next(self._ids)}", region=region, tags=tags, created=created or self.clock.time)
        self.things[made.id] = made
        return made

    def _refuse(self, call: str) -> None:
        if self.refusals[call] and (error := self.refusals[call].pop(0)):
            raise error


class SmallForge:
    """The registrations of one place, a file each, so that processes that are killed leave them behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.refusals: list[Exception | None] = []
        self.busy: set[str] = set()

    def register(self, runner: Runner, installation: str) -> Resource:
        tags = {TAG_RUNNER: runner.id, TAG_INSTALLATION: installation}
        (self.folder / runner.id).write_text(json.dumps({"tags": tags, "state": "offline"}))
        return Resource(kind="registration", id=runner.id, region=PLACE, tags=tags)

    def set_state(self, runner_id: str, state: str) -> None:
        known = json.loads((self.folder / runner_id).read_text())
        (self.folder / runner_id).write_text(json.dumps({**known, "state": state}))

    def find(self, installation: str) -> Found:
        self._refuse()
        found = []
        for path in self.folder.iterdir():
            known = json.loads(path.read_text())
            if known["tags"][TAG_INSTALLATION] == installation:
                found.append(Resource(kind="registration", id=path.name, region=PLACE, **known))
        return Found(resources=found)

    def destroy(self, resources: Sequence[Resource], installation: str) -> Sequence[Resource]:
        self._refuse()
        for item in resources:
            if (item.id or item.runner_id) not in self.busy:
                (self.folder / (item.id or item.runner_id)).unlink(missing_ok=True)
        return [item for item in resources if (item.id or item.runner_id) in self.busy]

    def _refuse(self) -> None:
        if self.refusals and (error := self.refusals.pop(0)):
            raise error


class SmallPreparation:
    """Registers at the small forge, and writes a start-up script of one line."""

    def __init__(self, forge: SmallForge | None = None, installation: str = "1" * 32) -> None:
        self.forge = forge
        self.installation = installation
        self.forgotten = 0

    def enrol(self, runner: Runner, note: Note) -> Mapping[str, str]:
        if self.forge is not None:
            tags = {TAG_RUNNER: runner.id, TAG_INSTALLATION: self.installation}
            note(Resource(kind="registration", id="", region=PLACE, tags=tags))
            note(self.forge.register(runner, self.installation))
        return {}

    def script(self, runner: Runner) -> str:
        return f"#!/bin/sh\nshutdown -P +{int(runner.hard_stop - runner.created) // 60}\n"

    def forget(self) -> None:
        self.forgotten += 1
