"""Faults that meet runners on AWS, and what is left of them."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlops_nb.core.runners import TAG_RUNNER
from tests.clouds.aws_calls import FaultKind
from tests.clouds.aws_state import Thing
from tests.clouds.aws_world import AwsWorld
from tests.runners.aws_stage import Stage
from tests.runners.ledgers import turn
from tests.runners.small_world import SmallClock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQmcXAy1e7dPzQ2lAeqfWnSEqQ9J7lqKZbyqT3aNw6o user@host"
WAITING: tuple[FaultKind, ...] = ("hang", "late")
KILLS: tuple[FaultKind, ...] = ("kill-before", "kill-after")


@contextmanager
def set_up(world: AwsWorld, foreign: Mapping[str, Thing], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Give a stage on an account, and see at the end that nothing of other people was touched."""
    clock = SmallClock()
    clock.time = time.time()
    turn(monkeypatch, clock.now)
    yield Stage(world, folder, clock)
    world.calm()
    world.expired.clear()
    there = world.snapshot()
    touched = [key for key, thing in foreign.items() if there.get(key) != thing]
    assert touched == [], f"{len(touched)} foreign things were touched"


class Count:
    """What came of the faults so far."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.n = 0
        self.left_before = 0
        self.outcomes: Counter[str] = Counter()

    def meet(self, kind: FaultKind, at: int, *, times: int | None = 1, attempts: int = 1, action: str = "", changes: bool = False) -> None:
        """Let a runner live while a fault waits for one of its calls."""
        stage, world = self.stage, self.stage.world
        request = stage.request(ssh=True)
        if kind in KILLS:
            killed = world.killed(lambda: stage.live(request, key=KEY), kind, at, action=action, changes=changes)
            self.outcomes["killed" if killed else "ok"] += 1
            self.n += killed
        else:
            fault = world.fault(kind, at, times=times, action=action, changes=changes, seconds=2.6)
            stage.read_timeout = 2.0 if kind in WAITING else 5.0
            self.outcomes[stage.live(request, key=KEY, attempts=attempts)] += 1
            stage.read_timeout = 5.0
            world.faults.remove(fault)
            self.n += bool(fault.fired)

    def settle(self) -> None:
        """Have one pass of the reaper, and look that all is as it should be."""
        stage, world = self.stage, self.stage.world
        self.left_before += len(world.left())
        reaped = stage.reap()
        assert world.left() == [] and stage.registrations == []
        assert reaped.is_clean, reaped
        machines = Counter(thing.tags[TAG_RUNNER] for thing in world.things() if thing.kind == "machine" and TAG_RUNNER in thing.tags)
        assert max(machines.values(), default=0) <= 1, "a runner has had two machines"
        assert stage.unfinished() == []
        world.forget_ended()

    def tell(self, test: str) -> None:
        figures = {"n": self.n, "left_before_the_reaper": self.left_before, "left": 0, "double": 0, "foreign_touched": 0}
        print(json.dumps({"test": test, **figures, "outcomes": dict(self.outcomes)}))


def calls_of_a_life(stage: Stage) -> Sequence[str]:
    stage.world.calls.clear()
    assert stage.live(stage.request(ssh=True), key=KEY) == "ok"
    return stage.world.actions()


def signal_at_random(stage: Stage, seed: int, count: int) -> None:
    """Let runners live in processes of their own that get a signal at a random moment, and see what they leave by themselves."""
    world, chance = stage.world, random.Random(seed)
    began = time.monotonic()
    assert stage.live(stage.request(ssh=True), key=KEY) == "ok"
    length = time.monotonic() - began
    outcomes: Counter[int] = Counter()
    for _ in range(count):
        request = stage.request(ssh=True)
        child = os.fork()
        if child == 0:
            outcome = "failed"
            try:
                outcome = stage.live(request, key=KEY)
            except KeyboardInterrupt:
                outcome = "before or after the launch"
            finally:
                os._exit({"ok": 0, "Interrupted": 3, "before or after the launch": 4}.get(outcome, 70))
        time.sleep(chance.uniform(0, length * 1.2))
        os.kill(child, chance.choice([signal.SIGINT, signal.SIGTERM]))
        _, status = os.waitpid(child, 0)
        outcomes[-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)] += 1
    assert 70 not in outcomes
    left = world.left()
    reaped = stage.reap()
    assert reaped.is_clean and world.left() == [] and stage.registrations == [] and stage.unfinished() == []
    print(json.dumps({"test": "signals at random", "n": count, "seed": seed, "left_before": len(left), "outcomes": dict(outcomes)}))
    assert len(left) == 0 or -signal.SIGTERM in outcomes or -signal.SIGINT in outcomes
