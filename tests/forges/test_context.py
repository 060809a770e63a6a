"""Where we are: forge, repository, commit, branch and pull request, from each CI's environment and from git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.errors import InvalidInput
from mlops_nb.forges.context import Context, discover, find_pull_request
from mlops_nb.forges.remotes import parse_remote
from tests.forges.conftest import Connect
from tests.forges.github import LoopbackGitHub

HEAD, BASE, MERGE = "a" * 40, "b" * 40, "c" * 40


def actions(tmp_path: Path, event: str, payload: dict[str, Any] | None, **variables: str) -> dict[str, str]:
    path = tmp_path / "event.json"
    if payload is not None:
        path.write_text(json.dumps(payload), encoding="utf-8")
    common = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/churn", "GITHUB_EVENT_NAME": event, "GITHUB_EVENT_PATH": str(path)}
    return {**common, "GITHUB_SHA": MERGE, "GITHUB_REF": "refs/heads/main", "GITHUB_RUN_ID": "7", **variables}


def pull_payload(*, fork: str | None = "acme/churn") -> dict[str, Any]:
    head = {"sha": HEAD, "ref": "topic", "repo": {"full_name": fork} if fork else None}
    return {"pull_request": {"number": 12, "head": head, "base": {"sha": BASE, "ref": "main", "repo": {"full_name": "acme/churn"}}}}


def where(context: Context) -> tuple[str | None, str | None, int | None, bool]:
    return context.commit, context.branch, context.pull_request, context.from_fork


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target", "pull_request_review"])
def test_of_a_pull_request_the_pushed_commit_counts_not_the_merge_or_the_base(tmp_path: Path, event: str) -> None:
    context = discover(actions(tmp_path, event, pull_payload(), GITHUB_REF="refs/pull/12/merge", GITHUB_SHA=BASE), tmp_path)
    assert where(context) == (HEAD, "topic", 12, False)
    assert (context.base_branch, context.kind, context.ci) == ("main", "github", "github")


@pytest.mark.parametrize("fork", ["mallory/churn", None], ids=["fork", "deleted fork"])
def test_a_fork_is_seen_as_one(tmp_path: Path, fork: str | None) -> None:
    context = discover(actions(tmp_path, "pull_request", pull_payload(fork=fork)), tmp_path)
    assert where(context) == (HEAD, "topic", 12, True)
    assert context.head_repository == fork


def test_a_workflow_run_is_about_the_run_that_it_follows(tmp_path: Path) -> None:
    pulls = [{"number": 12, "head": {"sha": HEAD, "ref": "topic"}, "base": {"ref": "main", "repo": {"name": "churn"}}}]
    run = {"head_sha": HEAD, "head_branch": "topic", "head_repository": {"full_name": "acme/churn"}, "pull_requests": pulls}
    context = discover(actions(tmp_path, "workflow_run", {"workflow_run": run}), tmp_path)
    assert where(context) == (HEAD, "topic", 12, False)
    from_fork = {**run, "head_repository": {"full_name": "mallory/churn"}, "pull_requests": []}
    context = discover(actions(tmp_path, "workflow_run", {"workflow_run": from_fork}), tmp_path)
    assert where(context) == (HEAD, "topic", None, True)


def test_a_comment_on_a_pull_request_knows_its_number_but_not_its_commit(tmp_path: Path) -> None:
    payload = {"issue": {"number": 12, "pull_request": {"url": "x"}}}
    assert where(discover(actions(tmp_path, "issue_comment", payload), tmp_path)) == (None, None, 12, False)
    assert where(discover(actions(tmp_path, "issue_comment", {"issue": {"number": 3}}), tmp_path)) == (MERGE, "main", None, False)


def test_pushes_tags_schedules_and_the_merge_queue_are_told_apart(tmp_path: Path) -> None:
    assert where(discover(actions(tmp_path, "push", {}, GITHUB_REF="refs/heads/feature/x"), tmp_path)) == (MERGE, "feature/x", None, False)
    tag = discover(actions(tmp_path, "push", {}, GITHUB_REF="refs/tags/v1/2"), tmp_path)
    assert (where(tag), tag.tag) == ((MERGE, None, None, False), "v1/2")
    assert where(discover(actions(tmp_path, "schedule", {"schedule": "0 0 * * *"}), tmp_path)) == (MERGE, "main", None, False)
    queued = actions(
        tmp_path, "merge_group", {"merge_group": {"head_sha": HEAD}}, GITHUB_REF=f"refs/heads/gh-readonly-queue/main/pr-12-{BASE}"
    )
    assert where(discover(queued, tmp_path))[::2] == (HEAD, 12)


@pytest.mark.parametrize("payload", ["", "[]", "nonsense", '{"pull_request": "x"}', '{"pull_request": {"number": "1; rm", "head": []}}'])
def test_a_broken_payload_leaves_what_the_variables_say(tmp_path: Path, payload: str) -> None:
    environment = actions(tmp_path, "pull_request", None, GITHUB_REF="refs/pull/12/merge", GITHUB_HEAD_REF="topic", GITHUB_BASE_REF="main")
    (tmp_path / "event.json").write_text(payload)
    context = discover(environment, tmp_path)
    assert (context.branch, context.base_branch, context.commit) == ("topic", "main", MERGE)
    assert context.pull_request in (12, None)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    return subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "First")
    git(folder, "remote", "add", "origin", "git@github.com:acme/churn.git")
    return folder


def test_without_a_payload_the_head_is_read_from_the_merge_commit_even_in_a_shallow_clone(clone: Path, tmp_path: Path) -> None:
    git(clone, "checkout", "--quiet", "-b", "topic")
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "Topic")
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "--quiet", "main")
    git(clone, "merge", "--quiet", "--no-ff", "topic", "-m", "Merge")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{clone}", str(shallow))
    variables = {"GITHUB_REF": "refs/pull/12/merge", "GITHUB_SHA": git(clone, "rev-parse", "HEAD"), "GITHUB_WORKSPACE": str(shallow)}
    context = discover(actions(tmp_path, "pull_request", None, **variables), shallow)
    assert (context.commit, context.pull_request) == (head, 12)


def test_outside_of_ci_git_says_it(clone: Path) -> None:
    context = discover({}, clone)
    assert (context.kind, context.server_url, context.api_url) == ("github", "https://github.com", "https://api.github.com")
    assert where(context) == (git(clone, "rev-parse", "HEAD"), "main", None, False)
    git(clone, "checkout", "--quiet", "--detach")
    assert discover({}, clone).branch is None


def test_in_a_codespace_git_knows_the_commit(clone: Path) -> None:
    context = discover({"GITHUB_REPOSITORY": "acme/churn", "GITHUB_SERVER_URL": "https://github.com", "CODESPACES": "true"}, clone)
    assert (context.ci, context.commit, context.branch) == (None, git(clone, "rev-parse", "HEAD"), "main")


@pytest.mark.parametrize(
    ("text", "server", "path"),
    [
        ("https://user:secret@github.com/acme/churn.git", "https://github.com", "acme/churn"),
        ("http://git.acme.org:8080/forge/acme/churn/", "http://git.acme.org:8080", "forge/acme/churn"),
        ("http://gitlab.com/acme/churn", "https://gitlab.com", "acme/churn"),
        ("http://github.com:80/acme/churn.git", "https://github.com", "acme/churn"),
        ("http://github.com:8080/acme/churn.git", "http://github.com:8080", "acme/churn"),
        ("git@github.com:acme/churn.git", "https://github.com", "acme/churn"),
        ("github.com:acme/churn", "https://github.com", "acme/churn"),
        ("ssh://git@git.acme.org:2222/acme/churn.git", "https://git.acme.org", "acme/churn"),
        ("ssh://git@ssh.github.com:443/acme/churn.git", "https://github.com", "acme/churn"),
        ("https://[2001:db8::1]:8443/acme/churn", "https://[2001:db8::1]:8443", "acme/churn"),
        ("/srv/git/churn.git", None, None),
        ("file:///srv/git/churn.git", None, None),
        ("../churn", None, None),
        ("C:\\git\\churn", None, None),
        ("https://github.com/../..", None, None),
        ("https://github.com/acme/churn\nx: y", None, None),
        ("https://github.com:port/acme/churn", None, None),
        ("", None, None),
    ],
)
def test_remotes_are_read_in_every_form_and_without_passwords(text: str, server: str | None, path: str | None) -> None:
    remote = parse_remote(text)
    assert (remote and remote.server, remote and remote.path) == (server, path)
    assert "secret" not in repr(remote)


def test_a_server_of_ones_own_is_reached_where_its_ci_says(tmp_path: Path) -> None:
    own = {"GITHUB_SERVER_URL": "http://git.acme.org:8080", "GITHUB_API_URL": "http://git.acme.org:8080/api/v3"}
    context = discover(actions(tmp_path, "push", {}, **own), tmp_path)
    assert (context.server_url, context.api_url) == (own["GITHUB_SERVER_URL"], own["GITHUB_API_URL"])
    assert context.run_url == "http://git.acme.org:8080/acme/churn/actions/runs/7"


@pytest.mark.parametrize(
    ("repository", "driver", "kind", "api"),
    [
        ("other/thing", None, "github", "https://api.github.com"),
        ("https://github.com/other/thing", None, "github", "https://api.github.com"),
        ("https://github.com/other/thing/tree/main", None, "github", "https://api.github.com"),
        ("https://acme.ghe.com/other/thing", None, "github", "https://api.acme.ghe.com"),
        ("https://git.acme.org/other/thing", "github", "github", "https://git.acme.org/api/v3"),
        ("https://gitlab.com/group/sub/thing/-/merge_requests/1", None, "gitlab", "https://gitlab.com/api/v4"),
        ("https://gitlab.acme.org/group/sub/thing", None, "gitlab", "https://gitlab.acme.org/api/v4"),
        ("group/thing", "gitlab", "gitlab", "https://gitlab.com/api/v4"),
        ("https://bitbucket.org/team/thing/src/main/", None, "bitbucket", "https://api.bitbucket.org/2.0"),
    ],
)
def test_a_repository_may_be_named_by_url_or_slug(clone: Path, repository: str, driver: str | None, kind: str, api: str) -> None:
    context = discover({}, clone, repository=repository, driver=driver)
    assert (context.kind, context.api_url) == (kind, api)
    assert context.repository.endswith("/thing")
    assert discover({"CML_REPO": repository, "CML_DRIVER": driver or ""}, clone) == context


def test_another_repository_than_cis_has_the_commit_but_no_pull_request(tmp_path: Path) -> None:
    context = discover(actions(tmp_path, "pull_request", pull_payload()), tmp_path, repository="other/mirror")
    assert (context.repository, context.commit, context.pull_request) == ("other/mirror", HEAD, None)
    same = discover(actions(tmp_path, "pull_request", pull_payload()), tmp_path, repository="https://github.com/Acme/Churn")
    assert same.pull_request == 12


def test_a_token_for_one_server_is_not_sent_to_the_api_of_another(tmp_path: Path) -> None:
    environment = actions(tmp_path, "push", {}, GITHUB_SERVER_URL="https://github.com", GITHUB_API_URL="https://api.github.com")
    assert discover(environment, tmp_path, repository="https://git.acme.org/a/b", driver="github").api_url == "https://git.acme.org/api/v3"


def test_what_nobody_says_is_asked_for(tmp_path: Path, clone: Path) -> None:
    with pytest.raises(InvalidInput, match="--repo"):
        discover({}, tmp_path)
    with pytest.raises(InvalidInput, match="--driver"):
        discover({}, tmp_path, repository="https://git.acme.org/acme/churn")
    with pytest.raises(InvalidInput, match="not a forge that we know"):
        discover({}, clone, driver="sourcehut")
    with pytest.raises(InvalidInput) as caught:
        discover({}, clone, repository="https://user:secret@/")
    assert "secret" not in str(caught.value)


def test_the_pull_request_of_a_pushed_branch_is_found(loopback: LoopbackGitHub, connect_to: Connect, tmp_path: Path) -> None:
    github, pull = connect_to(loopback), loopback.open_pull("topic")
    environment = {**loopback.actions(tmp_path, "push"), "GITHUB_REF": "refs/heads/topic", "GITHUB_SHA": pull.head}
    found = find_pull_request(github, discover(environment, tmp_path))
    assert found is not None and found.number == pull.number
    unpushed = find_pull_request(github, discover({**environment, "GITHUB_SHA": "0" * 40}, tmp_path))
    assert unpushed is not None and unpushed.number == pull.number
    assert find_pull_request(github, discover({**environment, "GITHUB_REF": "refs/heads/main", "GITHUB_SHA": "0" * 40}, tmp_path)) is None
    assert find_pull_request(github, discover({**environment, "GITHUB_REF": "refs/tags/v1"}, tmp_path)) is None
    assert find_pull_request(github, discover(loopback.actions(tmp_path, "schedule"), tmp_path)) is None


def test_the_pull_request_of_a_branch_on_top_of_ours_is_not_ours(loopback: LoopbackGitHub, connect_to: Connect, tmp_path: Path) -> None:
    ours = loopback.git.commit("ours", {"a.txt": b"a"}, parent=loopback.first)
    loopback.git.commit("on-top", {"b.txt": b"b"}, parent=ours)
    loopback.open_pull("on-top")
    environment = {**loopback.actions(tmp_path, "push"), "GITHUB_REF": "refs/heads/ours", "GITHUB_SHA": ours}
    assert find_pull_request(connect_to(loopback), discover(environment, tmp_path)) is None


def test_a_forks_pull_request_is_found_by_its_very_commit(loopback: LoopbackGitHub, connect_to: Connect, tmp_path: Path) -> None:
    pull = loopback.open_pull("topic", fork="mallory/churn")
    loopback.open_pull("topic", fork="eve/churn")
    run = {"head_sha": pull.head, "head_branch": "topic", "head_repository": {"full_name": "mallory/churn"}, "pull_requests": []}
    environment = loopback.actions(tmp_path, "workflow_run")
    Path(environment["GITHUB_EVENT_PATH"]).write_text(json.dumps({"workflow_run": run}))
    found = find_pull_request(connect_to(loopback), discover(environment, tmp_path))
    assert found is not None and (found.number, found.from_fork) == (pull.number, True)
    Path(environment["GITHUB_EVENT_PATH"]).write_text(json.dumps({"workflow_run": {**run, "head_sha": "0" * 40}}))
    assert find_pull_request(connect_to(loopback), discover(environment, tmp_path)) is None
