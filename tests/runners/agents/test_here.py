"""A runner in the foreground of this machine, from its launch to the comment that its job leaves and to nothing that remains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from mlops_nb.core.runners import AgentWish, Guards, RunnerRequest, RunnerState
from mlops_nb.errors import AlreadyExists, MlopsError
from mlops_nb.runners.agents import processes
from mlops_nb.runners.agents.here import run_here
from mlops_nb.runners.agents.registrar import ForgeRegistrar
from mlops_nb.runners.machine.log import MachineLog
from mlops_nb.runners.machine.loop import Ended
from tests.forges.github_state import Account
from tests.forges.runner_worlds import GOOD, GitHubRunnersWorld
from tests.runners.agents.conftest import SECRETS, program, until
from tests.runners.ledgers import WatchedLedger

ROOT = Path(__file__).parents[3]
TRAIN = """auc = 0.91
from pathlib import Path
Path("report.md").write_text(f"# Trained\\n\\nauc {auc}")"""
RUN_HERE = """
import os, sys
from pathlib import Path
from mlops_nb.core.runners import AgentWish, Guards, RunnerRequest
from mlops_nb.runners.agents.here import run_here
from mlops_nb.runners.agents.registrar import registrar_of
from tests.runners.ledgers import WatchedLedger
url, ledger, folder = sys.argv[1:]
request = RunnerRequest(name="gpu-1", cloud="local", agent=AgentWish(kind="github", repository=url), guards=Guards(idle=600))
ended = run_here(request, registrar_of(url), WatchedLedger(Path(ledger)), environment=os.environ, folder=Path(folder), beat=0.2)
print(f"ended: {ended.reason}")
"""


class Here:
    """A launch on this machine, in a thread or in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = GitHubRunnersWorld(folder / "forge")
        self.environment = {"PATH": os.environ["PATH"], **SECRETS, **program("github", folder / "program")}
        (folder / "store").mkdir()
        self.path = folder / "store" / "store.db"
        self.ledger = WatchedLedger(self.path)
        self.log = folder / "log"

    def launch(self, *, single: bool = False, idle: float = 600.0, name: str = "gpu-1") -> Ended:
        agent = AgentWish(kind="github", repository=self.world.place().url, single=single)
        request = RunnerRequest(name=name, cloud="local", agent=agent, guards=Guards(idle=idle))
        registrar = ForgeRegistrar(self.world.runners(), self.environment, cache=self.folder / "cache")
        with self.log.open("a", encoding="utf-8") as console:
            log = MachineLog(console, self.environment)
            return run_here(
                request, registrar, self.ledger, environment=self.environment, folder=self.folder / "work", log=log, beat=0.2, pause=0.1
            )

    def process(self) -> subprocess.Popen[str]:
        """Launch in a process of its own, with the forge's token in its environment, and wait until it is ready for jobs."""
        environment = {**os.environ, **self.environment, "GITHUB_TOKEN": GOOD, "CML_DRIVER": "github", "PYTHONPATH": str(ROOT)}
        environment |= {"MLOPS_NB_FORGE_API_URL": self.world.server.url}
        for name in ("REPO_TOKEN", "GITHUB_REPOSITORY"):
            environment.pop(name, None)
        command = [sys.executable, "-c", RUN_HERE, self.world.place().url, str(self.path), str(self.folder / "work")]
        with self.log.open("w") as log:
            made = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True, cwd=self.folder)
        until(lambda: any(one.online for one in self.world.server.agents.values()) or made.poll() is not None, 30)
        assert made.poll() is None, self.log.read_text()
        return made

    def nothing_remains(self) -> None:
        assert self.world.registered() == {}
        work = self.folder / "work"
        assert [one.name for one in work.iterdir() if one.name != "programs"] == [] if work.exists() else True
        for process in psutil.process_iter(["environ"]):
            environment = process.info["environ"] or {}
            assert processes.MARK not in environment or str(self.folder) not in environment.get("ACTIONS_RUNNER_HOOK_JOB_STARTED", "")

    def runner(self) -> object:
        return self.ledger.get("gpu-1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setenv("MLOPS_NB_INSTALLATION", "1" * 32)
    made = Here(tmp_path)
    yield made
    made.ledger.close()
    made.world.server.close()


def test_a_local_runner_runs_a_notebook_for_a_pull_request_comments_and_leaves_nothing(here: Here, tmp_path: Path) -> None:
    server = here.world.server
    number = server.open_pull("topic").number
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRAIN)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    source = tmp_path / "train.ipynb"
    nbformat.write(notebook, source)
    server.tokens["ghs_workflow"] = Account("github-actions[bot]")
    given = server.actions(tmp_path, "pull_request", number)
    own = {name: value for name, value in given.items() if name not in ("GITHUB_RUN_ID", "GITHUB_JOB", "GITHUB_WORKFLOW")}
    job = server.add_job(
        "train",
        f"cp {source} .",
        f"{sys.executable} -m papermill --engine mlops_nb train.ipynb executed.ipynb",
        f"{sys.executable} -m mlops_nb.cli comment create report.md",
        **{**own, "PYTHONPATH": f"{ROOT}:{ROOT / 'server_ext'}"},
    )
    ended = here.launch(single=True)
    assert (ended.jobs, ended.failed, job.conclusion) == (1, False, "success"), here.log.read_text()
    comments = server.comments_of(number)
    assert ["auc 0.91" in one["body"] for one in comments] == [True], here.log.read_text()
    here.nothing_remains()
    runner = here.ledger.get("gpu-1")
    assert (runner.state, list(runner.resources)) == (RunnerState.GONE, [])
    assert [one.kind for one in here.ledger.events(runner.id)][-1] == "gone"
    log = here.log.read_text()
    assert "Job train: train (run 900) begins." in log and not any(secret in log for secret in (*SECRETS.values(), GOOD))


