"""The life of runners on AWS: what goes wrong there, in so far as it is quick to show."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.clouds.aws_state import Thing
from tests.clouds.aws_world import AwsWorld, open_world
from tests.runners.aws_faults import Count, calls_of_a_life, set_up, signal_at_random
from tests.runners.aws_stage import REGIONS, Stage


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[AwsWorld, Mapping[str, Thing]]]:
    """An AWS with some things of other people, which look as much like ours as they can."""
    with open_world() as world:
        yield world, world.add_foreign(30, regions=REGIONS)


@pytest.fixture
def stage(account: tuple[AwsWorld, Mapping[str, Thing]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with set_up(*account, tmp_path, monkeypatch) as stage:
        yield stage


def test_a_life_without_faults_leaves_nothing_and_makes_each_thing_once(stage: Stage) -> None:
    calls = Counter(calls_of_a_life(stage))
    assert all(calls[name] == 1 for name in ("CreateSecurityGroup", "ImportKeyPair", "RunInstances", "TerminateInstances"))
    assert stage.world.left() == [] and stage.registrations == []


def test_a_process_that_is_killed_leaves_all_to_the_reaper(stage: Stage) -> None:
    count = Count(stage)
    for action in ("CreateSecurityGroup", "RunInstances", "TerminateInstances"):
        count.meet("kill-after", 1, action=action)
    count.settle()
    assert count.n == 3 and count.left_before >= 4
    count.tell("killed after what makes and removes machines")


def test_a_few_signals_at_random_moments(stage: Stage) -> None:
    signal_at_random(stage, 1, 5)


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
    world.lag = 2
    try:
        assert world.killed(lambda: stage.live(stage.request()), "kill-after", 1, action="RunInstances")
        stage.reap()
        for _ in range(2):
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
