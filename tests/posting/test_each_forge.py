"""The same story at GitHub, GitLab and Bitbucket: one comment, one check, one pull request, images at home."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.forges.base import Target
from mlops_nb.posting.changes import Identity
from mlops_nb.posting.checks import set_check
from mlops_nb.posting.comments import Wanted, post
from mlops_nb.posting.marks import Writer, unmarked
from mlops_nb.posting.publishing import ForgeHome, publish_images
from mlops_nb.posting.pull_request import Proposal, propose
from mlops_nb.posting.workspace import Workspace
from tests.forges.worlds import BitbucketWorld, GitHubWorld, GitLabWorld, World
from tests.posting.conftest import PNG


@pytest.fixture(params=[GitHubWorld, GitLabWorld, BitbucketWorld], ids=["github", "gitlab", "bitbucket"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "forge").mkdir()
    made: World = request.param(tmp_path / "forge")
    yield made
    made.server.close()


@pytest.mark.parametrize("kind", ["pr", "commit"])
def test_one_comment_among_those_of_others(world: World, kind: str) -> None:
    forge = world.forge()
    target = Target("pr", str(world.open())) if kind == "pr" else Target("commit", world.head)
    others = 105 if kind == "pr" else 0
    for count in range(others):
        world.say(target, f"me too {count}")
    for run in range(3):
        wanted = Wanted(key="a -- b", writer=Writer(run=str(run), commit=str(run)))
        post(forge, target, f"# Report {run}\n", wanted)
    found = list(forge.comments(target))
    ours = [unmarked(one.body).strip() for one in found if "mlops-nb:report" in one.body]
    assert ours == ["# Report 2"] and len(found) == others + 1


def test_images_have_a_home_and_are_the_same_there(world: World, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    done = publish_images("![](a.png) [](a.png)", Workspace(tmp_path, tmp_path), ForgeHome(world.forge()))
    url = done.markdown.removeprefix("![](").removesuffix(") [](a.png)")
    assert world.stored(url) == PNG and not done.problems


def test_a_check_goes_on_and_ends(world: World) -> None:
    forge = world.forge()
    set_check(forge, commit=world.head, name="train", summary="…", status="in_progress", conclusion=None)
    assert world.check_states(world.head) == {"train": "in_progress"}
    set_check(forge, commit=world.head, name="train", summary="bad", status="completed", conclusion="failure")
    assert world.check_states(world.head) == {"train": "failure"}


def test_changed_files_become_one_pull_request(world: World, tmp_path: Path) -> None:
    work = tmp_path / "work"
    subprocess.run(["git", "clone", "-q", f"file://{world.git.path}", str(work)], check=True)
    forge, context = world.forge(), world.context(commit=world.first, branch="main")
    for content in ("1", "2"):
        (work / "metrics.json").write_text(content)
        done = propose(forge, context, work, Proposal(globs=("*.json",), identity=Identity(name="Robo", email="robo@example.org")))
        assert done.pull_request is not None and not done.problem
    (found,) = forge.pull_requests(target="main")
    assert found.source == f"main-cml-pr-{world.first[:8]}" and world.git.read(found.source, "metrics.json") == b"2"
