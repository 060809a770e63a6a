"""Models that loop, leak, fork, flood or die, servers that are killed: nobody else notices, and nothing is left running."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlops_nb.serving.limits import Limits
from mlops_nb.serving.records import EndpointInfo, Role, StartRequest
from tests.serving.conftest import ROOT, Host, until

GOOD = {"dataframe_split": {"columns": ["what"], "data": [["fine"]]}}
ROWS = {"dataframe_split": {"columns": ["a", "b", "größe ☃", "d"], "data": [[1, 2, 3, 4]]}}


def asked(what: str) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["what"], "data": [[what]]}}


@pytest.fixture(scope="module")
def bad(host: Host, bad_model: Path, models: Path) -> Host:
    """`bad` misbehaves on demand, `other` runs beside it."""
    limits = Limits(timeout=2, memory=1 << 30, processes=20)
    assert host.start("bad", bad_model, limits=limits).state == "ready", host.logs("bad")
    assert host.start("other", models / "numbers").state == "ready", host.logs("other")
    return host


class Traffic:
    """Requests at a rate to one endpoint, in the background; `statuses` are what came."""

    def __init__(self, host: Host, name: str, body: Any, rate: float = 50) -> None:
        self.statuses: list[int] = []
        self.bodies: set[bytes] = set()
        self._over = threading.Event()
        self._arguments = (host, name, body, rate)
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(4)]

    def _send(self) -> None:
        host, name, body, rate = self._arguments
        while not self._over.wait(len(self._threads) / rate):
            answer = host.ask(name, body)
            self.statuses.append(answer.status)
            self.bodies.add(answer.body)

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        until(lambda: self.statuses)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def failed(self) -> list[int]:
        return [status for status in self.statuses if status != 200]


def pids(info: EndpointInfo) -> list[int]:
    assert info.live is not None
    return info.live.pids


def restarted(host: Host, before: list[int]) -> None:
    until(lambda: (now := host.info("bad")).state == "ready" and pids(now) and pids(now) != before, 60)
    assert host.ask("bad", GOOD).status == 200


@pytest.fixture(autouse=True)
def _others_do_not_notice(bad: Host) -> Any:
    before = pids(bad.info("other"))
    with Traffic(bad, "other", ROWS, rate=20) as traffic:
        yield
    assert traffic.statuses and not traffic.failed
    assert pids(bad.info("other")) == before
    # Crashes of one test must not park the model of the next.
    for deployment in bad.supervisor.endpoint("bad").deployments():
        deployment._crashes.clear()


@pytest.mark.slow
def test_a_model_that_loops_is_answered_for_and_started_anew(bad: Host) -> None:
    before = pids(bad.info("bad"))
    began = time.monotonic()
    answer = bad.ask("bad", asked("loop"))
    assert answer.status == 504 and time.monotonic() - began < 10
    assert b"Request processing time exceeded limit" in answer.body
    restarted(bad, before)
    assert "computes longer" in bad.logs("bad") and "bad_model.py" in bad.logs("bad")  # where it was


@pytest.mark.slow
def test_a_model_that_holds_the_interpreter_is_answered_for_and_started_anew(bad: Host) -> None:
    before = pids(bad.info("bad"))
    answer = bad.ask("bad", asked("hold"))
    assert answer.status in (502, 504)
    restarted(bad, before)


@pytest.mark.slow
def test_a_model_that_takes_too_much_memory_is_ended(bad: Host, bad_model: Path) -> None:
    assert bad.start("leaky", bad_model, limits=Limits(timeout=100, memory=1 << 30)).state == "ready"
    before = pids(bad.info("leaky"))
    assert bad.ask("leaky", asked("leak")).status == 502
    until(lambda: (now := bad.info("leaky")).state == "ready" and pids(now) and pids(now) != before, 60)
    assert "MiB of memory; it may use 1024 MiB" in bad.logs("leaky")
    bad.do(bad.supervisor.stop("leaky"))


def test_a_model_that_asks_for_more_memory_than_there_may_be_is_told_so_by_the_system(bad: Host) -> None:
    before = pids(bad.info("bad"))
    answer = bad.ask("bad", asked("huge"))
    assert (answer.status, b"more memory than it may have" in answer.body) == (503, True), answer.body
    assert pids(bad.info("bad")) == before


@pytest.mark.slow
def test_a_model_that_starts_processes_without_end_is_ended_with_all_of_them(bad: Host) -> None:
    before = pids(bad.info("bad"))
    assert bad.ask("bad", asked("fork")).status in (502, 504)
    restarted(bad, before)
    until(lambda: not [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "300"]], 10)
    assert "had started" in bad.logs("bad")


@pytest.mark.slow
def test_a_model_that_prints_without_end_fills_neither_disk_nor_memory(bad: Host) -> None:
    bad.ask("bad", asked("flood"))
    folder = bad.supervisor._folder / "endpoints" / "bad"
    assert sum(path.stat().st_size for path in folder.glob("output.*")) < 4 << 20
    began = time.monotonic()
    bad.info("other")
    assert time.monotonic() - began < 1
    until(lambda: bad.ask("bad", GOOD).status == 200, 60)
    assert "printed too fast" in bad.logs("bad")


def test_what_the_model_raises_is_told_and_ends_nothing(bad: Host) -> None:
    before = pids(bad.info("bad"))
    answer = bad.ask("bad", asked("raise"))
    assert answer.status == 400 and b"the model says no" in answer.body
    assert pids(bad.info("bad")) == before


def test_a_killed_worker_costs_the_requests_that_it_had_and_is_replaced(bad: Host) -> None:
    with Traffic(bad, "bad", asked("sleep0.02")) as traffic:
        until(lambda: len(traffic.statuses) > 20)
        before = pids(bad.info("bad"))
        os.kill(before[0], signal.SIGKILL)
        began = time.monotonic()
        restarted(bad, before)
        took = time.monotonic() - began
        count = len(traffic.statuses)
        until(lambda: len(traffic.statuses) > count + 20)
    print(f"replaced after {took:.1f} s; of {len(traffic.statuses)} requests {len(traffic.failed)} failed: {set(traffic.failed)}")
    assert len(traffic.failed) <= 4  # no more than were on their way at once
    assert set(traffic.failed) <= {502}


def test_more_requests_than_may_wait_are_told_to_come_later(bad: Host, bad_model: Path) -> None:
    assert bad.start("narrow", bad_model, limits=Limits(timeout=20, queue=2)).state == "ready"
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(bad.ask("narrow", asked("sleep0.5")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and {answer.status for answer in answers} == {200, 429}
    assert all((b"retry-after", b"1") in answer.headers for answer in refused)
    bad.do(bad.supervisor.stop("narrow"))


@pytest.mark.slow
def test_a_model_that_dies_again_and_again_is_parked_with_the_reason_and_can_be_revived(bad: Host) -> None:
    for _ in range(5):
        until(lambda: bad.info("bad").state == "ready" and pids(bad.info("bad")), 60)
        assert bad.ask("bad", asked("die")).status == 502
    info = until(lambda: (now := bad.info("bad")).state == "parked" and now, 60)
    assert "exit status 7" in info.problem
    answer = bad.ask("bad", GOOD)
    assert answer.status == 503 and b"exit status 7" in answer.body
    bad.do(bad.supervisor.extend("bad", 3600))
    until(lambda: bad.info("bad").state == "ready", 60)
    assert bad.ask("bad", GOOD).status == 200


# -- versions


def test_a_new_version_takes_over_under_load_without_a_failed_request(bad: Host, models: Path) -> None:
    assert bad.start("swap", models / "numbers").state == "ready"
    with Traffic(bad, "swap", ROWS, rate=60) as traffic:
        first = traffic.bodies.copy()
        until(lambda: len(traffic.statuses) > 30)
        info = bad.start("swap", models / "other")
        assert info.attempt is not None and info.attempt.state == "ready", bad.logs("swap")
        until(lambda: len(traffic.bodies) > 1)
        bad.do(bad.supervisor.rollback("swap"))
        count = len(traffic.statuses)
        until(lambda: len(traffic.statuses) > count + 30)
        assert bad.ask("swap", ROWS).body in first
    print(f"{len(traffic.statuses)} requests while two versions were swapped, {len(traffic.failed)} failed")
    assert not traffic.failed
    bad.do(bad.supervisor.stop("swap"))


def test_a_broken_version_changes_nothing(bad: Host, models: Path, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    assert bad.start("swap", models / "numbers").state == "ready"
    with Traffic(bad, "swap", ROWS) as traffic:
        info = bad.start("swap", tmp_path)
        assert info.attempt is not None and info.attempt.state == "failed"
        assert info.attempt.problem
    assert not traffic.failed and len(traffic.bodies) == 1
    bad.do(bad.supervisor.stop("swap"))


def test_a_canary_gets_its_share_and_a_shadow_a_copy(bad: Host, models: Path) -> None:
    assert bad.start("trial", models / "numbers").state == "ready"
    first = bad.ask("trial", ROWS).body
    info = bad.start("trial", models / "other", role=Role.CANARY, share=0.5)
    assert info.canary is not None and info.canary.state == "ready", bad.logs("trial")
    answers = [bad.ask("trial", ROWS).body for _ in range(100)]
    assert 20 < sum(answer != first for answer in answers) < 80
    bad.do(bad.supervisor.promote("trial", share=0.0))
    assert {bad.ask("trial", ROWS).body for _ in range(20)} == {first}
    bad.do(bad.supervisor.promote("trial"))
    assert bad.ask("trial", ROWS).body != first
    assert bad.do(bad.supervisor.rollback("trial")).canary is None
    assert bad.ask("trial", ROWS).body == first
    bad.start("trial", models / "other", role=Role.SHADOW, share=1.0)
    assert {bad.ask("trial", ROWS).body for _ in range(10)} == {first}
    until(lambda: bad.info("trial").traffic.shadow_different >= 10)
    bad.do(bad.supervisor.stop("trial"))


# -- ends


def test_an_endpoint_ends_at_its_time(bad: Host, models: Path) -> None:
    bad.start("short", models / "numbers", ttl=2.0)
    process = psutil.Process(pids(bad.info("short"))[0])
    until(lambda: not any(info.name == "short" for info in bad.do(_infos(bad))), 20)
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 10)


def test_an_endpoint_that_is_stopped_while_it_starts_leaves_nothing(bad: Host, models: Path) -> None:
    asked_for = StartRequest(name="early", model_uri="folder", allow_unsafe=True)
    bad.do(bad.supervisor.start(asked_for, wait=0.0, folder=models / "numbers"))
    worker = until(lambda: [one for each in bad.supervisor.endpoint("early").deployments() for one in each.workers])[0]
    bad.do(bad.supervisor.stop("early"))
    until(lambda: not worker.is_alive, 10)
    assert not any(info.name == "early" for info in bad.do(_infos(bad)))


async def _infos(host: Host) -> list[EndpointInfo]:
    return host.supervisor.infos()


_SERVER = """
import asyncio, sys
from pathlib import Path
from mlops_nb.serving.records import StartRequest
from mlops_nb.serving.supervisor import Supervisor

