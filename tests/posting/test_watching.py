"""--watch: the first state at once, changes together, the last one always."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from mlops_nb.posting.marks import unmarked
from tests.forges.github import LoopbackGitHub
from tests.posting.conftest import StepAt

ROOT = Path(__file__).parent.parent.parent


def until(met: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


class Watch:
    """`comment update --watch report.md` in a process of its own."""

    def __init__(self, hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
        self.hub, self.work = hub, work
        self.number = hub.open_pull("topic").number
        step = step_at("pull_request", self.number)
        self.environment = {**os.environ, **step.environment, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server_ext")])}
        self.report = work / "report.md"
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *options: str, before: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mlops_nb.cli", "comment", "update", "--watch", *options, "report.md"]
        if before:
            command = ["bash", "-c", f'"$@" & {before}', "bash", *command]
        process = subprocess.Popen(
            command, cwd=self.work, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.processes.append(process)
        return process

    def shown(self) -> list[str]:
        return [unmarked(one["body"]) for one in self.hub.comments_of(self.number)]

    def writes(self) -> int:
        return len([one for one in self.hub.seen if one.method in ("POST", "PATCH")])

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what a shell has left behind
            process.communicate(timeout=30)


@pytest.fixture
def watch(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> Iterator[Watch]:
    watching = Watch(hub, work, step_at)
    yield watching
    watching.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_state_is_posted_and_the_last_one_before_the_end(watch: Watch, number: signal.Signals) -> None:
    watch.report.write_text("first")
    process = watch.start()
    until(lambda: watch.shown() == ["first"])
    for count in range(50):
        watch.report.write_text(f"state {count}")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert watch.shown() == ["state 49"]
    assert out.count("http") == 1 and watch.writes() <= 4


def test_changes_while_it_posts_are_posted_after(watch: Watch) -> None:
    watch.report.write_text("first")
    watch.start()
    until(lambda: watch.shown() == ["first"])
    watch.hub.fail("PATCH", "/repos/*/issues/comments/*", 1, "lost")
    watch.report.write_text("second")
    until(lambda: len(watch.hub.calls("PATCH")) >= 1)
    watch.report.write_text("third")
    until(lambda: watch.shown() == ["third"])


def test_it_waits_for_a_report_that_is_not_there_yet(watch: Watch) -> None:
    process = watch.start()
    until(lambda: process.poll() is None and Path(f"/proc/{process.pid}/stat").exists())
    watch.report.write_text("late")
    until(lambda: watch.shown() == ["late"])


def test_a_long_report_that_does_not_change_costs_next_to_nothing(watch: Watch) -> None:
    watch.report.write_text("\n\n".join(f"![p](plots/{n}.png) *a* `b`\n\n| a | b |\n|---|---|\n| 1 | {n} |" for n in range(600)))
    process = psutil.Process(watch.start("--log=error").pid)
    until(lambda: len(watch.shown()) == 1)
    begun, used = time.monotonic(), process.cpu_times()
    until(lambda: time.monotonic() - begun > 3)
    now = process.cpu_times()
    assert now.user + now.system - used.user - used.system < 0.75


def test_it_ends_with_the_job_that_left_it_behind_and_posts_what_is_left(watch: Watch) -> None:
    watch.report.write_text("first")
    watch.environment.pop("GITHUB_ACTIONS")
    os.mkfifo(watch.work / "gate")
    process = watch.start(before="read go < gate; echo last > report.md")
    until(lambda: watch.shown() == ["first"])
    (watch.work / "gate").write_text("go\n")
    process.communicate(timeout=30)  # its output ends when the watch does, too
    assert watch.shown() == ["last\n"]


def test_it_does_not_outlive_a_job_that_has_ended_before_it_began(watch: Watch) -> None:
    watch.report.write_text("only")
    watch.environment.pop("GITHUB_ACTIONS")
    watch.start(before="exit").communicate(timeout=60)
    assert watch.shown() == ["only"]


def test_a_trigger_file_says_when(watch: Watch) -> None:
    watch.report.write_text("first")
    process = watch.start("--trigger-file", "go")
    (watch.work / "go").touch()
    until(lambda: watch.shown() == ["first"])
    until(lambda: not (watch.work / "go").exists())
    watch.report.write_text("second")
    (watch.work / "go").touch()
    until(lambda: watch.shown() == ["second"])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def test_a_forge_that_is_down_is_tried_again_at_the_end(watch: Watch) -> None:
    watch.report.write_text("first")
    watch.hub.fail("GET", "/repos/*/issues/*/comments", 1, "cut")
    watch.hub.fail("POST", "/repos/*/issues/*/comments", 1, "refuse")
    process = watch.start()
    until(lambda: watch.hub.calls("GET", "/repos/*/issues/*/comments") != [])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and watch.shown() == ["first"], err
