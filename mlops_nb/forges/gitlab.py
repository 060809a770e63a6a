"""GitLab, at gitlab.com or at home, below a sub-path or over http too: REST API v4.

Source: docs.gitlab.com/api. What it cannot do, and what is done instead:

- Comments of a commit cannot be changed, but notes of the commit's discussions can: ours are such notes.
- A commit status has one line of text and no annotations. Findings at lines appear in a merge request only from the CI
  artifact `codequality`, which a job uploads and no API takes.
- A status that keeps its state keeps its text: GitLab refuses `running` after `running`.
- A job token (`CI_JOB_TOKEN`) may read merge requests and their notes, and write none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final, Unpack
from urllib.parse import urlsplit

from mlops_nb.forges import gitlab_merging, gitlab_pipelines
from mlops_nb.forges.base import (
    AssetFile,
    Check,
    Comment,
    ForgeConflict,
    ForgeKind,
    ForgeNotFound,
    GitCredentials,
    Limits,
    Merge,
    MergeMode,
    NotAuthenticated,
    PermissionMissing,
    PostedCheck,
    PullRequest,
    PullRequestState,
    Target,
)
from mlops_nb.forges.client import PER_PAGE, ForgeClient, PatienceOptions, part
from mlops_nb.forges.context import Context
from mlops_nb.forges.lost import fitting, once, same_comment
from mlops_nb.forges.tokens import Token

IMAGES: Final = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg"}
LIMITS: Final = Limits(
    comment_characters=1_000_000,
    check_summary_characters=gitlab_pipelines.DESCRIPTION_CHARACTERS,
    check_annotations=0,
    asset_bytes=100 * 1024 * 1024,
    asset_mimes=frozenset(IMAGES),
)
TITLE_CHARACTERS: Final = 255
DESCRIPTION_CHARACTERS: Final = 1_048_576
_STATES: Final[dict[PullRequestState, str]] = {"open": "opened", "closed": "closed", "all": "all"}


def headers(token: Token | None) -> Callable[[], Mapping[str, str]]:
    """Return what gives the headers that authenticate with a token."""
    if token is None:
        return dict
    if token.kind == "gitlab-oauth":
        return lambda: {"Authorization": f"Bearer {token.secret.reveal()}"}
    name = {"gitlab-job": "JOB-TOKEN", "gitlab-deploy": "Deploy-Token"}.get(token.kind, "PRIVATE-TOKEN")
    return lambda: {name: token.secret.reveal()}


class GitLab:
    """One project on GitLab. See `base.Forge` for the contract.

    Args:
        context: Where the project is.
        token: What to ask with; None asks as nobody, which reads public projects only.
        patience: Clock, sleep and tell of the client, for `ForgeClient`.
    """

    kind: ForgeKind = "gitlab"
    limits = LIMITS

    def __init__(self, context: Context, token: Token | None, **patience: Unpack[PatienceOptions]) -> None:
        self.repository = context.repository
        self.web_url = f"{context.server_url}/{context.repository}"
        source = token.source if token else None
        self.client = ForgeClient("gitlab", context.api_url, headers(token), source=source, fork_hint=fork_hint(context), **patience)
        self._token = token
        self._project = f"projects/{part(context.repository)}"
        self._me: str | None = None
        self._published: dict[str, str] = {}
        self._statuses = gitlab_pipelines.Statuses(self.client, context, self._project, self.web_url)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Say what a job token may not do, for which GitLab only says that nobody is there."""
        try:
            yield
        except NotAuthenticated as error:
            if self._token is None or self._token.kind != "gitlab-job":
                raise
            raise PermissionMissing(
                f"GitLab did not {what}: a job token may not do it (the token from {self._token.source}).",
                hint="Make a project access token with the scope 'api' and the role Developer, and put it into the masked "
                "CI/CD variable GITLAB_TOKEN.",
                status=error.status,
                permission="scope api",
            ) from error

    def whoami(self) -> str:
        """Return the user name; project and group access tokens have one of their own."""
        if self._me is None:
            what = "tell whose token it is"
            with self._explained(what):
                self._me = str(self.client.get("user", what=what)["username"])
        return self._me

    def default_branch(self) -> str:
        found = self.client.get(self._project, what=f"show the project {self.repository}")
        branch = found.get("default_branch")
        if not branch:
            raise ForgeNotFound(f"The project {self.repository} has no default branch: it is empty.", hint="Push a first commit.")
        return str(branch)

    def branch_commit(self, branch: str) -> str | None:
        try:
            found = self.client.get(f"{self._project}/repository/branches/{part(branch)}", what=f"show the branch {branch}")
        except ForgeNotFound as error:
            if "404 Branch Not Found" not in error.message:
                raise
            return None
        return str(found["commit"]["id"])

    def commit_url(self, commit: str) -> str:
        return f"{self.web_url}/-/commit/{commit}"

    # Merge requests

    def pull_request(self, number: int) -> PullRequest:
        found = self.client.get(f"{self._project}/merge_requests/{number}", what=f"show the merge request !{number}")
        return _merge_request(found)

    def pull_requests(
        self, *, source: str | None = None, target: str | None = None, state: PullRequestState = "open"
    ) -> Iterator[PullRequest]:
        """Iterate over merge requests; a source `owner:branch` finds those of forks, for no branch has a colon in its name."""
        of_fork = source is not None and ":" in source
        branch = source.rpartition(":")[2] if source is not None else None
        params = {"state": _STATES[state], "source_branch": branch, "target_branch": target, "per_page": PER_PAGE}
        for found in self.client.pages(f"{self._project}/merge_requests", what="list merge requests", params=params):
            one = _merge_request(found)
            if source is None or one.from_fork == of_fork:
                yield one

    def pull_requests_of(self, commit: str) -> list[PullRequest]:
        path = f"{self._project}/repository/commits/{part(commit)}/merge_requests"
        what = f"list the merge requests of commit {commit[:12]}"
        try:
            found = [_merge_request(one) for one in self.client.pages(path, what=what, params={"state": "opened", "per_page": PER_PAGE})]
        except ForgeNotFound as error:
            if "404 Commit Not Found" not in error.message:
                raise
            return []  # the merge of a merged-results pipeline, or a commit that was not pushed
        return sorted((one for one in found if one.open), key=lambda one: one.commit != commit)

    def create_pull_request(self, *, source: str, target: str, title: str, body: str, draft: bool = False) -> PullRequest:
        title = f"Draft: {title}" if draft else title
        sent = {"source_branch": source, "target_branch": target, "title": title[:TITLE_CHARACTERS], "description": body}
        what = f"open a merge request from {source} to {target}"

        def create() -> PullRequest:
            with self._explained(what):
                return _merge_request(self.client.post(f"{self._project}/merge_requests", sent, what=what))

        def find() -> PullRequest | None:
            return next((one for one in self.pull_requests(source=source, target=target) if not one.from_fork), None)

        try:
            return once(create, find)
        except ForgeConflict:
            existing = find()
            if existing is None:
                raise
            return existing

    def update_pull_request(self, number: int, *, title: str | None = None, body: str | None = None) -> PullRequest:
        sent = {"title": title and title[:TITLE_CHARACTERS], "description": body}
        what = f"change the merge request !{number}"
        with self._explained(what):
            changed = {name: value for name, value in sent.items() if value is not None}
            return _merge_request(self.client.put(f"{self._project}/merge_requests/{number}", changed, what=what))

    def merge_pull_request(
        self, number: int, *, mode: MergeMode = "merge", when_checks_pass: bool = True, message: str | None = None
    ) -> Merge:
        """Merge, or let GitLab merge when the pipeline succeeds.

        Waits while GitLab makes up its mind whether the merge request can be merged at all, which it refuses to answer in
        the first seconds. `rebase` rebases first; whether a merge commit follows is a setting of the project.
        """
        return gitlab_merging.merge(
            self.client, self._project, number, self._explained, mode=mode, when_checks_pass=when_checks_pass, message=message
        )

    # Comments

    def comments(self, target: Target) -> Iterator[Comment]:
        """Iterate over what people and bots wrote; GitLab's own notes on what happened are left out."""
        path, what = self._notes(target), f"list the comments of {target}"
        if target.kind == "commit":
            for discussion in self.client.pages(path, what=what, params={"per_page": PER_PAGE}):
                yield from (self._comment(note, target, discussion["id"]) for note in discussion["notes"] if not note["system"])
            return
        params = {"sort": "asc", "order_by": "created_at", "per_page": PER_PAGE}
        for note in self.client.pages(path, what=what, params=params):
            if not note["system"]:
                yield self._comment(note, target)

    def create_comment(self, target: Target, body: str) -> Comment:
        what, sent = f"add a comment to {target}", {"body": fitting(body, LIMITS.comment_characters, "GitLab")}
        begun = self.client.clock()

        def create() -> Comment:
            with self._explained(what):
                made = self.client.post(self._notes(target), sent, what=what)
            return self._comment(made["notes"][0], target, made["id"]) if target.kind == "commit" else self._comment(made, target)

        return once(create, lambda: same_comment(self.comments(target), self.whoami(), body, begun))

    def update_comment(self, comment: Comment, body: str) -> Comment:
        what, sent = f"change a comment of {comment.target}", {"body": fitting(body, LIMITS.comment_characters, "GitLab")}
        with self._explained(what):
            changed = self.client.put(self._note(comment), sent, what=what)
        return self._comment(changed, comment.target, comment.id.rpartition("/")[0])

    def delete_comment(self, comment: Comment) -> None:
        what = f"delete a comment of {comment.target}"
        try:
            with self._explained(what):
                self.client.delete(self._note(comment), what=what)
        except ForgeNotFound:
            return  # gone already

    def _notes(self, target: Target) -> str:
        if target.kind == "commit":
            return f"{self._project}/repository/commits/{part(target.ref)}/discussions"
        return f"{self._project}/{'merge_requests' if target.kind == 'pr' else 'issues'}/{part(target.ref)}/notes"

    def _note(self, comment: Comment) -> str:
        discussion, _, note = comment.id.rpartition("/")
        return f"{self._notes(comment.target)}/{f'{part(discussion)}/notes/' if discussion else ''}{part(note)}"

    def _comment(self, note: Mapping[str, Any], target: Target, discussion: str = "") -> Comment:
        page = {"pr": "merge_requests", "issue": "issues", "commit": "commit"}[target.kind]
        return Comment(
            id=f"{discussion}/{note['id']}" if discussion else str(note["id"]),
            body=str(note.get("body") or ""),
            url=f"{self.web_url}/-/{page}/{target.ref}#note_{note['id']}",
            author=str((note.get("author") or {}).get("username", "")),
            target=target,
            created=str(note.get("created_at") or ""),
            updated=str(note.get("updated_at") or ""),
        )

    # Checks, files, pipelines

    def set_check(self, check: Check, id: str | None = None) -> PostedCheck:
        """Set a commit status. It has one line: the title and, where there is room, that there is more in the report.

        `id` is not needed: GitLab knows a status by its name on the commit.
        """
        with self._explained(f"set the status '{check.name}'"):
            return self._statuses.set(check)

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Upload to the project; return relative URLs, which GitLab's markdown of this project makes whole.

        Whoever may read the project may see them (and, by GitLab's default for images, who has the address). GitLab does
        not tell the addresses of earlier uploads, so only within one session does the same content give the same URL.
        """
        return [self._upload(file) for file in files]

    def _upload(self, file: AssetFile) -> str:
        digest = sha256(file.content).hexdigest()
        if digest not in self._published:
            suffix = IMAGES.get(file.mime) or PurePosixPath(file.name).suffix.lstrip(".")[:10] or "bin"
            form = {"file": (f"mlops-{digest[:32]}.{suffix}", file.content, file.mime)}
            what = f"upload {file.name}"
            with self._explained(what):
                answer = self.client.send("POST", f"{self._project}/uploads", what=what, files=form, repeatable=True)
            self._published[digest] = str(answer.json()["url"])
        return self._published[digest]

    def rerun(self, run_id: str, *, failed_only: bool = True) -> str:
        """Retry the failed jobs of a pipeline, or start a new pipeline at the same ref; a running one is cancelled first."""
        with self._explained(f"run the pipeline {run_id} again"):
            return gitlab_pipelines.rerun(self.client, self._project, run_id, failed_only=failed_only)

    def git_credentials(self) -> GitCredentials:
        if self._token is None:
            raise NotAuthenticated(f"There is no token to push to {self.web_url} with.", hint="Set GITLAB_TOKEN.")
        user = {"gitlab-job": "gitlab-ci-token", "gitlab-deploy": self._token.user or "gitlab-deploy-token"}.get(self._token.kind, "oauth2")
        return GitCredentials(url=f"{self.web_url}.git", username=user, password=self._token.secret.reveal())


def fork_hint(context: Context) -> str | None:
    """Return what to do about a 403 in a fork's pipeline, which does not get the project's variables; or None."""
    if not context.from_fork:
        return None
    return (
        "The merge request comes from a fork, whose pipelines get no token of this project: start the pipeline in this "
        "project (merge request, Pipelines, 'Run pipeline') after a look at the changes, as `mlops-nb ci init` describes it."
    )


def _merge_request(found: Mapping[str, Any]) -> PullRequest:
    state = found.get("state")
    return PullRequest(
        number=int(found["iid"]),
        url=str(found["web_url"]) if urlsplit(str(found["web_url"])).scheme in ("http", "https") else "",
        source=str(found["source_branch"]),
        target=str(found["target_branch"]),
        commit=str(found.get("sha") or ""),
        title=str(found["title"]),
        body=str(found.get("description") or ""),
        open=state in ("opened", "locked"),
        merged=state == "merged",
        draft=bool(found.get("draft")),
        from_fork=found.get("source_project_id") != found.get("target_project_id"),
        author=str((found.get("author") or {}).get("username", "")),
    )
