"""A runner is gone when nothing of it is left, and not before; what is due is done by the tick."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mlops_nb.clouds.base import CloudThrottled, CloudUnreachable, NoCredentials
from mlops_nb.core.runners import GRACE_SECONDS, LEASE_SECONDS, CloudName, Guards, RunnerState
from mlops_nb.errors import IllegalTransition, InvalidInput, NotFound, NotSupported
from mlops_nb.forges.base import RequestRefused
from mlops_nb.runners.ending import NotRemoved
from mlops_nb.runners.keeping import LEFT_SECONDS
from mlops_nb.runners.verdicts import LAUNCH_SECONDS
from tests.runners.conftest import World
from tests.runners.small_world import START


def test_down_removes_machine_and_registration_and_says_why(world: World) -> None:
    world.launch()
    runner = world.runners.down("gpu")
    assert (runner.state, runner.reason, runner.resources) == (RunnerState.GONE, "it was ended by hand", [])
    assert runner.ended == world.clock.time and runner.stops_at() == runner.hard_stop
    assert world.cloud.things == {} and world.registrations == []
    assert world.runners.list() == [] and [item.id for item in world.runners.list(all=True)] == [runner.id]


def test_down_again_and_of_nobody(world: World) -> None:
    runner = world.launch()
    world.runners.down("gpu", reason="first")
    assert world.runners.down(runner.id, reason="second").reason == "first"
    with pytest.raises(NotFound):
        world.runners.down("nobody")


def test_a_machine_that_takes_its_time_is_asked_for_until_it_is_gone(world: World) -> None:
    world.launch()
    world.cloud.stubborn = {"i-1"}
    world.clock.plan(60, world.cloud.stubborn.clear)
    before = world.clock.time
    assert world.runners.down("gpu").state is RunnerState.GONE
    assert 60 <= world.clock.time - before <= 70


def test_a_machine_that_stays_is_named_and_the_runner_stays_destroying(world: World) -> None:
    world.launch()
    world.cloud.stubborn = {"i-1"}
    with pytest.raises(NotRemoved, match=r"machine i-1.*runner reap") as caught:
        world.runners.down("gpu")
    assert [item.id for item in caught.value.left] == ["i-1"]
    runner = world.ledger.get("gpu")
    assert runner.state is RunnerState.DESTROYING and [item.id for item in runner.resources] == ["i-1"]
    world.cloud.stubborn.clear()
    assert [item.id for item in world.runners.tick()] == [runner.id]
    assert world.get(runner).state is RunnerState.GONE and world.cloud.things == {}


def test_a_cloud_that_is_away_for_a_moment_is_asked_again(world: World) -> None:
    world.launch()
    world.cloud.refusals["destroy"] = [CloudUnreachable("cut"), CloudThrottled("slow down")]
    assert world.runners.down("gpu").state is RunnerState.GONE


def test_expired_credentials_leave_it_to_the_next_tick_that_has_new_ones(world: World) -> None:
    world.launch()
    world.cloud.refusals["destroy"] = [NoCredentials("The security token has expired.", hint="Sign in again.")]
    with pytest.raises(NotRemoved, match=r"expired.*Sign in again"):
        world.runners.down("gpu")
    world.runners.tick()
    assert world.cloud.things == {} and world.ledger.get("gpu").state is RunnerState.GONE


def test_a_forge_that_keeps_a_busy_agent_keeps_not_its_machine(world: World) -> None:
    world.launch()
    world.forge.refusals = [RequestRefused("is currently running a job"), RequestRefused("is currently running a job")]
    with pytest.raises(NotRemoved, match="running a job"):
        world.runners.down("gpu")
    assert world.cloud.things == {} and len(world.registrations) == 1
    world.runners.tick()
    assert world.registrations == [] and world.ledger.get("gpu").state is RunnerState.GONE


def test_an_agent_that_its_forge_believes_at_work_is_asked_for_until_the_forge_has_noticed(world: World) -> None:
    runner = world.launch()
    world.forge.busy = {runner.id}
    world.clock.plan(30, world.forge.busy.clear)
    assert world.runners.down("gpu").state is RunnerState.GONE and world.registrations == []
    later = world.launch("later")
    world.forge.busy = {later.id}
    with pytest.raises(NotRemoved, match="registration"):
        world.runners.down("later")
    assert world.cloud.things == {}
    world.runners.tick()
    assert world.get(later).state is RunnerState.DESTROYING
    world.forge.busy.clear()
    world.runners.tick()
    assert world.get(later).state is RunnerState.GONE


def test_stop_ends_an_idle_runner_now_and_lets_a_busy_one_finish_its_job(world: World) -> None:
    idle, busy = world.launch("idle"), world.launch("busy")
    world.beat(busy, job="train")
    assert world.runners.stop("idle").state is RunnerState.GONE and world.get(idle).reason == "it was stopped"
    assert world.runners.stop("busy").state is RunnerState.DRAINING
    assert world.runners.stop("busy").state is RunnerState.DRAINING
    assert len(world.cloud.things) == 1


def test_an_agent_that_has_left_is_closed_with_its_reason_when_its_machine_is_gone(world: World) -> None:
    runner = world.launch()
    world.beat(runner, leaving="idle for 5 minutes")
    world.clock.wait(LEFT_SECONDS + 1)
    world.runners.tick()
    assert world.get(runner).state is RunnerState.DRAINING
    world.cloud.things.clear()
    world.runners.tick()
    assert (world.get(runner).state, world.get(runner).reason) == (RunnerState.GONE, "idle for 5 minutes")
    assert world.registrations == []


def test_an_agent_that_has_left_a_machine_that_stays_is_followed_by_its_end(world: World) -> None:
    """The power-off has failed."""
    runner = world.launch()
    world.beat(runner, leaving="idle for 5 minutes")
    world.clock.wait(LEASE_SECONDS + GRACE_SECONDS + 1)
    world.runners.tick()
    assert (world.get(runner).state, world.get(runner).reason) == (RunnerState.GONE, "idle for 5 minutes")
    assert world.cloud.things == {}


def test_a_busy_runner_without_a_server_cannot_be_told_to_drain(world: World) -> None:
    runner = world.launch()
    world.ledger.save(replace(world.get(runner), state=RunnerState.BUSY, lease_expires=None))
    with pytest.raises(NotSupported, match="runner down gpu"):
        world.runners.stop("gpu")


def test_extending_moves_the_hard_stop_and_nothing_else(world: World) -> None:
    runner = world.launch()
    assert world.runners.extend("gpu", 1800).hard_stop == runner.hard_stop + 1800
    assert world.get(runner).request.guards.max_hours == 4.5


def test_a_cost_limit_binds_an_extension_until_a_higher_one_is_given(world: World) -> None:
    world.launch(guards=Guards(max_hours=2, max_cost=1.0))
    with pytest.raises(InvalidInput, match="--max-cost"):
        world.runners.extend("gpu", 3600)
    assert world.runners.extend("gpu", 3600, max_cost=1.5).hard_stop == START + 3 * 3600


@pytest.mark.parametrize("seconds", [0, -60, float("nan"), float("inf"), 36 * 86400])
def test_an_extension_that_cannot_be_is_refused(world: World, seconds: float) -> None:
    runner = world.launch()
    with pytest.raises(InvalidInput):
        world.runners.extend("gpu", seconds)
    assert world.get(runner).hard_stop == runner.hard_stop


@pytest.mark.parametrize("cloud", ["gcp", "kubernetes"])
def test_a_machine_whose_end_the_cloud_holds_cannot_be_extended(world: World, cloud: CloudName) -> None:
    plan = world.runners.plan(replace(world.wish(), cloud=cloud))
    world.runners.request(plan)
    with pytest.raises(NotSupported, match="--max-hours"):
        world.runners.extend("gpu", 60)


def test_a_runner_that_is_gone_cannot_be_extended(world: World) -> None:
    world.launch()
    world.runners.down("gpu")
    with pytest.raises(IllegalTransition):
        world.runners.extend("gpu", 60)


def test_a_tick_asks_no_cloud_where_nothing_is_due(world: World) -> None:
    runner = world.launch()
    world.cloud.refusals = {call: [AssertionError(call)] * 9 for call in world.cloud.refusals}  # type: ignore[misc]
    assert world.runners.tick() == [] and world.get(runner).state is RunnerState.IDLE


def test_a_runner_without_a_sign_of_life_is_lost_and_a_late_one_brings_it_back(world: World) -> None:
    runner = world.launch()
    world.clock.wait(LEASE_SECONDS + 1)
    assert world.runners.tick()[0].state is RunnerState.LOST
    world.beat(runner, job="train")
    assert world.runners.tick() == [] and world.get(runner).state is RunnerState.BUSY
    assert len(world.cloud.things) == 1


def test_a_lost_runner_is_ended_after_the_grace_and_not_before(world: World) -> None:
    runner = world.launch()
    world.clock.wait(LEASE_SECONDS + 1)
    world.runners.tick()
    world.clock.wait(GRACE_SECONDS - 1)
    world.runners.tick()
    assert world.get(runner).state is RunnerState.LOST
    world.clock.wait(2)
    world.runners.tick()
    assert world.get(runner).state is RunnerState.GONE and "no sign of life" in world.get(runner).reason
    assert world.cloud.things == {}


def test_a_server_that_was_away_for_hours_gives_machines_time_to_report(world: World) -> None:
    runner = world.launch(guards=Guards(max_hours=24))
    world.clock.wait(3 * 3600)
    assert world.runners.tick()[0].state is RunnerState.LOST
    world.beat(runner, job="train")
    world.runners.tick()
    assert world.get(runner).state is RunnerState.BUSY and len(world.cloud.things) == 1


def test_a_lost_runner_whose_machine_is_gone_is_closed_at_once(world: World) -> None:
    runner = world.launch()
    world.cloud.things.clear()
    world.clock.wait(LEASE_SECONDS + 1)
    world.runners.tick()
    assert world.get(runner).state is RunnerState.GONE and "spot capacity taken back" in world.get(runner).reason
    assert world.registrations == []


def test_a_lost_runner_whose_machine_has_switched_itself_off_is_deleted_at_once(world: World) -> None:
    """Some clouds keep such a machine, and have it paid for, until it is deleted."""
    runner = world.launch()
    world.cloud.switched_off = set(world.cloud.things)
    world.clock.wait(LEASE_SECONDS + 1)
    world.runners.tick()
    assert world.get(runner).state is RunnerState.GONE and world.cloud.things == {}
    assert "switched off from within" in world.get(runner).reason


def test_a_machine_that_outlives_its_hard_stop_is_ended_however_alive_it_is(world: World) -> None:
    runner = world.launch(guards=Guards(max_hours=1))
    world.clock.wait(3600 + GRACE_SECONDS)
    world.beat(runner, job="endless")
    world.runners.tick()
    assert world.get(runner).state is RunnerState.GONE and world.cloud.things == {}


def test_an_agent_that_stays_beyond_its_idle_limit_is_ended(world: World) -> None:
    """Its loop beats on, and has forgotten to leave."""
    runner = world.launch(guards=Guards(idle=60))
    for minute in range(1, 9):
        world.clock.wait(60)
        world.beat(runner, idle=minute * 60)
        world.runners.tick()
    assert world.get(runner).state is RunnerState.GONE and "idle limit" in world.get(runner).reason


def test_a_launch_whose_process_was_killed_is_ended_when_it_had_its_time(world: World) -> None:
    runner = world.request()
    world.ledger.save(replace(runner, state=RunnerState.CREATING))
    made = world.cloud.put(_tags(runner.id))
    world.ledger.save(replace(world.get(runner), resources=[replace(made, id="")]))
    world.clock.wait(LAUNCH_SECONDS - 1)
    assert world.runners.tick() == [] and len(world.cloud.things) == 1
    world.clock.wait(2)
    world.runners.tick()
    assert world.cloud.things == {} and world.get(runner).reason == "its launch was cut off"


def test_what_fails_of_one_runner_keeps_none_of_the_others(world: World) -> None:
    first, second = world.launch("a"), world.launch("b")
    for runner in (first, second):
        world.ledger.save(replace(world.get(runner), state=RunnerState.DESTROYING))
    world.cloud.stubborn = {"i-2"}
    world.runners.tick()
    assert (world.get(first).state, world.get(second).state) == (RunnerState.GONE, RunnerState.DESTROYING)
    world.cloud.stubborn.clear()
    world.runners.tick()
    assert world.get(second).state is RunnerState.GONE


def test_a_tick_waits_for_no_machine_that_takes_its_time_and_does_not_fill_the_record_with_it(world: World) -> None:
    runner = world.launch()
    world.ledger.save(replace(world.get(runner), state=RunnerState.DESTROYING))
    world.cloud.stubborn = {"i-1"}
    before, events = world.clock.time, len(world.ledger.events(runner.id))
    for _ in range(20):
        world.runners.tick()
    world.cloud.refusals["destroy"] = [NoCredentials("expired")] * 20
    for _ in range(20):
        world.runners.tick()
    assert world.clock.time == before and len(world.ledger.events(runner.id)) <= events + 2
    assert any("could not remove machine i-1: expired" in line for line in world.lines)


def test_a_refreshed_list_agrees_with_the_cloud(world: World) -> None:
    names = [world.launch(name).name for name in ("a", "b", "c")]
    del world.cloud.things["i-2"]
    assert [runner.name for runner in world.runners.list()] == names[::-1]
    assert [runner.name for runner in world.runners.list(refresh=True)] == ["c", "a"]


def test_logs_come_from_the_agent_and_before_it_reports_from_the_console(world: World) -> None:
    runner = world.launch()
    assert "no route to host" in world.runners.logs("gpu").text
    page = world.runners.logs("gpu", after=12, max_bytes=8)
    assert (page.text, page.start, page.end) == ("no route", 12, 20)
    world.ledger.append_log(runner.id, 0, "hello")
    assert world.runners.logs("gpu").text == "hello"


def _tags(runner_id: str) -> dict[str, str]:
    return {"mlops-nb-runner": runner_id, "mlops-nb-installation": "1" * 32}
