"""Ctrl+C and the signals of a CI that cancels leave nothing, whenever they come."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from mlops_nb.clouds.base import CloudUnreachable, NoCapacity
from mlops_nb.core.runners import Resource, RunnerState
from mlops_nb.runners.cancelling import Interrupted, guarded
from mlops_nb.runners.ending import NotRemoved
from tests.runners.conftest import World

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Have the handlers of a process in the foreground (under `nohup` signals are ignored), and see that each test puts them back."""
    found = {signum: signal.getsignal(signum) for signum in SIGNALS}
    before = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    for signum, handler in before.items():
        signal.signal(signum, handler)
    yield
    after = {signum: signal.getsignal(signum) for signum in SIGNALS}
    for signum, given in found.items():
        signal.signal(signum, given)
    assert after == before


def launch(world: World) -> None:
    plan = world.runners.plan(world.wish())
    world.runners.launch(world.runners.request(plan), plan, world.preparation)


def assert_nothing_left(world: World) -> None:
    assert world.cloud.things == {} and world.registrations == []
    runner = world.ledger.get("gpu")
    assert runner.state is RunnerState.GONE and "interrupted by SIG" in runner.reason
    assert world.preparation.forgotten == 1


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("after", [3, 30, 300])
def test_a_signal_while_a_machine_boots_removes_it(world: World, signum: signal.Signals, after: float) -> None:
    world.cloud.after_create = lambda made: world.clock.plan(after, lambda: os.kill(os.getpid(), signum))
    with pytest.raises(Interrupted) as caught:
        launch(world)
    assert caught.value.signum == signum
    assert_nothing_left(world)


def test_a_signal_at_each_call_of_a_launch_leaves_nothing(build: Callable[[], World]) -> None:
    """Right before and right after each write to the ledger, create of the cloud and registration at the forge."""
    points = 0
    for at in range(1, 200):
        world = build()
        counter = iter(range(1, 10_000))

        def strike(*_: object, counter: Iterator[int] = counter, at: int = at) -> None:
            if next(counter) == at:
                os.kill(os.getpid(), signal.SIGTERM)

        save, register, put = world.ledger.save, world.forge.register, world.cloud.put

        def around(call: Callable[..., object], strike: Callable[[], None] = strike) -> Callable[..., object]:
            def struck(*arguments: object, **named: object) -> object:
                strike()
                result = call(*arguments, **named)
                strike()
                return result

            return struck

        world.ledger.save = around(save)  # type: ignore[method-assign,assignment]
        world.forge.register = around(register)  # type: ignore[method-assign,assignment]
        world.cloud.put = around(put)  # type: ignore[method-assign,assignment]
        plan = world.runners.plan(world.wish())
        runner = world.runners.request(plan)
        world.clock.plan(40, lambda world=world, runner=runner: world.beat(runner))  # type: ignore[misc]
        try:
            world.runners.launch(runner, plan, world.preparation)
        except Interrupted:
            assert_nothing_left(world)
            points += 1
        else:
            break
    assert points >= 20
    print(f'{{"test": "signals at every call of a launch", "n": {points}, "left": 0}}')


def test_more_signals_do_not_stop_the_removal(world: World) -> None:
    """GitHub sends SIGINT, then SIGTERM 7.5 s later."""
    world.cloud.after_create = lambda made: world.clock.plan(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    destroy = world.cloud.destroy

    def slowly(*arguments: object) -> object:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), signum)
        return destroy(*arguments)  # type: ignore[arg-type]

    world.cloud.destroy = slowly  # type: ignore[method-assign,assignment]
    with pytest.raises(Interrupted):
        launch(world)
    assert_nothing_left(world)
    assert any("Still cleaning up" in line for line in world.lines)


def test_a_signal_that_comes_while_a_failed_launch_cleans_up_does_not_cut_it_short(world: World) -> None:
    world.cloud.refusals["create"] = [None]
    world.cloud.refusals["describe"] = [CloudUnreachable("away")] * 500
    world.cloud.stubborn = {"i-1"}
    world.clock.plan(650, lambda: os.kill(os.getpid(), signal.SIGTERM))
    world.clock.plan(700, world.cloud.stubborn.clear)
    with pytest.raises(Exception, match="10 minutes"):
        launch(world)
    assert world.cloud.things == {} and world.ledger.get("gpu").state is RunnerState.GONE


