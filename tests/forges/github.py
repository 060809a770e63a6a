"""A stateful GitHub on 127.0.0.1, over a real git repository, held to GitHub's published description.

    forge = LoopbackGitHub(tmp_path)
    forge.tokens["ghs_abc"] = Account("github-actions[bot]")
    number = forge.open_pull("topic").number
    context = discover(forge.actions(tmp_path, "pull_request", number), tmp_path)

What the description does not say it enforces by itself: permissions, the length of comments, that a completed check has
a conclusion, when auto-merge is refused.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from tests.forges.contract import contract
from tests.forges.filling import filled
from tests.forges.git_repository import GitRepository
from tests.forges.github_apps import Apps
from tests.forges.github_git import REPO
from tests.forges.github_pulls import Pulls
from tests.forges.github_runners import Agent, Job, Runners
from tests.forges.github_state import Account, Pull, invalid, message, not_found, now, paged, user
from tests.forges.server import Reply, Request, route

MAX_COMMENT = 65_536


class LoopbackGitHub(Runners, Pulls, Apps):
    """One repository `acme/churn` with a branch `main`, on a server of its own with the API below `/api/v3`."""

    def __init__(self, folder: Path, *, repository: str = "acme/churn", prefix: str = "/api/v3", empty: bool = False) -> None:
        self.contract = contract("github")
        self.repository = repository
        self.git = GitRepository(folder / "forge.git")
        self.first = None if empty else self.git.commit("main", {"README.md": b"# Churn\n"}, "First")
        self.tokens: dict[str, Account] = {"ghs_workflow": Account("github-actions[bot]")}
        self.app_keys: dict[str, str] = {}
        self.pulls: dict[int, Pull] = {}
        self.issue_comments: dict[int, dict[str, Any]] = {}
        self.commit_comments: dict[int, dict[str, Any]] = {}
        self.checks: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, list[dict[str, Any]]] = {}
        self.runs: dict[int, dict[str, Any]] = {}
        self.agents: dict[int, Agent] = {}
        self.jobs: dict[int, Job] = {}
        self.downloads: list[dict[str, Any]] = []
        self.polls_until_cancelled = 1
        self.allows_auto_merge = True
        self.actions_may_open_pulls = True
        self.graphql_is_open = True
        self.required_checks: dict[str, set[str]] = {}
        self._last_number = 0
        super().__init__(prefix)
        self.web_url = f"{self.origin}/{repository}"

    # What tests arrange

    def number(self) -> int:
        self._last_number += 1
        return self._last_number

    def open_pull(
        self, source: str, target: str = "main", *, title: str = "A change", author: str = "ada", fork: str | None = None
    ) -> Pull:
        """Open a pull request; the branch gets a commit if there is none. `fork` is the name of the repository it comes from."""
        head = self.git.resolve(f"refs/heads/{source}")
        if head is None or fork:
            head = self.git.commit("incoming" if fork else source, {f"{source}.txt": source.encode()}, source, parent=self.first)
        pull = Pull(self.number(), source, target, title, "", "ada", fork or self.repository, head)
        self.pulls[pull.number] = pull
        return pull

    def add_comment(self, number: int, author: str, body: str) -> dict[str, Any]:
        """Add a comment to a pull request or issue, as somebody."""
        id = 1000 + self.number()
        page = f"{self.web_url}/issues/{number}"
        times = {"created_at": now(), "updated_at": now()}
        links = {"html_url": f"{page}#issuecomment-{id}", "issue_url": f"{self.url}/repos/{self.repository}/issues/{number}"}
        item = filled("github", "issue-comment", id=id, body=body, user=user(author), **links, **times)
        self.issue_comments[id] = item
        return item

    def comments_of(self, number: int) -> list[dict[str, Any]]:
        """Return the comments of a pull request or issue, oldest first."""
        return [one for one in self.issue_comments.values() if one["issue_url"].endswith(f"/issues/{number}")]

    def add_run(self, id: int, status: str = "completed", conclusion: str | None = "failure", attempt: int = 1) -> None:
        self.runs[id] = filled(
            *("github", "workflow-run"),
            id=id,
            status=status,
            conclusion=conclusion,
            run_attempt=attempt,
            html_url=f"{self.web_url}/actions/runs/{id}",
        )

    def actions(self, folder: Path, event: str, pull: int | None = None, *, token: str = "ghs_workflow") -> dict[str, str]:
        """Return the environment of a workflow's step, with the event's payload in `folder`."""
        payload: dict[str, Any] = {}
        sha = self.git.resolve("refs/heads/main") or ""
        variables = {"GITHUB_REF": "refs/heads/main", "GITHUB_SHA": sha}
        if pull is not None:
            one = self.pulls[pull]
            payload["pull_request"] = self.pull_item(one, "pull-request")
            if event == "pull_request":
                merge = self.git.git("commit-tree", f"{one.head}^{{tree}}", "-p", sha, "-p", one.head, "-m", f"Merge {one.head} into {sha}")
                variables = {"GITHUB_REF": f"refs/pull/{pull}/merge", "GITHUB_SHA": merge}
            variables |= {"GITHUB_HEAD_REF": one.source, "GITHUB_BASE_REF": one.target}
        path = folder / f"event-{secrets.token_hex(4)}.json"
        path.write_text(json.dumps(payload), encoding="utf-8")
        return variables | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "ada",
            "GITHUB_API_URL": self.url,
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_JOB": "report",
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": "77",
            "GITHUB_SERVER_URL": self.origin,
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_TOKEN": token,
            "GITHUB_WORKFLOW": "report",
        }

    # Who asks

    def account(self, request: Request) -> Account | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        token = header.partition(" ")[2]
        if token.startswith("eyJ"):  # signed by an App, and only for its exchange
            return None
        if token not in self.tokens:
            raise message("Bad credentials", 401)
        return self.tokens[token]

    def before(self, request: Request) -> None:
        self.account(request)
        params = request.params
        if "owner" in params and f"{params['owner']}/{params['repo']}".lower() != self.repository.lower():
            raise not_found()

    def need(self, request: Request, permission: str, level: str = "write") -> Account | None:
        """Refuse who may not; `permission` may name several, of which one is enough."""
        account = self.account(request)
        if account is None:
            if level == "read":
                return None
            raise message("Requires authentication", 401)
        wanted = permission.split()
        if not any(account.may(one, level) for one in wanted):
            if account.scopes is not None:
                raise not_found().with_headers({"X-OAuth-Scopes": ", ".join(account.scopes), "X-Accepted-OAuth-Scopes": "repo"})
            whom = "integration" if account.is_app else "personal access token"
            accepted = "; ".join(f"{one}={level}" for one in wanted)
            raise message(f"Resource not accessible by {whom}", 403, {"X-Accepted-GitHub-Permissions": accepted})
        return account

    def writer(self, request: Request, permission: str) -> Account:
        account = self.need(request, permission)
        assert account
        return account

    @route("GET", "/user")
    def get_user(self, request: Request) -> Reply:
        account = self.account(request)
        if account is None:
            return message("Requires authentication", 401)
        if account.is_app:
            return message("Resource not accessible by integration", 403)
        return Reply(filled("github", "public-user", login=account.login, user_view_type="public"))

    @route("GET", REPO)
    def get_repository(self, request: Request) -> Reply:
        return Reply(self.repository_item())

    # Comments

    def _issue(self, number: str) -> None:
        if not number.isdigit() or int(number) > self._last_number or int(number) < 1:
            raise not_found()

    @route("GET", REPO + "/issues/{issue_number}/comments")
    def list_comments(self, request: Request) -> Reply:
        self.need(request, "issues pull_requests", "read")
        self._issue(request.params["issue_number"])
        listed = [one for one in self.comments_of(int(request.params["issue_number"])) if one["updated_at"] >= request.one("since")]
        return paged(request, self.url, listed)

    @route("POST", REPO + "/issues/{issue_number}/comments")
    def create_comment(self, request: Request) -> Reply:
        account = self.writer(request, "issues pull_requests")
        self._issue(request.params["issue_number"])
        self._check_body(request, "IssueComment")
        return Reply(self.add_comment(int(request.params["issue_number"]), account.login, request.json()["body"]), 201)

    def _check_body(self, request: Request, resource: str) -> None:
        body = request.json().get("body", "")
        if not body.strip():
            raise invalid(resource, "body", "body can't be blank")
        if len(body) > MAX_COMMENT:
            raise invalid(resource, "body", f"body is too long (maximum is {MAX_COMMENT} characters)")

    @route("GET", REPO + "/commits/{commit_sha}/comments")
    def list_commit_comments(self, request: Request) -> Reply:
        self.need(request, "contents", "read")
        listed = [one for one in self.commit_comments.values() if one["commit_id"] == request.params["commit_sha"]]
        return paged(request, self.url, listed)

    @route("POST", REPO + "/commits/{commit_sha}/comments")
    def create_commit_comment(self, request: Request) -> Reply:
        account = self.writer(request, "contents")
        sha = self.known_commit(request.params["commit_sha"])
        self._check_body(request, "CommitComment")
        id = 1000 + self.number()
        page = {"html_url": f"{self.web_url}/commit/{sha}#commitcomment-{id}", "created_at": now(), "updated_at": now()}
        item = filled("github", "commit-comment", id=id, body=request.json()["body"], user=user(account.login), commit_id=sha, **page)
        self.commit_comments[id] = item
        return Reply(item, 201)

    @route("GET", REPO + "/issues/comments/{comment_id}")
    @route("PATCH", REPO + "/issues/comments/{comment_id}")
    @route("DELETE", REPO + "/issues/comments/{comment_id}")
    def one_comment(self, request: Request) -> Reply:
        return self._one_comment(request, self.issue_comments, "issues pull_requests")

    @route("GET", REPO + "/comments/{comment_id}")
    @route("PATCH", REPO + "/comments/{comment_id}")
    @route("DELETE", REPO + "/comments/{comment_id}")
    def one_commit_comment(self, request: Request) -> Reply:
        return self._one_comment(request, self.commit_comments, "contents")

    def _one_comment(self, request: Request, comments: dict[int, dict[str, Any]], permission: str) -> Reply:
        self.need(request, permission, "read" if request.method == "GET" else "write")
        id = int(request.params["comment_id"])
        if id not in comments:
            return not_found()
        if request.method == "DELETE":
            del comments[id]
            return Reply(None, 204)
        if request.method == "PATCH":
            self._check_body(request, "IssueComment")
            comments[id].update(body=request.json()["body"], updated_at=now())
        return Reply(comments[id])

    # Checks

    @route("POST", REPO + "/check-runs")
    def create_check(self, request: Request) -> Reply:
        account = self.writer(request, "checks")
        if not account.is_app:
            return message("You must authenticate via a GitHub App.", 403)
        sent = request.json()
        id = 2000 + self.number()
        item = filled("github", "check-run", id=id, head_sha=self.known_commit(sent["head_sha"]), html_url=f"{self.web_url}/runs/{id}")
        self.annotations[id] = []
        self.checks[id] = item
        try:
            self._apply(item, sent)
        except Reply:
            del self.checks[id]
            raise
        return Reply(item, 201)

    @route("GET", REPO + "/check-runs/{check_run_id}")
    @route("PATCH", REPO + "/check-runs/{check_run_id}")
    def one_check(self, request: Request) -> Reply:
        self.need(request, "checks", "read" if request.method == "GET" else "write")
        item = self.checks.get(int(request.params["check_run_id"]))
        if item is None:
            return not_found()
        if request.method == "PATCH":
            self._apply(item, request.json())
        return Reply(item)

    def _apply(self, item: dict[str, Any], sent: dict[str, Any]) -> None:
        if sent.get("status") == "completed" and not sent.get("conclusion"):
            raise message('Invalid request.\n\nNo subschema in "anyOf" matched.\nMissing required keys: "conclusion".', 422)
        item.update({key: sent[key] for key in ("name", "status", "external_id", "details_url") if key in sent})
        if sent.get("conclusion"):  # as the real one, which completes whatever has a conclusion
            item.update(conclusion=sent["conclusion"], status="completed", completed_at=now())
        output = sent.get("output", {})
        self.annotations[item["id"]] += output.get("annotations", [])
        item["output"].update({key: output[key] for key in ("title", "summary", "text") if key in output})
        item["output"]["annotations_count"] = len(self.annotations[item["id"]])
        self.merge_what_waits()

    @route("GET", REPO + "/commits/{ref}/check-runs")
    def list_checks(self, request: Request) -> Reply:
        self.need(request, "checks", "read")
        name = request.one("check_name")
        listed = [one for one in self.checks.values() if one["head_sha"] == request.params["ref"] and name in ("", one["name"])]
        return paged(request, self.url, listed[::-1], "check_runs")

    # Workflow runs

    def _run(self, request: Request) -> dict[str, Any]:
        run = self.runs.get(int(request.params["run_id"]))
        if run is None:
            raise not_found()
        return run

    @route("GET", REPO + "/actions/runs/{run_id}")
    def get_run(self, request: Request) -> Reply:
        self.need(request, "actions", "read")
        run = self._run(request)
        if run["status"] == "cancelling":
            run.setdefault("polls", self.polls_until_cancelled)
            run["polls"] -= 1
            if run["polls"] <= 0:
                run.update(status="completed", conclusion="cancelled")
        return Reply({**run, "status": "in_progress" if run["status"] == "cancelling" else run["status"]})

    @route("POST", REPO + "/actions/runs/{run_id}/cancel")
    def cancel_run(self, request: Request) -> Reply:
        self.need(request, "actions")
        run = self._run(request)
        if run["status"] == "completed":
            return message("Cannot cancel a workflow run that is completed.", 409)
        run["status"] = "cancelling"
        return Reply({}, 202)

    @route("POST", REPO + "/actions/runs/{run_id}/rerun")
    @route("POST", REPO + "/actions/runs/{run_id}/rerun-failed-jobs")
    def rerun(self, request: Request) -> Reply:
        self.need(request, "actions")
        run = self._run(request)
        if run["status"] != "completed":
            return message("This workflow is already running", 403)
        run.update(status="queued", conclusion=None, run_attempt=run["run_attempt"] + 1)
        self.requeue(run["id"])
        return Reply({}, 201)
