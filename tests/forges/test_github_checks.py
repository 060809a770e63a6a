"""Check runs on GitHub."""

from __future__ import annotations

import pytest

from mlops_nb.errors import InvalidInput
from mlops_nb.forges.base import Annotation, Check, PermissionMissing, RequestRefused
from mlops_nb.forges.github import GitHub
from tests.forges.conftest import Connect
from tests.forges.github import LoopbackGitHub
from tests.forges.github_state import Account


def check_of(loopback: LoopbackGitHub, **fields: object) -> Check:
    return Check(name="quality", commit=loopback.first or "", **{"title": "accuracy fell", "summary": "**0.91**", **fields})  # type: ignore[arg-type]


def remarks(count: int) -> tuple[Annotation, ...]:
    return tuple(
        Annotation(path="train.ipynb", line=line, message=f"cell {line} failed", title="ValueError") for line in range(1, count + 1)
    )


def test_a_check_goes_from_running_to_its_conclusion(github: GitHub, loopback: LoopbackGitHub) -> None:
    posted = github.set_check(check_of(loopback, status="in_progress", details_url="https://ci.example.org/1"))
    item = loopback.checks[int(posted.id)]
    assert (item["status"], item["conclusion"], item["details_url"]) == ("in_progress", None, "https://ci.example.org/1")
    again = github.set_check(check_of(loopback, conclusion="failure"), posted.id)
    assert again == posted
    assert (item["status"], item["conclusion"], item["output"]["title"]) == ("completed", "failure", "accuracy fell")
    assert len(loopback.checks) == 1


def test_annotations_go_in_batches_that_github_takes(github: GitHub, loopback: LoopbackGitHub) -> None:
    posted = github.set_check(check_of(loopback, conclusion="failure", annotations=remarks(120)))
    kept = loopback.annotations[int(posted.id)]
    assert [one["start_line"] for one in kept] == list(range(1, 121))
    sent = [call for call in loopback.seen if call.method in ("POST", "PATCH")]
    assert [len(call.json()["output"]["annotations"]) for call in sent] == [50, 50, 20]


@pytest.mark.parametrize("how", ["lost", "cut", "refuse"])
def test_a_check_whose_answer_is_lost_is_there_once(github: GitHub, loopback: LoopbackGitHub, how: str) -> None:
    github.set_check(check_of(loopback, conclusion="success"))
    loopback.fail("POST", "*/check-runs", how=how)  # type: ignore[arg-type]
    posted = github.set_check(check_of(loopback, conclusion="failure"))
    assert len(loopback.checks) == 2
    assert loopback.checks[int(posted.id)]["conclusion"] == "failure"


@pytest.mark.parametrize("how", ["lost", "refuse"])
def test_annotations_whose_answer_is_lost_are_there_once(github: GitHub, loopback: LoopbackGitHub, how: str) -> None:
    loopback.fail("PATCH", "*/check-runs/*", how=how)  # type: ignore[arg-type]
    posted = github.set_check(check_of(loopback, conclusion="failure", annotations=remarks(70)))
    assert len(loopback.annotations[int(posted.id)]) == 70


def test_a_check_without_conclusion_is_not_completed_and_one_with_it_is_nothing_else(github: GitHub, loopback: LoopbackGitHub) -> None:
    with pytest.raises(InvalidInput, match="has no conclusion"):
        check_of(loopback, status="completed")
    with pytest.raises(InvalidInput, match="cannot have the conclusion 'success' yet"):
        check_of(loopback, status="in_progress", conclusion="success")
    with pytest.raises(RequestRefused, match="conclusion"):
        sent = {"name": "x", "head_sha": loopback.first, "status": "completed"}
        github.client.post("/repos/acme/churn/check-runs", sent, what="set it unchecked")


def test_a_summary_as_long_as_the_limit_fits_and_a_longer_one_is_refused_here(github: GitHub, loopback: LoopbackGitHub) -> None:
    longest = "x" * github.limits.check_summary_characters
    github.set_check(check_of(loopback, conclusion="success", summary=longest))
    with pytest.raises(RequestRefused, match="65,536 characters"):
        github.set_check(check_of(loopback, conclusion="success", summary=longest + "x"))
    assert len(loopback.calls("POST")) == 1


def test_a_personal_token_is_told_that_only_apps_set_checks(loopback: LoopbackGitHub, connect_to: Connect) -> None:
    loopback.tokens["ghp_mine"] = Account("ada", scopes=["repo"])
    with pytest.raises(PermissionMissing, match="checks: write"):
        connect_to(loopback, token="ghp_mine").set_check(check_of(loopback, conclusion="success"))


def test_odd_annotations_are_made_such_that_github_takes_them(github: GitHub, loopback: LoopbackGitHub) -> None:
    odd = (
        Annotation(path="a.ipynb", line=0, message=""),
        Annotation(path="b.ipynb", line=9, end_line=3, message="x" * 99_999, title="t" * 999),
    )
    posted = github.set_check(check_of(loopback, conclusion="neutral", annotations=odd, title=""))
    first, second = loopback.annotations[int(posted.id)]
    assert (first["start_line"], first["message"]) == (1, "(no message)")
    assert second["end_line"] == 9 and len(second["message"].encode()) < 65_536 and len(second["title"]) == 255
    assert loopback.checks[int(posted.id)]["output"]["title"] == "quality"
