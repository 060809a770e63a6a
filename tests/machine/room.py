"""A room for machines, in namespaces of its own: each has the files of this system, a network of one address, and no power switch.

    unshare --mount --net --time --boottime=-SECONDS --pid --fork --mount-proc python -m tests.machine.room FOLDER

SECONDS are this system's uptime, so that it is that of a new machine. All scenarios of `scenarios` are run, some at a time, and
FOLDER/results.json says what came of them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import msgspec
import uvicorn

from mlops_nb.api.asgi import Mount, TeamServer
from mlops_nb.api.gate import Access as ServerAccess
from mlops_nb.api.project import Served
from mlops_nb.core.runners import AgentWish, CloudName, Guards, Runner, RunnerEvent, RunnerState
from mlops_nb.runners.startup.generating import Access, Installation, startup_script
from mlops_nb.store.runners import RunnerLedger
from mlops_nb.store.sql.runners import machines
from tests.machine.runners import runner
from tests.machine.test_generating import shell_of
from tests.machine.worlds import Metadata, until

ROOT = Path(__file__).parent.parent.parent
FAKES = Path(__file__).parent / "fakes"
SECRET = b"the-registration-of-this-machine"
_PATH = "/fakes:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LEASE_SECONDS = 6.0
BUSY_LEASE_SECONDS = 8.0
"""Of this room's servers, so that leases that nobody renews are over within the time of a test."""
CAN_FILTER = shutil.which("iptables") is not None
_AT_ONCE = 8


