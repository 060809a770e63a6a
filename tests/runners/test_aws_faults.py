"""Whatever goes wrong in whichever call to AWS, one pass of the reaper later nothing of ours is left and nothing else was touched.

With a thousand foreign things in the account. The first test has every call in the ways that need no waiting, the slow ones have the rest;
`test_aws_runners.py` has what else goes wrong.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.clouds.aws_calls import FAULTS, FaultKind
from tests.clouds.aws_state import Thing
from tests.clouds.aws_world import AwsWorld, open_world
from tests.runners.aws_faults import KILLS, WAITING, Count, calls_of_a_life, set_up, signal_at_random
from tests.runners.aws_stage import REGIONS, Stage

QUICK = [kind for kind in FAULTS if kind not in WAITING]
LASTING: tuple[FaultKind, ...] = ("error", "throttle", "cut-after")


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[AwsWorld, Mapping[str, Thing]]]:
    """An AWS with more than a thousand things of other people, which look as much like ours as they can."""
    with open_world() as world:
        yield world, world.add_foreign(999, regions=REGIONS)


@pytest.fixture
def stage(account: tuple[AwsWorld, Mapping[str, Thing]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Its ledger is in memory where that can be had: a disk takes half the time of a life."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder, set_up(*account, Path(folder), monkeypatch) as stage:
        yield stage


@pytest.mark.timeout(600)
def test_two_hundred_faults_leave_nothing_make_no_second_machine_and_touch_nothing_else(stage: Stage) -> None:
    """Once at every call, so that what follows can clean up; and from some on for good, so that only the reaper can."""
    count = Count(stage)
    calls = len(calls_of_a_life(stage))
    for kind in QUICK:
        for at in range(1, calls + 1):
            count.meet(kind, at)
            if kind in LASTING:
                count.meet(kind, at, times=None)
        count.settle()
    assert count.n >= (len(QUICK) + len(LASTING)) * calls >= 200
    count.tell("every call, quick")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", FAULTS)
def test_every_call_may_go_wrong_in_every_way(stage: Stage, kind: FaultKind) -> None:
    """Once, so that what follows can clean up; and from then on for good, so that only the reaper can."""
    count = Count(stage)
    calls = len(calls_of_a_life(stage))
    for at in range(1, calls + 1):
        count.meet(kind, at)
        if kind not in KILLS + WAITING:
            count.meet(kind, at, times=None)
    count.settle()
    assert count.n >= calls
    count.tell(f"every call {kind}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["error", "lost", "throttle", "malformed", "cut-after"])
def test_what_goes_wrong_once_is_got_over_where_calls_are_repeated(stage: Stage, kind: FaultKind) -> None:
    count = Count(stage)
    for at in range(1, len(calls_of_a_life(stage)) + 1):
        count.meet(kind, at, attempts=3)
    assert set(count.outcomes) == {"ok"}
    assert stage.world.left() == []
    count.tell(f"repeated {kind}")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", KILLS)
def test_a_reaper_that_is_killed_at_any_call_is_followed_by_one_that_finishes(stage: Stage, kind: FaultKind) -> None:
    world = stage.world
    stage.clock.wait(1)
    calls = 0
    for at in range(1, 100, 2):
        stage.live(stage.request(), down=False)
        stage.clock.wait(5 * 3600)
        if not world.killed(lambda: stage.reap(after=0), kind, at):
            break
        calls += 1
    stage.reap()
    assert world.left() == [] and stage.registrations == [] and stage.unfinished() == []
    assert calls >= 10
    print(json.dumps({"test": f"reaper {kind}", "n": calls, "left": 0}))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_hundred_signals_at_random_moments(stage: Stage) -> None:
    signal_at_random(stage, int(time.time()), 100)
