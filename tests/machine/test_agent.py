"""The agent of a machine gets its secret once, leaves none behind, and tells its log without gaps."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from mlops_nb.core.runners import AgentWish
from mlops_nb.errors import InvalidInput, MlopsError, NotFound, NotSupported, StoreUnreachable
from mlops_nb.runners.machine.agent import run_agent
from mlops_nb.runners.machine.enrolment import enrol
from mlops_nb.runners.machine.gpus import gpu_use
from mlops_nb.runners.machine.log import MAX_WAITING, MachineLog
from mlops_nb.runners.machine.settings import AgentSettings, read_settings, write_settings
from mlops_nb.runners.machine.site import Site, work_at
from mlops_nb.runners.machine.switch import SwitchFiles, uptime
from tests.machine.worlds import Jobs, Office, until

ROOT = Path(__file__).parent.parent.parent
SECRET = b"registration-of-the-machine"


def settings(**changes: object) -> AgentSettings:
    base = AgentSettings(
        runner_id="ab" * 16, name="gpu-1", cloud="local", agent=AgentWish(kind="github"), max_seconds=3600, folder="", switch=""
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture
def mailbox() -> Iterator[tuple[str, list[bytes]]]:
    """A bucket's object behind a URL with a signature, which is there as often as the list has entries."""
    letters: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = letters.pop(0) if letters else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/bucket/letter?X-Amz-Signature=0123456789abcdef", letters
    server.shutdown()
    server.server_close()


def test_a_secret_that_came_along_is_given_to_the_work_and_is_gone_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    write_settings(path, settings(secret=base64.b64encode(SECRET).decode()))
    sites: list[Site] = []

    def make(site: Site) -> Jobs:
        sites.append(site)
        work = Jobs()
        work.drain()
        return work

    ended = run_agent(path, environment={"MLOPS_NB_AGENT_SECRETS": str(tmp_path), "LANG": "C"}, make=make)
    assert not ended.failed
    assert sites[0].secret == SECRET and sites[0].environment == {"LANG": "C"}
    assert SECRET.decode() not in repr(sites[0]) and base64.b64encode(SECRET).decode() not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["name"] == "gpu-1"


def test_a_secret_of_a_mounted_folder_is_read_from_there(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    write_settings(path, settings())
    (tmp_path / "ticket").write_text("a-ticket\n")
    assert read_settings(path, {"MLOPS_NB_AGENT_SECRETS": str(tmp_path)}).ticket == "a-ticket"
    assert read_settings(path, {}).ticket == ""


def test_settings_that_others_can_read_are_refused_while_they_hold_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    write_settings(path, settings(ticket="a-ticket"))
    path.chmod(0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        read_settings(path, {})
    write_settings(path, settings())
    path.chmod(0o644)
    assert read_settings(path, {}).name == "gpu-1"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runner_id": 5}', "\x00"])
def test_settings_that_are_none_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="does not hold the settings"):
        read_settings(path, {})


def test_a_machine_without_settings_says_so_on_the_command_line(tmp_path: Path) -> None:
    code = "from mlops_nb.cli import runner_agent as r; r.agent(['--settings', 'missing.json'], standalone_mode=False)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "This machine cannot begin: The agent's settings missing.json cannot be read" in done.stdout


def test_a_mailbox_is_read_once(mailbox: tuple[str, list[bytes]]) -> None:
    url, letters = mailbox
    letters.append(SECRET)
    assert enrol(settings(mailbox=url), print).secret == SECRET
    with pytest.raises(NotFound, match="nothing in the mailbox") as caught:
        enrol(settings(mailbox=url), print)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize("place", [{"server": "http://127.0.0.1:1", "ticket": "t"}, {"mailbox": "http://127.0.0.1:1/x?sig=hidden0"}])
def test_a_network_that_is_not_there_yet_is_waited_for(place: dict[str, str]) -> None:
    told: list[str] = []
    with pytest.raises(MlopsError) as caught:
        enrol(settings(**place), told.append, patience=0.05, pause=0.02)
    assert len(told) == 1 and "It is asked again" in told[0]
    assert "hidden0" not in str(caught.value) + told[0]


def test_a_secret_that_is_no_base64_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not base64"):
        enrol(settings(secret="%%%"), print)


def test_work_that_this_installation_does_not_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.runners.machine import site as module

    monkeypatch.setattr(module, "_MAKERS", {"": "mlops_nb.runners.of_another_version"})
    wish = AgentWish(kind="gitlab")
    site = Site(runner_id="", name="", agent=wish, secret=b"", store=None, folder=tmp_path, user="", log=print, environment={})
    with pytest.raises(NotSupported, match="gitlab"):
        work_at(site)


# -- the log


def test_a_log_reaches_the_server_once_whatever_answers_are_lost() -> None:
    office, log = Office(), MachineLog(io.StringIO(), {})
    office.lose_answers = 3
    lines = []
    for number in range(2000):
        lines.append(f"line {number} äöü € {'x' * 70}")
        log.write(lines[-1])
        if number % 400 == 0:
            try:
                log.ship(office)
            except StoreUnreachable:
                log.write(lines.pop() and f"lost {number}")
                lines.append(f"line {number} äöü € {'x' * 70}")
                lines.append(f"lost {number}")
    log.ship(office)
    assert office.log.decode().splitlines() == lines


def test_a_log_that_nobody_takes_is_cut_at_its_beginning_and_says_so() -> None:
    office, log = Office(), MachineLog(io.StringIO(), {})
    for number in range(30_000):
        log.write(f"{number:06} {'y' * 60}")
    log.ship(office)
    text = office.log.decode()
    assert len(office.log) < MAX_WAITING + 1000
    assert "bytes are missing here" in text.splitlines()[0] and text.splitlines()[-1].startswith("029999")
    assert all(len(line) == 67 for line in text.splitlines()[1:])


def test_secrets_of_the_environment_are_not_in_the_log() -> None:
    console = io.StringIO()
    office, log = Office(), MachineLog(console, {"REPO_TOKEN": "a-very-secret-token"})
    log.write("cloning with a-very-secret-token and ghp_0123456789012345678901234567890123456789")
    log.ship(office)
    for text in (console.getvalue(), office.log.decode()):
        assert "a-very-secret-token" not in text and "ghp_0123" not in text


def test_a_console_that_is_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    office = Office()
    with os.fdopen(writing, "w") as console:
        log = MachineLog(console, {})
        log.write("one")
        log.write("two")
        log.ship(office)
        with pytest.raises(BrokenPipeError):
            console.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), console.fileno())
    assert "one\n" in office.log.decode() and "two\n" in office.log.decode()
    assert office.log.decode().count("console cannot be written") == 1


