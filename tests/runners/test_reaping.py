"""The reaper ends what is ours and over, nothing else, and never calls clean what it has not seen."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from mlops_nb.clouds.base import CloudUnreachable, PermissionMissing
from mlops_nb.core.runners import GRACE_SECONDS, LONGEST_HOURS, TAG_EXPIRES, TAG_INSTALLATION, TAG_RUNNER, Guards, RunnerState
from mlops_nb.errors import StoreUnreachable
from mlops_nb.forges.base import ForgeUnreachable
from mlops_nb.runners.verdicts import LAUNCH_SECONDS
from tests.runners.conftest import World
from tests.runners.small_world import PLACE, START

OURS = "1" * 32


def orphan(runner_id: str, *, expires: float | None = None, installation: str = OURS) -> dict[str, str]:
    tags = {TAG_RUNNER: runner_id, TAG_INSTALLATION: installation}
    return tags if expires is None else {**tags, TAG_EXPIRES: str(int(expires))}


def test_a_machine_that_no_ledger_knows_goes_when_its_own_tag_says_so_and_not_before(world: World) -> None:
    world.cloud.put(orphan("a" * 32, expires=START + 100))
    world.clock.wait(100 + GRACE_SECONDS)
    assert [item.id for item in world.runners.reap(["aws"]).kept] == ["i-1"]
    world.clock.wait(1)
    assert [item.id for item in world.runners.reap(["aws"]).destroyed] == ["i-1"]
    assert world.cloud.things == {}


def test_what_is_of_others_or_says_nothing_is_never_touched(world: World) -> None:
    world.cloud.put(orphan("a" * 32, expires=START - 1e6, installation="2" * 32))
    world.cloud.put({"Name": "mlops-nb-runner"})
    world.cloud.put({TAG_RUNNER: "a" * 32, TAG_EXPIRES: "1"})
    find = world.cloud.find
    # Even if the cloud's search gave everything.
    world.cloud.find = lambda *a, **k: replace(find(*a, **k), resources=list(world.cloud.things.values()))  # type: ignore[method-assign]
    reaped = world.runners.reap(["aws"])
    assert reaped.destroyed == [] and reaped.is_clean and world.cloud.touched == [] and len(world.cloud.things) == 3


@pytest.mark.parametrize("expires", ["", "soon", "-5", "1e3", "٣", "99999999999999999999"])
def test_a_tag_that_cannot_be_read_keeps_a_machine_as_long_as_any_may_live(world: World, expires: str) -> None:
    world.cloud.put({**orphan("a" * 32), TAG_EXPIRES: expires})
    world.clock.wait(LONGEST_HOURS * 3600)
    assert len(world.runners.reap(["aws"]).kept) == 1
    if not expires.startswith("9"):
        world.clock.wait(GRACE_SECONDS + 1)
        assert len(world.runners.reap(["aws"]).destroyed) == 1


def test_what_the_ledger_says_of_a_runner_counts_more_than_its_tag(world: World) -> None:
    runner = world.launch(guards=Guards(max_hours=1))
    world.runners.extend("gpu", 7200)
    world.clock.wait(2 * 3600)
    world.beat(runner, job="train")
    assert len(world.runners.reap().kept) == 2 and len(world.cloud.things) == 1


def test_something_of_a_runner_that_is_gone_goes(world: World) -> None:
    """A create that was on its way has taken effect after everything was found to be gone."""
    runner = world.launch()
    world.runners.down("gpu")
    world.cloud.put(orphan(runner.id, expires=START + 1e6))
    assert len(world.runners.reap(["aws"]).destroyed) == 1 and world.cloud.things == {}


def test_a_launch_that_is_under_way_is_left_alone(world: World) -> None:
    seen: list[int] = []
    plan = world.runners.plan(world.wish())
    runner = world.runners.request(plan)

    def look(made: object) -> None:
        seen.append(len(world.manager().reap().destroyed))
        world.beat(runner)

    world.cloud.after_create = look
    assert world.runners.launch(runner, plan, world.preparation).state is RunnerState.IDLE
    assert seen == [0]


def test_a_launch_whose_process_was_killed_is_ended_by_the_next_pass_after_its_time(world: World) -> None:
    runner = world.request()
    world.ledger.save(replace(runner, state=RunnerState.CREATING))
    world.cloud.put(orphan(runner.id, expires=START + 4 * 3600))
    assert world.runners.reap().destroyed == []
    world.clock.wait(LAUNCH_SECONDS + 1)
    reaped = world.runners.reap()
    assert len(reaped.destroyed) == 1 and [item.id for item in reaped.ended] == [runner.id]
    assert world.get(runner).state is RunnerState.GONE


def test_a_record_without_a_machine_is_closed_only_where_all_was_seen(world: World) -> None:
    runner = world.launch()
    world.cloud.things.clear()
    world.cloud.unseen = {"r2": "access denied"}
    reaped = world.runners.reap()
    assert reaped.unseen == {"aws r2": "access denied"} and not reaped.is_clean
    assert world.get(runner).state is RunnerState.IDLE
    world.cloud.unseen = {}
    assert world.runners.reap(regions=["r2"]).ended == []
    assert [item.id for item in world.runners.reap().ended] == [runner.id]
    assert world.registrations == []


def test_a_cloud_or_forge_that_does_not_answer_is_named_and_never_clean(world: World) -> None:
    world.launch()
    world.cloud.refusals["find"] = [CloudUnreachable("no answer from ec2")]
    world.forge.refusals = [ForgeUnreachable("forge is down")]
    reaped = world.runners.reap()
    assert not reaped.is_clean and set(reaped.unseen) == {"aws", PLACE}
    assert len(world.cloud.things) == 1


def test_what_may_not_be_removed_is_said_with_the_reason(world: World) -> None:
    world.cloud.put(orphan("a" * 32, expires=START - 1e4))
    world.cloud.refusals["destroy"] = [PermissionMissing("ec2:TerminateInstances denied", permission="ec2:TerminateInstances")]
    reaped = world.runners.reap(["aws"])
    assert [item.id for item in reaped.left] == ["i-1"] and "TerminateInstances" in str(reaped.unseen) and reaped.destroyed == []


def test_a_region_where_nothing_works_keeps_none_of_the_others(world: World) -> None:
    for region in ("r1", "r2", "r3"):
        world.cloud.put(orphan("a" * 32, expires=START - 1e4), region=region)
    world.cloud.refusals["destroy"] = [None, PermissionMissing("denied in r2")]
    reaped = world.runners.reap(["aws"])
    assert [item.region for item in reaped.left] == ["r2"] and [item.region for item in reaped.destroyed] == ["r1", "r3"]


def test_a_dry_run_touches_nothing_and_says_what_a_pass_would_do(world: World) -> None:
    runner = world.launch(guards=Guards(max_hours=1))
    world.cloud.put(orphan("a" * 32, expires=START))
    world.clock.wait(3600 + GRACE_SECONDS + 1)
    dry = world.runners.reap(dry_run=True)
    assert not dry.is_clean and world.get(runner).state is RunnerState.IDLE and len(world.cloud.things) == 2
    real = world.runners.reap()
    assert sorted(item.id for item in dry.destroyed if item.kind == "machine") == sorted(item.id for item in real.destroyed)
    assert [item.id for item in dry.ended] == [item.id for item in real.ended]


def test_a_registration_that_a_dead_launch_left_goes_with_its_runner(world: World) -> None:
    runner = world.request()
    world.ledger.save(replace(runner, state=RunnerState.CREATING))
    world.forge.register(runner, OURS)
    world.clock.wait(LAUNCH_SECONDS + 1)
    world.runners.reap()
    assert world.registrations == []


def test_registrations_of_unknown_runners_are_left_to_the_forge(world: World) -> None:
    """Another launcher of this installation, with another ledger, may be about to create its machine."""
    world.forge.register(replace(world.request(), id="f" * 32), OURS)
    reaped = world.runners.reap([], repositories=[PLACE])
    assert reaped.destroyed == [] and world.registrations == ["f" * 32]


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_with_a_clock_that_is_an_hour_off_the_clouds_own_time_decides(world: World, ahead: float) -> None:
    world.cloud.put(orphan("a" * 32, expires=START - GRACE_SECONDS - 10))
    world.cloud.put(orphan("b" * 32, expires=START + 1800))
    alive = world.launch(guards=Guards(max_hours=0.5))
    world.cloud.time = world.clock.time
    world.clock.time += ahead
    reaped = world.runners.reap()
    assert [item.id for item in reaped.destroyed] == ["i-1"]
    assert reaped.skew == ahead and any("clock" in line for line in world.lines)
    assert world.get(alive).state is RunnerState.IDLE


def test_a_lost_runner_that_comes_back_while_the_pass_runs_is_spared(world: World) -> None:
    runner = world.launch()
    world.clock.wait(1000)
    world.runners.tick()
    world.clock.wait(GRACE_SECONDS + 1)
    find = world.cloud.find

    def late(*arguments: object, **named: object) -> object:
        found = find(*arguments, **named)  # type: ignore[arg-type]
        world.ledger.before_save = lambda saved: (setattr(world.ledger, "before_save", lambda saved: None), world.beat(runner, job="train"))  # type: ignore[assignment]
        return found

    world.cloud.find = late  # type: ignore[method-assign,assignment]
    reaped = world.runners.reap()
    assert world.get(runner).state is RunnerState.BUSY and len(world.cloud.things) == 1
    assert reaped.destroyed == [] and "i-1" in [item.id for item in reaped.kept]


def test_two_reapers_at_once_end_the_same_things_once(world: World) -> None:
    runners = [world.launch(name, guards=Guards(max_hours=1)) for name in "abc"]
    for number in range(20):
        world.cloud.put(orphan(f"{number:032x}", expires=START))
    world.clock.wait(3600 + GRACE_SECONDS + 1)
    failures: list[BaseException] = []

    def pass_by() -> None:
        try:
            world.manager().reap()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=pass_by) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and world.cloud.things == {}
    assert {world.get(runner).state for runner in runners} == {RunnerState.GONE}
    assert all(sum(event.kind == "gone" for event in world.ledger.events(runner.id)) == 1 for runner in runners)


def test_a_reaper_that_dies_in_the_middle_is_followed_by_one_that_goes_on(world: World) -> None:
    for number in range(5):
        world.cloud.put(orphan(f"{number:032x}", expires=START), region=f"r{number}")
    world.clock.wait(GRACE_SECONDS + 1)
    world.cloud.refusals["destroy"] = [None, None, KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        world.runners.reap(["aws"])
    assert len(world.cloud.things) == 3
    assert world.runners.reap(["aws"]).is_clean and world.cloud.things == {}


def test_a_ledger_that_does_not_answer_ends_the_pass_before_anything_is_judged(world: World) -> None:
    world.cloud.put(orphan("a" * 32, expires=START - 1e5))

    def refuse(runner: str) -> object:
        raise StoreUnreachable("no answer")

    world.ledger.get = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreUnreachable):
        world.runners.reap(["aws"])
    assert len(world.cloud.things) == 1


def test_ten_thousand_machines_are_judged_in_one_pass(world: World) -> None:
    for number in range(10_000):
        world.cloud.put(orphan(f"{number // 20:032x}", expires=START + (1e6 if number % 10 else -1e4)))
    reaped = world.runners.reap(["aws"])
    assert (len(reaped.destroyed), len(reaped.kept)) == (1000, 9000)


def test_a_job_with_another_ledger_ends_a_runner_by_its_name_and_nobody_else(world: World, build: Callable[[], World]) -> None:
    """The job of a CI that tears down knows the name alone; the store of the job that launched is lost."""
    world.launch("train-17")
    other = world.launch("train-18")
    later = build()
    later.cloud, later.forge, later.runners = world.cloud, world.forge, later.manager()
    later.cloud.clock = later.clock
    reaped = later.runners.reap(["aws"], names=["train-17"], repositories=[PLACE])
    assert sorted(item.kind for item in reaped.destroyed) == ["machine", "registration"]
    assert [item.runner_id for item in world.cloud.things.values()] == [other.id] and world.registrations == [other.id]


def test_a_job_that_was_handed_no_name_ends_nobody_and_fails_not(world: World) -> None:
    """The job that launches was cancelled before it could hand on a name."""
    world.launch()
    world.cloud.put({TAG_RUNNER: "a" * 32, TAG_INSTALLATION: OURS})
    assert world.runners.reap(["aws"], names=["", ""]).destroyed == [] and len(world.cloud.things) == 2


def test_the_doctor_tells_leaks_lost_records_and_clocks_and_changes_nothing(world: World) -> None:
    gone = world.launch("gone")
    world.cloud.things.clear()
    world.cloud.put(orphan("a" * 32, expires=START - 1e5))
    world.cloud.time = world.clock.time - 600
    findings = {finding.what: finding for finding in world.runners.doctor()}
    assert findings["credentials"].ok
    assert not findings["left over"].ok and "i-2" in findings["left over"].text and "reap" in findings["left over"].hint
    assert "gone is idle" in findings["record"].text
    assert "600 s ahead" in findings["clock"].text
    assert world.get(gone).state is RunnerState.IDLE and len(world.cloud.things) == 1
    world.cloud.time = None
    world.runners.reap()
    assert [finding.what for finding in world.runners.doctor(["aws"]) if not finding.ok] == []