async def main():
    supervisor = Supervisor(Path(sys.argv[1]), lambda: None)
    await supervisor.restore()
    if not supervisor.infos():
        await supervisor.start(
            StartRequest(name="kept", model_uri="folder", allow_unsafe=True, port=0), wait=100, folder=Path(sys.argv[2])
        )
    while supervisor.infos()[0].state != "ready":
        await asyncio.sleep(0.05)
    info = supervisor.infos()[0]
    print(info.live.pids[0], info.port, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_killed_server_leaves_no_worker_and_its_endpoints_come_back_at_the_same_port(bad_model: Path, tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], int, int]:
        command = [sys.executable, "-c", _SERVER, str(tmp_path / "state"), str(bad_model)]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        )
        assert server.stdout is not None
        pid, port = server.stdout.readline().split()
        return server, int(pid), int(port)

    server, pid, port = start()
    worker = psutil.Process(pid)
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)):
        pass
    server.kill()
    server.wait()
    began = time.monotonic()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 10)
    print(f"the worker was gone {time.monotonic() - began:.2f} s after its server")
    again, _, same_port = start()
    assert same_port == port
    again.terminate()
    again.wait()
    if again.stdout is not None:
        again.stdout.close()
    if server.stdout is not None:
        server.stdout.close()


def test_names_that_could_be_no_part_of_an_address_are_refused(bad: Host, models: Path) -> None:
    from mlops_nb.errors import InvalidInput

    for name in ("", "..", "a/b", "a b", "ä", "x" * 65, ".hidden", "a\n", "<b>", "%2e%2e"):
        with pytest.raises(InvalidInput, match="can be no endpoint's name"):
            bad.start(name, models / "numbers")


