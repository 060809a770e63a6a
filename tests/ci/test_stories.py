"""A pull request on each forge, from push to comment: stage one without a token, stage two with one, as processes of their own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests

from mlops_nb.ci.workflows import FOLDER
from mlops_nb.forges.base import Target
from mlops_nb.posting.marks import mark_of
from mlops_nb.reports.pull_request.data import FOLDER as PICTURES
from mlops_nb.reports.pull_request.data import to_json
from tests.ci.stories import CHECK, STORIES, GitHubStory, Story, ipynb, train
from tests.forges.github_state import Account
from tests.forges.worlds import WEAK
from tests.posting.conftest import PNG
from tests.reports.examples import EXAMPLES
from tests.reports.rendered import elements

PICTURE = "from IPython.display import Image\nimport base64\nImage(base64.b64decode('{}'))"
# Two pictures of 2 by 2 pixels, and notebooks that show them: a library for plots takes seconds to load.
RED = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=="
BLUE = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEklEQVR4nGNgYPgPRBAKSgMAI9ID/QPHNL4AAAAASUVORK5CYII="

Open = Callable[[str], Story]


def scored(score: float, picture: str) -> str:
    return ipynb((*train(score, plot=False), PICTURE.format(picture)))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open a story, and hold its forge to its contract in the end."""
    made: list[Story] = []

    def open_story(kind: str) -> Story:
        made.append(STORIES[kind](tmp_path))
        return made[-1]

    yield open_story
    for each in made:
        each.world.server.close()


@pytest.fixture
def github(opened: Open) -> GitHubStory:
    story = opened("github")
    assert isinstance(story, GitHubStory)
    return story


def left(story: Story, name: str, **changes: Any) -> None:
    """Let stage one have left an example of a report, without running anything."""
    shutil.rmtree(story.report, ignore_errors=True)
    story.report.mkdir()
    report = msgspec.structs.replace(EXAMPLES[name](), **changes)
    notebooks = [msgspec.structs.replace(each, images=[], cells=[]) for each in report.notebooks]
    (story.report / "report.json").write_bytes(to_json(msgspec.structs.replace(report, notebooks=notebooks)))


def with_picture(story: Story, path: str, content: bytes) -> None:
    """Let the report name a picture, and the file be there."""
    document = json.loads((story.report / "report.json").read_bytes())
    image = {"path": path, "digest": hashlib.sha256(content).hexdigest(), "side": "this", "subject": "roc", "size": len(content)}
    document["notebooks"][0]["images"] = [image]
    (story.report / "report.json").write_text(json.dumps(document))
    file = story.report / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


# -- the whole way


@pytest.mark.timeout(400)
def test_a_pull_request_on_github_gets_a_comment_that_follows_it_and_a_check_that_passes_and_fails(github: GitHubStory) -> None:
    story = github
    story.on_main({"train.ipynb": scored(0.9, RED), "check.ipynb": None})
    better = story.push("change", {"train.ipynb": scored(0.93, BLUE), "check.ipynb": ipynb(CHECK)}, "Better")
    story.run()
    posted = story.post(arguments=["--exit-code"])
    (comment,) = story.world.server.comments_of(story.number)
    assert posted.stdout.strip() == comment["html_url"] and comment["user"]["login"] == "github-actions[bot]"
    line = story.first_line()
    assert line == f"### ✅ 1 of 2 notebooks: Improves on main; 1: no baseline yet — no gate fails · `{better[:7]}`"
    row = "| `val_auc` ↑ (gate\u00a0Δ\u00a0≥\u00a0−0.01) | 0.9000 | **0.9300** | **+0.0300** | ▲ better – one value each |"
    assert row in story.comment
    addresses = story.image_addresses()
    assert len(addresses) == 2, story.comment
    for address in addresses:
        answer = requests.get(address, timeout=10)
        assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
    assert story.check(better) == "success" and story.check_summary(better).count(addresses[0]) == 1
    assert f"{PICTURES}/" not in story.comment + story.check_summary(better)

    # The next push is worse, and its last cell fails.
    worse = story.push("change", {"train.ipynb": ipynb((*train(0.8, plot=False), "x = 1", "raise KeyError('age @ada')"))}, "Worse")
    assert "failed in cell 4: KeyError" in story.run(expect=3).stdout
    story.post()
    assert [one["id"] for one in story.world.server.comments_of(story.number)] == [comment["id"]]
    assert story.first_line() == f"### ❌ 1 of 2 notebooks failed · `{worse[:7]}`"
    assert "Failed at cell 4" in story.comment and "KeyError: 'age @ada'" in story.comment and "**Changed:** same" not in story.comment
    assert (story.check(better), story.check(worse)) == ("success", "failure")
    (note,) = story.annotations(worse)
    source = (story.clone / "train.ipynb").read_text().splitlines()[note["start_line"] - 1]
    assert "raise KeyError" in source and (note["path"], note["title"]) == ("train.ipynb", "Cell 4 failed")
    found = elements(story.comment)
    assert not found.open and not found.wrong and "@ada" not in found.text_outside_code


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", STORIES)
def test_a_pull_request_of_three_pushes_on_each_forge(opened: Open, kind: str) -> None:
    story = opened(kind)
    better = story.push("change", {"train.ipynb": ipynb(train(0.93))}, "Better")
    story.run()
    url = story.post().stdout
    assert "✅ 1 of 2 notebooks: Improves on main" in story.first_line()
    assert [content[:4] for content in story.images()] == [b"\x89PNG", b"\x89PNG"], "the plot of main and that of the branch"
    assert story.check(better) == "success" and "Improves on main" in story.check_title(better)

    worse = story.push("change", {"train.ipynb": ipynb(train(0.8))}, "Worse")
    assert "worse by 0.1000" in story.run(expect=1).stdout
    assert story.post().stdout == url and len(story.comments) == 1
    assert "❌ 1 of 2 notebooks must not be merged as it is" in story.first_line()
    assert story.check(worse) == "failure" and story.annotations(worse) == []
    again = story.post()
    assert again.stdout == url and len(story.comments) == 1, "a second try of stage two changes nothing"

    failing = story.push("change", {"train.ipynb": ipynb((*train(0.95), "raise ValueError('no such column')"))}, "Fails")
    story.run(expect=3)
    assert story.post(arguments=["--exit-code"], expect=1).stdout == url
    assert "1 of 2 notebooks failed" in story.first_line() and "Failed at cell 4" in story.comment
    assert story.check(failing) == "failure" and "no such column" in story.comment
    if kind != "gitlab":
        (note,) = story.annotations(failing)
        line = note["start_line"] if kind == "github" else note["line"]
        assert "no such column" in (story.clone / "train.ipynb").read_text().splitlines()[line - 1]
    assert (story.check(better), story.check(worse)) == ("success", "failure")