class Finalized:
    """Is struck by a signal when it is let go of: Python drops what is raised then."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_at_the_last_moment_undoes_a_launch_that_has_just_succeeded() -> None:
    undone: list[BaseException] = []

    def work(check: Callable[[], None]) -> int:
        last = Finalized()
        return id(last)

    with pytest.raises(Interrupted):
        guarded(work, undone.append)
    assert len(undone) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_gets_lost_ends_the_launch_at_its_next_step(world: World) -> None:
    world.cloud.after_create = lambda made: world.clock.plan(30, lambda: str(Finalized()))
    before = world.clock.time
    with pytest.raises(Interrupted):
        launch(world)
    assert world.clock.time - before < 60
    assert_nothing_left(world)


def test_a_signal_that_something_else_ignores_stays_ignored(world: World) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        plan = world.runners.plan(world.wish())
        runner = world.runners.request(plan)
        world.clock.plan(5, lambda: os.kill(os.getpid(), signal.SIGHUP))
        world.clock.plan(40, lambda: world.beat(runner))
        assert world.runners.launch(runner, plan, world.preparation).state is RunnerState.IDLE
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_launch_in_a_thread_of_a_server_leaves_the_servers_signals_alone(world: World) -> None:
    plan = world.runners.plan(world.wish())
    runner = world.runners.request(plan)
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []
    world.cloud.after_create = lambda made: (seen.append(signal.getsignal(signal.SIGTERM)), world.beat(runner))[1]  # type: ignore[func-returns-value]
    thread = threading.Thread(target=lambda: world.runners.launch(runner, plan, world.preparation))
    thread.start()
    thread.join()
    assert seen == [before] and world.get(runner).state is RunnerState.IDLE


def test_what_a_cancelled_launch_cannot_remove_is_kept_for_the_reaper(world: World) -> None:
    """The network is gone as well. All that is known is in the ledger; one pass of a reaper ends it."""

    def cut(made: Resource) -> None:
        world.cloud.refusals["destroy"] = [CloudUnreachable("no network")] * 3
        os.kill(os.getpid(), signal.SIGINT)

    world.cloud.after_create = cut
    with pytest.raises(Interrupted) as caught:
        launch(world)
    assert "no network" in caught.value.__notes__[0]
    assert world.ledger.get("gpu").state is RunnerState.DESTROYING
    world.runners.reap()
    assert world.cloud.things == {} and world.ledger.get("gpu").state is RunnerState.GONE


def test_an_error_of_the_cloud_is_not_hidden_by_the_clean_up(world: World) -> None:
    world.cloud.refusals["create"] = [NoCapacity("none in r1a"), NoCapacity("none in r1b")]
    world.forge.refusals = [NotRemoved("cannot", hint="later", left=())] * 2
    with pytest.raises(Exception, match="none in r1b"):
        launch(world)


def test_a_removal_is_finished_before_a_signal_is_heeded_and_a_second_interrupt_breaks_it_off(world: World) -> None:
    plan = world.runners.plan(world.wish())
    runner = world.runners.request(plan)
    world.cloud.after_create = lambda made: world.beat(runner)
    world.runners.launch(runner, plan, world.preparation)
    world.cloud.stubborn = {"i-1"}
    world.clock.plan(10, lambda: os.kill(os.getpid(), signal.SIGINT))
    world.clock.plan(20, lambda: os.kill(os.getpid(), signal.SIGTERM))
    world.clock.plan(30, world.cloud.stubborn.clear)
    with pytest.raises(Interrupted):
        world.runners.down("gpu")
    assert world.cloud.things == {} and world.get(runner).state is RunnerState.GONE
    again = world.runners.request(plan)
    world.cloud.after_create = lambda made: world.beat(again)
    world.runners.launch(again, plan, world.preparation)
    world.cloud.stubborn = {"i-2"}
    before = world.clock.time
    for seconds in (10, 20):
        world.clock.plan(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        world.runners.down("gpu")
    assert world.clock.time - before < 30 and world.get(again).state is RunnerState.DESTROYING
