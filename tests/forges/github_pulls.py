"""Pull requests, merging and GraphQL at the loopback GitHub, and its web side: git over HTTP and raw files."""

from __future__ import annotations

import base64
import re
import subprocess
from typing import Any

from tests.forges.filling import filled
from tests.forges.github_git import REPO, GitData
from tests.forges.github_state import Account, Pull, invalid, message, not_found, now, paged, user
from tests.forges.server import Reply, Request, route

_MERGE_FIELDS = ("id", "mode", "title", "body")


class Pulls(GitData):
    """Attributes that tests may set:

    allows_auto_merge: the repository's setting. required_checks: for each protected branch, the names of checks that must
    have succeeded. actions_may_open_pulls: the setting for workflows. graphql_is_open: whether GraphQL answers at all.
    """

    repository: str
    web_url: str
    pulls: dict[int, Pull]
    checks: dict[int, dict[str, Any]]
    tokens: dict[str, Account]
    allows_auto_merge: bool
    actions_may_open_pulls: bool
    graphql_is_open: bool
    required_checks: dict[str, set[str]]

    def number(self) -> int:
        raise NotImplementedError

    def account(self, request: Request) -> Account | None:
        raise NotImplementedError

    def writer(self, request: Request, permission: str) -> Account:
        raise NotImplementedError

    def known_commit(self, text: str) -> str:
        """Return a full hash, or refuse."""
        sha = self.git.resolve(text) if len(text) >= 40 else None
        if sha is None:
            raise message(f"No commit found for SHA: {text}", 422)
        return sha

    def repository_item(self, name: str | None = None) -> dict[str, Any]:
        name = name or self.repository
        links = {"full_name": name, "name": name.split("/")[1], "owner": user(name.split("/")[0])}
        return filled("github", "full-repository", **links, default_branch=self.git.default_branch, html_url=f"{self.origin}/{name}")

    def pull_item(self, pull: Pull, schema: str) -> dict[str, Any]:
        head = self._head(pull)
        owner = pull.head_repository.split("/")[0]
        return filled(
            *("github", schema),
            id=pull.number,
            node_id=f"PR_{pull.number}",
            number=pull.number,
            state=pull.state,
            title=pull.title,
            body=pull.body,
            user=user(pull.author),
            draft=pull.draft,
            html_url=f"{self.web_url}/pull/{pull.number}",
            merged_at=pull.merged_at,
            head={"ref": pull.source, "sha": head, "label": f"{owner}:{pull.source}", "user": user(owner)}
            | {"repo": self.repository_item(pull.head_repository)},
            base={"ref": pull.target, "sha": self.git.resolve(f"refs/heads/{pull.target}"), "user": user("acme")}
            | {"repo": self.repository_item()},
            **({"merged": pull.merged_at is not None} if schema == "pull-request" else {}),
        )

    def _head(self, pull: Pull) -> str:
        if pull.state == "open" and pull.head_repository == self.repository:
            pull.head = self.git.resolve(f"refs/heads/{pull.source}") or pull.head
        return pull.head

    def _pull(self, request: Request) -> Pull:
        pull = self.pulls.get(int(request.params["pull_number"]))
        if pull is None:
            raise not_found()
        return pull

    @route("GET", REPO + "/pulls")
    def list_pulls(self, request: Request) -> Reply:
        self.need(request, "pull_requests", "read")
        state, head, base = request.one("state", "open"), request.one("head"), request.one("base")
        chosen = [
            self.pull_item(pull, "pull-request-simple")
            for pull in self.pulls.values()
            if state in ("all", pull.state)
            and base in ("", pull.target)
            and head in ("", f"{pull.head_repository.split('/')[0]}:{pull.source}")
        ]
        return paged(request, self.url, chosen[::-1] if request.one("direction", "desc") == "desc" else chosen)

    @route("POST", REPO + "/pulls")
    def create_pull(self, request: Request) -> Reply:
        account = self.writer(request, "pull_requests")
        if account.is_app and not self.actions_may_open_pulls:
            return message("GitHub Actions is not permitted to create or approve pull requests.", 403)
        sent = request.json()
        source, target = sent["head"], sent["base"]
        head, base = self.git.resolve(f"refs/heads/{source}"), self.git.resolve(f"refs/heads/{target}")
        if head is None or base is None:
            return invalid("PullRequest", "head" if head is None else "base", "invalid")
        if any((one.source, one.target, one.state) == (source, target, "open") for one in self.pulls.values()):
            return invalid("PullRequest", "head", f"A pull request already exists for acme:{source}.")
        if self.git.git("rev-list", "--count", f"{base}..{head}") == "0":
            return invalid("PullRequest", "head", f"No commits between {target} and {source}")
        pull = Pull(self.number(), source, target, sent["title"], sent.get("body", ""), account.login, self.repository, head)
        pull.draft = bool(sent.get("draft"))
        self.pulls[pull.number] = pull
        return Reply(self.pull_item(pull, "pull-request"), 201)

    @route("GET", REPO + "/pulls/{pull_number}")
    def get_pull(self, request: Request) -> Reply:
        self.need(request, "pull_requests", "read")
        return Reply(self.pull_item(self._pull(request), "pull-request"))

    @route("PATCH", REPO + "/pulls/{pull_number}")
    def update_pull(self, request: Request) -> Reply:
        self.need(request, "pull_requests")
        pull, sent = self._pull(request), request.json()
        pull.title, pull.body = sent.get("title", pull.title), sent.get("body", pull.body)
        return Reply(self.pull_item(pull, "pull-request"))

    @route("GET", REPO + "/commits/{commit_sha}/pulls")
    def pulls_of_commit(self, request: Request) -> Reply:
        self.need(request, "pull_requests", "read")
        sha = self.known_commit(request.params["commit_sha"])
        # The real one finds none for commits of forks.
        own = [pull for pull in self.pulls.values() if pull.head_repository == self.repository]
        found = [pull for pull in own if self.git.git("merge-base", self._head(pull), sha) == sha]
        if self.git.contains(self.git.default_branch, sha):
            found = [pull for pull in found if pull.merged_at]
        return paged(request, self.url, [self.pull_item(pull, "pull-request-simple") for pull in found])

    # Merging

    @route("PUT", REPO + "/pulls/{pull_number}/merge")
    def merge_pull(self, request: Request) -> Reply:
        self.need(request, "contents")
        pull, sent = self._pull(request), request.json()
        if pull.state != "open" or pull.draft:
            return message("Pull Request is not mergeable", 405)
        if sent.get("sha") and sent["sha"] != self._head(pull):
            return message("Head branch was modified. Review and try the merge again.", 409)
        if waiting := self._waiting(pull):
            return message(f'Required status check "{min(waiting)}" is expected.', 405)
        made = self._merge(pull, sent.get("merge_method", "merge"), sent.get("commit_title"), sent.get("commit_message"))
        return Reply({"sha": made, "merged": True, "message": "Pull Request successfully merged"})

    def _waiting(self, pull: Pull) -> set[str]:
        """Return the required checks that have not succeeded on the head."""
        done = {one["name"] for one in self.checks.values() if one["head_sha"] == self._head(pull) and one["conclusion"] == "success"}
        return self.required_checks.get(pull.target, set()) - done

    def _merge(self, pull: Pull, mode: str, title: str | None, body: str | None) -> str:
        base, head = self.git.resolve(f"refs/heads/{pull.target}") or "", self._head(pull)
        try:
            tree = self.git.git("merge-tree", "--write-tree", base, head).splitlines()[0]
        except subprocess.CalledProcessError:
            raise message("Pull Request has merge conflicts", 405) from None
        parents = ["-p", base, "-p", head] if mode == "merge" else ["-p", base]
        text = "\n\n".join(part for part in (title or f"{pull.title} (#{pull.number})", body) if part)
        made = self.git.git("commit-tree", tree, *parents, "-m", text)
        self.git.git("update-ref", f"refs/heads/{pull.target}", made)
        pull.state, pull.merged_at, pull.automerge = "closed", now(), None
        return made

    def merge_what_waits(self) -> None:
        for pull in self.pulls.values():
            if pull.automerge and pull.state == "open" and not self._waiting(pull):
                self._merge(pull, pull.automerge["mode"].lower(), pull.automerge["title"], pull.automerge["body"])

    # Beside the REST API

    def other(self, request: Request) -> Reply:
        if request.path in ("/graphql", "/api/graphql"):
            try:
                return self._graphql(request)
            except Reply as refusal:
                return refusal
        raw = re.fullmatch(rf"/{self.repository}/raw/([0-9a-f]{{40}})/(.+)", request.path)
        if raw and request.method == "GET":
            content = self.git.read(raw[1], raw[2])
            return not_found() if content is None else Reply(content, 200, {"Content-Type": "application/octet-stream"})
        if request.path.startswith(f"/{self.repository}.git/"):
            return self._git(request)
        return super().other(request)

    def _git(self, request: Request) -> Reply:
        """Answer git itself, to those who give a token as the password."""
        kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
        password = base64.b64decode(encoded).decode().partition(":")[2] if kind == "Basic" else ""
        if password not in self.tokens:
            return Reply(b"", 401, {"WWW-Authenticate": 'Basic realm="GitHub"'})
        path = request.path.removeprefix(f"/{self.repository}.git")
        is_push = "receive-pack" in path or request.one("service") == "git-receive-pack"
        if is_push and not self.tokens[password].may("contents", "write"):
            return Reply(b"Permission denied", 403, {"Content-Type": "text/plain"})
        return self.git.serve(request, path, self.tokens[password].login)

    def _graphql(self, request: Request) -> Reply:
        account = self.account(request)
        if account is None:
            return message("This endpoint requires you to be authenticated.", 401)
        if not self.graphql_is_open:
            return message("Resource not accessible by integration", 403)
        sent = request.json()
        if "viewer" in sent["query"]:
            return Reply({"data": {"viewer": {"login": account.login}}})
        assert "enablePullRequestAutoMerge" in sent["query"], sent["query"]
        assert set(sent["variables"]) <= set(_MERGE_FIELDS), sent["variables"]
        pull = self.pulls[int(sent["variables"]["id"].removeprefix("PR_"))]
        problem = self._no_auto_merge(pull, account)
        if problem:
            error = {"type": "UNPROCESSABLE", "path": ["enablePullRequestAutoMerge"], "message": f"Pull request {problem}"}
            return Reply({"data": {"enablePullRequestAutoMerge": None}, "errors": [error]})
        pull.automerge = sent["variables"]
        return Reply({"data": {"enablePullRequestAutoMerge": {"pullRequest": {"autoMergeRequest": {"enabledAt": now()}}}}})

    def _no_auto_merge(self, pull: Pull, account: Account) -> str | None:
        if not account.may("contents", "write"):
            return "Resource not accessible by integration"
        if not self.allows_auto_merge:
            return "Auto merge is not allowed for this repository"
        if pull.draft:
            return "Pull request is in draft state"
        if pull.target not in self.required_checks:
            return "Protected branch rules not configured for this branch"
        return None if self._waiting(pull) else "Pull request is in clean status"
