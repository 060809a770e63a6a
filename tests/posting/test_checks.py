"""Checks, reruns and TensorBoard's logs from a workflow's step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlops_nb.posting.checks import read_annotations
from tests.forges.github import LoopbackGitHub
from tests.posting.conftest import PNG, StepAt


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_check_says_its_status_and_then_how_it_ended(hub: LoopbackGitHub, work: Path, step_at: StepAt, status: str) -> None:
    (work / "report.md").write_text("# Running")
    step = step_at()
    url = step.url("check", "create", "--status", status, "report.md")
    (check,) = hub.checks.values()
    assert (check["status"], check["conclusion"], check["name"]) == (status, None, "CML Report") and url
    (work / "report.md").write_text("# Done")
    step.url("check", "create", "--conclusion=failure", "report.md")
    (check,) = hub.checks.values()
    assert (check["status"], check["conclusion"], check["output"]["summary"]) == ("completed", "failure", "# Done")
    step.url("check", "create", "--title=Another", "report.md")
    assert len(hub.checks) == 2 and list(hub.checks.values())[1]["conclusion"] == "success"


def test_a_summary_that_is_too_long_is_cut(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "report.md").write_text("line\n" * 20_000)
    result = step_at()("check", "create", "report.md")
    assert result.exit_code == 0 and "cut off" in result.stderr
    assert len(next(iter(hub.checks.values()))["output"]["summary"]) <= 65_535


def test_failing_cells_of_a_report_are_annotated_at_their_lines(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    notebooks = [
        {"key": "nb/train.ipynb", "verdict": "failed", "failure": {"cell": 3, "line": 41, "reason": "ZeroDivisionError", "hint": "No."}},
        {"key": "../../etc/passwd", "verdict": "failed", "failure": {"cell": 1, "reason": "x"}},
        {"key": "fine.ipynb", "verdict": "noise"},
        {"key": "broken.ipynb", "verdict": "failed", "failure": {"reason": "no such kernel"}},
    ]
    (work / "report.json").write_text(json.dumps({"version": 1, "notebooks": notebooks}))
    cell, whole = read_annotations(work / "report.json")
    assert (cell.path, cell.line, cell.title, cell.message) == ("nb/train.ipynb", 41, "Cell 3 failed", "ZeroDivisionError\nNo.")
    assert (whole.path, whole.line, whole.title) == ("broken.ipynb", 1, "The notebook failed")
    (work / "report.md").write_text("# Failed")
    step_at().url("check", "create", "--conclusion", "failure", "--annotations", "report.json", "report.md")
    assert [one["path"] for one in next(iter(hub.annotations.values()))] == ["nb/train.ipynb", "broken.ipynb"]


@pytest.mark.parametrize("content", ["", "{", "3", '[{"path": 1}]', '[{"path": "a", "line": "x", "message": "m"}]'])
def test_what_holds_no_annotations_is_refused(hub: LoopbackGitHub, work: Path, step_at: StepAt, content: str) -> None:
    (work / "a.json").write_text(content)
    (work / "report.md").write_text("x")
    assert step_at()("check", "create", "--annotations", "a.json", "report.md").exit_code == 1 and not hub.checks


def test_a_run_is_started_again(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    hub.add_run(77)
    hub.add_run(78)
    step = step_at()
    assert step.url("workflow", "rerun").endswith("/actions/runs/77")
    assert step.url("rerun-workflow", "--id=78").endswith("/actions/runs/78")
    assert [hub.runs[number]["run_attempt"] for number in (77, 78)] == [2, 2]


def test_logs_of_tensorboard_become_runs_and_a_link_to_their_curves(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    writing = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    writer = writing.EventFileWriter(str(work / "logs" / "run"))
    for step in range(5):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=1.0 / (step + 1))])
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
    writer.close()
    result = step_at()("tensorboard-dev", "-c", "{}", "--logdir", "logs", "--name", "trial", "--md", "--title=Curves")
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.startswith(f"[Curves]({hub.origin}") and "1 new runs, 5 new points" in result.stderr
    (image,) = (name for name in hub.git.git("ls-tree", "-r", "--name-only", "mlops-reports").split("\n") if name.endswith(".png"))
    picture = hub.git.read("mlops-reports", image)
    assert picture is not None and picture[:8] == PNG[:8] and len(picture) > 5_000
    again = step_at()("tensorboard", "connect", "--logdir", "logs", "--name", "trial", "--no-publish", "-f", "report.md")
    assert again.exit_code == 0 and "0 new runs" in again.stderr and (work / "report.md").read_text() == "tensorboard.html\n"
    assert "loss" in (work / "tensorboard.html").read_text()
