"""Pull requests of changed files: through real git, without a trace in the user's repository or settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.forges.github import LoopbackGitHub
from tests.posting.conftest import StepAt, git


def state(work: Path) -> tuple[str, ...]:
    """Return all that must stay: branch, commit, index, working tree, settings, branches."""
    commands = (
        "symbolic-ref HEAD",
        "rev-parse HEAD",
        "ls-files --stage",
        "status --porcelain",
        "config --list --local",
        "for-each-ref",
        "worktree list",
    )
    return tuple(git(work, *command.split()) for command in commands)


def files(hub: LoopbackGitHub, branch: str) -> list[str]:
    return hub.git.git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", f"refs/heads/{branch}").split("\n")


def branches(hub: LoopbackGitHub) -> set[str]:
    return set(hub.git.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split("\n"))


def made(hub: LoopbackGitHub) -> str:
    (branch,) = [name for name in branches(hub) if "-cml-pr-" in name]
    return branch


def test_only_what_matches_is_in_the_commit_and_nothing_else_changes(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    hub.git.commit("main", {"old.txt": b"1", "kept.txt": b"1"})
    git(work, "pull", "-q")
    step = step_at()
    (work / "old.txt").unlink()
    (work / "kept.txt").write_text("changed")
    (work / "models").mkdir()
    for name in (".metrics", "mit leer ünd 'zeichen'.json", "models/a.bin", "other.log", '"quoted".txt', "-dash.txt"):
        (work / name).write_text(name)
    before = state(work)
    url = step.url("pr", "create", ".metrics", "*.json", "models", "old.txt", '"quoted".txt', "--", "-dash.txt")
    assert state(work) == before and not (work.parent / "home" / ".gitconfig").exists()
    (pull,) = hub.pulls.values()
    assert url.endswith(f"/pull/{pull.number}") and (pull.target, pull.source) == ("main", made(hub))
    listed = hub.git.git("ls-tree", "-r", "-z", "--name-only", f"refs/heads/{pull.source}").split("\0")[:-1]
    assert sorted(listed) == sorted(
        [".metrics", "README.md", "kept.txt", "mit leer ünd 'zeichen'.json", "models/a.bin", '"quoted".txt', "-dash.txt"]
    )
    assert hub.git.read(pull.source, "kept.txt") == b"1"
    message = hub.git.git("log", "-1", "--format=%an <%ae>%n%B", pull.source)
    assert message.startswith("Olivaw[bot] <olivaw@iterative.ai>\nmlops-nb PR for ") and "[skip ci]" in message


@pytest.mark.parametrize(
    ("options", "skips"),
    [([], True), (["--message=m"], False), (["--merge"], False), (["--message=m", "--skip-ci"], True), (["--skip-CI"], True)],
)
def test_when_ci_is_skipped(hub: LoopbackGitHub, work: Path, step_at: StepAt, options: list[str], skips: bool) -> None:
    (work / "a.json").write_text("1")
    step_at()("pr", *options, "a.json")
    assert ("[skip ci]" in hub.git.git("log", "-1", "--format=%B", made(hub))) is skips


def test_nothing_to_commit_is_said_and_no_failure(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "a.log").write_text("1")
    result = step_at()("pr", "create", "*.json")
    assert (result.exit_code, result.stdout) == (0, "") and "othing" in result.stderr
    assert branches(hub) == {"main"} and not hub.pulls


def test_a_report_that_could_not_be_posted_is_not_part_of_the_pull_request(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "unposted-report.md").write_text("not posted")
    (work / "out").mkdir()
    (work / "out" / "unposted-report.md").write_text("nor this")
    (work / "a.json").write_text("1")
    step_at().url("pr", "create", ".")
    assert [name for name in files(hub, made(hub)) if name.endswith(("unposted-report.md", "a.json"))] == ["a.json"]


def test_run_again_it_keeps_one_branch_and_one_pull_request(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    step = step_at()
    for content in ("1", "1", "2"):
        (work / "a.json").write_text(content)
        url = step.url("pr", "create", "a.json", "--title=T", "--md")
    assert url.startswith("[Pull request](http") and len(hub.pulls) == 1
    assert hub.git.read(made(hub), "a.json") == b"2"
    assert hub.git.git("rev-list", "--count", f"main..{made(hub)}") == "1"
    step.url("pr", "create", "a.json", "--title=Other", "--body=B")
    assert [(one.title, one.body) for one in hub.pulls.values()] == [("Other", "B")]


def test_commits_of_others_on_the_branch_stay(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    step = step_at()
    (work / "a.json").write_text("1")
    step.url("pr", "create", "a.json", "--branch=fresh")
    theirs = hub.git.commit("fresh", {"review.txt": b"mine"}, "A reviewer's")
    for content in ("2", "3"):
        (work / "a.json").write_text(content)
        step.url("pr", "create", "a.json", "--branch=fresh")
    assert hub.git.contains("fresh", theirs) and hub.git.read("fresh", "review.txt") == b"mine" and hub.git.read("fresh", "a.json") == b"3"


def test_a_newer_base_is_built_on_and_its_changes_stay(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    step = step_at()
    newer = hub.git.commit("main", {"new.txt": b"1"})
    (work / "a.json").write_text("1")
    step.url("pr", "create", "a.json")
    assert hub.git.contains(made(hub), newer) and sorted(files(hub, made(hub))) == ["README.md", "a.json", "new.txt"]


def test_a_run_that_our_own_commit_started_does_nothing_but_a_scheduled_one_works(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "a.json").write_text("1")
    step_at().url("pr", "create", "a.json", "--message=m")
    branch = made(hub)
    git(work, "fetch", "-q")
    git(work, "checkout", "-q", "-f", f"origin/{branch}")
    (work / "a.json").write_text("2")
    variables = {"GITHUB_REF": f"refs/heads/{branch}", "GITHUB_SHA": git(work, "rev-parse", "HEAD")}
    result = step_at(**variables)("pr", "create", "a.json")
    assert (result.exit_code, result.stdout) == (0, "") and "pull request of ours" in result.stderr
    assert step_at("schedule", **variables)("pr", "create", "a.json", "--branch=nightly").exit_code == 0
    assert "nightly" in branches(hub)


def test_in_a_pull_request_it_builds_on_what_was_pushed_not_on_the_merge(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    pull = hub.open_pull("topic")
    hub.git.commit("main", {"main.txt": b"1"})
    step = step_at("pull_request", pull.number)
    merge = step.environment["GITHUB_SHA"]
    hub.git.git("update-ref", "refs/pull/1/merge", merge)
    git(work, "fetch", "-q", "origin", "refs/pull/1/merge")
    git(work, "checkout", "-q", "FETCH_HEAD")
    (work / "a.json").write_text("1")
    step.url("pr", "create", "a.json")
    branch = made(hub)
    assert branch.startswith("topic-cml-pr-") and hub.git.git("rev-parse", f"{branch}^") == pull.head
    assert sorted(files(hub, branch)) == ["README.md", "a.json", "topic.txt"]


@pytest.mark.parametrize("name", ["-x", "a..b", "a b", "refs/heads/x", "a~1", "@{x}", "x.lock"])
def test_names_that_are_no_branch_are_refused(hub: LoopbackGitHub, work: Path, step_at: StepAt, name: str) -> None:
    (work / "a.json").write_text("1")
    for option in ("--branch", "--target-branch"):
        assert step_at()("pr", "create", "a.json", f"{option}={name}").exit_code == 1
    assert branches(hub) == {"main"}


def test_a_target_that_does_not_exist_is_said(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "a.json").write_text("1")
    result = step_at()("pr", "create", "a.json", "--target-branch", "release")
    assert result.exit_code == 1 and "'release' does not exist" in str(result.exception) and branches(hub) == {"main"}


def test_over_http_the_token_is_in_no_file_url_or_argument(hub: LoopbackGitHub, work: Path, step_at: StepAt, tmp_path: Path) -> None:
    git(work, "remote", "set-url", "origin", f"http://x:left-by-ci@{hub.origin.removeprefix('http://')}/acme/churn.git")
    seen = tmp_path / "arguments"
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    (work / "a.json").write_text("1")
    step = step_at(PATH=f"{wrapper.parent}:{os.environ['PATH']}")
    step.url("pr", "create", "a.json")
    assert "a.json" in files(hub, made(hub))
    assert "push" in seen.read_text() and not any(word in seen.read_text() for word in ("ghs_workflow", "left-by-ci"))
    found = subprocess.run(["grep", "-r", "ghs_workflow", str(work), str(tmp_path / "home")], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_prepare_lets_git_push_in_the_job_and_stores_no_token(hub: LoopbackGitHub, work: Path, step_at: StepAt, tmp_path: Path) -> None:
    git(work, "remote", "set-url", "origin", f"http://x:left-by-ci@{hub.origin.removeprefix('http://')}/acme/churn.git")
    git(work, "config", f"http.{hub.origin}/.extraheader", "Authorization: Basic bm9ib2R5Om5vdGhpbmc=")
    root = Path(__file__).parent.parent.parent
    step = step_at(PYTHONPATH=f"{root}:{root / 'server_ext'}")
    assert step("ci", "--unshallow", "--user-name=Robo", "--log=error").exit_code == 0
    settings = (work / ".git" / "config").read_text()
    assert "ghs_workflow" not in settings and "left-by-ci" not in settings and not (tmp_path / "home" / ".gitconfig").exists()
    git(work, "checkout", "-q", "-b", "pushed")
    subprocess.run(
        ["git", "commit", "-q", "--allow-empty", "-m", "By the job"], cwd=work, env={**os.environ, **step.environment}, check=True
    )
    subprocess.run(
        ["git", "push", "-q", "origin", "pushed"], cwd=work, env={**os.environ, **step.environment}, check=True, capture_output=True
    )
    assert hub.git.git("log", "-1", "--format=%an", "pushed") == "Robo"


def test_the_helper_that_git_asks_imports_nothing_from_the_repository(
    hub: LoopbackGitHub, work: Path, step_at: StepAt, tmp_path: Path
) -> None:
    root = Path(__file__).parent.parent.parent
    step = step_at(PYTHONPATH=f"{root}:{root / 'server_ext'}")
    git(work, "remote", "set-url", "origin", f"{hub.origin}/acme/churn.git")
    assert step("repo", "prepare", "--log=error").exit_code == 0
    for name in ("click", "msgspec", "requests"):
        (work / f"{name}.py").write_text(f"open({str(tmp_path / 'stolen')!r}, 'w').write(str(__import__('os').environ))")
    asked = f"protocol=http\nhost={hub.origin.removeprefix('http://')}\n\n"
    done = subprocess.run(
        ["git", "credential", "fill"], cwd=work, env={**os.environ, **step.environment}, input=asked, capture_output=True, text=True
    )
    assert "password=ghs_workflow" in done.stdout and not (tmp_path / "stolen").exists()


def test_merging_as_asked(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    (work / "a.json").write_text("1")
    result = step_at()("pr", "create", "a.json", "--squash", "--auto-merge")
    assert result.exit_code == 2
    result = step_at()("pr", "create", "a.json", "--squash")
    assert result.exit_code == 0 and "erged" in result.stderr
