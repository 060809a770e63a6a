"""Images of reports on a branch of their own in the same repository."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
import requests

from mlops_nb.forges.base import AssetFile, PermissionMissing, RequestRefused
from mlops_nb.forges.github import GitHub
from mlops_nb.forges.github_images import BRANCH
from tests.forges.conftest import Connect
from tests.forges.github import LoopbackGitHub
from tests.forges.github_state import Account, message

PNG = b"\x89PNG\r\n\x1a\n"


def png(name: str) -> AssetFile:
    return AssetFile(name=f"{name}.png", content=PNG + name.encode(), mime="image/png")


def test_an_image_is_shown_at_a_url_pinned_to_its_commit(github: GitHub, loopback: LoopbackGitHub) -> None:
    loss, roc = github.publish([png("loss"), png("roc")])
    assert re.fullmatch(rf"{loopback.web_url}/raw/[0-9a-f]{{40}}/[0-9a-f]{{2}}/[0-9a-f]{{32}}\.png", loss)
    assert requests.get(loss, timeout=5).content == PNG + b"loss"
    assert requests.get(roc, timeout=5).content == PNG + b"roc"
    github.publish([png("later")])
    assert requests.get(loss, timeout=5).content == PNG + b"loss"


def test_the_branch_has_no_history_in_common_and_the_others_stay(github: GitHub, loopback: LoopbackGitHub) -> None:
    github.publish([png("loss")])
    github.publish([png("roc")])
    assert loopback.git.git("rev-list", "--count", BRANCH) == "2"
    assert loopback.git.resolve("refs/heads/main") == loopback.first
    assert loopback.first not in loopback.git.git("rev-list", BRANCH).splitlines()
    assert "[skip ci]" in loopback.git.git("log", "-1", "--format=%s", BRANCH)
    assert b"Images of reports" in (loopback.git.read(BRANCH, "README.md") or b"")


def test_what_is_there_already_is_not_stored_again(github: GitHub, loopback: LoopbackGitHub) -> None:
    first = github.publish([png("loss"), png("loss")])
    writes = len(loopback.calls("POST"))
    assert github.publish([png("loss")]) == first[:1] == first[1:]
    assert len(loopback.calls("POST")) == writes
    assert github.publish([]) == []


def test_forty_images_need_one_commit(github: GitHub, loopback: LoopbackGitHub) -> None:
    urls = github.publish([png(f"plot {number}") for number in range(40)])
    assert len(set(urls)) == 40
    assert loopback.git.git("rev-list", "--count", BRANCH) == "1"


def test_of_two_jobs_at_once_none_loses_its_images(loopback: LoopbackGitHub, connect_to: Connect) -> None:
    jobs = [connect_to(loopback) for _ in range(3)]
    urls: dict[int, list[str]] = {}
    together = threading.Barrier(len(jobs))

    def work(index: int) -> None:
        together.wait(10)
        urls[index] = [jobs[index].publish([png(f"{index}-{number}")])[0] for number in range(3)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(urls) == [0, 1, 2]
    tip = loopback.git.git("ls-tree", "-r", "--name-only", BRANCH).splitlines()
    for index, mine in urls.items():
        for number, url in enumerate(mine):
            assert requests.get(url, timeout=5).content == PNG + f"{index}-{number}".encode()
            assert url.split("/", 7)[-1] in tip


def test_a_job_that_comes_second_builds_on_the_first(github: GitHub, loopback: LoopbackGitHub, connect_to: Connect) -> None:
    github.publish([png("there")])
    loopback.fail("PATCH", "*/git/refs/*", how=message("Update is not a fast forward", 422))
    github.publish([png("here")])
    assert len(loopback.git.git("ls-tree", "-r", "--name-only", BRANCH).splitlines()) == 3


@pytest.mark.parametrize(("method", "path"), [("POST", "*/git/refs"), ("POST", "*/git/blobs"), ("POST", "*/git/commits")])
def test_lost_answers_leave_one_image_and_a_branch_that_holds(github: GitHub, loopback: LoopbackGitHub, method: str, path: str) -> None:
    loopback.fail(method, path, how="lost")
    (url,) = github.publish([png("loss")])
    assert requests.get(url, timeout=5).content == PNG + b"loss"
    assert loopback.git.git("rev-list", "--count", BRANCH) == "1"


def test_a_repository_without_any_commit_gets_only_our_branch(tmp_path: Path, connect_to: Connect) -> None:
    loopback = LoopbackGitHub(tmp_path / "forge", empty=True)
    try:
        (url,) = connect_to(loopback).publish([png("loss")])
        assert requests.get(url, timeout=5).content == PNG + b"loss"
        assert loopback.git.git("for-each-ref", "--format=%(refname)") == f"refs/heads/{BRANCH}"
    finally:
        loopback.close()


@pytest.mark.parametrize("mime", ["text/html", "application/octet-stream", ""])
def test_what_is_no_image_is_not_put_into_the_repository(github: GitHub, loopback: LoopbackGitHub, mime: str) -> None:
    with pytest.raises(RequestRefused, match="only images"):
        github.publish([AssetFile(name="page.html", content=b"<script>", mime=mime)])
    with pytest.raises(RequestRefused, match="MiB"):
        github.publish([AssetFile(name="huge.png", content=bytes(11 << 20), mime="image/png")])
    assert loopback.seen == []


def test_the_permission_to_store_images_is_named(loopback: LoopbackGitHub, connect_to: Connect) -> None:
    loopback.tokens["ghs_reader"] = Account("github-actions[bot]", {"contents": "read"})
    with pytest.raises(PermissionMissing, match="contents: write"):
        connect_to(loopback, token="ghs_reader").publish([png("loss")])