@pytest.mark.slow
def test_an_idle_runner_ends_by_itself(here: Here) -> None:
    ended = here.launch(idle=10.0)
    assert ended.reason.startswith("idle for") and not ended.failed
    here.nothing_remains()
    assert here.ledger.get("gpu-1").state is RunnerState.GONE


def test_a_runner_is_told_to_end_by_the_ledger_while_it_works(here: Here) -> None:
    thread = threading.Thread(target=here.launch, daemon=True)
    thread.start()
    until(lambda: any(one.online for one in here.world.server.agents.values()))
    until(lambda: here.ledger.get("gpu-1").state is RunnerState.IDLE)
    shown = here.ledger.get("gpu-1")
    assert [one.kind for one in shown.resources] == ["registration"] and shown.registration
    from msgspec.structs import replace

    from mlops_nb.core.runners import RunnerEvent
    from mlops_nb.errors import Conflict

    def drained() -> bool:
        try:
            now = here.ledger.get("gpu-1")
            here.ledger.save(replace(now, state=RunnerState.DRAINING, reason="stop"), RunnerEvent(time=time.time(), kind="draining"))
        except Conflict:
            return False
        return True

    until(drained)
    thread.join(30)
    assert not thread.is_alive()
    here.nothing_remains()
    assert here.ledger.get("gpu-1").state is RunnerState.GONE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_cancelled_job_leave_nothing(here: Here, number: signal.Signals) -> None:
    process = here.process()
    process.send_signal(number)
    assert process.wait(30) == 0, here.log.read_text()
    here.nothing_remains()
    assert here.ledger.get("gpu-1").state is RunnerState.GONE


def test_a_killed_runner_leaves_a_registration_that_a_reaper_finds_and_removes(here: Here) -> None:
    process = here.process()
    agents = processes.below(process.pid)
    process.kill()
    process.wait()
    for pid in agents:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    registrar = ForgeRegistrar(here.world.runners(), {})
    found = registrar.find("1" * 32).resources
    runner = here.ledger.get("gpu-1")
    assert [(one.kind, one.runner_id, one.id) for one in found] == [("registration", runner.id, runner.registration)]
    assert found[0].expires == int(runner.hard_stop)
    assert list(registrar.destroy(found, "1" * 32)) == []
    assert here.world.registered() == {}


def test_a_name_that_is_taken_stops_the_launch_before_anything_is_made(here: Here) -> None:
    here.world.runners().register("gpu-1", ["cml"], {})
    with pytest.raises(AlreadyExists, match="--reuse"):
        here.launch()
    assert list(here.world.registered().values()) == ["gpu-1"]
    assert here.ledger.get("gpu-1").state is RunnerState.GONE


@pytest.mark.parametrize("how", ["lost", "refuse"])
def test_a_launch_whose_registration_fails_leaves_nothing(here: Here, how: str) -> None:
    here.world.server.fail("POST", "*/generate-jitconfig", 20, how)  # type: ignore[arg-type]
    with pytest.raises(MlopsError):
        here.launch()
    assert here.world.registered() == {}
    assert here.ledger.get("gpu-1").state is RunnerState.GONE
    assert "generate-jitconfig" in json.dumps([one.path for one in here.world.server.calls("POST")])
