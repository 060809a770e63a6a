"""The loopback GitLab is one, as an independent client agrees; and the written contracts hold those who break them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gitlab as python_gitlab
import pytest
import requests
import yaml
from openapi_core import OpenAPI

from tests.forges.contract import CONTRACTS
from tests.forges.gitlab import LoopbackGitLab
from tests.forges.worlds import GOOD, WORLDS


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[LoopbackGitLab]:
    made = LoopbackGitLab(tmp_path / "repository.git")
    yield made
    made.close()


def test_python_gitlab_reviews_and_merges_with_it(forge: LoopbackGitLab) -> None:
    first = forge.git.commit("main", {"a.txt": b"1"})
    head = forge.git.commit("change", {"b.txt": b"2"}, parent=first)
    client = python_gitlab.Gitlab(forge.origin, private_token="glpat-loopback", keep_base_url=True)
    client.auth()
    assert client.user is not None
    assert client.user.username == "ci-bot"
    project = client.projects.get("group/sub/project")
    request = project.mergerequests.create({"source_branch": "change", "target_branch": "main", "title": "A change"})
    assert [one["iid"] for one in project.commits.get(head, lazy=True).merge_requests()] == [1]

    for number in range(130):
        forge.add_note("MergeRequest", "1", f"Note {number}")
    note = request.notes.create({"body": "**mine**"})
    note.body = "changed"
    note.save()
    assert len(request.notes.list(get_all=True, per_page=100)) == 131
    assert forge.notes[-1].body == "changed"

    discussion = project.commits.get(head, lazy=True).discussions.create({"body": "about the commit"})
    assert discussion.attributes["notes"][0]["body"] == "about the commit"
    mine = discussion.notes.get(discussion.attributes["notes"][0]["id"], lazy=True)
    mine.body = "about the commit, again"
    mine.save()
    assert [one.attributes["notes"][0]["body"] for one in project.commits.get(head, lazy=True).discussions.list(get_all=True)] == [
        "about the commit, again"
    ]

    commit = project.commits.get(head, lazy=True)
    commit.statuses.create({"state": "running", "name": "train"})
    with pytest.raises(python_gitlab.GitlabCreateError, match="Cannot transition status via :run from :running"):
        commit.statuses.create({"state": "running", "name": "train", "description": "50 %"})
    commit.statuses.create({"state": "success", "name": "train"})
    assert [one.status for one in commit.statuses.list()] == ["success"]

    (tmp := Path(forge.git.path.parent / "plot.png")).write_bytes(b"\x89PNG")
    uploaded = project.upload("plot.png", filepath=str(tmp))
    assert forge.uploads[str(uploaded["url"])] == b"\x89PNG"

    while request.detailed_merge_status == "checking":
        request = project.mergerequests.get(1)
    request.merge(merge_commit_message="Merge it")
    assert forge.merge_requests[1].state == "merged"
    assert forge.git.read("main", "b.txt") == b"2"


def test_a_rebase_moves_the_branch_onto_the_target_before_the_merge(forge: LoopbackGitLab) -> None:
    first = forge.git.commit("main", {"a.txt": b"1"})
    forge.git.commit("change", {"b.txt": b"2"}, parent=first)
    newer = forge.git.commit("main", {"c.txt": b"3"})
    forge.open_merge_request("change")
    client = python_gitlab.Gitlab(forge.origin, private_token="glpat-loopback", keep_base_url=True)
    client.projects.get("group/sub/project").mergerequests.get(1).rebase()
    assert forge.git.git("merge-base", "main", "change") == newer
    assert forge.git.read("change", "b.txt") == b"2"


@pytest.mark.parametrize("name", ["gitlab", "bitbucket"])
def test_the_written_contracts_are_openapi(name: str) -> None:
    OpenAPI.from_dict(yaml.safe_load((CONTRACTS / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["gitlab", "bitbucket"])
def test_what_the_documentation_does_not_have_is_a_violation(tmp_path: Path, name: str) -> None:
    world = WORLDS[name](tmp_path)
    path = {
        "gitlab": f"/projects/group%2Fsub%2Fproject/merge_requests/{world.open()}/notes",
        "bitbucket": "/repositories/team/project/pullrequests/1/comments",
    }[name]
    body = {"gitlab": {"body": "x", "colour": "red"}, "bitbucket": {"content": {"raw": "x"}, "colour": "red"}}[name]
    answer = requests.post(world.server.url + path, json=body, headers={"Authorization": f"Bearer {GOOD}"}, timeout=10)
    assert answer.status_code == 201
    with pytest.raises(AssertionError, match="colour"):
        world.server.close()
