"""Comments on GitHub: all pages, the right author, and no second one whatever happens to the answer."""

from __future__ import annotations

import pytest

from mlops_nb.forges.base import (
    ForgeNotFound,
    NotAuthenticated,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    Target,
    find_own_comment,
)
from mlops_nb.forges.github import GitHub
from tests.forges.conftest import Clock, Connect
from tests.forges.github import LoopbackGitHub
from tests.forges.github_state import Account, message
from tests.forges.server import Reply

MARK = "<!-- mlops-nb: report -->"
ME = "github-actions[bot]"


@pytest.fixture
def target(loopback: LoopbackGitHub) -> Target:
    return Target("pr", str(loopback.open_pull("topic").number))


def test_a_comment_is_created_updated_and_deleted(github: GitHub, loopback: LoopbackGitHub, target: Target) -> None:
    made = github.create_comment(target, f"first {MARK}")
    assert (made.author, made.target) == (ME, target)
    assert made.url.startswith(f"{loopback.web_url}/issues/{target.ref}#issuecomment-")
    assert github.update_comment(made, f"second {MARK}").id == made.id
    assert [one.body for one in github.comments(target)] == [f"second {MARK}"]
    github.delete_comment(made)
    github.delete_comment(made)
    assert list(github.comments(target)) == []


@pytest.mark.parametrize("kind", ["issue", "commit"])
def test_issues_and_commits_have_comments_too(github: GitHub, loopback: LoopbackGitHub, kind: str) -> None:
    ref = loopback.first if kind == "commit" else str(loopback.number())
    target = Target("commit" if kind == "commit" else "issue", ref or "")
    made = github.create_comment(target, f"here {MARK}")
    assert find_own_comment(github, target, MARK) == made
    assert github.update_comment(made, "there").body == "there"
    github.delete_comment(made)
    assert list(github.comments(target)) == []


def test_the_own_comment_is_found_behind_two_hundred_others(github: GitHub, loopback: LoopbackGitHub, target: Target) -> None:
    for number in range(130):
        loopback.add_comment(int(target.ref), "ada", f"remark {number}")
    made = github.create_comment(target, f"report {MARK}")
    for number in range(80):
        loopback.add_comment(int(target.ref), "ada", f"reply {number}")
    assert find_own_comment(github, target, MARK) == made
    assert [one.query["per_page"] for one in loopback.calls("GET", "*/comments")] == [["100"]] * 3


def test_a_marker_that_somebody_else_wrote_is_ignored(github: GitHub, loopback: LoopbackGitHub, target: Target) -> None:
    loopback.add_comment(int(target.ref), "mallory", f"> quoting {MARK}")
    loopback.add_comment(int(target.ref), "github-actions", f"nearly {MARK}")
    assert find_own_comment(github, target, MARK) is None
    made = github.create_comment(target, MARK)
    loopback.add_comment(int(target.ref), "mallory", MARK)
    assert find_own_comment(github, target, MARK) == made


def test_a_personal_token_is_known_by_its_login(loopback: LoopbackGitHub, connect_to: Connect, target: Target) -> None:
    loopback.tokens["ghp_mine"] = Account("ada", scopes=["repo"])
    loopback.graphql_is_open = False
    github = connect_to(loopback, token="ghp_mine")
    assert github.whoami() == "ada"
    made = github.create_comment(target, MARK)
    assert find_own_comment(github, target, MARK) == made


@pytest.mark.parametrize("how", ["lost", "cut", "refuse", message("Server Error", 502)], ids=["lost", "cut", "refused", "502"])
def test_a_comment_whose_answer_does_not_come_is_there_once(
    github: GitHub, loopback: LoopbackGitHub, target: Target, how: str | Reply
) -> None:
    loopback.fail("POST", "*/comments", how=how)  # type: ignore[arg-type]
    made = github.create_comment(target, f"report\r\n{MARK}")
    assert [str(item["id"]) for item in loopback.comments_of(int(target.ref))] == [made.id]


