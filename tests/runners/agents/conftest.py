"""Stand-ins for the agents' programs, and the parts that a machine brings to its work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlops_nb.core.runners import AgentWish, Guards, Resource, Runner, RunnerRequest
from mlops_nb.runners.agents import binaries
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.forge_work import ForgeWork
from mlops_nb.runners.agents.keeper import OwnKeeper
from mlops_nb.runners.agents.registrar import ForgeRegistrar
from mlops_nb.runners.agents.work import agent_of
from mlops_nb.runners.machine.work import WorkStatus
from tests.forges.runner_worlds import RUNNERS_WORLDS, RunnersWorld

HERE = Path(__file__).parent
SECRETS = {"AWS_SECRET_ACCESS_KEY": "aws-key-of-the-launcher", "REPO_TOKEN": "ghp_token_of_the_launcher", "GITHUB_TOKEN": "x" * 40}


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.02)


def program(kind: str, folder: Path, python: str = sys.executable) -> dict[str, str]:
    """Install the stand-in for a forge's agent; return the settings by which it is found."""
    folder.mkdir(exist_ok=True)
    script = folder / "stand_in.py"
    script.write_bytes((HERE / f"stand_in_{'docker' if kind == 'bitbucket' else kind}.py").read_bytes())
    if kind == "github":
        path = folder / "run.sh"
        path.write_text(f'#!/bin/sh\nexec {python} stand_in.py "$(pwd)"\n', encoding="utf-8")
        path.chmod(0o755)
        return {binaries.ENV_PROGRAM: str(folder)}
    if kind == "gitlab":
        path = folder / "gitlab-runner"
        path.write_text(f'#!/bin/sh\nexec {python} {script} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return {binaries.ENV_PROGRAM: str(path)}
    (folder / "containers").mkdir(exist_ok=True)
    path = folder / "docker"
    path.write_text(f'#!/bin/sh\nexec {python} {script} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


class Bench:
    """A forge on the loopback, a runner registered at it, and its agent as a machine has it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.world: RunnersWorld = RUNNERS_WORLDS[kind](folder / "forge")
        self.environment = {"PATH": "/usr/bin:/bin", **SECRETS, **program(kind, folder / "program")}
        if kind == "bitbucket":
            (folder / "program" / "containers" / "server").write_text(self.world.server.url, encoding="utf-8")
        self.registrar = ForgeRegistrar(self.world.runners(), self.environment, cache=folder / "cache")
        self.lines: list[str] = []
        self.works: list[ForgeWork] = []

    def runner(self, *, single: bool = False, retry: bool = True, name: str = "gpu-1") -> Runner:
        agent = AgentWish(kind=self.kind, repository=self.world.place().url, single=single, retry=retry, executor="shell")  # type: ignore[arg-type]
        now = time.time()
        request = RunnerRequest(name=name, cloud="local", agent=agent, guards=Guards())
        made = Runner(id="ab" * 16, installation="1" * 32, request=request, created=now, updated=now, hard_stop=now + 3600)
        self.resources: list[Resource] = []
        self._asked = made
        return made

    def now(self) -> Runner:
        """Return the runner with what was noted of it."""
        import msgspec

        return msgspec.structs.replace(self._asked, resources=tuple(self.resources))

    def work(self, *, single: bool = False, retry: bool = True, keeper: bool = True) -> ForgeWork:
        """Register a runner and start its agent."""
        runner = self.runner(single=single, retry=retry)
        enrolment = Enrolment.decode(self.registrar.enrol(runner, self.resources.append))
        own = OwnKeeper(self.registrar, self.now, self.resources.append) if keeper else None
        folder = self.folder / "machine"
        work = agent_of(enrolment, keeper=own, folder=folder, environment=self.environment, tell=self.lines.append, pause=0.05)
        self.works.append(work)
        work.start()
        return work

    def job(self, *steps: str, name: str = "train") -> object:
        """Queue a job for the runner."""
        server = self.world.server
        if self.kind == "bitbucket":
            target = {"type": "pipeline_ref_target", "ref_type": "branch", "ref_name": "change"}
            return server.add_step(server.add_pipeline({**target, "commit": {"type": "commit", "hash": self.world.head}}), *steps)  # type: ignore[union-attr]
        return server.add_job(name, *steps)  # type: ignore[union-attr]

    def close(self) -> None:
        for work in self.works:
            work.stop(5.0)
        self.world.server.close()


def wait_for(work: ForgeWork, wanted: Callable[[WorkStatus], object], seconds: float = 20.0) -> WorkStatus:
    """Look at the work, as the loop of a machine does, until it is as wanted."""
    seen: list[WorkStatus] = []

    def so() -> object:
        seen[:] = [work.poll()]
        return wanted(seen[0])

    until(so, seconds)
    return seen[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    made: list[Bench] = []

    def make(kind: str) -> Bench:
        made.append(Bench(kind, tmp_path / kind))
        return made[-1]

    yield make
    for one in made:
        one.close()
