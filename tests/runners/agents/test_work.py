"""A machine's CI agent: it has jobs, says so, takes no secret to them, and leaves nothing behind, at every forge."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mlops_nb.errors import InvalidInput
from mlops_nb.runners.agents import processes
from mlops_nb.runners.agents.enrolment import Enrolment
from mlops_nb.runners.agents.processes import AgentProcess, clean_environment
from mlops_nb.runners.agents.work import agent_of
from tests.runners.agents.conftest import SECRETS, Bench, program, until, wait_for

KINDS = ["github", "gitlab", "bitbucket"]
QUICK = ["github", "gitlab", pytest.param("bitbucket", marks=pytest.mark.slow)]
MakeBench = Callable[[str], Bench]


def left_of(bench: Bench) -> list[str]:
    """Return the processes that an agent of the bench has left."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        if processes.MARK in (process.info["environ"] or {}) and str(bench.folder) in str(process.info["environ"]) + str(
            process.info["cmdline"]
        ):
            found.append(str(process.info["cmdline"]))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_is_busy_while_it_has_a_job_and_takes_another_after_it(kind: str, bench: MakeBench, tmp_path: Path) -> None:
    here = bench(kind)
    work = here.work()
    assert not wait_for(work, lambda status: status.ready).busy
    for number in (1, 2):
        gate = tmp_path / f"gate-{number}"
        here.job(f"while [ ! -e {gate} ]; do sleep 0.02; done", name=f"train-{number}")
        busy = wait_for(work, lambda status: status.busy and status.job)
        assert busy.jobs == number and not busy.finished
        gate.touch()
        status = wait_for(work, lambda status: not status.busy)
        assert (status.jobs, status.finished) == (number, False)
    work.drain()
    assert not wait_for(work, lambda status: status.finished).failed
    work.stop(5.0)
    assert here.world.registered() == {}
    assert not left_of(here)
    assert not (here.folder / "machine").exists()


@pytest.mark.parametrize("kind", QUICK)
def test_a_job_sees_no_key_of_its_launcher_and_no_command_line_has_one(kind: str, bench: MakeBench, tmp_path: Path) -> None:
    here = bench(kind)
    work = here.work(single=True)
    secret = Enrolment.decode(work.enrolment.encode()).secret
    out, gate = tmp_path / "environment", tmp_path / "gate"
    here.job(f"env > {out}.new; mv {out}.new {out}; while [ ! -e {gate} ]; do sleep 0.02; done")
    wait_for(work, lambda status: status.busy)
    until(out.exists)
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    gate.touch()
    environment = out.read_text()
    assert not any(value in environment for value in (*SECRETS.values(), secret))
    assert not any(secret in line for line in lines)
    assert "PATH=" in environment and "HOME=" in environment
    assert wait_for(work, lambda status: status.finished).jobs == 1
    assert secret not in "\n".join(here.lines) + repr(work.enrolment)


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_single_runner_ends_after_its_job_and_leaves_the_next_one_in_the_queue(kind: str, bench: MakeBench, tmp_path: Path) -> None:
    here = bench(kind)
    work = here.work(single=True)
    gate = tmp_path / "gate"
    here.job(f"while [ ! -e {gate} ]; do sleep 0.02; done")
    wait_for(work, lambda status: status.busy)
    here.job("true", name="second")
    gate.touch()
    status = wait_for(work, lambda status: status.finished)
    assert (status.jobs, status.failed) == (1, False)
    work.stop(5.0)
    jobs = here.world.server.jobs.values()  # type: ignore[union-attr]
    assert [one.name for one in jobs if one.status in ("queued", "pending")] == ["second"]


