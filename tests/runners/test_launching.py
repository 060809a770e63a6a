"""A launch ends with a runner that reports, or with nothing at all."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from mlops_nb.clouds.base import CloudUnreachable, NoCapacity, PermissionMissing, QuotaExceeded
from mlops_nb.core.runners import REGISTER_SECONDS, TAG_EXPIRES, TAG_INSTALLATION, TAG_RUNNER, Guards, Offer, Resource, Runner, RunnerState
from mlops_nb.errors import AlreadyExists, InvalidInput, StoreUnreachable
from mlops_nb.runners.cancelling import Suspended
from mlops_nb.runners.launching import LaunchCancelled, LaunchFailed
from tests.runners.conftest import World
from tests.runners.small_world import START


def test_a_plan_shows_price_and_end_and_touches_nothing(world: World) -> None:
    plan = world.runners.plan(world.wish(guards=Guards(max_hours=10, max_cost=2.0)))
    assert (plan.hourly, plan.seconds, plan.hard_stop, plan.most) == (0.5, 4 * 3600, START + 4 * 3600, 2.0)
    assert world.cloud.orders == [] and world.runners.list(all=True) == []


def test_a_cost_limit_leaves_out_offers_whose_price_nobody_knows(world: World) -> None:
    known, unknown = Offer(cloud="aws", type="m", region="r1", hourly=1.0), Offer(cloud="aws", type="x", region="r1")
    world.cloud.offered = [unknown, known]
    assert world.runners.plan(world.wish(guards=Guards(max_cost=1))).offers == [known]
    world.cloud.offered = [unknown]
    with pytest.raises(InvalidInput, match="--max-hours"):
        world.runners.plan(world.wish(guards=Guards(max_cost=1)))


def test_a_launch_returns_when_the_agent_has_reported(world: World) -> None:
    runner = world.launch()
    assert runner.state is RunnerState.IDLE
    assert 40 <= world.clock.time - START <= 45
    assert [item.kind for item in runner.resources] == ["registration", "machine"]
    assert [event.kind for event in world.ledger.events(runner.id)][:3] == ["requested", "creating", "resource"]
    assert world.preparation.forgotten == 1


def test_the_create_call_carries_whose_it_is_and_when_it_ends_over_the_users_tags(world: World) -> None:
    request = world.wish()
    mine = type(request)(name="gpu", cloud="aws", agent=request.agent, metadata={TAG_INSTALLATION: "another", "team": "a"})
    plan = world.runners.plan(mine)
    runner = world.runners.request(plan)
    world.cloud.after_create = lambda made: world.beat(runner)
    world.runners.launch(runner, plan, world.preparation)
    order, _ = world.cloud.orders[0]
    assert order.token == runner.id
    assert order.tags["team"] == "a"
    assert (order.tags[TAG_INSTALLATION], order.tags[TAG_RUNNER]) == ("1" * 32, runner.id)
    assert order.tags[TAG_EXPIRES] == str(int(START + 4 * 3600)) and order.max_seconds == 4 * 3600


def test_the_intent_is_written_before_the_cloud_is_asked(world: World) -> None:
    seen: list[Runner] = []
    world.cloud.after_create = lambda made: seen.append(world.runners.list()[0])
    with pytest.raises(LaunchFailed):
        _launch_without_agent(world)
    assert seen[0].state is RunnerState.CREATING
    assert ("machine", "") in [(item.kind, item.id) for item in seen[0].resources]


def _launch_without_agent(world: World) -> None:
    plan = world.runners.plan(world.wish())
    world.runners.launch(world.runners.request(plan), plan, world.preparation)


def test_a_zone_without_capacity_is_followed_by_the_next(world: World) -> None:
    world.cloud.refusals["create"] = [NoCapacity("no m in r1a")]
    runner = world.launch()
    assert runner.offer is not None and runner.offer.zone == "r1b"
    assert len(world.cloud.things) == 1


def test_a_dearer_offer_that_is_taken_instead_ends_earlier_under_a_cost_limit(world: World) -> None:
    world.cloud.offered = [Offer(cloud="aws", type=kind, region="r1", hourly=price) for kind, price in (("m", 0.5), ("l", 2.0))]
    world.cloud.refusals["create"] = [NoCapacity("none")]
    runner = world.launch(guards=Guards(max_cost=1.0, max_hours=4))
    assert runner.hard_stop == START + 1800
    order, _ = world.cloud.orders[-1]
    assert order.max_seconds == 1800 and order.tags[TAG_EXPIRES] == str(int(START + 1800)) and "+30" in order.user_data


def test_a_quota_of_the_region_leaves_out_its_other_zones(world: World) -> None:
    offers = [Offer(cloud="aws", type="m", region=region, zone=region + zone, hourly=0.5) for region in ("r1", "r2") for zone in "ab"]
    world.cloud.offered = offers
    world.cloud.refusals["create"] = [QuotaExceeded("vCPU limit 0", quota="L-1216C47A")]
    runner = world.launch()
    assert [offer.zone for _, offer in world.cloud.orders] == ["r1a", "r2a"]
    assert runner.offer is not None and runner.offer.region == "r2"


def test_when_nothing_is_to_be_had_one_message_has_all_reasons_and_nothing_is_left(world: World) -> None:
    world.cloud.refusals["create"] = [NoCapacity("no m in r1a"), QuotaExceeded("quota is 0", hint="Ask for more at the console.")]
    with pytest.raises(LaunchFailed) as caught:
        world.launch()
    assert "no m in r1a" in str(caught.value) and "quota is 0" in str(caught.value) and "Ask for more" in str(caught.value)
    runner = world.ledger.get("gpu")
    assert runner.state is RunnerState.GONE and "quota is 0" in runner.reason
    assert world.cloud.things == {} and world.registrations == []


def test_a_create_whose_outcome_is_unknown_is_not_followed_by_another(world: World) -> None:
    world.cloud.refusals["create"] = [CloudUnreachable("no answer")]
    with pytest.raises(CloudUnreachable):
        world.launch()
    assert len(world.cloud.orders) == 1 and world.ledger.get("gpu").state is RunnerState.GONE


def test_offers_are_tried_for_ten_minutes_at_most(world: World) -> None:
    world.cloud.offered = [Offer(cloud="aws", type="m", region="r1", zone=f"z{number}", hourly=1) for number in range(50)]
    world.cloud.refusals["create"] = [NoCapacity("none") for _ in range(50)]
    create = world.cloud.create

    def slowly(*arguments: object) -> object:
        world.clock.wait(60)
        return create(*arguments)  # type: ignore[arg-type]

    world.cloud.create = slowly  # type: ignore[assignment,method-assign]
    with pytest.raises(LaunchFailed, match="10 minutes"):
        world.launch()
    assert len(world.cloud.orders) == 10


def test_a_machine_whose_agent_never_reports_is_destroyed_after_ten_minutes_and_its_console_shown(world: World) -> None:
    with pytest.raises(LaunchFailed, match="10 minutes") as caught:
        world.launch(ready_after=None)
    assert "no route to host" in caught.value.console
    assert "\x1b" not in caught.value.console and "AKIA" not in caught.value.console
    assert REGISTER_SECONDS <= world.clock.time - START <= REGISTER_SECONDS + 10
    assert world.cloud.things == {} and world.registrations == []
    assert world.ledger.get("gpu").state is RunnerState.GONE


def test_a_machine_that_ends_while_it_boots_fails_the_launch_at_once(world: World) -> None:
    world.cloud.after_create = lambda made: world.clock.plan(30, lambda: world.cloud.things.clear())
    with pytest.raises(LaunchFailed, match="spot capacity taken back"):
        _launch_without_agent(world)
    assert world.clock.time - START < 60


def test_a_cloud_that_does_not_answer_while_a_machine_boots_is_waited_for(world: World) -> None:
    world.cloud.refusals["describe"] = [CloudUnreachable("away"), CloudUnreachable("away")]
    assert world.launch(ready_after=60).state is RunnerState.IDLE
    assert any("away" in line for line in world.lines)


def test_without_a_server_the_forge_says_that_the_agent_is_there(world: World) -> None:
    plan = world.runners.plan(world.wish())
    runner = world.runners.request(plan)
    world.clock.plan(30, lambda: world.forge.set_state(runner.id, "online"))
    ready = world.runners.launch(runner, plan, world.preparation)
    assert ready.state is RunnerState.IDLE and ready.lease_expires is None


def test_a_runner_that_is_ended_by_another_while_it_is_created_leaves_nothing(world: World) -> None:
    other = world.manager()
    world.cloud.after_create = lambda made: other.down("gpu", reason="changed my mind")
    with pytest.raises(LaunchCancelled, match="changed my mind"):
        _launch_without_agent(world)
    assert world.cloud.things == {} and world.registrations == []


def test_a_machine_that_appears_after_the_runner_was_ended_is_destroyed_by_the_launch(world: World) -> None:
    """The create was on its way when `down` looked, and saw nothing."""
    other = world.manager()
    put = world.cloud.put
    world.cloud.put = lambda *a, **k: (other.down("gpu"), put(*a, **k))[1]  # type: ignore[method-assign]
    with pytest.raises(LaunchCancelled):
        _launch_without_agent(world)
    assert world.cloud.things == {}


def test_a_second_launch_of_the_same_runner_is_refused_and_harms_the_first_in_nothing(world: World) -> None:
    runner = world.launch()
    plan = world.runners.plan(world.wish())
    with pytest.raises(LaunchCancelled, match="it is idle"):
        world.runners.launch(runner, plan, world.preparation)
    assert world.get(runner).state is RunnerState.IDLE and len(world.cloud.things) == 1


def test_of_two_that_launch_at_once_one_creates(world: World) -> None:
    plan = world.runners.plan(world.wish())
    runner = world.runners.request(plan)
    world.cloud.after_create = lambda made: world.beat(runner)
    outcomes: list[object] = []

    def launch() -> None:
        try:
            outcomes.append(world.manager().launch(runner, plan, world.preparation).state)
        except LaunchCancelled as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)).count("idle") == 1 and len(world.cloud.orders) == 1


def test_a_name_that_is_taken_is_refused_before_anything_is_made(world: World) -> None:
    world.launch()
    with pytest.raises(AlreadyExists):
        world.request()
    assert len(world.cloud.things) == 1


def test_when_the_ledger_is_lost_in_the_middle_what_was_made_is_removed_all_the_same(world: World) -> None:
    def vanish(made: Resource) -> None:
        def refuse(runner: Runner) -> None:
            raise StoreUnreachable("the server is gone")

        world.ledger.before_save = refuse

    world.cloud.after_create = vanish
    with pytest.raises(StoreUnreachable) as caught:
        _launch_without_agent(world)
    assert "ledger could not be told" in caught.value.__notes__[0]
    assert world.cloud.things == {} and world.registrations == []


def test_what_cannot_be_removed_after_a_failed_launch_is_said_and_kept_for_the_reaper(world: World) -> None:
    denied = PermissionMissing("ec2:TerminateInstances is denied", permission="ec2:TerminateInstances")
    world.cloud.refusals["destroy"] = [denied]
    with pytest.raises(LaunchFailed) as caught:
        _launch_without_agent(world)
    assert "ec2:TerminateInstances" in caught.value.__notes__[0] and "runner reap" in caught.value.__notes__[0]
    assert world.ledger.get("gpu").state is RunnerState.DESTROYING
    assert [item.id for item in world.runners.reap().destroyed] == ["i-1"]
    assert world.cloud.things == {} and world.ledger.get("gpu").state is RunnerState.GONE


def test_resume_waits_for_a_machine_and_ends_what_has_none(world: World) -> None:
    plan = world.runners.plan(world.wish(ci=False))
    first = world.runners.request(plan)
    with pytest.raises(LaunchFailed, match="cut off"):
        world.runners.resume(first)
    assert world.get(first).state is RunnerState.GONE
    second = world.runners.request(plan)
    booting = world.ledger.save(replace(second, state=RunnerState.CREATING, offer=plan.offer))
    world.cloud.put({TAG_INSTALLATION: "1" * 32, TAG_RUNNER: second.id})
    world.clock.plan(20, lambda: world.beat(second))
    assert world.runners.resume(booting).state is RunnerState.IDLE
    assert [item.id for item in world.get(second).resources] == ["i-1"]


def test_a_server_that_goes_away_undoes_nothing_and_leaves_the_secret_for_the_machine(world: World) -> None:
    plan = world.runners.plan(world.wish())
    runner = world.runners.request(plan)

    def go_away() -> None:
        raise Suspended

    world.clock.plan(20, go_away)
    with pytest.raises(Suspended):
        world.runners.launch(runner, plan, world.preparation)
    assert world.get(runner).state is RunnerState.BOOTING and len(world.cloud.things) == 1 and world.preparation.forgotten == 0
    world.clock.plan(20, lambda: world.beat(runner))
    assert world.manager().resume(world.get(runner)).state is RunnerState.IDLE


def test_a_launch_that_waits_for_no_agent_leaves_its_secret_for_the_machine(world: World) -> None:
    plan = world.runners.plan(world.wish())
    runner = world.runners.launch(world.runners.request(plan), plan, world.preparation, wait=False)
    assert runner.state is RunnerState.BOOTING and world.preparation.forgotten == 0
