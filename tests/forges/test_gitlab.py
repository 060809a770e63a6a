"""What only GitLab does: job tokens, automatic merging, statuses in pipelines, uploads, comments of commits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_nb.forges import connect
from mlops_nb.forges.base import (
    AssetFile,
    Check,
    ForgeNotFound,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    Target,
    find_own_comment,
)
from mlops_nb.forges.context import discover, find_pull_request
from mlops_nb.forges.tokens import find_token
from tests.forges.gitlab_records import PROJECT_ID, Account
from tests.forges.server import Reply
from tests.forges.worlds import GOOD, GitLabWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GitLabWorld]:
    made = GitLabWorld(tmp_path)
    yield made
    made.server.close()


def test_a_job_token_reads_and_is_told_what_it_may_not_do(world: GitLabWorld) -> None:
    number = world.open()
    target = Target("pr", str(number))
    world.say(target, "hello")
    forge = world.forge("job")
    assert [one.body for one in forge.comments(target)] == ["hello"]
    assert [one.number for one in forge.pull_requests_of(world.head)] == [number]
    for attempt in (
        lambda: forge.create_comment(target, "x"),
        lambda: forge.set_check(Check(name="train", commit=world.head, conclusion="success")),
        lambda: forge.publish([AssetFile(name="a.png", content=b"1", mime="image/png")]),
        lambda: forge.merge_pull_request(number, when_checks_pass=False),
        lambda: forge.whoami(),
    ):
        with pytest.raises(PermissionMissing, match="job token may not") as raised:
            attempt()
        assert "GITLAB_TOKEN" in str(raised.value)
        assert raised.value.permission == "scope api"
    assert forge.git_credentials().username == "gitlab-ci-token"
    assert "PRIVATE-TOKEN" not in world.server.seen[-1].headers


def test_a_token_of_oauth_goes_as_bearer(world: GitLabWorld) -> None:
    token = "0a" * 32
    world.server.accounts[token] = Account("ada")
    forge = connect(world.context(), find_token("gitlab", {"GITLAB_TOKEN": token}))
    assert forge.whoami() == "ada" and forge.git_credentials().username == "oauth2"
    asked = world.server.seen[-1].headers
    assert asked["Authorization"] == f"Bearer {token}" and "PRIVATE-TOKEN" not in asked


def test_who_may_not_push_to_the_target_is_told_so(world: GitLabWorld) -> None:
    number = world.open()
    world.server.accounts[GOOD] = Account("ci-bot", role="reporter")
    with pytest.raises(PermissionMissing, match="403"):
        world.forge().merge_pull_request(number, when_checks_pass=False)
    world.server.fail("PUT", "*/merge", how=Reply({"message": "401 Unauthorized"}, 401))
    with pytest.raises(PermissionMissing, match="may not push to the target branch"):
        world.forge().merge_pull_request(number, when_checks_pass=False)


def test_gitlab_merges_when_the_pipeline_succeeds(world: GitLabWorld) -> None:
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change", body="")
    pipeline = world.server.add_pipeline(world.head, "change")
    done = forge.merge_pull_request(made.number, mode="squash", message="All of it")
    assert (done.state, done.mode, done.reason) == ("scheduled", "squash", None)
    assert world.git.resolve("refs/heads/main") == world.first
    assert forge.merge_pull_request(made.number, mode="squash").state == "scheduled"
    world.server.pipeline_finished(pipeline)
    assert forge.pull_request(made.number).merged


def test_a_merge_without_any_pipeline_says_that_nothing_was_waited_for(world: GitLabWorld) -> None:
    done = world.forge().merge_pull_request(world.open())
    assert done.state == "merged"
    assert "no pipeline" in str(done.reason)
    assert 15 < world.time.slept < 30


def test_a_pipeline_that_appears_late_is_waited_for(world: GitLabWorld) -> None:
    number = world.open()
    forge = world.forge()
    sleep = forge.client.sleep

    def begin(seconds: float) -> None:
        if not world.server.pipelines:
            world.server.add_pipeline(world.head, "change")
        sleep(seconds)

    forge.client.sleep = begin
    assert forge.merge_pull_request(number).state == "scheduled"


def test_a_failed_pipeline_is_not_merged(world: GitLabWorld) -> None:
    number = world.open()
    world.server.only_with_pipeline = True
    world.server.add_pipeline(world.head, "change", "failed")
    with pytest.raises(RequestRefused):
        world.forge().merge_pull_request(number)
    assert world.git.resolve("refs/heads/main") == world.first
    assert world.time.slept < 90


def test_a_draft_is_not_merged_and_the_reason_is_said(world: GitLabWorld) -> None:
    forge = world.forge()
    made = forge.create_pull_request(source="change", target="main", title="Change", body="", draft=True)
    assert made.draft
    assert made.title == "Draft: Change"
    with pytest.raises(RequestRefused, match="it is a draft"):
        forge.merge_pull_request(made.number, when_checks_pass=False)


def test_a_merge_that_is_never_decided_is_given_up(world: GitLabWorld) -> None:
    world.server.open_merge_request("change", checking=10_000)
    with pytest.raises(RequestRefused, match="405"):
        world.forge().merge_pull_request(1, when_checks_pass=False)
    assert 50 < world.time.slept < 150


def test_a_rebase_says_that_the_project_makes_a_merge_commit_after_it(world: GitLabWorld) -> None:
    world.git.commit("main", {"c.txt": b"3"})
    number = world.open()
    assert "merge commit" in str(world.forge().merge_pull_request(number, mode="rebase", when_checks_pass=False).reason)
    world.git.commit("further", {"d.txt": b"4"}, parent=world.first)
    world.server.merge_method = "ff"
    number = world.open("further")
    assert world.forge().merge_pull_request(number, mode="rebase", when_checks_pass=False).reason is None
    assert world.git.git("rev-list", "--count", "--merges", "main") == "1"


def test_a_status_goes_into_the_pipeline_of_merged_results_where_people_look(world: GitLabWorld, tmp_path: Path) -> None:
    number = world.open()
    merged = world.git.git("commit-tree", f"{world.head}^{{tree}}", "-p", world.first, "-p", world.head, "-m", "Merged results")
    pipeline = world.server.add_pipeline(merged, f"refs/merge-requests/{number}/merge")
    environment = {
        "CI_SERVER_URL": world.server.web,
        "CI_API_V4_URL": world.server.url,
        "CI_PROJECT_PATH": world.repository,
        "CI_COMMIT_SHA": merged,
        "CI_MERGE_REQUEST_IID": str(number),
        "CI_MERGE_REQUEST_PROJECT_PATH": world.repository,
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": world.repository,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "change",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": world.head,
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_EVENT_TYPE": "merge_train",
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_JOB_URL": f"{world.server.web}/group/sub/project/-/jobs/5",
    }
    context = discover(environment, tmp_path)
    assert (context.commit, context.pull_request, context.branch) == (world.head, number, "change")
    forge = world.forge(ci=context.ci, run_id=context.run_id, run_url=context.run_url, commit=context.commit)
    forge.set_check(Check(name="train", commit=world.head, status="in_progress"))
    posted = forge.set_check(Check(name="train", commit=world.head, conclusion="success", title="all better"))
    assert world.check_states(merged) == {"train": "success"}
    assert world.server.statuses[0]["ref"] == f"refs/merge-requests/{number}/merge"
    assert world.server.statuses[0]["description"] == "all better"
    assert posted.url == environment["CI_JOB_URL"]


def test_a_status_finds_its_commit_when_the_pipeline_runs_in_a_fork(world: GitLabWorld) -> None:
    forge = world.forge(ci="gitlab", run_id="999999", commit=world.head)
    forge.set_check(Check(name="train", commit=world.head, conclusion="failure"))
    assert world.check_states(world.head) == {"train": "failure"}


def test_a_status_waits_for_another_job_that_sets_one(world: GitLabWorld) -> None:
    busy = Reply({"message": "Another update to this commit status is in progress"}, 409)
    world.server.fail("POST", "*/statuses/*", times=2, how=busy)
    world.forge().set_check(Check(name="train", commit=world.head, conclusion="success"))
    assert world.check_states(world.head) == {"train": "success"}


def test_an_old_server_that_knows_no_skipped_status_gets_a_success(world: GitLabWorld) -> None:
    world.server.fail("POST", "*/statuses/*", how=Reply({"error": "state does not have a valid value"}, 400))
    world.forge().set_check(Check(name="train", commit=world.head, conclusion="skipped", title="no notebook changed"))
    assert world.server.statuses[0]["status"] == "success"
    assert world.server.statuses[0]["description"] == "skipped: no notebook changed"


def test_notes_of_gitlab_itself_are_not_comments(world: GitLabWorld) -> None:
    target = Target("pr", str(world.open()))
    world.server.add_note("MergeRequest", "1", "added 1 commit", "ci-bot", system=True)
    world.say(target, "a word")
    assert [one.body for one in world.forge().comments(target)] == ["a word"]


def test_the_report_on_a_commit_is_one_note_that_changes(world: GitLabWorld) -> None:
    target = Target("commit", world.head)
    for number in range(110):
        world.say(target, f"Comment {number}")
    world.forge().create_comment(target, "<!-- ours -->\nfirst")
    found = find_own_comment(world.forge(), target, "<!-- ours -->")
    assert found is not None
    world.forge().update_comment(found, "<!-- ours -->\nsecond")
    assert [body for body in world.said(target) if "ours" in body] == ["<!-- ours -->\nsecond"]
    assert found.url == f"{world.server.web}/{world.repository}/-/commit/{world.head}#note_{found.id.split('/')[1]}"


def test_uploads_have_the_relative_address_that_the_project_renders(world: GitLabWorld) -> None:
    url = world.forge().publish([AssetFile(name="plot.svg", content=b"<svg/>", mime="image/svg+xml")])[0]
    assert url.startswith("/uploads/")
    assert url.endswith(".svg")


def test_a_merge_request_from_a_fork_is_known_as_one(world: GitLabWorld) -> None:
    world.server.open_merge_request("main", source_project=PROJECT_ID + 1, fork_commit=world.head)
    world.open()
    forge = world.forge()
    assert forge.pull_request(1).from_fork
    assert [one.number for one in forge.pull_requests(source="main")] == []
    assert [one.number for one in forge.pull_requests(source="mallory:main")] == [1]
    assert {one.number for one in forge.pull_requests_of(world.head)} == {1, 2}


def test_a_comment_that_stays_lost_is_not_sent_for_ever(world: GitLabWorld) -> None:
    target = Target("pr", str(world.open()))
    world.server.fail("POST", "*/notes", times=99, how=Reply(b"gone", 502, {"Content-Type": "text/plain"}))
    with pytest.raises(OutcomeUnknown, match="502"):
        world.forge().create_comment(target, "a report")
    assert len(world.server.calls("POST", "*/notes")) == 2


def test_a_running_check_that_keeps_its_state_is_no_error_and_no_second_status(world: GitLabWorld) -> None:
    forge = world.forge()
    first = forge.set_check(Check(name="train", commit=world.head, status="in_progress", title="cell 1"))
    again = forge.set_check(Check(name="train", commit=world.head, status="in_progress", title="cell 2"))
    assert first.id == again.id
    assert len(world.server.statuses) == 1


def test_all_of_a_pipeline_runs_again_at_its_ref_or_for_its_merge_request(world: GitLabWorld) -> None:
    of_branch = world.server.add_pipeline(world.head, "change", "success")
    number = world.open()
    of_request = world.server.add_pipeline(world.head, f"refs/merge-requests/{number}/head", "failed")
    forge = world.forge()
    with pytest.raises(RequestRefused, match="no failed job"):
        forge.rerun(str(of_branch.id))
    assert forge.rerun(str(of_branch.id), failed_only=False) != forge.rerun(str(of_request.id), failed_only=False)
    assert [one.ref for one in list(world.server.pipelines.values())[2:]] == ["change", f"refs/merge-requests/{number}/head"]


def test_the_commit_of_an_external_pull_request_is_the_one_on_github(tmp_path: Path) -> None:
    environment = {
        "CI_SERVER_URL": "https://gitlab.com",
        "CI_PROJECT_PATH": "acme/mirror",
        "CI_COMMIT_SHA": "1" * 40,
        "CI_PIPELINE_SOURCE": "external_pull_request_event",
        "CI_EXTERNAL_PULL_REQUEST_IID": "7",
        "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME": "topic",
        "CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_SHA": "2" * 40,
    }
    context = discover(environment, tmp_path, repository="https://github.com/acme/churn")
    assert (context.kind, context.repository, context.commit, context.branch) == ("github", "acme/churn", "2" * 40, "topic")
    assert context.pull_request is None


def test_a_job_of_a_merge_request_finds_its_project_and_comments(world: GitLabWorld, tmp_path: Path) -> None:
    number = world.open()
    environment = {
        "CI_SERVER_URL": world.server.web,
        "CI_API_V4_URL": world.server.url,
        "CI_PROJECT_PATH": world.repository,
        "CI_COMMIT_SHA": world.head,
        "CI_COMMIT_BRANCH": "change",
        "CI_OPEN_MERGE_REQUESTS": f"other/project!9,{world.repository}!{number}",
        "CI_JOB_TOKEN": "job",
        "GITLAB_TOKEN": GOOD,
    }
    context = discover(environment, tmp_path)
    forge = connect(context, find_token(context.kind, environment))
    found = find_pull_request(forge, context)
    assert found is not None
    comment = forge.create_comment(Target("pr", str(found.number)), "a report")
    assert comment.url == f"{world.server.web}/group/sub/project/-/merge_requests/{number}#note_{comment.id}"
    assert world.said(comment.target) == ["a report"]
    assert world.server.seen[-1].headers["PRIVATE-TOKEN"] == GOOD


@pytest.mark.parametrize("branch", ["feature(x)", "Branch"])
def test_a_project_that_is_hidden_is_not_taken_for_a_missing_branch(world: GitLabWorld, branch: str) -> None:
    assert world.forge().branch_commit(branch) is None
    world.server.path = "elsewhere/project"
    with pytest.raises(ForgeNotFound, match="may not see it"):
        world.forge().branch_commit(branch)
    with pytest.raises(ForgeNotFound, match="may not see it"):
        world.forge().pull_requests_of(world.head)
