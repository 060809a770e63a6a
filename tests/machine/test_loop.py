"""The loop of a machine goes on while there is work, and ends for the right reason when there is none."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.core.runners import Guards
from mlops_nb.errors import PermissionDenied, StoreUnreachable
from mlops_nb.runners.machine import heartbeats
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.loop import Ended, MachineLoop
from mlops_nb.runners.machine.notices.base import Notice
from mlops_nb.runners.machine.switch import SwitchFiles, uptime
from mlops_nb.runners.machine.work import WorkStatus
from tests.machine.worlds import Jobs, Office, until


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Running:
    """A loop that runs in a thread of its own."""

    def __init__(self, work: Jobs, folder: Path, **options: Any) -> None:
        self.clock = Clock()
        self.console = io.StringIO()
        self.switch = SwitchFiles(folder / "lease", folder / "hard_stop")
        self.folder = folder
        options = {"guards": Guards(), "switch": self.switch, "beat": 0.02, "tick": 0.01, "clock": self.clock} | options
        guards = options.pop("guards")
        self.loop = MachineLoop(work, guards, log=MachineLog(self.console, {}), **options)
        self.ended: Ended | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.ended = self.loop.run()

    def end(self, seconds: float = 10.0) -> Ended:
        self.thread.join(seconds)
        assert self.ended is not None, self.console.getvalue()
        return self.ended

    def wait(self, seconds: float, office: Office) -> None:
        """Let time pass as it does: with signs of life in it."""
        until_ = self.clock.now + seconds
        while self.clock.now < until_:
            self.clock.now = min(until_, self.clock.now + 90)
            count = len(office.beats)
            until(lambda count=count: len(office.beats) > count + 1 or self.ended is not None)

    def lease(self) -> float:
        """Return how many seconds of uptime the switch still gives."""
        return float((self.folder / "lease").read_text()) - uptime()

    def hard_stop(self) -> float:
        return float((self.folder / "hard_stop").read_text()) - uptime()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(work: Jobs, **options: Any) -> Running:
        running.append(Running(work, tmp_path, **options))
        return running[-1]

    yield begin
    for one in running:
        one.loop.leave("the test is over", 0)
        one.thread.join(10)


def test_a_machine_without_work_ends_after_its_idle_limit_and_not_before(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office(idle=300)
    running = start(work, server=office)
    until(lambda: "idle" in office.states)
    running.wait(295, office)
    assert running.thread.is_alive() and 290 <= office.beats[-1].idle <= 295
    running.wait(10, office)
    ended = running.end()
    assert ended.reason.startswith("idle for 5") and not ended.failed
    assert work.calls == ["start", "drain", "stop"]
    assert office.beats[-1].leaving == ended.reason


def test_a_job_or_a_gpu_in_use_keeps_a_machine_from_being_idle(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    use = [0.9]
    running = start(work, server=office, gpu=lambda: use[0])
    until(lambda: any(beat.gpu == 0.9 for beat in office.beats))
    running.wait(600, office)
    assert office.beats[-1].idle <= 90
    work.begin("job 1")
    use[0] = 0.0
    until(lambda: "busy" in office.states)
    running.wait(600, office)
    assert running.thread.is_alive()
    assert office.beats[-1].job == "job 1"


def test_a_job_that_comes_while_an_idle_machine_leaves_is_still_done(start: Callable[..., Running]) -> None:
    class Late(Jobs):
        def drain(self) -> None:
            self.calls.append("drain")
            self.begin("came at the last moment")

    work = Late()
    running = start(work, server=Office(idle=10))
    until(lambda: "start" in work.calls)
    until(lambda: "Ready" in running.console.getvalue())
    running.clock.now += 11
    until(lambda: "drain" in work.calls)
    running.clock.now += 600
    until(lambda: running.loop.is_draining)
    assert running.thread.is_alive()
    work.end()
    assert running.end().jobs == 1


def test_the_switch_lives_on_signs_of_life_and_no_longer_than_the_hard_stop(start: Callable[..., Running]) -> None:
    office = Office(lease=180, hard_stop=90)
    running = start(Jobs(), server=office, hard_stop=14_400)
    until(lambda: len(office.beats) > 1)
    assert 80 < until(lambda: running.hard_stop() < 100 and running.hard_stop()) < 92
    assert 80 < running.lease() < 92
    office.orders["hard_stop"] = 7200.0
    until(lambda: running.hard_stop() > 7000)
    assert 170 < until(lambda: running.lease() > 100 and running.lease()) < 182


def test_without_a_server_the_loop_renews_the_lease_by_itself(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start(Jobs(), lease=180, hard_stop=14_400)
    until(lambda: (tmp_path / "lease").exists())
    (tmp_path / "lease").write_text("1\n")
    until(lambda: (tmp_path / "lease").read_text() != "1\n")
    assert 170 < running.lease() < 182
    assert 14_390 < running.hard_stop() < 14_402


def test_a_loop_that_hangs_gives_no_more_signs_of_life(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    running = start(work, server=office)
    until(lambda: "idle" in office.states)
    work.hang = threading.Event()
    running.clock.now += heartbeats.HANGING_SECONDS + 1
    until(lambda: "hangs" in running.console.getvalue())
    count = len(office.beats)
    before = running.lease()
    threading.Event().wait(0.2)  # ten beats long
    assert len(office.beats) == count
    assert running.lease() < before
    work.hang.set()


def test_a_server_that_stays_away_ends_the_machine_before_its_lease_does(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office(lease=180)
    running = start(work, server=office)
    work.begin("training")
    until(lambda: "busy" in office.states)
    office.error = StoreUnreachable("nobody is there")
    until(lambda: "sign of life" in running.console.getvalue())
    running.clock.now += 60
    threading.Event().wait(0.1)
    assert running.thread.is_alive() and "interrupt" not in "".join(work.calls)
    running.clock.now += 65
    ended = running.end()
    assert ended.failed and "server has not answered" in ended.reason
    interrupted = next(call for call in work.calls if call.startswith("interrupt"))
    assert 40 <= int(interrupted.split()[1]) <= 60, "the job has time to save what it has"


def test_a_server_that_comes_back_in_time_changes_nothing(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office(lease=180)
    running = start(work, server=office)
    work.begin("training")
    until(lambda: "busy" in office.states)
    office.error = StoreUnreachable("nobody is there")
    running.clock.now += 60
    count = len(office.beats)
    office.error = None
    until(lambda: len(office.beats) > count)
    running.clock.now += 60
    until(lambda: len(office.beats) > count + 3)
    assert running.thread.is_alive() and work.calls == ["start"]


def test_a_runner_that_the_server_no_longer_knows_ends_without_waiting_for_its_job(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    running = start(work, server=office)
    work.begin("training")
    until(lambda: "busy" in office.states)
    office.error = PermissionDenied("the token is of no runner")
    assert "no longer knows this runner" in running.end().reason
    assert work.calls[-1] == "stop"


def test_one_refusal_from_something_in_between_ends_nothing(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    running = start(work, server=office)
    until(lambda: "idle" in office.states)
    refusals = [PermissionDenied("a proxy says no")]

    def answer(beat: Any, original: Any = office.heartbeat) -> Any:
        if refusals:
            raise refusals.pop()
        return original(beat)

    office.heartbeat = answer  # type: ignore[method-assign]
    count = len(office.beats)
    until(lambda: len(office.beats) > count + 5)
    assert running.thread.is_alive()


def test_draining_waits_for_the_job(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    running = start(work, server=office)
    work.begin("training")
    until(lambda: "busy" in office.states)
    office.orders["drain"] = True
    until(lambda: "draining" in office.states)
    assert running.thread.is_alive()
    work.end()
    assert running.end().reason == "it was told to stop"


def test_work_that_does_not_finish_after_a_drain_is_ended(start: Callable[..., Running]) -> None:
    class Stubborn(Jobs):
        def drain(self) -> None:
            self.calls.append("drain")

    work = Stubborn()
    running = start(work)
    running.loop.drain("enough")
    until(lambda: "drain" in work.calls)
    running.clock.now += 121
    assert running.end().reason == "enough"


def test_a_notice_of_the_cloud_interrupts_the_job_and_is_told_at_once(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    announced: list[Notice] = []

    class Place:
        def check(self) -> Notice | None:
            return announced[-1] if announced else None

    announced.append(Notice(text="AWS recommends to leave", seconds=120, final=False))
    work.begin("training")
    running = start(work, server=office, notices=[Place()], beat=30.0)
    until(lambda: "drain" in work.calls)
    assert running.thread.is_alive(), "a recommendation lets the job end"
    announced.append(Notice(text="AWS takes this spot machine back", seconds=120))
    ended = running.end()
    assert "interrupt 115" in work.calls
    assert ended == Ended(reason="AWS takes this spot machine back", jobs=1, failed=True)
    assert office.beats[-1].notice == "AWS takes this spot machine back"


def test_a_job_that_does_not_save_in_time_is_stopped_when_the_time_is_over(start: Callable[..., Running]) -> None:
    work = Jobs()
    work.saves = False
    running = start(work)
    work.begin("training")
    until(lambda: "Ready" in running.console.getvalue())
    running.loop.leave("it was told to end (SIGTERM)", 25)
    until(lambda: "interrupt 25" in work.calls)
    running.clock.now += 20
    threading.Event().wait(0.1)
    assert running.thread.is_alive()
    running.clock.now += 6
    assert running.end().reason == "it was told to end (SIGTERM)"
    assert work.calls.count("interrupt 25") == 1


def test_the_job_is_told_before_the_hard_stop(start: Callable[..., Running]) -> None:
    work = Jobs()
    running = start(work, hard_stop=3600)
    work.begin("training")
    until(lambda: "Ready" in running.console.getvalue())
    running.clock.now += 3541
    assert running.end().reason == "its time limit is reached"
    assert any(call.startswith("interrupt 5") for call in work.calls)


def test_work_that_fails_ends_the_machine_and_says_why(start: Callable[..., Running]) -> None:
    work, office = Jobs(), Office()
    work.error = RuntimeError("the agent's program is gone")
    work.stop_error = OSError("and cannot be stopped")
    ended = start(work, server=office).end()
    assert ended.failed and "the agent's program is gone" in ended.reason
    assert office.beats[-1].leaving == ended.reason
    assert b"cannot be stopped" not in office.log or office.log.index(b"Ending") < office.log.index(b"cannot be stopped")


def test_work_that_never_gets_ready_ends_the_machine(start: Callable[..., Running]) -> None:
    work, office = Jobs(ready=False), Office()
    running = start(work, server=office)
    until(lambda: "booting" in office.states)
    running.clock.now += 601
    ended = running.end()
    assert ended.failed and "not ready in time" in ended.reason


def test_a_disk_that_takes_no_lease_is_told_once_and_ends_nothing_by_itself(start: Callable[..., Running], tmp_path: Path) -> None:
    office = Office()
    switch = SwitchFiles(tmp_path / "missing" / "lease", tmp_path / "missing" / "hard_stop")
    running = start(Jobs(), server=office, switch=switch)
    until(lambda: len(office.beats) > 3)
    assert running.console.getvalue().count("switch cannot be set") == 1


def test_the_reason_of_the_work_is_the_reason_of_the_end(start: Callable[..., Running]) -> None:
    work = Jobs()
    running = start(work)
    until(lambda: "start" in work.calls)
    work.status = WorkStatus(finished=True, failed=True, reason="the registration was refused", jobs=0)
    assert running.end() == Ended(reason="the registration was refused", jobs=0, failed=True)
