"""A server hosts runners: launches go on whoever leaves, the next server finishes what one has begun, and one process reaps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.clouds.base import CloudError, NoCapacity
from mlops_nb.core.runners import (
    GRACE_SECONDS,
    TAG_EXPIRES,
    TAG_INSTALLATION,
    TAG_RUNNER,
    AgentWish,
    CloudName,
    Heartbeat,
    Runner,
    RunnerRequest,
    RunnerState,
)
from mlops_nb.errors import AlreadyExists, NotSupported
from mlops_nb.forges.runners import ForgeJob, Rerun
from mlops_nb.runners import launching
from mlops_nb.runners.hosting import HOSTED, RunnerHost
from mlops_nb.runners.manager import Runners
from mlops_nb.store.open import open_empty_store
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.store.sql.store import SqlStore
from tests.runners.small_world import PLACE, SmallClock, SmallCloud, SmallForge, SmallPreparation

ROOT = Path(__file__).parent.parent.parent


class SmallKeeper:
    def __init__(self) -> None:
        self.asked: list[object] = []

    def registration(self) -> bytes:
        return b"another jit configuration"

    def unregister(self) -> bool:
        return True

    def interrupted(self, job: ForgeJob | None) -> Rerun:
        self.asked.append(job)
        return Rerun(state="started", url="https://forge.example/o/r/actions/runs/1")


class SmallParts:
    """One small cloud and forge for all hosts of a test."""

    def __init__(self, folder: Path) -> None:
        self.small = SmallCloud(SmallClock())
        self.forge = SmallForge(folder / "forge")
        self.keeping = SmallKeeper()
        self.broken: CloudError | None = None

    def cloud(self, name: CloudName) -> SmallCloud:
        if self.broken is not None:
            raise self.broken
        return self.small

    def registrar(self, url: str) -> SmallForge:
        assert url == PLACE
        return self.forge

    def preparation(self, ledger: RunnerLedger, runner: Runner) -> SmallPreparation:
        return SmallPreparation()

    def keeper(self, ledger: RunnerLedger, runner: Runner) -> SmallKeeper:
        return self.keeping


class Servers:
    """Hosts over one store, as the servers of a project one after the other, or the processes of a team's side by side."""

    def __init__(self, folder: Path) -> None:
        self.store = SqlStore.in_file(folder / "store.db", durability="normal")
        self.ledger = self.store.runners
        self.parts = SmallParts(folder)
        self.hosts: list[RunnerHost] = []

    def start(self, **options: Any) -> RunnerHost:
        given = {"tick_seconds": 0.1, "reap_seconds": 0.2, "hold_seconds": 30.0, **options}
        host = RunnerHost(lambda create: self.ledger, self.parts, **given)
        host.start()
        self.hosts.append(host)
        return host

    def wait(self, runner: Runner, *states: RunnerState) -> Runner:
        return until(lambda: ((now := self.ledger.get(runner.id)).state in states and now) or None, lambda: self.ledger.get(runner.id))


def until(look: Callable[[], Any], why: Callable[[], object] = lambda: None) -> Any:
    deadline = time.monotonic() + 15
    while not (found := look()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)
    return found


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    monkeypatch.delenv("MLOPS_NB_INSTALLATION", raising=False)
    monkeypatch.setattr(launching, "LOOK_SECONDS", 0.05)
    servers = Servers(tmp_path)
    yield servers
    for host in servers.hosts:
        host.close()
    servers.store.close()


def wish(name: str = "gpu", **agent: Any) -> RunnerRequest:
    return RunnerRequest(name=name, cloud="aws", agent=AgentWish(**agent))


def test_a_launch_is_answered_when_it_is_written_down_and_goes_on_by_itself(servers: Servers) -> None:
    host = servers.start()
    runner = host.launch(wish(), user="me")
    assert runner.state is RunnerState.REQUESTED and runner.user == "me"
    with pytest.raises(AlreadyExists):
        host.launch(wish())
    servers.wait(runner, RunnerState.BOOTING)
    servers.ledger.heartbeat(runner.id, Heartbeat(state="idle"))
    assert servers.wait(runner, RunnerState.IDLE).ready is not None
    until(lambda: not host._working)
    assert len(servers.parts.small.things) == 1


