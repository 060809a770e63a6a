"""On a machine that is not ours alone the start-up script becomes the agent, under the keeper that is its switch."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from mlops_nb.clouds.base import MachineOrder
from mlops_nb.clouds.local import LocalCloud
from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER, AgentWish, MachineWish
from mlops_nb.runners.startup.generating import Access, Installation, startup_script
from tests.machine.runners import NOW, runner
from tests.machine.worlds import until

ROOT = Path(__file__).parent.parent.parent
SECRET = b"registration"
STAND_IN = Installation(program=(sys.executable, str(Path(__file__).parent / "stand_in.py")))


class Host:
    """A machine on this one, as `--cloud local` makes it."""

    def __init__(self, folder: Path, *, script: str = "", installation: Installation = STAND_IN) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "HOME")} | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        self.cloud = LocalCloud(folder=folder / "machines", environment=environment, grace=5, turn=0.2)
        made = runner("local", startup_script=script, agent=AgentWish(kind="github"))
        access = Access(secret=base64.b64encode(SECRET).decode())
        order = MachineOrder(
            token=made.id,
            name=made.name,
            tags={TAG_INSTALLATION: made.installation, TAG_RUNNER: made.id},
            user_data=startup_script(made, access, installation, now=NOW),
            max_seconds=600,
        )
        self.resource = self.cloud.create(order, self.cloud.offers(MachineWish())[0], lambda resource: None).resource
        self.folder = folder / "machines" / made.id
        self.temporary = folder
        self.work = self.folder / "work" / "runner"

    def agent(self) -> psutil.Process:
        def find() -> psutil.Process | None:
            child = psutil.Process(int((self.folder / "child").read_text()))
            return child if "runner" in child.cmdline() else None

        return cast(psutil.Process, until(find))

    def ended(self, seconds: float = 20) -> str:
        until(lambda: self.cloud.describe(self.resource).phase == "gone", seconds)
        return self.cloud.describe(self.resource).reason

    def console(self) -> str:
        return self.cloud.console(self.resource)

    def end(self) -> None:
        until(lambda: not self.cloud.destroy([self.resource], self.resource.installation))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def make(**options: Any) -> Host:
        hosts.append(Host(tmp_path, **options))
        return hosts[-1]

    yield make
    for one in hosts:
        one.end()


def test_the_script_becomes_the_agent_and_leaves_no_secret(host: Callable[..., Host]) -> None:
    machine = host(script="echo the users script")
    until(lambda: (machine.work / "calls").exists())
    assert repr(SECRET) in (machine.work / "given").read_text()
    assert "the users script" in machine.console()
    assert int((machine.folder / "lease").read_text()) > 0 and int((machine.folder / "hard_stop").read_text()) > 0
    machine.agent().send_signal(signal.SIGTERM)
    assert "it ended by itself, with exit status 0" in machine.ended()
    assert (machine.work / "calls").read_text().splitlines()[-1] == "stop"
    secret = base64.b64encode(SECRET)
    assert not [path for path in machine.temporary.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_an_agent_that_hangs_is_ended_when_its_lease_is_over(host: Callable[..., Host]) -> None:
    machine = host()
    until(lambda: (machine.work / "calls").exists())
    agent = machine.agent()
    agent.suspend()
    (machine.folder / "lease").write_text("1\n")
    assert "its lease ran out" in machine.ended()
    assert not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE


def test_a_keeper_that_is_told_to_end_lets_the_agent_save_its_job(host: Callable[..., Host]) -> None:
    machine = host()
    until(lambda: "Ready" in machine.console())
    (machine.work / "job").write_text("training")
    os.kill(int((machine.folder / "keeper").read_text()), signal.SIGTERM)
    machine.ended()
    assert any(line.startswith("interrupt") for line in (machine.work / "calls").read_text().splitlines())


def test_a_script_of_the_user_that_fails_ends_it(host: Callable[..., Host]) -> None:
    machine = host(script="exit 9")
    assert "exit status 9" in machine.ended()
    assert "FAILED" in machine.console() and not machine.work.exists()


def test_a_host_without_python_says_what_is_missing(tmp_path: Path) -> None:
    script = startup_script(runner("ssh"), Access(), Installation(package="mlops-nb==0.9"), now=NOW)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cat", "chmod", "mkdir", "mktemp", "mv"):
        program = next(path for path in (Path("/usr/bin") / name, Path("/bin") / name) if path.exists())
        (tmp_path / "bin" / name).symlink_to(program)
    environment = {"PATH": str(tmp_path / "bin"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Install mlops-nb" in done.stdout and "has no python3" in done.stdout + done.stderr
