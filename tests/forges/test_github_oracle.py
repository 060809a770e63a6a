"""An independent client of GitHub (githubkit) finds at the loopback GitHub what it would at the real one, and what we wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import githubkit
import pytest
from githubkit.exception import RequestFailed

from mlops_nb.forges.base import Annotation, AssetFile, Check, Target, find_own_comment
from mlops_nb.forges.github import GitHub
from mlops_nb.forges.summaries import SUMMARY_BYTES, add_job_summary
from tests.forges.contract import CONTRACTS, OpenApiContract
from tests.forges.github import LoopbackGitHub

OWN = ("acme", "churn")


Oracle = githubkit.GitHub[githubkit.TokenAuthStrategy]


@pytest.fixture
def oracle(loopback: LoopbackGitHub) -> Iterator[Oracle]:
    with githubkit.GitHub(githubkit.TokenAuthStrategy("ghs_workflow"), base_url=f"{loopback.url}/", auto_retry=False) as client:
        yield client


def test_githubkit_reads_what_we_wrote(github: GitHub, loopback: LoopbackGitHub, oracle: Oracle) -> None:
    pull = loopback.open_pull("topic", title="A <title>")
    made = github.create_comment(Target("pr", str(pull.number)), "report")
    (comment,) = oracle.rest.issues.list_comments(*OWN, pull.number).parsed_data
    assert (str(comment.id), comment.body, comment.user and comment.user.login) == (made.id, "report", made.author)
    remark = Annotation(path="train.ipynb", line=3, message="failed")
    posted = github.set_check(
        Check(name="quality", commit=pull.head, conclusion="failure", title="fell", summary="x", annotations=(remark,))
    )
    run = oracle.rest.checks.get(*OWN, int(posted.id)).parsed_data
    assert (run.name, run.status, run.conclusion, run.output.annotations_count) == ("quality", "completed", "failure", 1)
    (url,) = github.publish([AssetFile(name="a.png", content=b"x", mime="image/png")])
    branch = oracle.rest.git.get_ref(*OWN, "heads/mlops-reports").parsed_data
    assert branch.object_.sha in url
    listed = oracle.rest.pulls.list(*OWN, head="acme:topic").parsed_data
    assert [(one.number, one.title) for one in listed] == [(pull.number, "A <title>")]
    assert oracle.rest.repos.get(*OWN).parsed_data.default_branch == "main"


def test_we_read_what_githubkit_wrote(github: GitHub, loopback: LoopbackGitHub, oracle: Oracle) -> None:
    head = loopback.git.commit("topic", {"a.txt": b"a"}, parent=loopback.first)
    number = oracle.rest.pulls.create(*OWN, title="Theirs", head="topic", base="main").parsed_data.number
    assert [(one.number, one.commit) for one in github.pull_requests_of(head)] == [(number, head)]
    for index in range(102):
        oracle.rest.issues.create_comment(*OWN, number, body=f"remark {index}")
    target = Target("pr", str(number))
    assert [one.body for one in github.comments(target)] == [f"remark {index}" for index in range(102)]
    found = find_own_comment(github, target, "remark 7")
    assert found is not None and found.body == "remark 79"
    with pytest.raises(RequestFailed) as refused:
        oracle.rest.issues.create_comment(*OWN, number, body="x" * 65_537)
    assert refused.value.response.status_code == 422


def test_the_contract_is_read_quickly() -> None:
    begun = time.process_time()
    OpenApiContract(CONTRACTS / "github.json")
    assert time.process_time() - begun < 2


def test_what_the_summary_of_a_job_cannot_hold_is_cut_at_the_end_of_a_line(tmp_path: Path) -> None:
    place = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(place)}
    assert add_job_summary({}, "nowhere") is None
    assert add_job_summary(environment, "first ✓") == place
    add_job_summary(environment, "second")
    assert place.read_text() == "first ✓\nsecond\n"
    add_job_summary(environment, "a line ✓\n" * 200_000)
    text = place.read_bytes().decode()
    assert len(text.encode()) <= SUMMARY_BYTES
    assert text.endswith("a line ✓\n\n*The end of the report is cut off here: a job's summary holds 1 MiB.*\n")
