"""What every forge keeps to, asked of each over HTTP."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.forges.base import (
    Annotation,
    AssetFile,
    Check,
    ForgeUnreachable,
    NotAuthenticated,
    PermissionMissing,
    RateLimited,
    RequestRefused,
    Target,
    find_own_comment,
)
from tests.forges.server import Reply
from tests.forges.worlds import UNKNOWN, WEAK, WORLDS, World

MARK = "[//]: # (mlops-nb:report:train)"


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = WORLDS[request.param](tmp_path)
    yield made
    made.server.close()


def test_comments_come_oldest_first_through_all_pages_and_the_own_one_is_changed_in_place(world: World) -> None:
    target = Target("pr", str(world.open()))
    forge = world.forge()
    for number in range(130):
        world.say(target, f"Comment {number}")
    mine = forge.create_comment(target, f"{MARK}\n\nfirst")
    for number in range(130, 240):
        world.say(target, f"Comment {number}")
    listed = [one.body for one in world.forge().comments(target)]
    assert listed[0] == "Comment 0"
    assert len(listed) == 241
    found = find_own_comment(world.forge(), target, MARK)
    assert found is not None
    assert (found.id, found.target) == (mine.id, target)
    changed = forge.update_comment(found, f"{MARK}\n\nsecond")
    assert (changed.id, changed.body) == (mine.id, f"{MARK}\n\nsecond")
    assert sum(MARK in body for body in world.said(target)) == 1
    assert changed.url.startswith(world.server.origin)


def test_the_marker_of_another_author_is_not_taken_for_ours(world: World) -> None:
    target = Target("pr", str(world.open()))
    world.say(target, f"{MARK}\n\nnot yours", author="mallory")
    assert find_own_comment(world.forge(), target, MARK) is None
    mine = world.forge().create_comment(target, f"{MARK}\n\nmine")
    found = find_own_comment(world.forge(), target, MARK)
    assert found is not None
    assert found.id == mine.id
    assert f"{MARK}\n\nnot yours" in world.said(target)


@pytest.mark.parametrize("kind", ["pr", "commit", "issue"])
def test_a_comment_is_made_changed_and_deleted_wherever_it_is(world: World, kind: str) -> None:
    target = {"pr": Target("pr", str(world.open())), "commit": Target("commit", world.head), "issue": Target("issue", "1")}[kind]
    forge = world.forge()
    comment = forge.create_comment(target, "one")
    assert comment.author == forge.whoami()
    again = next(one for one in forge.comments(target) if one.id == comment.id)
    forge.update_comment(again, "two")
    assert world.said(target) == ["two"]
    forge.delete_comment(again)
    forge.delete_comment(again)
    assert list(forge.comments(target)) == []


@pytest.mark.parametrize("kind", ["pr", "commit"])
def test_a_comment_whose_answer_is_lost_appears_once(world: World, kind: str) -> None:
    target = Target("pr", str(world.open())) if kind == "pr" else Target("commit", world.head)
    world.server.fail("POST", world.comments_glob(target), how="lost")
    comment = world.forge().create_comment(target, "a report")
    assert world.said(target) == ["a report"]
    assert comment.body == "a report"


def test_a_comment_that_was_never_sent_is_sent_again(world: World) -> None:
    target = Target("pr", str(world.open()))
    world.server.fail("POST", world.comments_glob(target), how="refuse")
    world.forge().create_comment(target, "a report")
    assert world.said(target) == ["a report"]


def test_a_comment_that_is_too_long_is_refused_before_it_is_sent(world: World) -> None:
    target = Target("pr", str(world.open()))
    forge = world.forge()
    limit = forge.limits.comment_characters
    with pytest.raises(RequestRefused, match="takes"):
        forge.create_comment(target, "x" * (limit + 1))
    assert world.said(target) == []
    forge.create_comment(target, "é" * limit)


def test_a_check_goes_through_its_states_and_fails_with_what_was_found(world: World) -> None:
    forge = world.forge()
    queued = forge.set_check(Check(name="train", commit=world.head, status="queued", title="Waits"))
    for progress in ("cell 3 of 60", "cell 30 of 60"):
        forge.set_check(Check(name="train", commit=world.head, status="in_progress", title=progress), queued.id)
        assert world.check_states(world.head) == {"train": "in_progress"}
    found = tuple(Annotation(path="train.ipynb", line=number, message=f"ValueError {number}") for number in range(1, 131))
    done = forge.set_check(
        Check(
            name="train",
            commit=world.head,
            conclusion="failure",
            title="accuracy fell " + "a lot " * 100,
            summary="| a |\n|---|\n" * 500,
            details_url="https://ci.example.org/1",
            annotations=found,
        ),
        queued.id,
    )
    assert world.check_states(world.head) == {"train": "failure"}
    assert done.url.startswith(("https://ci.example.org/1", f"{world.server.origin}/{world.repository}/runs/"))


@pytest.mark.parametrize("conclusion", ["success", "neutral", "skipped", "cancelled", "timed_out", "action_required"])
def test_no_conclusion_is_taken_for_a_better_one(world: World, conclusion: str) -> None:
    name = f"a check with a long name, ‘{conclusion}’ " * 2
    world.forge().set_check(Check(name=name.strip(), commit=world.head, conclusion=conclusion))  # type: ignore[arg-type]
    shown = world.check_states(world.head)[name.strip()]
    assert (shown in ("success", "neutral", "skipped")) == (conclusion in ("success", "neutral", "skipped"))
    assert (shown == "cancelled") == (conclusion == "cancelled")


def test_a_pull_request_is_opened_once_changed_and_found_by_its_commit(world: World) -> None:
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change " + "x" * 300, body="Because.")
    assert (made.source, made.target, made.open, made.merged, made.from_fork) == ("change", "main", True, False, False)
    assert made.commit == world.head
    again = forge.create_pull_request(source="change", target="main", title="Other", body="")
    assert again.number == made.number
    assert forge.update_pull_request(made.number, title="New", body="New body").title == "New"
    assert forge.pull_request(made.number).body == "New body"
    assert [one.number for one in forge.pull_requests_of(world.head)] == [made.number]
    assert [one.number for one in forge.pull_requests_of(world.first)] in ([made.number], [])
    assert forge.pull_requests_of("0" * 40) == []
    assert [one.number for one in forge.pull_requests(source="change", target="main")] == [made.number]
    assert list(forge.pull_requests(source="change", target="elsewhere")) == []


def test_a_pull_request_whose_answer_is_lost_is_opened_once(world: World) -> None:
    world.server.fail("POST", "*/merge_requests", how="lost")
    world.server.fail("POST", "*/pullrequests", how="lost")
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change", body="")
    assert [one.number for one in forge.pull_requests()] == [made.number]


def test_pull_requests_are_listed_through_all_pages(world: World) -> None:
    branches = [f"branch-{number}" for number in range(105)]
    world.git.git("update-ref", "--stdin", stdin="".join(f"create refs/heads/{one} {world.head}\n" for one in branches).encode())
    for one in branches:
        world.open(source=one)
    assert [one.source for one in world.forge().pull_requests()] == branches[::-1]


def test_the_head_comes_first_among_the_pull_requests_of_a_commit(world: World) -> None:
    world.git.commit("further", {"c.txt": b"3"}, parent=world.head)
    world.open(source="further")
    exact = world.open(source="change")
    assert world.forge().pull_requests_of(world.head)[0].number == exact


@pytest.mark.parametrize("mode", ["merge", "squash", "rebase"])
def test_a_pull_request_is_merged_in_each_way(world: World, mode: str) -> None:
    newer = world.git.commit("main", {"c.txt": b"three\n"}, "Newer")
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change", body="")
    done = forge.merge_pull_request(made.number, mode=mode, message="Merge it")  # type: ignore[arg-type]
    assert (done.state, done.mode) == ("merged", mode)
    assert world.git.read("main", "b.txt") == b"two\n"
    parents = world.git.git("log", "-1", "--format=%P", "main").split()
    if mode == "squash":
        assert parents == [newer]
        assert world.git.git("log", "-1", "--format=%B", "main").strip() == "Merge it"
    if mode == "merge":
        assert parents == [newer, world.head]
    if mode == "rebase":
        assert world.git.git("merge-base", "main", newer) == newer
    assert forge.pull_request(made.number).merged
    assert forge.merge_pull_request(made.number).state == "merged"


@pytest.mark.parametrize("mode", ["merge", "rebase"])
def test_conflicts_are_said_and_nothing_is_merged(world: World, mode: str) -> None:
    world.git.commit("change", {"a.txt": b"theirs\n"}, "Theirs")
    newer = world.git.commit("main", {"a.txt": b"ours\n"}, "Ours")
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change", body="")
    with pytest.raises(RequestRefused, match=r"(?i)conflict"):
        forge.merge_pull_request(made.number, mode=mode)  # type: ignore[arg-type]
    assert world.git.resolve("refs/heads/main") == newer


def test_a_merge_whose_answer_is_lost_has_happened_once(world: World) -> None:
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change", body="")
    for method in ("PUT", "POST"):
        world.server.fail(method, "*/merge", how="lost")
    assert forge.merge_pull_request(made.number).state == "merged"
    assert world.git.git("rev-list", "--count", "--merges", "main") == "1"


def test_the_same_image_has_one_address_and_is_there(world: World) -> None:
    forge = world.forge()
    one, two = (
        AssetFile(name="loss ](x).png", content=b"\x89PNG one", mime="image/png"),
        AssetFile(name="b", content=b"GIF", mime="image/gif"),
    )
    urls = forge.publish([one, two, one])
    assert urls[0] == urls[2] != urls[1]
    assert [world.stored(url) for url in urls[:2]] == [b"\x89PNG one", b"GIF"]
    assert not set("]() <>\n") & set("".join(urls))


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_pipeline_runs_again_after_it_has_been_stopped(world: World, status: str) -> None:
    run = world.run(status)
    assert world.forge().rerun(run).startswith(world.server.origin)
    assert world.runs_again()


def test_a_pipeline_that_does_not_stop_is_given_up_with_a_word(world: World) -> None:
    run = world.run()
    world.never_stops()
    with pytest.raises((RequestRefused, ForgeUnreachable), match="120 s"):
        world.forge().rerun(run)
    assert 100 < world.time.slept < 200


def test_errors_name_what_the_token_lacks_and_where_it_came_from(world: World) -> None:
    target = Target("pr", str(world.open()))
    with pytest.raises(PermissionMissing, match="add a comment to pull request") as raised:
        world.forge(WEAK).create_comment(target, "a report")
    assert world.missing in str(raised.value)
    assert raised.value.permission is not None
    assert world.missing in raised.value.permission
    assert "CI_VARIABLE" in str(raised.value)
    assert WEAK not in str(raised.value)
    assert world.said(target) == []
    assert "granted" not in str(raised.value)
    with pytest.raises(NotAuthenticated, match="CI_VARIABLE") as unknown:
        world.forge(UNKNOWN).default_branch()
    assert str(unknown.value).count("401") == 1
    assert UNKNOWN not in str(unknown.value)


def test_a_rate_limit_is_waited_for_and_told_unless_it_is_too_long(world: World) -> None:
    world.server.fail("GET", "*", how=Reply(b"Retry later\n", 429, {"Retry-After": "7", "Content-Type": "text/plain"}))
    assert world.forge().default_branch() == "main"
    assert 7 <= world.time.slept < 9
    assert "again in 7 s" in world.time.told[0]
    world.server.fail("GET", "*", times=9, how=Reply({"message": "Too many"}, 429, {"Retry-After": "3600"}))
    with pytest.raises(RateLimited, match="60 minutes"):
        world.forge().default_branch()


@pytest.mark.parametrize("how", ["lost", "cut", "refuse", 500, 502, 503])
def test_reading_gets_over_broken_answers(world: World, how: str | int) -> None:
    target = Target("pr", str(world.open()))
    for number in range(101):
        world.say(target, f"Comment {number}")
    fault = Reply(b"<html>Bad gateway</html>", how, {"Content-Type": "text/html"}) if isinstance(how, int) else how
    world.server.fail("GET", world.comments_glob(target), times=2, how=fault)  # type: ignore[arg-type]
    assert len(list(world.forge().comments(target))) == 101


def test_a_server_that_stays_broken_is_given_up_in_bounded_time(world: World) -> None:
    world.server.fail("GET", "*", times=99, how=Reply(b"<html>Bad gateway</html>", 502, {"Content-Type": "text/html"}))
    with pytest.raises(ForgeUnreachable, match="502"):
        world.forge().default_branch()
    assert world.time.slept < 120


def test_a_branch_is_there_or_not(world: World) -> None:
    tip = world.git.commit("feature/a&b#1%2Fc+d", {"d.txt": b"4"}, parent=world.first)
    forge = world.forge()
    assert forge.branch_commit("feature/a&b#1%2Fc+d") == tip
    assert forge.branch_commit('feature/a "b" \\') is None


def test_git_credentials_do_not_show_themselves(world: World) -> None:
    credentials = world.forge().git_credentials()
    assert credentials.password == "a-good-token"
    assert "a-good-token" not in repr(credentials)
    assert "a-good-token" not in credentials.url
    assert credentials.url.startswith(world.server.origin)


def test_git_pushes_with_them(world: World, tmp_path: Path) -> None:
    credentials = world.forge().git_credentials()
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\necho username={credentials.username}\necho password={credentials.password}\n", encoding="utf-8")
    helper.chmod(0o700)
    command = ["git", "-c", "credential.helper=", "-c", f"credential.helper={helper}", "push", credentials.url, "change:refs/heads/pushed"]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_DIR": str(world.git.path), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert world.git.resolve("refs/heads/pushed") == world.head
