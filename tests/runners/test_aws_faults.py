"""Whatever goes wrong in whichever call to AWS, one pass of the reaper later nothing of ours is left and nothing else was touched."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from mlops_nb.core.runners import TAG_RUNNER
from tests.clouds.aws_calls import FAULTS, FaultKind
from tests.clouds.aws_state import Thing
from tests.clouds.aws_world import AwsWorld, open_world
from tests.runners.aws_stage import REGIONS, Stage
from tests.runners.ledgers import turn
from tests.runners.small_world import SmallClock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBQmcXAy1e7dPzQ2lAeqfWnSEqQ9J7lqKZbyqT3aNw6o user@host"
WAITING: tuple[FaultKind, ...] = ("hang", "late")
KILLS: tuple[FaultKind, ...] = ("kill-before", "kill-after")
FOREIGN = 999


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[AwsWorld, Mapping[str, Thing]]]:
    """An AWS with more than a thousand things of other people, which look as much like ours as they can."""
    with open_world() as world:
        yield world, world.add_foreign(FOREIGN, regions=REGIONS)


@pytest.fixture
def stage(account: tuple[AwsWorld, Mapping[str, Thing]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    world, foreign = account
    clock = SmallClock()
    clock.time = time.time()
    turn(monkeypatch, clock.now)
    yield Stage(world, tmp_path, clock)
    world.calm()
    assert len(foreign) > 1000
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
            fault = world.fault(kind, at, times=times, action=action, changes=changes, seconds=0.6)
            self.outcomes[stage.live(request, key=KEY, attempts=attempts)] += 1
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

    def tell(self, test: str) -> None:
        figures = {"n": self.n, "left_before_the_reaper": self.left_before, "left": 0, "double": 0, "foreign_touched": 0}
        print(json.dumps({"test": test, **figures, "foreign": FOREIGN, "outcomes": dict(self.outcomes)}))


def calls_of_a_life(stage: Stage) -> Sequence[str]:
    stage.world.calls.clear()
    assert stage.live(stage.request(ssh=True), key=KEY) == "ok"
    return stage.world.actions()


def test_a_life_without_faults_leaves_nothing_and_makes_each_thing_once(stage: Stage) -> None:
    calls = Counter(calls_of_a_life(stage))
    assert all(calls[name] == 1 for name in ("CreateSecurityGroup", "ImportKeyPair", "RunInstances", "TerminateInstances"))
    assert stage.world.left() == [] and stage.registrations == []


def test_a_process_that_is_killed_after_any_call_that_makes_or_removes_something_leaves_all_to_the_reaper(stage: Stage) -> None:
    count = Count(stage)
    calls_of_a_life(stage)
    changes = len([call for call in stage.world.calls if call.changes])
    for at in range(1, changes + 1):
        count.meet("kill-after", at, changes=True)
    count.settle()
    assert count.n == changes and count.left_before > 0
    count.tell("killed after each change")


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
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KILLS)
def test_a_reaper_that_is_killed_at_any_call_is_followed_by_one_that_finishes(stage: Stage, kind: FaultKind) -> None:
    world = stage.world
    stage.clock.wait(1)
    calls = 0
    for at in range(1, 100):
        stage.live(stage.request(ssh=True), down=False, key=KEY)
        stage.clock.wait(5 * 3600)
        if not world.killed(lambda: stage.reap(after=0), kind, at):
            break
        calls += 1
    stage.reap()
    assert world.left() == [] and stage.registrations == [] and stage.unfinished() == []
    assert calls >= 20
    print(json.dumps({"test": f"reaper {kind}", "n": calls, "left": 0}))


def _signal_at_random(stage: Stage, seed: int, count: int) -> None:
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


def test_a_few_signals_at_random_moments(stage: Stage) -> None:
    _signal_at_random(stage, 1, 6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_signals_at_random_moments(stage: Stage) -> None:
    _signal_at_random(stage, int(time.time()), 100)


def _launch(stage: Stage, **wish: object) -> str:
    return stage.live(stage.request(**wish), down=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        ("InsufficientInstanceCapacity", 500, "ok"),
        ("UnfulfillableCapacity", 400, "ok"),
        ("MaxSpotInstanceCountExceeded", 400, "LaunchFailed"),
        ("VcpuLimitExceeded", 400, "LaunchFailed"),
        ("MaxFleetCountExceeded", 400, "LaunchFailed"),
        ("RequestLimitExceeded", 503, "CloudThrottled"),
        ("AuthFailure", 401, "NoCredentials"),
        ("InvalidAMIID.NotFound", 400, "WishRefused"),
    ],
)
def test_what_aws_refuses_leads_to_the_next_zone_or_to_one_clear_end(stage: Stage, code: str, status: int, outcome: str) -> None:
    world = stage.world
    zone = "us-east-1a"
    world.rules.append(
        lambda call: (code, f"{code} says the test", status) if call.action == "RunInstances" and world.zone_of(call) == zone else None
    )
    before = stage.clock.now()
    assert _launch(stage, zones=(zone, "us-east-1b")) == outcome
    assert stage.clock.now() - before < 600
    world.calm()
    if outcome == "ok":
        assert len(world.machines()) == 1
        stage.with_runners(lambda runners: runners.down(f"r-{next(stage.names) - 1}"))
    assert world.left() == [] and stage.registrations == [] and stage.unfinished() == []


def test_when_no_zone_has_anything_one_message_has_the_reason_of_each(stage: Stage) -> None:
    stage.world.no_capacity()
    request = stage.request(zones=("us-east-1a", "us-east-1b"))
    assert stage.live(request) == "LaunchFailed"
    reason = stage.with_runners(lambda runners: runners.list(all=True)[0].reason)
    assert reason.count("InsufficientInstanceCapacity") == 2 and "us-east-1a" in reason and "us-east-1b" in reason
    assert stage.world.left() == []


def test_credentials_that_expire_in_the_middle_end_nothing_until_they_are_new(stage: Stage) -> None:
    world = stage.world
    assert _launch(stage) == "ok"
    world.expired.add("AKIATESTING")
    stage.clock.wait(5 * 3600)
    assert stage.with_runners(lambda runners: [runner.state for runner in runners.tick()]) == ["destroying"]
    reaped = stage.reap()
    assert not reaped.is_clean and len(world.machines()) == 1
    world.expired.clear()
    stage.with_runners(lambda runners: runners.tick())
    assert world.left() == [] and stage.registrations == [] and stage.unfinished() == []


def test_a_region_that_may_not_be_seen_is_named_and_the_other_is_cleaned(stage: Stage) -> None:
    world = stage.world
    assert _launch(stage) == "ok"
    stage.clock.wait(5 * 3600)
    world.refuse("UnauthorizedOperation", "You are not authorized to perform: ec2:DescribeInstances", status=403, region="eu-west-1")
    reaped = stage.reap()
    assert [place for place in reaped.unseen if "eu-west-1" in place] and not reaped.is_clean
    assert world.left() == []


def test_two_reapers_at_once_and_a_list_that_agrees_with_aws(stage: Stage) -> None:
    world = stage.world
    for _ in range(3):
        assert _launch(stage) == "ok"
    names = stage.with_runners(lambda runners: [runner.resources for runner in runners.list()])
    ids = sorted(item.id for resources in names for item in resources if item.kind == "machine")
    assert ids == sorted(machine.id for machine in world.machines())
    stage.clock.wait(5 * 3600)
    failures: list[BaseException] = []

    def reap() -> None:
        try:
            stage.reap(after=0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=reap) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and world.left() == [] and stage.unfinished() == [] and stage.registrations == []


def test_a_machine_that_aws_does_not_show_yet_is_found_by_the_next_pass(stage: Stage) -> None:
    """The process was killed right after the machine was made, and AWS takes its time to list it."""
    world = stage.world
    world.lag = 3
    try:
        assert world.killed(lambda: stage.live(stage.request()), "kill-after", 1, action="RunInstances")
        stage.reap()
        for _ in range(4):
            stage.reap(after=300)
    finally:
        world.lag = 0
    assert world.left() == [] and stage.registrations == [] and stage.unfinished() == []


def test_a_machine_whose_agent_never_reports_is_ended_after_ten_minutes(stage: Stage) -> None:
    stage.ready = -1
    before = stage.clock.now()
    assert stage.live(stage.request()) == "LaunchFailed"
    assert 600 <= stage.clock.now() - before < 620
    assert stage.world.left() == [] and stage.registrations == []
