"""GitHub, in its cloud and on servers of one's own, by its REST API and, where that lacks something, GraphQL.

Source: docs.github.com/rest; the tests hold its published description.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Unpack
from urllib.parse import quote

from mlops_nb.forges.answers import TITLES
from mlops_nb.forges.base import (
    AssetFile,
    Check,
    Comment,
    ForgeKind,
    ForgeNotFound,
    ForgeUnreachable,
    GitCredentials,
    Limits,
    Merge,
    MergeMode,
    NotAuthenticated,
    PermissionMissing,
    PostedCheck,
    PullRequest,
    PullRequestState,
    RequestRefused,
    Target,
)
from mlops_nb.forges.client import PER_PAGE, ForgeClient, PatienceOptions, part
from mlops_nb.forges.context import Context
from mlops_nb.forges.github_auth import GitHubAuth
from mlops_nb.forges.github_checks import SUMMARY_CHARACTERS, set_check
from mlops_nb.forges.github_images import ENDINGS, ImageBranch
from mlops_nb.forges.github_merging import merge
from mlops_nb.forges.lost import CLOCK_SKEW_SECONDS, fitting, once, poll, same_comment
from mlops_nb.forges.tokens import AppKey, Token

COMMENT_CHARACTERS: Final = 65_536
CANCEL_SECONDS: Final = 120.0
_POLL_SECONDS = 2.0


class GitHub:
    """One repository on GitHub. See `base.Forge` for the contract.

    Args:
        context: Where the repository is.
        token: What to ask with; None asks as nobody, which reads public repositories only.
        patience: Clock, sleep and tell of the client, for `ForgeClient`.
    """

    kind: ForgeKind = "github"

    def __init__(self, context: Context, token: Token | AppKey | None, **patience: Unpack[PatienceOptions]) -> None:
        self.repository = context.repository
        self.web_url = f"{context.server_url}/{context.repository}"
        self._owner = context.repository.split("/")[0]
        self._auth = GitHubAuth(token, context.repository)
        source = token.source if token else None
        self.client = ForgeClient("github", context.api_url, self._auth.headers, source=source, fork_hint=fork_hint(context), **patience)
        self._auth.attach(self.client)
        self._base = "/repos/" + "/".join(part(each) for each in context.repository.split("/"))
        self.limits = Limits(
            comment_characters=COMMENT_CHARACTERS,
            check_summary_characters=SUMMARY_CHARACTERS,
            check_annotations=500,
            asset_bytes=10 << 20,
            asset_mimes=frozenset(ENDINGS),
        )

    def whoami(self) -> str:
        """Return the login of the token's account; that of an App ends in `[bot]`."""
        return self._login

    @cached_property
    def _login(self) -> str:
        if not self._auth.has_token:
            raise NotAuthenticated("GitHub was asked who we are, without a token.", hint="Set GITHUB_TOKEN, or give --token.")
        try:
            login = str(self.graphql("query { viewer { login } }", {}, what="say whose token this is")["viewer"]["login"])
        except (PermissionMissing, ForgeNotFound, RequestRefused, KeyError, TypeError):
            # Some servers of one's own have GraphQL closed; Apps have no REST call for it.
            if self._auth.is_app:
                return "github-actions[bot]" if self._auth.source == "GITHUB_TOKEN" else self._app_login()
            return str(self.client.get("/user", what="say whose token this is")["login"])
        return f"{login}[bot]" if self._auth.is_app and not login.endswith("[bot]") else login

    def _app_login(self) -> str:
        raise PermissionMissing(
            "GitHub did not say which App this token is of.",
            hint="Its GraphQL API must be open to the token, for comments to be found again.",
        )

    def graphql(self, query: str, variables: dict[str, Any], *, what: str, repeatable: bool = True) -> dict[str, Any]:
        """Return the data of a GraphQL request; raises `RequestRefused` with GitHub's words where it has errors."""
        base = self.client.api_url
        url = base.removesuffix("/v3") + "/graphql" if base.endswith("/api/v3") else f"{base}/graphql"
        answer = self.client.send("POST", url, what=what, body={"query": query, "variables": variables}, repeatable=repeatable)
        body = answer.json_or_none()
        if not isinstance(body, dict):
            raise ForgeUnreachable(f"GitHub gave no answer that can be read when asked to {what}.", hint=f"Is {base} its API?")
        if body.get("errors"):
            said = "; ".join(str(one.get("message", one) if isinstance(one, dict) else one) for one in body["errors"])
            raise RequestRefused(f"GitHub did not {what}: {said[:500]}.")
        data = body.get("data")
        return data if isinstance(data, dict) else {}

    @cached_property
    def _about(self) -> dict[str, Any]:
        return dict(self.client.get(self._base, what=f"describe {self.repository}"))

    def default_branch(self) -> str:
        """Return the name of the default branch."""
        return str(self._about["default_branch"])

    def branch_commit(self, branch: str) -> str | None:
        """Return the hash of the branch's newest commit, or None where there is no such branch."""
        try:
            found = self.client.get(f"{self._base}/git/ref/heads/{quote(branch)}", what=f"look up the branch {branch}")
        except ForgeNotFound:
            return None
        except RequestRefused as refusal:
            if refusal.status == 409:  # the repository is empty
                return None
            raise
        return str(found["object"]["sha"])

    def commit_url(self, commit: str) -> str:
        """Return the page of a commit, without asking."""
        return f"{self.web_url}/commit/{part(commit)}"

    def pull_request(self, number: int) -> PullRequest:
        """Return one pull request."""
        return self._pull_request(self.client.get(f"{self._base}/pulls/{number}", what=f"show pull request {number}"))

    def _pull_request(self, item: dict[str, Any]) -> PullRequest:
        head, base = item["head"], item["base"]
        source = (head.get("repo") or {}).get("full_name")
        return PullRequest(
            number=item["number"],
            url=item["html_url"],
            source=head["ref"],
            target=base["ref"],
            commit=head["sha"],
            title=item["title"],
            body=item.get("body") or "",
            open=item["state"] == "open",
            merged=bool(item.get("merged_at")),
            draft=bool(item.get("draft")),
            from_fork=source is None or source.casefold() != base["repo"]["full_name"].casefold(),
            author=(item.get("user") or {}).get("login", ""),
        )

    def pull_requests(
        self, *, source: str | None = None, target: str | None = None, state: PullRequestState = "open"
    ) -> Iterator[PullRequest]:
        """Iterate over pull requests, newest first; `owner:branch` as the source is a fork's branch."""
        head = None if source is None else source if ":" in source else f"{self._owner}:{source}"
        params = {"state": state, "head": head, "base": target, "sort": "created", "direction": "desc", "per_page": PER_PAGE}
        for item in self.client.pages(f"{self._base}/pulls", what="list pull requests", params=params):
            yield self._pull_request(item)

    def pull_requests_of(self, commit: str) -> list[PullRequest]:
        """Return the open pull requests that contain the commit; those whose head it is come first."""
        path = f"{self._base}/commits/{part(commit)}/pulls"
        what = f"list the pull requests of commit {commit[:12]}"
        try:
            listed = [self._pull_request(item) for item in self.client.pages(path, what=what, params={"per_page": PER_PAGE})]
        except RequestRefused:  # 422: no such commit here, as for one that is not pushed
            return []
        return sorted((one for one in listed if one.open), key=lambda one: one.commit != commit)

    def create_pull_request(self, *, source: str, target: str, title: str, body: str, draft: bool = False) -> PullRequest:
        """Open a pull request, or return the open one between these branches."""
        sent = {"head": source, "base": target, "title": title, "body": body, "draft": draft}
        what = f"open a pull request from {source} to {target}"

        def open_one() -> PullRequest | None:
            return next(self.pull_requests(source=source, target=target), None)

        try:
            return once(lambda: self._pull_request(self.client.post(f"{self._base}/pulls", sent, what=what)), open_one)
        except RequestRefused:
            if (there := open_one()) is not None:
                return there
            raise
        except PermissionMissing as error:
            if "not permitted to create" in error.message:
                error.hint = "Allow it in the repository's settings: Actions, General, 'Allow GitHub Actions to create pull requests'."
            raise

    def update_pull_request(self, number: int, *, title: str | None = None, body: str | None = None) -> PullRequest:
        """Change the title or description of a pull request."""
        changes = {name: value for name, value in (("title", title), ("body", body)) if value is not None}
        return self._pull_request(self.client.patch(f"{self._base}/pulls/{number}", changes, what=f"update pull request {number}"))

    def merge_pull_request(
        self, number: int, *, mode: MergeMode = "merge", when_checks_pass: bool = True, message: str | None = None
    ) -> Merge:
        """Merge as soon as the checks pass, or at once."""
        return merge(self, number, mode=mode, when_checks_pass=when_checks_pass, message=message)

    def merge_now(self, number: int, body: dict[str, Any]) -> None:
        """Send the request to merge."""
        self.client.put(f"{self._base}/pulls/{number}/merge", body, what=f"merge pull request {number}")

    def node_id(self, number: int) -> str:
        """Return the identifier of a pull request in GraphQL."""
        return str(self.client.get(f"{self._base}/pulls/{number}", what=f"show pull request {number}")["node_id"])

    def _comments_path(self, target: Target) -> str:
        if target.kind == "commit":
            return f"{self._base}/commits/{part(target.ref)}/comments"
        return f"{self._base}/issues/{part(target.ref)}/comments"

    def _comment_path(self, comment: Comment) -> str:
        return f"{self._base}/{'comments' if comment.target.kind == 'commit' else 'issues/comments'}/{part(comment.id)}"

    def _comment(self, item: dict[str, Any], target: Target) -> Comment:
        return Comment(
            id=str(item["id"]),
            body=item.get("body") or "",
            url=item["html_url"],
            author=(item.get("user") or {}).get("login", ""),
            target=target,
            created=item["created_at"],
            updated=item["updated_at"],
        )

    def comments(self, target: Target, *, since: str | None = None) -> Iterator[Comment]:
        """Iterate over all comments, oldest first; `since` (ISO 8601) leaves out what is older, on pull requests and issues."""
        params = {"per_page": PER_PAGE, "since": since if target.kind != "commit" else None}
        for item in self.client.pages(self._comments_path(target), what=f"list the comments of {target}", params=params):
            yield self._comment(item, target)

    def create_comment(self, target: Target, body: str) -> Comment:
        """Add a comment; where the answer is lost, look for it before adding it again."""
        sent = {"body": fitting(body, COMMENT_CHARACTERS, TITLES["github"])}
        path, what, begun = self._comments_path(target), f"add a comment to {target}", self.client.clock()
        since = datetime.fromtimestamp(begun - CLOCK_SKEW_SECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return once(
            lambda: self._comment(self.client.post(path, sent, what=what), target),
            lambda: same_comment(self.comments(target, since=since), self.whoami(), body, begun),
        )

    def update_comment(self, comment: Comment, body: str) -> Comment:
        """Replace the text of a comment."""
        sent = {"body": fitting(body, COMMENT_CHARACTERS, TITLES["github"])}
        item = self.client.patch(self._comment_path(comment), sent, what=f"update the comment on {comment.target}")
        return self._comment(item, comment.target)

    def delete_comment(self, comment: Comment) -> None:
        """Delete a comment; one that is gone already is no error."""
        try:
            self.client.delete(self._comment_path(comment), what=f"delete the comment on {comment.target}")
        except ForgeNotFound:
            return

    def set_check(self, check: Check, id: str | None = None) -> PostedCheck:
        """Create a check run, or update the one with this id; annotations go in batches and add to those that are there."""
        return set_check(self.client, self._base, check, id, fallback_url=self.commit_url(check.commit))

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Commit images to the branch `mlops-reports` and return their URLs at that commit."""
        return ImageBranch(self.client, self._base, self.web_url, self.limits).publish(files)

    def rerun(self, run_id: str, *, failed_only: bool = True) -> str:
        """Start a workflow run again, the failed and cancelled jobs or all; one that still runs is cancelled first."""
        path = f"{self._base}/actions/runs/{part(run_id)}"
        run = self.client.get(path, what=f"show the workflow run {run_id}")
        if run["status"] != "completed":
            run = self._cancelled(path, run_id)
        what = f"run {'the failed jobs of ' if failed_only else ''}workflow run {run_id} again"
        verb = "rerun-failed-jobs" if failed_only else "rerun"

        def begun_again() -> bool | None:
            now = self.client.get(path, what=f"show the workflow run {run_id}")
            return True if now.get("run_attempt", 1) != run.get("run_attempt", 1) or now["status"] != "completed" else None

        once(lambda: self.client.post(f"{path}/{verb}", what=what), begun_again)
        return str(run["html_url"])

    def _cancelled(self, path: str, run_id: str) -> dict[str, Any]:
        try:
            self.client.post(f"{path}/cancel", what=f"cancel the workflow run {run_id}", repeatable=True)
        except RequestRefused as refusal:
            if refusal.status != 409:  # it has come to its end meanwhile
                raise
        run: dict[str, Any] = {}

        def completed() -> dict[str, Any] | None:
            run.update(self.client.get(path, what=f"show the workflow run {run_id}"))
            return run if run["status"] == "completed" else None

        if poll(self.client, CANCEL_SECONDS, completed, every=_POLL_SECONDS) is None:
            raise ForgeUnreachable(
                f"The workflow run {run_id} is still {run['status']} {CANCEL_SECONDS:.0f} s after it was cancelled.",
                hint=f"Look at {run['html_url']}, and run it again from there when it has ended.",
            )
        return run

    def git_credentials(self) -> GitCredentials:
        """Return what git needs to fetch and push over HTTPS."""
        secret = self._auth.reveal()
        if secret is None:
            raise NotAuthenticated("Git needs a token for GitHub, and there is none.", hint="Set GITHUB_TOKEN, or give --token.")
        return GitCredentials(url=f"{self.web_url}.git", username="x-access-token", password=secret)


def fork_hint(context: Context) -> str | None:
    """Return what to do about a 403 in a run whose token is read-only by design, or None."""
    if context.actor == "dependabot[bot]":
        return (
            "This run is Dependabot's, whose token may only read: post from a workflow on 'workflow_run', as `mlops-nb ci init` writes it."
        )
    if context.from_fork and context.event not in ("workflow_run", "pull_request_target"):
        return (
            "The pull request comes from a fork, whose runs get a token that may only read: post from a workflow on 'workflow_run', "
            "as `mlops-nb ci init` writes it."
        )
    return None
