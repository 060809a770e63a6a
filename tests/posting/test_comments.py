"""One comment a report: found among many, taken over from CML, lost by nobody."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mlops_nb.cli.places import open_forge
from mlops_nb.forges.github import GitHub
from mlops_nb.forges.gitlab import GitLab
from mlops_nb.forges.summaries import SUMMARY_BYTES
from mlops_nb.posting.fallback import keep
from mlops_nb.posting.marks import Mark, Writer, cml_label, mark_of, marked, unmarked
from tests.forges.github import LoopbackGitHub
from tests.forges.server import Reply
from tests.posting.conftest import StepAt

BOT = "github-actions[bot]"


def bodies(hub: LoopbackGitHub, number: int) -> list[str]:
    return [unmarked(one["body"]) for one in hub.comments_of(number) if one["user"]["login"] == BOT]


def test_a_report_is_posted_and_its_url_is_all_that_stdout_says(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "report.md").write_text("# Fine\n")
    result = step_at("pull_request", number)("comment", "create", "report.md")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == hub.comments_of(number)[0]["html_url"]
    assert bodies(hub, number) == ["# Fine\n"]
    assert "pull request" in result.stderr


def test_a_hundred_runs_make_one_comment(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    step = step_at("pull_request", number)
    for run in range(100):
        (work / "report.md").write_text(f"run {run}")
        step.url("comment", "create" if run % 2 else "update", "report.md", GITHUB_RUN_ATTEMPT=str(run + 1))
    assert bodies(hub, number) == ["run 99"]


def test_our_comment_is_found_behind_two_hundred_others(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    for count in range(120):
        hub.add_comment(number, "ada", f"me too {count}")
    (work / "report.md").write_text("first")
    step = step_at("pull_request", number)
    url = step.url("comment", "create", "report.md")
    for count in range(110):
        hub.add_comment(number, "bob", f"and me {count}")
    (work / "report.md").write_text("second")
    assert step.url("comment", "update", "report.md") == url
    assert bodies(hub, number) == ["second"]


def test_a_comment_of_cml_with_the_same_title_is_taken_over(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    other = hub.add_comment(number, BOT, 'old\n\n![](https://cml.dev/watermark.png#abc "CML watermark other")')
    theirs = hub.add_comment(number, "ada", 'old\n\n![](https://cml.dev/watermark.png#abc "CML watermark my\\_title")')
    ours = hub.add_comment(number, BOT, 'old\n\n![](https://cml.dev/watermark.png#abc "CML watermark my\\_title")')
    (work / "report.md").write_text("new")
    assert step_at("pull_request", number).url("comment", "update", "--watermark-title=my_title", "report.md") == ours["html_url"]
    assert [one["body"][:3] for one in (other, theirs)] == ["old", "old"]
    assert len(hub.comments_of(number)) == 3


def test_nobody_elses_comment_is_taken_though_it_has_our_mark(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "report.md").write_text("ours")
    step = step_at("pull_request", number)
    step.url("comment", "create", "report.md")
    copied = hub.comments_of(number)[0]["body"]
    forged = hub.add_comment(number, "mallory", copied)
    (work / "report.md").write_text("ours again\n" + copied)  # nor does a mark inside of a report count
    step.url("comment", "update", "report.md")
    assert forged["body"] == copied and len(hub.comments_of(number)) == 2


def test_two_reports_of_a_job_and_those_of_two_workflows_have_comments_of_their_own(
    hub: LoopbackGitHub, work: Path, step_at: StepAt
) -> None:
    number = hub.open_pull("topic").number
    for name in ("a.md", "b.md"):
        (work / name).write_text(name)
    for workflow in ("train", "test"):
        step = step_at("pull_request", number, GITHUB_WORKFLOW=workflow)
        for name in ("a.md", "b.md", "a.md"):
            step.url("comment", "create", name)
    assert sorted(bodies(hub, number)) == ["a.md", "a.md", "b.md", "b.md"]


def test_jobs_of_a_matrix_keep_their_comments_from_run_to_run(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    for attempt in ("1", "2", "3"):
        for job in ("x", "y"):
            (work / "report.md").write_text(f"{job}{attempt}")
            step = step_at("pull_request", number, RUNNER_TRACKING_ID=f"github_{job}{attempt}", GITHUB_RUN_ATTEMPT=attempt)
            step.url("comment", "create", "report.md")
    assert sorted(bodies(hub, number)) == ["x3", "y3"]


@pytest.mark.parametrize("title", ["", "all"])
def test_jobs_that_post_at_once_lose_nothing(hub: LoopbackGitHub, work: Path, step_at: StepAt, title: str) -> None:
    from mlops_nb.forges import connect
    from mlops_nb.forges.base import Target
    from mlops_nb.forges.context import discover
    from mlops_nb.forges.tokens import find_token
    from mlops_nb.posting.comments import Wanted, post

    number = hub.open_pull("topic").number
    environment = step_at("pull_request", number).environment
    context = discover(environment, work)
    gate = threading.Barrier(4)

    def job(name: str) -> None:
        forge = connect(context, find_token("github", environment))
        gate.wait()
        writer = Writer(run="77", attempt="1", job=name, commit="c")
        post(forge, Target("pr", str(number)), f"report of {name}", Wanted(key="k", title=title, writer=writer))

    threads = [threading.Thread(target=job, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = bodies(hub, number)
    assert len(found) == 1 if title else sorted(found) == [f"report of {name}" for name in "abcd"]


def test_an_older_run_that_ends_later_does_not_replace_the_newer_report(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    pull = hub.open_pull("topic")
    older = step_at("pull_request", pull.number, GITHUB_RUN_ID="80")
    pull.head = hub.git.commit("topic", {"more.txt": b"1"})
    newer = step_at("pull_request", pull.number, GITHUB_RUN_ID="81")
    (work / "report.md").write_text("new")
    url = newer.url("comment", "update", "report.md")
    (work / "report.md").write_text("old")
    result = older("comment", "update", "report.md")
    assert result.stdout.strip() == url and "later run" in result.stderr
    assert bodies(hub, pull.number) == ["new"]


def test_new_and_unmarked_comments_are_not_updated(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "report.md").write_text("text")
    step = step_at("pull_request", number)
    for arguments in (["--new"], ["--new"], ["--rm-watermark"], ["--rm-watermark"]):
        step.url("comment", "create", "report.md", *arguments)
    assert len(bodies(hub, number)) == 4
    assert [one["body"] for one in hub.comments_of(number)][-1] == "text"
    assert step("comment", "update", "report.md", "--rm-watermark").exit_code == 2
    assert step("comment", "create", "report.md", "--rm-watermark", "--watch").exit_code == 2


def test_a_report_that_is_too_long_is_cut_where_nothing_is_open(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    block = "<details><summary>more</summary>\n\n```python\n" + "x = 1\n" * 500 + "```\n\n</details>\n\n"
    (work / "report.md").write_text("# Top\n\n" + block * 40)
    result = step_at("pull_request", number)("comment", "create", "report.md")
    assert result.exit_code == 0 and "cut" in result.stderr
    body = hub.comments_of(number)[0]["body"]
    assert len(body) <= 65_536 and body.count("<details>") == body.count("</details>") and body.count("```") % 2 == 0
    assert "cut off here" in body[-200:]


def test_without_permission_the_report_is_in_the_jobs_summary(hub: LoopbackGitHub, work: Path, step_at: StepAt, tmp_path: Path) -> None:
    number = hub.open_pull("topic", fork="mallory/churn").number
    refused = Reply({"message": "Resource not accessible by integration", "documentation_url": "https://docs.github.com"}, 403)
    hub.fail("POST", "/repos/*/issues/*/comments", 50, refused)
    (work / "report.md").write_text("# For the summary")
    result = step_at("pull_request", number)("comment", "create", "report.md")
    assert result.exit_code == 0, result.output
    assert result.stdout == "" and "summary" in result.stderr
    assert "# For the summary" in (tmp_path / "summary.md").read_text()
    without = step_at("pull_request", number, GITHUB_STEP_SUMMARY="")
    assert without("comment", "create", "report.md").exit_code == 3
    assert (work / "unposted-report.md").read_text() == "# For the summary"
    assert without("comment", "create", "report.md", "--exit-zero").exit_code == 0


@pytest.mark.parametrize("line", ["a line\n", "a line ✓\n", "😀😀\n"])
def test_a_summary_is_filled_up_to_what_github_shows_and_not_beyond(line: str, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_bytes(b"of an earlier command\n")
    assert keep(line * 200_000, {"GITHUB_STEP_SUMMARY": str(summary)}, tmp_path).kind == "summary"
    size = summary.stat().st_size
    assert SUMMARY_BYTES - 1_000 < size <= SUMMARY_BYTES and summary.read_text().endswith("summary holds 1 MiB.*\n")
    assert keep("one more", {"GITHUB_STEP_SUMMARY": str(summary)}, tmp_path).path == tmp_path / "unposted-report.md"
    assert summary.stat().st_size == size


@pytest.mark.parametrize(
    ("target", "path"),
    [("issue/{issue}", "/issues/{issue}/comments"), ("commit", "/commits/{sha}/comments"), ("commit/{sha}", "/commits/{sha}/comments")],
)
def test_targets_that_are_named(hub: LoopbackGitHub, work: Path, step_at: StepAt, target: str, path: str) -> None:
    sha, issue = hub.git.resolve("main") or "", str(hub.open_pull("topic").number)
    (work / "report.md").write_text("text")
    result = step_at()("comment", "create", "--target", target.format(sha=sha, issue=issue), "report.md")
    assert result.exit_code == 0 and hub.calls("POST", f"*{path.format(sha=sha, issue=issue)}"), (result.output, result.exception)


def test_a_push_comments_on_the_pull_request_whose_branch_it_is(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    hub.open_pull("other")
    pull = hub.open_pull("topic")
    (work / "report.md").write_text("text")
    step = step_at("push", None, GITHUB_REF="refs/heads/topic", GITHUB_SHA=pull.head)
    step.url("comment", "create", "report.md")
    assert bodies(hub, pull.number) == ["text"]
    missing = step_at()("comment", "create", "--target=pr", "report.md")
    assert missing.exit_code == 1 and "no open pull request" in str(missing.exception)


@pytest.mark.parametrize("target", ["pr/x", "nowhere", "issue", "commit/zzz", "pr/0"])
def test_what_is_no_target_is_refused(hub: LoopbackGitHub, work: Path, step_at: StepAt, target: str) -> None:
    (work / "report.md").write_text("text")
    result = step_at()("comment", "create", "--target", target, "report.md")
    assert result.exit_code == 1 and "target" in str(result.exception) and not hub.issue_comments


def test_secrets_of_the_job_are_not_posted(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    number = hub.open_pull("topic").number
    (work / "report.md").write_text("key: very-secret-value-1 token ghs_workflow")
    step_at("pull_request", number, MY_API_KEY="very-secret-value-1").url("comment", "create", "report.md")
    assert "very-secret-value-1" not in bodies(hub, number)[0] and "ghs_workflow" not in bodies(hub, number)[0]


@pytest.mark.parametrize("kind", ["github", "gitlab", "bitbucket"])
@pytest.mark.parametrize("key", ["nb/train.ipynb", "a -- b --> <x> (y) [z] é\n", "--", "x-"])
def test_marks_come_out_as_they_went_in_and_end_no_comment(kind: str, key: str) -> None:
    writer = Writer(run="7", attempt="1", job="a:b", commit="c--d")
    text = marked("# Report\n", Mark(key=key, writer=writer, untitled=True), kind)  # type: ignore[arg-type]
    assert mark_of(text) == Mark(key=key, writer=writer, untitled=True)
    assert unmarked(text).strip() == "# Report"
    assert text.count("-->") == (2 if kind != "bitbucket" else 0) and mark_of("# x\n" + text) is None
    assert marked(text, Mark(key="k", writer=writer), kind).count("mlops-nb:report") == 1  # type: ignore[arg-type]


def test_watermarks_of_cml_are_read() -> None:
    assert cml_label('x ![](https://cml.dev/watermark.png#0a "CML watermark")\n') == ""
    assert cml_label('![](https://cml.dev/watermark.png "CML watermark a\\*b \\[c]")') == "a*b [c]"
    assert cml_label('![](https://cml.dev/watermark.png#0a "CML watermark x") and more') is None


def test_a_report_that_is_not_there_is_said_and_nothing_is_posted(hub: LoopbackGitHub, work: Path, step_at: StepAt) -> None:
    result = step_at()("comment", "create", "missing.md")
    assert result.exit_code == 1 and "missing.md" in str(result.exception)
    assert not [one for one in hub.seen if one.method != "GET"]


@pytest.mark.parametrize(
    ("variables", "repo", "source"),
    [
        ({"GITHUB_TOKEN": "ghs_of_the_job"}, "https://github.com/a/b", "GITHUB_TOKEN"),
        ({"GITHUB_TOKEN": "ghs_of_the_job"}, "https://github.acme.org/a/b", None),
        ({"GITHUB_TOKEN": "ghp_made_for_it"}, "https://github.acme.org/a/b", "GITHUB_TOKEN"),
        ({"GITHUB_TOKEN": "ghs_of_the_job", "REPO_TOKEN": "ghp_x"}, "https://github.acme.org/a/b", "REPO_TOKEN"),
        ({"CI_JOB_TOKEN": "of-the-job"}, "https://gitlab.com/a/b", "CI_JOB_TOKEN"),
        ({"CI_JOB_TOKEN": "of-the-job"}, "https://gitlab.acme.org/a/b", None),
    ],
)
def test_the_token_of_the_job_goes_only_to_the_server_that_made_it(
    variables: dict[str, str], repo: str, source: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = {"GITHUB_SERVER_URL": "https://github.com", "CI_SERVER_URL": "https://gitlab.com"}
    for name, value in (servers | variables).items():
        monkeypatch.setenv(name, value)
    forge, _ = open_forge(None, repo, None)
    assert isinstance(forge, GitHub | GitLab) and forge.client.source == source
