"""Patience with limits: what a forge's client repeats, waits for, and refuses to wait for."""

from __future__ import annotations

import time

import pytest

from mlops_nb.forges.base import ForgeUnreachable, OutcomeUnknown, PermissionMissing, RateLimited, Target
from mlops_nb.forges.client import RETRIES, WAIT_SECONDS, ForgeClient
from mlops_nb.forges.github import GitHub
from tests.forges.conftest import Clock
from tests.forges.github import LoopbackGitHub
from tests.forges.github_state import message, rate_limited, secondary_limit
from tests.forges.server import LoopbackForge, Reply, Request, route

REPO = "/repos/acme/churn"
PULL = Target("pr", "1")


def test_a_read_is_repeated_after_errors_of_the_server(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.fail("GET", REPO, times=2, how=message("Server Error", 503))
    loopback.fail("GET", REPO, how="cut")
    assert github.default_branch() == "main"
    assert [round(seconds) for seconds in clock.waits] == pytest.approx([1, 2, 4], abs=1)
    assert clock.told[0].startswith("GitHub: could not describe acme/churn yet (status 503); trying again in 1 s.")


def test_a_server_that_stays_down_is_given_up_after_some_tries(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.fail("GET", REPO, times=99, how="refuse")
    with pytest.raises(ForgeUnreachable, match="gave no answer when asked to describe acme/churn"):
        github.default_branch()
    assert len(loopback.calls("GET", REPO)) == RETRIES + 1
    assert sum(clock.waits) < WAIT_SECONDS


def test_a_server_that_is_not_there_is_told_as_such_even_for_writes(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.close()
    with pytest.raises(ForgeUnreachable, match="cannot be reached") as caught:
        github.client.post(f"{REPO}/check-runs", {}, what="set a check")
    assert not isinstance(caught.value, OutcomeUnknown)
    assert len(clock.waits) == RETRIES


@pytest.mark.parametrize("how", ["lost", "refuse", "cut", message("Bad Gateway", 502)], ids=["lost", "refused", "cut", "502"])
def test_a_post_whose_answer_does_not_come_is_not_sent_again(github: GitHub, loopback: LoopbackGitHub, how: object) -> None:
    pull = loopback.open_pull("topic")
    loopback.fail("POST", "*/comments", how=how)  # type: ignore[arg-type]
    with pytest.raises(OutcomeUnknown, match="may have taken effect"):
        github.client.post(f"{REPO}/issues/{pull.number}/comments", {"body": "x"}, what="add a comment")
    assert len(loopback.calls("POST")) == 1


def test_an_answer_that_does_not_come_in_time_is_a_lost_one(github: GitHub, loopback: LoopbackGitHub) -> None:
    loopback.fail("GET", REPO, times=9, how="slow")
    with pytest.raises(ForgeUnreachable, match="did not answer in time"):
        github.client.send("GET", REPO, what="describe it", timeout=(1, 0.05))


def test_a_short_rate_limit_is_waited_for(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.fail("GET", REPO, how=rate_limited(clock.now() + 20))
    assert github.default_branch() == "main"
    assert clock.waits == pytest.approx([21], abs=1.5)
    assert "rate limit" in clock.told[0]


def test_a_long_rate_limit_fails_at_once_and_says_when_it_ends(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    reset = int(clock.now()) + 1800
    loopback.fail("GET", REPO, how=rate_limited(reset, status=429))
    with pytest.raises(RateLimited) as caught:
        github.default_branch()
    assert clock.waits == []
    assert caught.value.retry_at == pytest.approx(reset, abs=2)
    assert time.strftime("%H:%M:", time.gmtime(reset + 1)) in str(caught.value)
    assert "in 30 minutes" in str(caught.value)


def test_a_post_is_sent_again_after_a_rate_limit_since_it_had_no_effect(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    pull = loopback.open_pull("topic")
    loopback.fail("POST", "*/comments", how=secondary_limit(retry_after=7))
    github.client.post(f"{REPO}/issues/{pull.number}/comments", {"body": "x"}, what="add a comment")
    assert clock.waits == [7.0]
    assert len(loopback.comments_of(pull.number)) == 1


def test_a_secondary_limit_without_a_time_is_left_alone_for_a_minute(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.fail("GET", REPO, how=secondary_limit())
    github.default_branch()
    assert clock.waits == [60.0]


def test_all_waiting_together_stays_below_two_minutes(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.fail("GET", REPO, times=99, how=secondary_limit(retry_after=50))
    for _ in range(4):
        with pytest.raises(RateLimited):
            github.default_branch()
    assert clock.waits == [50.0, 50.0]
    clock.time += 3600
    with pytest.raises(RateLimited):
        github.default_branch()
    assert clock.waits == [50.0] * 4


def test_a_refusal_that_is_no_rate_limit_is_not_waited_for(github: GitHub, loopback: LoopbackGitHub, clock: Clock) -> None:
    loopback.fail("GET", REPO, how=message("Resource protected by organization SAML enforcement.", 403))
    with pytest.raises(PermissionMissing, match="SAML enforcement"):
        github.default_branch()
    assert clock.waits == []


def test_what_a_forge_says_cannot_paint_the_terminal_or_flood_it(github: GitHub, loopback: LoopbackGitHub) -> None:
    loopback.fail("GET", REPO, how=message("\x1b[2J\n::error::" + "x" * 100_000, 403))
    with pytest.raises(PermissionMissing) as caught:
        github.default_branch()
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_login_page_in_between_is_not_taken_for_an_answer(github: GitHub, loopback: LoopbackGitHub) -> None:
    loopback.fail("GET", REPO, how=Reply(b"<html>Sign in</html>", 200, {"Content-Type": "text/html"}))
    with pytest.raises(ForgeUnreachable, match="web page"):
        github.default_branch()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_no_json_is_not_taken_for_an_answer(github: GitHub, loopback: LoopbackGitHub, method: str) -> None:
    loopback.fail(method, f"{REPO}/issues/*/comments", how=Reply(b"pong", 200, {"Content-Type": "text/plain"}))
    with pytest.raises(ForgeUnreachable, match="no JSON"):
        list(github.comments(PULL)) if method == "GET" else github.create_comment(PULL, "report")


def test_a_redirect_that_would_make_a_read_of_a_write_is_said(github: GitHub, loopback: LoopbackGitHub) -> None:
    loopback.fail("POST", f"{REPO}/issues/*/comments", how=Reply(b"", 301, {"Location": f"{loopback.url}{REPO}/issues/1/comments?page=1"}))
    with pytest.raises(ForgeUnreachable, match=f"redirects to {loopback.url}{REPO}/issues/1/comments when asked to add a comment"):
        github.create_comment(PULL, "report")


class Paging(LoopbackForge):
    """Gives pages in each way that forges do, and remembers who asked with a token."""

    elsewhere = ""

    @route("GET", "/body")
    def body(self, request: Request) -> Reply:
        page = int(request.one("page", "1"))
        following = {"next": f"{self.elsewhere or self.url}/body?page={page + 1}"} if page < 3 else {}
        return Reply({"values": [page], **following})

    @route("GET", "/header")
    def header(self, request: Request) -> Reply:
        page = int(request.one("page", "1"))
        return Reply([page], 200, {"X-Next-Page": str(page + 1) if page < 3 else ""})

    @route("GET", "/link")
    def link(self, request: Request) -> Reply:
        cursor = request.one("cursor", "a")
        following = {"a": "b", "b": "c"}.get(cursor)
        return Reply([cursor], 200, {"Link": f'<{self.url}/link?cursor={following}&per_page=1>; rel="next"'} if following else {})

    @route("GET", "/endless")
    def endless(self, request: Request) -> Reply:
        return Reply([1], 200, {"Link": f'<{self.url}/endless?page=2>; rel="next"'})


def test_pages_are_followed_however_the_forge_links_them() -> None:
    forge = Paging("/sub/path")
    client = ForgeClient("gitlab", forge.url, lambda: {"Private-Token": "glpat-x"}, source="GITLAB_TOKEN")
    try:
        assert list(client.pages("/body", what="list", items="values")) == [1, 2, 3]
        assert list(client.pages("/header", what="list", params={"per_page": 1})) == [1, 2, 3]
        assert list(client.pages("/link", what="list")) == ["a", "b", "c"]
        with pytest.raises(ForgeUnreachable, match="no end of pages"):
            list(client.pages("/endless", what="list"))
    finally:
        client.close()
        forge.close()


def test_a_next_page_on_another_host_does_not_get_the_token() -> None:
    forge, other = Paging(), Paging()
    forge.elsewhere = other.url
    client = ForgeClient("bitbucket", forge.url, lambda: {"Authorization": "Bearer secret"}, source="BITBUCKET_TOKEN")
    try:
        assert list(client.pages("/body", what="list", items="values")) == [1, 2, 3]
        assert other.seen == []
    finally:
        client.close()
        forge.close()
        other.close()