class Server:
    """A team's server with a real ledger, in threads of this process; `gone` takes it away."""

    def __init__(self, folder: Path) -> None:
        self.team = TeamServer(
            Mount(served=Served(store_uri=f"sqlite:///{folder}/store.db"), access=ServerAccess(tokens=("a-token-of-the-team",)))
        )
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.listen()
            self._socket = listener.dup()
        self._server = uvicorn.Server(uvicorn.Config(self.team, lifespan="off", log_level="warning", access_log=False))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._socket])))
        self._thread.start()
        until(lambda: self._server.started)

    @property
    def ledger(self) -> RunnerLedger:
        return self.team.service.project.store(create=True).runners

    def gone(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


class Machine:
    """A machine that runs a start-up script as cloud-init would, in a root of its own."""

    def __init__(self, folder: Path, server: Server, metadata: Metadata) -> None:
        self.folder = folder
        self.server = server
        self.metadata = metadata
        self.root = folder / "root"
        upper, work = folder / "upper", folder / "work"
        for one in (self.root, upper, work):
            one.mkdir(parents=True)
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", self.root], check=True, timeout=20
        )
        for kind, name in (("proc", "proc"), ("tmpfs", "run"), ("tmpfs", "dev"), ("tmpfs", "opt"), ("tmpfs", "etc/systemd/system")):
            subprocess.run(["mount", "-t", kind, kind, self.root / name], check=True, timeout=20)
        (self.root / "dev" / "null").touch()
        subprocess.run(["mount", "--bind", "/dev/null", self.root / "dev" / "null"], check=True, timeout=20)
        subprocess.run(["cp", "-r", FAKES, self.root / "fakes"], check=True, timeout=20)
        for one in Path(sys.executable).resolve().parents:  # this Python may lie where only root goes; a machine's does not
            inside = self.root / str(one).lstrip("/")
            inside.chmod(inside.stat().st_mode | 0o055)
        program = self.root / "usr/local/bin/mlops-nb"
        paths = f"{ROOT}:{ROOT / 'server_ext'}"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} {Path(__file__).parent / "stand_in.py"} "$@"\n')
        program.chmod(0o755)
        self.state = self.root / "var/lib/mlops-nb"
        self.work = self.root / "var/lib/mlops-nb-work"
        self.runner: Runner | None = None
        self.wants_filter = False

    def launch(
        self,
        cloud: CloudName = "gcp",
        *,
        agent: AgentWish | None = None,
        seconds: float = 3600,
        script: str = "",
        idle: float = 300,
        first: float = 300,
        ticket: str = "",
    ) -> None:
        """Write a runner into the ledger, as a launch does, and start its machine."""
        made = runner(cloud, agent=agent, startup_script=script)
        now = time.time()
        request = msgspec.structs.replace(made.request, name=self.folder.name.replace("_", "-")[:40].rstrip("-"), guards=Guards(idle=idle))
        made = msgspec.structs.replace(made, id=os.urandom(16).hex(), request=request, created=now, updated=now, hard_stop=now + seconds)
        ledger = self.server.ledger
        self.runner = ledger.add(made, RunnerEvent(time=now, kind="requested"))
        self.runner = ledger.save(msgspec.structs.replace(self.runner, state=RunnerState.CREATING))
        ticket = ticket or ledger.issue_ticket(made.id, SECRET)
        program = shell_of(startup_script(made, Access(server=self.server.url, ticket=ticket), Installation(), now=now))
        assert "first=600\n" in program
        program = program.replace("first=600\n", f"first={first:g}\nturn=0.3 patience=1 tries=1\n")
        if not CAN_FILTER and not self.wants_filter:
            program = program.replace("close_metadata=yes\n", "close_metadata=''\n")
        self.boot(program)

    def boot(self, program: str) -> None:
        (self.folder / "program").write_text(program)
        command = ["setsid", "chroot", self.root, "/usr/bin/env", "-i", f"PATH={_PATH}", "LANG=C.UTF-8", "sh", "-s"]
        with (self.folder / "program").open() as source, (self.root / "console").open("a") as console:
            subprocess.run(command, stdin=source, stdout=console, stderr=console, check=True, timeout=30)

    def restart(self) -> None:
        """Start the machine anew: what is in memory is gone, what is on the disk is not."""
        self.stop()
        for one in (self.root / "run/mlops-nb").iterdir():
            one.unlink()
        for one in self.root.glob("started-*"):
            one.rmdir()
        self.boot((self.folder / "program").read_text())

    def uptime(self) -> float:
        return float((self.root / "proc/uptime").read_text().split()[0])

    def pid(self, unit: str) -> int:
        return int(until(lambda: (file := self.root / f"pid-mlops-nb-{unit}.service").exists() and file.read_text().strip()))

    def reported(self) -> Runner:
        """Wait until the agent was heard, and return its runner."""
        assert self.runner is not None
        identity = self.runner.id
        return until(lambda: (found := self.server.ledger.get(identity)).last_seen is not None and found.ready and found, 30)

    def calls(self) -> list[str]:
        file = self.work / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def is_off(self) -> bool:
        return (self.root / "powered-off").exists()

    def off(self, seconds: float = 30) -> float:
        """Wait until the machine was switched off, and return how long that took."""
        begun = time.monotonic()
        until(self.is_off, seconds)
        return time.monotonic() - begun

    def console(self) -> str:
        return (self.root / "console").read_text(errors="replace")

    def asks(self, url: str, user: str) -> str:
        """Return the status that a user of the machine gets; 000 is none."""
        ask = ["curl", "--silent", "--max-time", "3", "--output", "/dev/null", "--write-out", "%{http_code}", url]
        command = ["chroot", self.root, "setpriv", "--reuid", user, "--clear-groups", *ask]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout

    def events(self) -> list[str]:
        return (self.root / "events").read_text().splitlines()

    def stop(self) -> None:
        """End all of its processes, as the power does."""
        until(lambda: not self._kill_all())

    def _kill_all(self) -> bool:
        inside, found = str(self.root), False
        for proc in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.readlink(proc / "root") == inside:
                    found = True
                    os.kill(int(proc.name), signal.SIGKILL)
        return found


def _open_network() -> Metadata:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    subprocess.run(["ip", "address", "add", "169.254.169.254/32", "dev", "lo"], check=True, timeout=10)
    return Metadata(("169.254.169.254", 80))


def main() -> None:
    from tests.machine import scenarios

    folder = Path(sys.argv[1])
    machines.LEASE_SECONDS = LEASE_SECONDS
    machines.BUSY_LEASE_SECONDS = BUSY_LEASE_SECONDS
    metadata = _open_network()
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True, timeout=10)

    opened = Server(disk)  # one makes the database, for all
    opened.ledger.installation()

    def play(name: str) -> dict[str, object]:
        here = disk / name
        here.mkdir()
        begun = time.monotonic()
        server = Server(disk)
        machine = Machine(here / name, server, metadata)
        try:
            scenarios.ALL[name](machine)
            error = ""
        except Exception:
            error = traceback.format_exc()
        finally:
            machine.stop()
            server.gone()
        console = machine.console() if (machine.root / "console").exists() else ""
        return {"error": error, "seconds": round(time.monotonic() - begun, 1), "console": console}

    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        results = dict(zip(scenarios.ALL, pool.map(play, scenarios.ALL), strict=True))
    (folder / "results.json").write_text(json.dumps(results))
    opened.gone()
    metadata.close()


if __name__ == "__main__":
    main()