def test_a_comment_that_twice_does_not_come_through_is_reported_as_unknown(
    github: GitHub, loopback: LoopbackGitHub, target: Target
) -> None:
    loopback.fail("POST", "*/comments", times=2, how="refuse")
    with pytest.raises(OutcomeUnknown, match="add a comment to pull request 1") as caught:
        github.create_comment(target, "report")
    assert "look before running it again" in str(caught.value)
    assert len(loopback.calls("POST", "*/comments")) == 2


def test_the_same_words_of_somebody_else_are_not_taken_for_the_lost_comment(
    github: GitHub, loopback: LoopbackGitHub, target: Target
) -> None:
    loopback.add_comment(int(target.ref), "mallory", "report")
    loopback.fail("POST", "*/comments", how="refuse")
    assert github.create_comment(target, "report").author == ME


def test_a_comment_as_long_as_the_limit_fits_and_a_longer_one_is_not_even_sent(
    github: GitHub, loopback: LoopbackGitHub, target: Target
) -> None:
    longest = "é" * github.limits.comment_characters
    made = github.create_comment(target, longest)
    assert made.body == longest
    with pytest.raises(RequestRefused, match="65,537 characters"):
        github.update_comment(made, longest + "x")
    with pytest.raises(RequestRefused, match="too long"):
        github.client.post(f"/repos/acme/churn/issues/{target.ref}/comments", {"body": longest + "x"}, what="add it unchecked")
    assert len(loopback.calls("PATCH")) == 0


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "@everyone fixes #1", "```\nunclosed", "\u202egnp.exe", "\ud800 half", "::error::x"]
)
def test_hostile_text_is_sent_as_text(github: GitHub, target: Target, text: str) -> None:
    assert github.create_comment(target, text).body == text.encode("utf-8", "replace").decode()


def test_a_missing_permission_is_named_with_what_to_do(loopback: LoopbackGitHub, connect_to: Connect, target: Target) -> None:
    loopback.tokens["ghs_reader"] = Account(ME, {"issues": "read", "pull_requests": "read"})
    with pytest.raises(PermissionMissing) as caught:
        connect_to(loopback, token="ghs_reader").create_comment(target, "report")
    assert caught.value.permission == "issues: write or pull_requests: write"
    assert "'permissions:' in the workflow" in str(caught.value)
    assert "ghs_reader" not in str(caught.value)


def test_in_a_forks_run_the_error_says_that_forks_may_only_read(loopback: LoopbackGitHub, connect_to: Connect) -> None:
    loopback.tokens["ghs_reader"] = Account(ME, {"pull_requests": "read"})
    pull = loopback.open_pull("topic", fork="mallory/churn")
    github = connect_to(loopback, "pull_request", pull.number, token="ghs_reader")
    with pytest.raises(PermissionMissing, match="comes from a fork"):
        github.create_comment(Target("pr", str(pull.number)), "report")


def test_the_scope_that_a_classic_token_lacks_does_not_hide(loopback: LoopbackGitHub, connect_to: Connect, target: Target) -> None:
    loopback.tokens["ghp_narrow"] = Account("ada", scopes=["gist"])
    with pytest.raises(ForgeNotFound, match="may not see it") as caught:
        connect_to(loopback, token="ghp_narrow").create_comment(target, "report")
    assert "needs the permission scope repo" in str(caught.value)


def test_a_wrong_token_is_told_by_its_variable(loopback: LoopbackGitHub, connect_to: Connect, target: Target) -> None:
    with pytest.raises(NotAuthenticated, match="GITHUB_TOKEN") as caught:
        connect_to(loopback, token="ghs_expired").create_comment(target, "report")
    assert "ghs_expired" not in f"{caught.value!r}{caught.value}"


def test_without_a_token_the_variables_for_one_are_named(loopback: LoopbackGitHub, connect_to: Connect, target: Target) -> None:
    with pytest.raises(NotAuthenticated, match="GITHUB_TOKEN") as caught:
        connect_to(loopback, token="").create_comment(target, "report")
    assert "GITLAB_TOKEN" not in str(caught.value)


def test_comments_of_what_is_not_there_are_not_found(github: GitHub, clock: Clock) -> None:
    with pytest.raises(ForgeNotFound, match="404"):
        list(github.comments(Target("issue", "999")))
    with pytest.raises(RequestRefused, match="No commit found"):
        github.create_comment(Target("commit", "0" * 40), "report")
    assert clock.waits == []