# -- processes that leave their worker


def daemons() -> list[int]:
    found = psutil.process_iter(["cmdline", "status"])
    return [one.pid for one in found if one.info["cmdline"] == ["sleep", "654"] and one.info["status"] != psutil.STATUS_ZOMBIE]


def test_daemons_of_a_model_are_counted_and_end_with_its_endpoint(bad: Host, bad_model: Path) -> None:
    assert bad.start("daemons", bad_model).state == "ready"
    assert bad.ask("daemons", asked("daemon")).status == 200
    until(lambda: len(daemons()) == 2)
    from mlops_nb.serving.descendants import usage

    assert usage(pids(bad.info("daemons"))[0])[1] == 2
    bad.do(bad.supervisor.stop("daemons"))
    until(lambda: not daemons(), 10)


def test_daemons_of_a_killed_worker_are_ended_too(bad: Host, bad_model: Path) -> None:
    assert bad.start("daemons", bad_model).state == "ready"
    bad.ask("daemons", asked("daemon"))
    (before,) = pids(bad.info("daemons"))
    until(lambda: len(daemons()) == 2)
    os.kill(before, signal.SIGKILL)
    # The one that has forgotten its variables cannot be told from another's any more.
    until(lambda: len(daemons()) == 1, 10)
    for pid in daemons():
        os.kill(pid, signal.SIGKILL)
    bad.do(bad.supervisor.stop("daemons"))