# -- the switch, signals, the GPU


def test_a_switch_named_by_the_environment_wins_over_the_folder(tmp_path: Path) -> None:
    named = {"MLOPS_NB_LEASE": str(tmp_path / "a"), "MLOPS_NB_HARD_STOP": str(tmp_path / "b")}
    switch = SwitchFiles.of(named, "/nowhere")
    assert switch is not None
    switch.renew(100)
    switch.hard_stop(1e9)
    assert 99 <= int((tmp_path / "a").read_text()) - uptime() <= 101
    assert (tmp_path / "b").read_text().strip().isdigit()
    assert SwitchFiles.of({}, str(tmp_path / "missing")) is None and SwitchFiles.of({}, "") is None


_LOOP = """
import sys, threading, time
from mlops_nb.core.runners import Guards
from mlops_nb.runners.machine.loop import MachineLoop
from mlops_nb.runners.machine.signals import told_by_signals
from tests.machine.worlds import Jobs
work = Jobs()
work.begin("training")
loop = MachineLoop(work, Guards(), tick=0.02)
with told_by_signals(loop):
    ended = loop.run()
print(work.calls, ended.reason, flush=True)
"""


@pytest.mark.parametrize(("signals", "said"), [([signal.SIGTERM], "SIGTERM"), ([signal.SIGINT, signal.SIGINT], "pressed twice")])
def test_a_signal_interrupts_the_job_and_ctrl_c_does_at_the_second_time(signals: list[int], said: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", _LOOP], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "Ready for work.\n"
    process.send_signal(signals[0])
    if len(signals) > 1:
        assert process.stdout.readline().startswith("No more work is taken: Ctrl+C was pressed")
        assert process.poll() is None, "the job goes on"
        process.send_signal(signals[1])
    rest = process.stdout.read()
    assert process.wait(10) == 0
    assert "interrupt 25" in rest and said in rest.splitlines()[-1]


def test_nvidia_smi_is_asked_where_its_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat answer\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    use = gpu_use()
    for answer, expected in (("3\n87\n", 0.87), ("[N/A]\n", None), ("", None), ("No devices were found\n", None)):
        (tmp_path / "answer").write_text(answer)
        assert use() == expected
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu_use()() is None


def test_a_work_that_takes_minutes_to_start_has_signs_of_life_meanwhile(tmp_path: Path) -> None:
    from mlops_nb.core.runners import Guards
    from mlops_nb.runners.machine.loop import MachineLoop

    installed = threading.Event()

    class Slow(Jobs):
        def start(self) -> None:
            installed.wait(10)

    office = Office()
    loop = MachineLoop(Slow(), Guards(), server=office, beat=0.02, tick=0.01, log=MachineLog(io.StringIO(), {}))
    thread = threading.Thread(target=loop.run)
    thread.start()
    until(lambda: office.states.count("booting") > 3)
    loop.leave("enough", 0)
    installed.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_machine_without_the_user_for_notebooks_does_not_go_on_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.runners.machine.account import become

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NotFound, match="no user 'nobody-of-this-name'"):
        become("nobody-of-this-name", [tmp_path])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert become("nobody-of-this-name", [tmp_path]) == {}
