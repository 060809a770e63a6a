"""What only Bitbucket does: markers without HTML, nameless access tokens, reports, downloads, merging without waiting."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.forges import connect
from mlops_nb.forges.base import (
    Annotation,
    AssetFile,
    Check,
    ForgeNotSupported,
    PermissionMissing,
    RequestRefused,
    Target,
    find_own_comment,
)
from mlops_nb.forges.bitbucket_reports import key_of
from mlops_nb.forges.context import discover, find_pull_request
from mlops_nb.forges.tokens import find_token
from tests.forges.server import Reply
from tests.forges.worlds import GOOD, BitbucketWorld

MARK = "[//]: # (mlops-nb:report:train)"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BitbucketWorld]:
    made = BitbucketWorld(tmp_path)
    yield made
    made.server.close()


def test_a_link_definition_is_a_marker_that_nobody_sees(world: BitbucketWorld) -> None:
    markdown = pytest.importorskip("markdown")
    assert (
        markdown.markdown(f"{MARK}\n[//]: # (mlops-nb:by:1:2::abc:)\n\n# Report\n\n| a |\n|---|\n| 1 |", extensions=["tables"]).count(
            "mlops"
        )
        == 0
    )
    target = Target("pr", str(world.open()))
    world.forge().create_comment(target, f"{MARK}\n\n# Report")
    world.forge().create_comment(target, "<!-- mlops-nb -->\n\n# Report")
    shown = [world.server.shown_comment(one)["content"]["html"] for one in world.server.comments]
    assert [("mlops" in html) for html in shown] == [False, True]


def test_an_access_token_knows_its_own_comments_and_never_touches_those_of_people(world: BitbucketWorld) -> None:
    target = Target("pr", str(world.open()))
    world.say(target, f"{MARK}\n\na copy", author="ada")
    world.forge("another-token").create_comment(target, f"{MARK}\n\nof another token")
    mine = world.forge().create_comment(target, f"{MARK}\n\nmine")
    before = world.said(target)
    found = find_own_comment(world.forge(), target, MARK)
    assert found is not None
    assert found.id == mine.id
    assert world.said(target) == before
    people = {f"/comments/{one.id}" for one in world.server.comments if one.author == "ada"}
    assert not [one for one in world.server.calls("PUT") if one.path.endswith(tuple(people))]
    assert len(world.server.calls("PUT")) == 2


def test_an_api_token_goes_with_its_e_mail_address_and_knows_who_it_is(world: BitbucketWorld) -> None:
    target = Target("pr", str(world.open()))
    forge = world.forge("personal")
    comment = forge.create_comment(target, "mine")
    assert comment.author == forge.whoami()
    assert forge.whoami().startswith("{")
    assert forge.git_credentials().username == "x-bitbucket-api-token-auth"
    assert world.forge().git_credentials().username == "x-token-auth"
    assert not world.server.calls("PUT")


def test_scopes_of_api_tokens_are_named_as_bitbucket_does(world: BitbucketWorld) -> None:
    world.server.accounts["personal"].scopes = ("read:repository:bitbucket", "read:pullrequest:bitbucket")
    with pytest.raises(PermissionMissing) as raised:
        world.forge("personal").create_comment(Target("pr", str(world.open())), "mine")
    assert raised.value.permission == "scope write:pullrequest:bitbucket"


def test_deleted_comments_are_not_listed(world: BitbucketWorld) -> None:
    target = Target("pr", str(world.open()))
    world.server.add_comment("pullrequest", target.ref, "gone", deleted=True)
    world.say(target, "there")
    assert [one.body for one in world.forge().comments(target)] == ["there"]


@pytest.mark.parametrize("answer", ["no app", "being indexed"])
def test_without_the_app_the_pull_request_is_found_by_its_newest_commit(
    world: BitbucketWorld, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.git.commit("further", {"c.txt": b"3"}, parent=world.head)
    world.open("further")
    exact = world.open()
    world.server.links_app = answer != "no app"
    if answer == "being indexed":
        world.server.fail("GET", "*/commit/*/pullrequests", how=Reply({"type": "indexing"}, 202))
    with caplog.at_level(logging.INFO):
        found = world.forge().pull_requests_of(world.head)
    assert [(one.number, one.commit) for one in found] == [(exact, world.head)]
    assert "Pull Request Commit Links" in caplog.text


def test_annotations_go_in_hundreds_up_to_a_thousand_and_old_ones_go_away(world: BitbucketWorld) -> None:
    forge = world.forge()
    many = tuple(Annotation(path="a.ipynb", line=1, message=f"Wrong {number}\n" + "x" * 3000) for number in range(1020))
    posted = forge.set_check(Check(name="train", commit=world.head, conclusion="failure", title="1020 errors", annotations=many))
    assert [len(one.json()) for one in world.server.calls("POST", "*/annotations")] == [100] * 10
    report = next(iter(world.server.reports.values()))
    assert (report["result"], report["title"]) == ("FAILED", "train: 1020 errors")
    assert "20 more annotations are left out" in report["details"]
    forge.set_check(Check(name="train", commit=world.head, conclusion="success", annotations=many[:3]), posted.id)
    assert [len(one) for one in world.server.annotations.values()] == [3]
    assert next(iter(world.server.reports.values()))["result"] == "PASSED"


def test_the_key_of_a_check_is_short_and_its_own() -> None:
    assert key_of("train") == "train"
    keys = {key_of(name) for name in ("x" * 41, "x" * 42, "größe", "a\nb", "")}
    assert len(keys) == 5
    assert all(len(key) <= 40 for key in keys)


def test_a_merge_waits_for_builds_that_run_and_refuses_failed_ones(world: BitbucketWorld) -> None:
    number = world.open()
    forge = world.forge()
    forge.set_check(Check(name="train", commit=world.head, status="in_progress"))
    sleep = forge.client.sleep

    def fail(seconds: float) -> None:
        world.forge().set_check(Check(name="train", commit=world.head, conclusion="failure"))
        sleep(seconds)

    forge.client.sleep = fail
    with pytest.raises(RequestRefused, match="train did not succeed"):
        forge.merge_pull_request(number)
    assert world.git.resolve("refs/heads/main") == world.first


def test_nothing_is_merged_while_a_build_still_runs_after_two_minutes(world: BitbucketWorld) -> None:
    number = world.open()
    forge = world.forge()
    forge.set_check(Check(name="train", commit=world.head, status="in_progress"))
    with pytest.raises(RequestRefused, match="train still ran after 120 s, and Bitbucket cannot merge later") as caught:
        forge.merge_pull_request(number)
    assert "run this again" in str(caught.value.hint) and 100 < world.time.slept < 140
    assert world.git.resolve("refs/heads/main") == world.first and forge.pull_request(number).open
    assert forge.merge_pull_request(number, when_checks_pass=False).state == "merged"


def test_a_merge_that_takes_long_is_waited_for(world: BitbucketWorld) -> None:
    number = world.open()
    forge = world.forge()
    sleep = forge.client.sleep

    def finish(seconds: float) -> None:
        world.server.pull_requests[number].state = "MERGED"
        sleep(seconds)

    forge.client.sleep = finish
    world.server.fail("POST", "*/merge", how=Reply(b"timed out", 555, {"Content-Type": "text/plain"}))
    assert forge.merge_pull_request(number, when_checks_pass=False).state == "merged"


def test_an_open_pull_request_keeps_its_title(world: BitbucketWorld) -> None:
    number = world.open()
    made = world.forge().create_pull_request(source="change", target="main", title="Another", body="")
    assert (made.number, made.title, made.commit) == (number, "A change", world.head)


def test_a_repository_without_issues_says_so(world: BitbucketWorld) -> None:
    world.server.has_issues = False
    with pytest.raises(ForgeNotSupported, match="no issue tracker"):
        world.forge().create_comment(Target("issue", "1"), "x")


def test_what_bitbucket_would_not_show_is_not_uploaded(world: BitbucketWorld) -> None:
    with pytest.raises(ForgeNotSupported, match="image/svg"):
        world.forge().publish([AssetFile(name="a.svg", content=b"<svg/>", mime="image/svg+xml")])
    assert not world.server.downloads


def test_a_file_that_is_no_image_is_a_download(world: BitbucketWorld) -> None:
    table = AssetFile(name="../errors of 2026.CSV", content=b"a,b\n", mime="text/csv")
    (url,) = world.forge().publish([table])
    assert re.fullmatch(r".*/downloads/mlops-[0-9a-f]{40}\.csv", url) and world.stored(url) == b"a,b\n"


def test_a_pull_request_from_a_fork_is_known_as_one(world: BitbucketWorld) -> None:
    world.server.open_pull_request("main", fork="mallory/project", fork_commit=world.head)
    forge = world.forge()
    assert list(forge.pull_requests(source="main")) == []
    assert [one.number for one in forge.pull_requests(source="mallory:main")] == [1]
    assert forge.pull_request(1).from_fork


def test_a_step_of_a_pull_request_finds_its_repository_and_comments(world: BitbucketWorld, tmp_path: Path) -> None:
    number = world.open()
    environment = {
        "MLOPS_NB_FORGE_API_URL": world.server.url,
        "BITBUCKET_REPO_FULL_NAME": world.repository,
        "BITBUCKET_COMMIT": world.head,
        "BITBUCKET_BRANCH": "change",
        "BITBUCKET_PR_ID": str(number),
        "BITBUCKET_PR_DESTINATION_BRANCH": "main",
        "BITBUCKET_BUILD_NUMBER": "12",
        "BITBUCKET_TOKEN": GOOD,
    }
    context = discover(environment, tmp_path)
    assert (context.kind, context.pull_request, context.base_branch) == ("bitbucket", number, "main")
    forge = connect(context, find_token(context.kind, environment))
    found = find_pull_request(forge, context)
    assert found is not None
    comment = forge.create_comment(Target("pr", str(found.number)), "a report")
    assert world.said(comment.target) == ["a report"]
    posted = forge.set_check(Check(name="train", commit=world.head, conclusion="success"))
    assert posted.url == "https://bitbucket.org/team/project/pipelines/results/12"
    assert forge.rerun(world.run("failed")) == "https://bitbucket.org/team/project/pipelines/results/2"