_LEAVING = """
import os, subprocess, sys
from mlops_nb.serving import descendants
from mlops_nb.serving.places import Place
place = Place()
marked = {**os.environ, descendants.VARIABLE: descendants.new_mark()}
subprocess.Popen(["sleep", "654"], env=marked, start_new_session=True, stdout=subprocess.DEVNULL)
print(place.path, flush=True)
sys.stdin.read()
"""


def test_what_killed_servers_have_left_is_cleaned_up_and_nothing_of_living_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    from mlops_nb.serving.places import clean_up

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stranger = tmp_path / "mlops-nb-stranger"
    stranger.mkdir()
    (tmp_path / "mlops-nb-link").symlink_to(stranger)
    command = [sys.executable, "-c", _LEAVING]
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables) for _ in range(2)]
    folders = [Path(one.stdout.readline().strip()) for one in started if one.stdout is not None]
    try:
        clean_up()
        assert all(folder.is_dir() for folder in folders) and len(daemons()) == 2
        started[0].kill()
        started[0].wait()
        clean_up()
        until(lambda: len(daemons()) == 1)
        assert [folder.is_dir() for folder in folders] == [False, True] and stranger.is_dir() and (tmp_path / "mlops-nb-link").is_symlink()
    finally:
        for one in started:
            one.kill()
            one.communicate()
        for pid in daemons():
            os.kill(pid, signal.SIGKILL)