# -- the second stage alone: whose report, and what if it may not


def test_the_report_of_a_fork_lands_on_its_own_pull_request_and_nowhere_else(github: GitHubStory) -> None:
    story = github
    head = story.push("change", {"x.txt": "x"})
    other = story.number
    # A fork has a branch of the same name, at the very commit of the pull request of ours.
    pull = story.world.server.open_pull("change", fork="eve/churn", author="eve")
    pull.head = head
    story.number = pull.number
    left(story, "improves")
    story.post()
    assert "Improves on main" in story.first_line()
    assert story.world.said(Target("pr", str(other))) == []


def test_no_report_is_posted_anywhere_for_a_fork_without_an_open_pull_request(github: GitHubStory) -> None:
    story = github
    story.push("change", {"x.txt": "x"})
    pull = story.world.server.open_pull("theirs", fork="eve/churn", author="eve")
    story.number, pull.state = pull.number, "closed"
    left(story, "improves")
    done = story.post(expect=0)
    assert all(not story.world.said(Target("pr", str(number))) for number in story.world.server.pulls), done.stderr
    assert len(story.world.said(Target("commit", pull.head))) == 1


@pytest.mark.parametrize("kind", STORIES)
def test_a_token_without_rights_leaves_the_report_where_people_find_it(opened: Open, kind: str) -> None:
    story = opened(kind)
    story.push("change", {"x.txt": "x"})
    left(story, "improves")
    done = story.post(token=WEAK, expect=0 if kind == "github" else 3)
    kept = story.folder / ("summary-2.md" if kind == "github" else "trusted/unposted-report.md")
    assert "Improves on main" in kept.read_text() and story.world.missing.split()[-1] in done.stderr
    assert story.comments == [] and f"]({PICTURES}" not in kept.read_text()


def test_a_job_that_left_no_report_gets_a_check_that_says_so(github: GitHubStory) -> None:
    head = github.push("change", {"x.txt": "x"})
    done = github.post(expect=1)
    assert "There is no report.json" in done.stderr and "ended before it wrote one" in done.stderr
    assert github.check(head) == "failure" and "There is no report.json" in github.check_summary(head) and github.comments == []


def test_a_report_that_one_job_left_twice_has_one_comment_and_those_of_two_jobs_have_two(github: GitHubStory) -> None:
    github.push("change", {"x.txt": "x"})
    left(github, "improves")
    github.post()
    left(github, "several")
    github.post()
    assert len(github.comments) == 1
    github.post(GITHUB_WORKFLOW="Nightly")
    assert len(github.comments) == 2


# -- hostile data