def test_a_launch_that_fails_leaves_its_reason_and_nothing_else(servers: Servers) -> None:
    servers.parts.small.refusals["create"] = [NoCapacity("no g5 here"), NoCapacity("nor there")]
    gone = servers.wait(servers.start().launch(wish()), RunnerState.GONE)
    assert "no g5 here" in gone.reason and "nor there" in gone.reason
    assert servers.parts.small.things == {}


def test_a_server_that_ends_undoes_nothing_and_the_next_one_goes_on(servers: Servers) -> None:
    first = servers.start()
    runner = first.launch(wish())
    servers.wait(runner, RunnerState.BOOTING)
    first.close()
    assert servers.ledger.get(runner.id).state is RunnerState.BOOTING and len(servers.parts.small.things) == 1
    second = servers.start()
    until(lambda: runner.id in second._working)
    assert len(servers.parts.small.orders) == 1, "no second machine is asked for"
    servers.ledger.heartbeat(runner.id, Heartbeat(state="idle"))
    until(lambda: runner.id not in second._working)
    assert servers.ledger.get(runner.id).state is RunnerState.IDLE and len(servers.parts.small.things) == 1


def test_while_a_process_launches_no_other_one_meddles(servers: Servers) -> None:
    first, second = servers.start(hold_seconds=1.0), servers.start(hold_seconds=1.0)
    runner = first.launch(wish())
    servers.wait(runner, RunnerState.BOOTING)
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        assert runner.id not in second._working
        time.sleep(0.05)
    assert runner.id in first._working


def test_what_a_command_line_launches_is_its_own_affair(servers: Servers) -> None:
    parts = servers.parts
    runners = Runners(servers.ledger, parts.cloud, parts.registrar)
    runner = runners.request(runners.plan(wish()))
    host = servers.start()
    until(lambda: host._reaped > 0)
    assert runner.id not in host._working and servers.ledger.get(runner.id).state is RunnerState.REQUESTED
    assert HOSTED not in [one.kind for one in servers.ledger.events(runner.id)]


