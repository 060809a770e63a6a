"""Pull requests on GitHub, merging them, and running workflows again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlops_nb.forges.base import Check, ForgeUnreachable, PermissionMissing, RequestRefused
from mlops_nb.forges.github import GitHub
from tests.forges.conftest import Clock
from tests.forges.github import LoopbackGitHub


def create(github: GitHub, source: str = "topic") -> int:
    return github.create_pull_request(source=source, target="main", title="New model", body="by a notebook").number


@pytest.fixture
def branch(loopback: LoopbackGitHub) -> str:
    return loopback.git.commit("topic", {"model.txt": b"2"}, "New model", parent=loopback.first)


def test_a_pull_request_is_opened_found_and_changed(github: GitHub, loopback: LoopbackGitHub, branch: str) -> None:
    made = github.create_pull_request(source="topic", target="main", title="New <model>", body="by a notebook")
    assert (made.commit, made.source, made.target, made.open, made.from_fork) == (branch, "topic", "main", True, False)
    assert github.pull_requests_of(branch) == [made] == list(github.pull_requests(source="topic", target="main"))
    assert github.pull_request(made.number) == made
    assert github.update_pull_request(made.number, title="Newer").title == "Newer"
    assert list(github.pull_requests(source="other")) == []
    assert github.pull_requests_of("0" * 40) == []


@pytest.mark.parametrize("how", ["lost", "cut", "refuse", None])
def test_a_pull_request_is_opened_once_whatever_happens_to_the_answer(
    github: GitHub, loopback: LoopbackGitHub, branch: str, how: str | None
) -> None:
    if how:
        loopback.fail("POST", "*/pulls", how=how)  # type: ignore[arg-type]
    assert create(github) == create(github)
    assert len(loopback.pulls) == 1


def test_a_branch_without_anything_new_is_told_in_githubs_words(github: GitHub, loopback: LoopbackGitHub) -> None:
    loopback.git.git("branch", "topic", "main")
    with pytest.raises(RequestRefused, match="No commits between main and topic"):
        create(github)


def test_workflows_that_may_not_open_pull_requests_are_told_where_to_allow_it(
    github: GitHub, loopback: LoopbackGitHub, branch: str
) -> None:
    loopback.actions_may_open_pulls = False
    with pytest.raises(PermissionMissing, match="Actions, General"):
        create(github)


def test_the_pull_requests_of_more_than_a_page_are_all_listed(github: GitHub, loopback: LoopbackGitHub) -> None:
    for number in range(101):
        loopback.git.git("branch", f"topic-{number}", "main")
        loopback.open_pull(f"topic-{number}")
    assert [one.source for one in github.pull_requests()] == [f"topic-{number}" for number in reversed(range(101))]


@pytest.mark.parametrize("mode", ["merge", "squash", "rebase"])
def test_auto_merge_waits_for_the_required_check(github: GitHub, loopback: LoopbackGitHub, branch: str, mode: str) -> None:
    loopback.required_checks["main"] = {"quality"}
    number = create(github)
    merge = github.merge_pull_request(number, mode=mode, message="Take it\n\nfor its accuracy")  # type: ignore[arg-type]
    assert (merge.state, merge.reason) == ("scheduled", None)
    assert not github.pull_request(number).merged
    github.set_check(Check(name="quality", commit=branch, conclusion="success"))
    assert github.pull_request(number).merged
    assert loopback.git.git("log", "-1", "--format=%B", "main") == "Take it\n\nfor its accuracy"
    assert len(loopback.git.git("log", "-1", "--format=%P", "main").split()) == (2 if mode == "merge" else 1)


def test_without_anything_to_wait_for_it_is_merged_at_once_and_says_why(github: GitHub, loopback: LoopbackGitHub, branch: str) -> None:
    merge = github.merge_pull_request(create(github))
    assert merge.state == "merged"
    assert merge.reason == "its target has no protection rule, so that nothing is waited for"


def test_where_auto_merge_is_off_the_rules_still_hold(github: GitHub, loopback: LoopbackGitHub, branch: str) -> None:
    loopback.allows_auto_merge = False
    loopback.required_checks["main"] = {"quality"}
    number = create(github)
    with pytest.raises(RequestRefused, match=r'"quality" is expected.*auto-merge is off'):
        github.merge_pull_request(number)
    github.set_check(Check(name="quality", commit=branch, conclusion="success"))
    assert github.merge_pull_request(number).reason is not None


def test_a_merge_whose_answer_is_lost_is_still_seen_as_merged(github: GitHub, loopback: LoopbackGitHub, branch: str) -> None:
    loopback.fail("PUT", "*/merge", how="lost")
    assert github.merge_pull_request(create(github), when_checks_pass=False).state == "merged"
    assert loopback.git.git("rev-list", "--count", "main") == "3"


def test_a_conflict_is_told_and_nothing_merged(github: GitHub, loopback: LoopbackGitHub, branch: str) -> None:
    number = create(github)
    loopback.git.commit("main", {"model.txt": b"3"})
    with pytest.raises(RequestRefused, match="merge conflicts"):
        github.merge_pull_request(number, when_checks_pass=False)
    assert not github.pull_request(number).merged


def test_a_draft_is_not_merged(github: GitHub, loopback: LoopbackGitHub, branch: str) -> None:
    made = github.create_pull_request(source="topic", target="main", title="Draft", body="", draft=True)
    assert made.draft
    with pytest.raises(RequestRefused, match="draft state"):
        github.merge_pull_request(made.number)


def test_only_the_failed_jobs_run_again_unless_all_are_asked_for(github: GitHub, loopback: LoopbackGitHub) -> None:
    loopback.add_run(7)
    assert github.rerun("7") == f"{loopback.web_url}/actions/runs/7"
    loopback.add_run(8)
    github.rerun("8", failed_only=False)
    assert [one.path.rsplit("/", 2)[1:] for one in loopback.calls("POST")] == [["7", "rerun-failed-jobs"], ["8", "rerun"]]


def test_a_run_that_is_still_running_is_cancelled_first(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.add_run(7, "in_progress", None)
    loopback.polls_until_cancelled = 3
    github.rerun("7")
    assert loopback.runs[7]["run_attempt"] == 2
    assert clock.waits == [2.0, 3.0]


def test_a_run_that_does_not_stop_is_given_up_after_two_minutes(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.add_run(7, "in_progress", None)
    loopback.polls_until_cancelled = 10_000
    with pytest.raises(ForgeUnreachable, match="still in_progress 120 s after"):
        github.rerun("7")
    assert sum(clock.waits) == 120


@pytest.mark.parametrize("how", ["lost", "refuse"])
def test_a_rerun_whose_answer_is_lost_happens_once(github: GitHub, loopback: LoopbackGitHub, how: str) -> None:
    loopback.add_run(7)
    loopback.fail("POST", "*/rerun-failed-jobs", how=how)  # type: ignore[arg-type]
    github.rerun("7")
    assert loopback.runs[7]["run_attempt"] == 2


def test_git_pushes_with_the_credentials_and_they_do_not_show(github: GitHub, loopback: LoopbackGitHub, tmp_path: Path) -> None:
    credentials = github.git_credentials()
    assert "ghs_workflow" not in repr(credentials)
    clone = tmp_path / "clone"
    helper = f"!f() {{ echo username={credentials.username}; echo password={credentials.password}; }}; f"
    settings = ["-c", "credential.helper=", "-c", f"credential.helper={helper}"]
    subprocess.run(["git", *settings, "clone", "--quiet", credentials.url, str(clone)], check=True, capture_output=True)
    (clone / "new.txt").write_text("x")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "-C", str(clone), "add", "."], check=True)
    subprocess.run(["git", "-C", str(clone), *identity, "commit", "--quiet", "-m", "x"], check=True)
    subprocess.run(["git", "-C", str(clone), *settings, "push", "--quiet", "origin", "HEAD:topic"], check=True, capture_output=True)
    assert github.branch_commit("topic") == loopback.git.resolve("refs/heads/topic")
    assert github.branch_commit("no such/branch#?") is None