@pytest.mark.parametrize("kind", QUICK)
def test_an_agent_that_is_to_take_no_more_ends_its_job_first(kind: str, bench: MakeBench, tmp_path: Path) -> None:
    here = bench(kind)
    work = here.work()
    gate = tmp_path / "gate"
    here.job(f"while [ ! -e {gate} ]; do sleep 0.02; done; touch {gate}.done")
    wait_for(work, lambda status: status.busy)
    work.drain()
    here.job("true", name="second")
    for _ in range(20):
        assert not work.poll().finished
    gate.touch()
    status = wait_for(work, lambda status: status.finished)
    assert Path(f"{gate}.done").exists() and not status.failed
    assert status.jobs == 1 or kind == "bitbucket"  # which may take one in the moment between


@pytest.mark.parametrize("how", ["drain", "interrupt"])
def test_an_agent_that_is_told_to_end_between_two_registrations_ends(how: str, bench: MakeBench) -> None:
    """The word comes when the next registration is there already, and its agent is not yet."""
    here = bench("github")
    work = here.work()
    keeper = work.keeper
    assert keeper is not None
    register = keeper.registration

    def told_meanwhile() -> bytes:
        found = register()
        work.drain() if how == "drain" else work.interrupt("spot interruption", 5.0)
        until(lambda: not any(one.name in ("agent-drain", "agent-interrupt") for one in threading.enumerate()))
        return found

    keeper.registration = told_meanwhile  # type: ignore[method-assign]
    here.job("true")
    status = wait_for(work, lambda status: status.finished)
    assert not status.failed and status.jobs == 1
    until(lambda: work._session is None)
    work.stop(5.0)
    assert here.world.registered() == {} and not left_of(here)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_the_cloud_cuts_off_is_run_again_once_elsewhere(kind: str, bench: MakeBench) -> None:
    here = bench(kind)
    work = here.work()
    here.job("sleep 600")
    wait_for(work, lambda status: status.busy)
    work.interrupt("spot interruption", 20.0)
    status = wait_for(work, lambda status: status.finished)
    assert status.reason == "spot interruption"
    assert here.world.times_begun("train") == 2, here.lines
    assert any("run again: http" in line for line in here.lines)
    work.stop(5.0)
    assert here.world.registered() == {} and not left_of(here)
    job = here.registrar.interrupted(here.now(), None)
    assert job.state == "refused" and here.world.times_begun("train") == 2


def test_a_job_is_not_run_again_where_nobody_wants_that(bench: MakeBench) -> None:
    here = bench("github")
    work = here.work(retry=False)
    here.job("sleep 600")
    wait_for(work, lambda status: status.busy)
    work.interrupt("spot interruption", 10.0)
    wait_for(work, lambda status: status.finished)
    assert any("--no-retry" in line for line in here.lines)
    assert here.world.times_begun("train") == 1


def test_a_run_that_goes_on_elsewhere_is_left_to_the_server(bench: MakeBench) -> None:
    here = bench("github")
    work = here.work()
    here.job("sleep 600")
    wait_for(work, lambda status: status.busy)
    other = here.job("true", name="other")
    other.labels.append("another-runner")  # type: ignore[attr-defined]
    work.interrupt("spot interruption", 4.0)
    wait_for(work, lambda status: status.finished)
    assert any("goes on elsewhere" in line for line in here.lines)
    assert not [one for one in here.world.server.seen if one.path.endswith("/cancel")]
    other.status, other.conclusion = "completed", "success"  # type: ignore[attr-defined]
    here.world.server.runs[900].update(status="completed", conclusion="failure")  # type: ignore[union-attr]
    job = here.registrar.interrupted(here.now(), None).job
    assert job is not None and here.world.times_begun("train") == 2


def test_an_idle_agent_that_is_cut_off_ends_at_once_and_nothing_is_run_again(bench: MakeBench) -> None:
    here = bench("github")
    work = here.work()
    wait_for(work, lambda status: status.ready)
    work.interrupt("spot interruption", 10.0)
    assert not wait_for(work, lambda status: status.finished, 5).failed
    work.stop(5.0)
    assert here.world.registered() == {}