def forged(text: str) -> dict[str, Any]:
    """Return a report whose every text is this one."""
    failure = {"cell": 3, "reason": text, "source": text, "traceback": text, "hint": text}
    metric = {"key": text, "base": 0.9, "this": 0.8, "difference": -0.1, "note": text, "verdict": "worse"}
    metric["gates"] = [{"limit": text, "outcome": "fail", "is_failure": True, "reason": text}]
    change = [{"key": text, "base": text, "this": text}]
    cell = {"label": text, "status": "changed", "first_line": text, "summary": text, "diff": f"+ {text}"}
    cell["after"] = [{"kind": "text", "text": text}, {"kind": "table", "rows": [[text, text]]}]
    notebook = {"key": text, "verdict": "failed", "headline": text, "failure": failure, "metrics": [metric], "params": change}
    notebook |= {"data": change, "packages": change, "cells": [cell], "next_step": text, "baseline": {"name": text, "words": text}}
    notebook |= {"links": [{"title": text, "url": "https://evil.example.org/x"}], "trust": {"significance": text, "gates": text}}
    return {"version": 1, "key": text, "commit": text, "branch": text, "notebooks": [notebook]}


HOSTILE = (
    "@ada fixes #1 GH-2 <img src=x onerror=alert(1)> <!-- mlops-nb:report:theirs --> </details></details> "
    "![x](https://evil.example.org/p.png) [x](javascript:alert(1)) | a | b | ::set-output name=x::y ##[error]z "
    "\u202e /close ~label %1 !2 $3 ``` ~~~ ` \\ **b** www.evil.example.org"
)


@pytest.mark.parametrize("kind", STORIES)
def test_hostile_texts_come_out_as_text_on_the_pull_request_that_the_forge_names(opened: Open, kind: str) -> None:
    story = opened(kind)
    head = story.push("change", {"x.txt": "x"})
    story.report.mkdir()
    (story.report / "report.json").write_text(json.dumps(forged(HOSTILE)))
    story.post()
    comment = story.comment
    assert f"`{head[:7]}`" in comment and story.check(head) == "failure"
    found = elements(comment)
    assert not found.open and not found.wrong
    assert [tag for tag, _ in found.seen if tag in ("img", "script")] == []
    hosts = {urlsplit(attributes["href"] or "").hostname for tag, attributes in found.seen if tag == "a"}
    assert hosts <= {"127.0.0.1", "bitbucket.org"}
    assert not re.search(r"@ada|fixes #|GH-2|evil|alert|::set|/close", found.text_outside_code), found.text_outside_code
    assert [text for text in found.comments if "theirs" in text] == []
    mark = mark_of(comment)
    assert mark is not None and mark.key.endswith(FOLDER), "what the comment is about says the trusted job"
    for place in (story.check_title(head), story.check_summary(head)):
        assert "\u202e" not in place and "##[" not in place


def refused_reports() -> dict[str, Callable[[Story], None]]:
    """Return, by what is wrong with them, ways to spoil what stage one has left."""

    def changed(**fields: Any) -> Callable[[Story], None]:
        def change(story: Story) -> None:
            path = story.report / "report.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | fields))

        return change

    def linked(story: Story) -> None:
        (story.report / "report.json").rename(story.folder / "elsewhere.json")
        (story.report / "report.json").symlink_to(story.folder / "elsewhere.json")

    return {
        "claims a pull request": changed(pull_request=1),
        "of no notebook": changed(notebooks=[]),
        "no report": lambda story: (story.report / "report.json").write_bytes(b"\x00" * 100) and None,
        "a link": linked,
        "a picture that is a script": lambda story: with_picture(story, f"{PICTURES}/a.png", b"<script>alert(1)</script>"),
        "a picture elsewhere": lambda story: with_picture(story, f"{PICTURES}/../../secret.png", PNG),
    }


@pytest.mark.parametrize("spoilt", refused_reports())
def test_data_that_no_job_of_ours_writes_is_refused_and_the_check_says_so(github: GitHubStory, spoilt: str) -> None:
    head = github.push("change", {"x.txt": "x"})
    left(github, "improves")
    refused_reports()[spoilt](github)
    done = github.post(expect=1)
    assert "Traceback" not in done.stderr and github.comments == [] and github.world.git.resolve("refs/heads/mlops-reports") is None
    assert github.check(head) == "failure" and len(github.check_summary(head)) < 1000


def test_pictures_that_may_not_be_stored_are_left_out_of_the_comment(github: GitHubStory) -> None:
    head = github.push("change", {"x.txt": "x"})
    left(github, "improves")
    with_picture(github, f"{PICTURES}/a.png", PNG)
    github.world.server.tokens["comments-only"] = Account("github-actions[bot]", {"pull_requests": "write", "checks": "write"})
    done = github.post(token="comments-only")
    assert "images are not published" in done.stderr and "contents" in done.stderr
    assert github.image_addresses() == [] and PICTURES not in github.check_summary(head) and "Improves on main" in github.first_line()
    github.post()
    assert len(github.image_addresses()) == 1


def test_a_picture_that_leads_out_of_the_folder_is_left_out(github: GitHubStory) -> None:
    github.push("change", {"x.txt": "x"})
    left(github, "improves")
    with_picture(github, f"{PICTURES}/a.png", PNG)
    secret = github.folder / "secret.png"
    shutil.move(github.report / PICTURES / "a.png", secret)
    (github.report / PICTURES / "a.png").symlink_to(secret)
    github.post()
    assert github.image_addresses() == [] and "Improves on main" in github.first_line()