def test_a_server_that_is_killed_in_a_launch_is_followed_by_one_that_goes_on(servers: Servers, tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from mlops_nb.runners.hosting import RunnerHost
        from mlops_nb.store.sql.store import SqlStore
        from tests.runners.test_hosting import SmallParts, wish

        class Killed(SmallParts):
            def cloud(self, name):
                self.small.after_create = lambda made: os.kill(os.getpid(), signal.SIGKILL)
                return self.small

        folder = Path(sys.argv[1])
        ledger = SqlStore.in_file(folder / "store.db").runners
        host = RunnerHost(lambda create: ledger, Killed(folder), hold_seconds=1.0)
        host.launch(wish())
        signal.pause()
    """
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, timeout=60, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    runner = servers.ledger.get("gpu")
    assert runner.state is RunnerState.CREATING and runner.resources, "it was written down before it was asked for"
    servers.parts.small.put({TAG_RUNNER: runner.id, TAG_INSTALLATION: runner.installation})
    servers.start()
    servers.ledger.hold(f"launch {runner.id}", "nobody", 0)
    until(lambda: servers.ledger.get(runner.id).state is RunnerState.BOOTING, lambda: servers.ledger.get(runner.id))
    servers.ledger.heartbeat(runner.id, Heartbeat(state="idle"))
    assert servers.wait(runner, RunnerState.IDLE)


def test_an_end_is_written_down_at_once_and_carried_out_behind(servers: Servers) -> None:
    host = servers.start()
    runner = host.launch(wish())
    servers.wait(runner, RunnerState.BOOTING)
    servers.ledger.heartbeat(runner.id, Heartbeat(state="busy", job="j"))
    assert host.stop("gpu").state is RunnerState.DRAINING, "its job may end"
    assert host.down("gpu", "no longer wanted").state is RunnerState.DESTROYING
    gone = servers.wait(runner, RunnerState.GONE)
    assert gone.reason == "no longer wanted" and servers.parts.small.things == {}
    assert host.stop(runner.id).state is host.down(runner.id).state is RunnerState.GONE


def test_what_was_not_removed_is_gone_on_with_by_the_next_server(servers: Servers) -> None:
    first = servers.start()
    runner = first.launch(wish())
    servers.wait(runner, RunnerState.BOOTING)
    servers.parts.broken = CloudError("the cloud is away")
    first.down("gpu")
    first.close()
    assert servers.ledger.get(runner.id).state is RunnerState.DESTROYING
    servers.parts.broken = None
    servers.start()
    servers.wait(runner, RunnerState.GONE)
    assert servers.parts.small.things == {}


def test_the_timer_removes_what_is_ours_and_past_its_time_and_touches_nothing_else(servers: Servers) -> None:
    host = servers.start()
    runner = host.launch(wish())
    servers.wait(runner, RunnerState.BOOTING)
    ours = {TAG_INSTALLATION: servers.ledger.installation(), TAG_RUNNER: "0" * 32}
    past, coming = time.time() - GRACE_SECONDS - 60, time.time() + 3600
    orphan = servers.parts.small.put({**ours, TAG_EXPIRES: str(int(past))})
    kept = servers.parts.small.put({**ours, TAG_EXPIRES: str(int(coming))})
    foreign = servers.parts.small.put({**ours, TAG_INSTALLATION: "2" * 32, TAG_EXPIRES: str(int(past))})
    until(lambda: orphan.id not in servers.parts.small.things)
    assert {kept.id, foreign.id} < servers.parts.small.things.keys() and len(servers.parts.small.things) == 3


def test_of_several_processes_one_reaps_and_another_takes_over(servers: Servers) -> None:
    servers.ledger.add(*_kept_runner(servers.ledger))
    first, second = servers.start(), servers.start()
    until(lambda: first._reaped > 0 or second._reaped > 0)
    keeper, other = (first, second) if first._reaped > 0 else (second, first)
    seen = keeper._reaped
    until(lambda: keeper._reaped > seen)
    assert other._reaped < 0
    keeper.close()
    until(lambda: other._reaped > 0)


def _kept_runner(ledger: RunnerLedger) -> Any:
    from tests.contract.runner_contract import event, new_runner

    return new_runner(installation=ledger.installation()), event()


def test_a_machine_gets_another_registration_only_while_it_may_work(servers: Servers) -> None:
    host = servers.start(tick_seconds=30)
    runner, single = host.launch(wish(kind="github", repository=PLACE)), host.launch(wish("one", single=True))
    for one in (runner, single):
        servers.wait(one, RunnerState.BOOTING)
        servers.ledger.heartbeat(one.id, Heartbeat(state="idle"))
    assert host.registration(runner.id) == b"another jit configuration"
    assert host.unregister(runner.id) is True
    cut = {"id": "7", "run": "1", "name": "train", "repository": "o/r", "attempt": 1, "url": ""}
    assert host.interrupted(runner.id, cut).state == "started"
    assert servers.parts.keeping.asked == [ForgeJob(id="7", run="1", name="train", repository="o/r")]
    servers.ledger.heartbeat(runner.id, Heartbeat(state="idle", notice="taken back"))
    for one, why in ((runner, "taken back"), (single, "single job")):
        with pytest.raises(NotSupported, match=why):
            host.registration(one.id)


def test_where_nothing_was_launched_no_store_is_made_and_no_cloud_asked(tmp_path: Path) -> None:
    asked: list[bool] = []
    empty = open_empty_store()
    parts = SmallParts(tmp_path)
    parts.broken = CloudError("nobody shall ask")

    def ledger(create: bool) -> RunnerLedger:
        asked.append(create)
        return empty.runners

    host = RunnerHost(ledger, parts, tick_seconds=0.05)
    host.start()
    until(lambda: len(asked) > 10)
    host.close()
    empty.close()
    assert not any(asked)