def test_a_machine_without_a_server_does_the_one_job_of_its_registration(bench: MakeBench) -> None:
    here = bench("github")
    work = here.work(keeper=False)
    here.job("true")
    status = wait_for(work, lambda status: status.finished)
    assert status.jobs == 1 and "no server" in status.reason


def test_an_agent_that_dies_again_and_again_is_given_up_with_what_it_said(bench: MakeBench) -> None:
    here = bench("github")
    (here.folder / "program" / "run.sh").write_text("#!/bin/sh\necho cannot find libicu\nexit 3\n")
    status = wait_for(here.work(), lambda status: status.finished)
    assert status.failed and "cannot find libicu" in status.reason and status.jobs == 0


def test_an_agent_waits_for_a_forge_that_gives_no_registration_now(bench: MakeBench) -> None:
    here = bench("github")
    work = here.work()
    here.job("true")
    here.world.server.fail("POST", "*/generate-jitconfig", 7, "refuse")
    wait_for(work, lambda status: status.jobs == 1 and not status.busy)
    here.job("true", name="second")
    assert wait_for(work, lambda status: status.jobs == 2).finished is False
    assert any("no registration for the next job yet" in line for line in here.lines)


def test_a_drained_github_agent_is_only_ended_when_github_says_that_it_has_no_job(bench: MakeBench, tmp_path: Path) -> None:
    here = bench("github")
    work = here.work()
    wait_for(work, lambda status: status.ready)
    # The job is assigned in the moment in which the machine, which has not seen it yet, wants to end.
    gate = tmp_path / "gate"
    here.world.server.fail("DELETE", "*/actions/runners/*", 1, "lost")
    here.job(f"while [ ! -e {gate} ]; do sleep 0.02; done")
    until(lambda: here.world.server.jobs and next(iter(here.world.server.jobs.values())).status == "in_progress")  # type: ignore[union-attr]
    work.drain()
    gate.touch()
    wait_for(work, lambda status: status.finished)
    (job,) = here.world.server.jobs.values()  # type: ignore[union-attr]
    assert job.conclusion == "success"


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b'{"kind": "svn"}', b"[" * 10_000])
def test_what_is_no_registration_is_refused_without_being_shown(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="no registration"):
        Enrolment.decode(text)


def test_hostile_facts_of_a_hook_are_only_a_hint(bench: MakeBench) -> None:
    here = bench("github")
    work = here.work()
    state = "../state/started"
    here.job(f"printf 'GITHUB_RUN_ID=1;rm -rf /\\nGITHUB_REPOSITORY=../..\\n' > ../../state/started; echo > {state} || true; sleep 600")
    wait_for(work, lambda status: status.busy)
    work.interrupt("spot interruption", 8.0)
    wait_for(work, lambda status: status.finished)
    assert not [one for one in here.world.server.seen if ".." in one.path]


def test_what_an_agent_has_left_behind_is_ended_wherever_it_has_gone(tmp_path: Path) -> None:
    script = f"(setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600' &) ; sleep 600"
    process = AgentProcess(["/bin/sh", "-c", script], tmp_path, clean_environment(os.environ), user="", output=print, hidden="")
    until((tmp_path / "pid").exists)
    until(lambda: (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    process.end(0.2)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_job_runs_by_the_account_that_the_machine_has_for_it(bench: MakeBench, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("only root gives processes to others, and those need a Python that they may execute")
    here = bench("github")
    program("github", here.folder / "program", python)
    runner = here.runner(single=True)
    enrolment = Enrolment.decode(here.registrar.enrol(runner, here.resources.append))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o055)
    out = tmp_path / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    folder = here.folder / "machine"
    work = agent_of(enrolment, keeper=None, folder=folder, environment=here.environment, user="nobody", tell=here.lines.append)
    here.works.append(work)
    work.start()
    here.job(f"id -un > {out}/who; printenv USER >> {out}/who")
    status = wait_for(work, lambda status: status.finished)
    assert (status.jobs, (out / "who").read_text()) == (1, "nobody\nnobody\n"), here.lines
