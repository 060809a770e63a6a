"""What a forge (GitHub, GitLab, Bitbucket Cloud) can do for us: one protocol, its records and its errors.

    ForgeError
    ├── ForgeUnreachable     no answer, or a server error that stays; also cut answers to reads
    │   └── OutcomeUnknown   a write was sent and its answer lost: it may have taken effect
    ├── NotAuthenticated     no token, or one that the forge does not accept (401)
    ├── PermissionMissing    the token may not do this (403); `permission` names what it needs
    ├── ForgeNotFound        not there, or hidden from this token (404)
    ├── RequestRefused       the forge refuses what was sent (400, 422): too long, not allowed
    │   └── ForgeConflict    it is there already, or has moved on in between (409)
    ├── RateLimited          too many requests; `retry_at` says when they are welcome again
    └── ForgeNotSupported    this forge has no such ability

Nothing here does I/O or imports a forge's driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from mlops_nb.core.records import Record
from mlops_nb.errors import AlreadyExists, InvalidInput, MlopsError, NotFound, NotSupported, PermissionDenied, StoreUnreachable

ForgeKind = Literal["github", "gitlab", "bitbucket"]
TargetKind = Literal["pr", "commit", "issue"]
CheckStatus = Literal["queued", "in_progress", "completed"]
Conclusion = Literal["success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"]
AnnotationLevel = Literal["notice", "warning", "failure"]
MergeMode = Literal["merge", "rebase", "squash"]
PullRequestState = Literal["open", "closed", "all"]


class Target(Record, frozen=True, kw_only=False):
    """Where a comment goes: the number of a pull request or issue, or the full hash of a commit."""

    kind: TargetKind
    ref: str

    def __str__(self) -> str:
        return {"pr": f"pull request {self.ref}", "commit": f"commit {self.ref[:12]}", "issue": f"issue {self.ref}"}[self.kind]


class Comment(Record, frozen=True, kw_only=True):
    """A comment as the forge has it. `author` compares with `Forge.whoami()`; times are ISO 8601 as the forge gives them."""

    id: str
    body: str
    url: str
    author: str
    target: Target
    created: str = ""
    updated: str = ""


class Annotation(Record, frozen=True, kw_only=True):
    """A remark of a check at a line (1-based) of a file; `path` is relative to the root of the repository."""

    path: str
    line: int
    message: str
    level: AnnotationLevel = "failure"
    end_line: int | None = None
    title: str | None = None


class Check(Record, frozen=True, kw_only=True):
    """A check on a commit: check run (GitHub), commit status (GitLab), Code Insights report (Bitbucket).

    `name` identifies it on the commit; `title` is its first line; `summary` is markdown. A completed check has a
    conclusion and no other has one. `details_url` is where the forge links to.
    """

    name: str
    commit: str
    status: CheckStatus = "completed"
    conclusion: Conclusion | None = None
    title: str = ""
    summary: str = ""
    details_url: str | None = None
    annotations: tuple[Annotation, ...] = ()

    def __post_init__(self) -> None:
        if self.status == "completed" and self.conclusion is None:
            raise InvalidInput(f"The check '{self.name}' is completed but has no conclusion.", hint="Give it one, for example 'success'.")
        if self.status != "completed" and self.conclusion is not None:
            raise InvalidInput(
                f"The check '{self.name}' is {self.status} and cannot have the conclusion '{self.conclusion}' yet.",
                hint="Give a conclusion with the status 'completed' only.",
            )


class PostedCheck(Record, frozen=True, kw_only=True):
    """A check that the forge has; `id` goes back into `Forge.set_check` to update it."""

    id: str
    url: str


class PullRequest(Record, frozen=True, kw_only=True):
    """A pull or merge request. `source` and `target` are branches, `commit` is the head of the source."""

    number: int
    url: str
    source: str
    target: str
    commit: str
    title: str
    body: str = ""
    open: bool = True
    merged: bool = False
    draft: bool = False
    from_fork: bool = False
    author: str = ""


class Merge(Record, frozen=True, kw_only=True):
    """What became of a request to merge: done, or waiting for the checks. `reason` says why it is not as asked."""

    state: Literal["merged", "scheduled"]
    mode: MergeMode
    reason: str | None = None


class AssetFile(Record, frozen=True, kw_only=True):
    """A file to publish. `name` is only for people to read; the forge's place for it comes from its content."""

    name: str
    content: bytes
    mime: str


class Limits(Record, frozen=True, kw_only=True):
    """What the forge takes. Lengths of text in characters, sizes of files in bytes; 0 annotations mean that it shows none."""

    comment_characters: int
    check_summary_characters: int
    check_annotations: int
    asset_bytes: int
    asset_mimes: frozenset[str]


class GitCredentials(Record, frozen=True, kw_only=True):
    """What git asks for at `url`; hand it over by a credential helper, never in an URL, argv or .git/config."""

    url: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"GitCredentials(url={self.url!r}, username={self.username!r}, password=***)"


class ForgeError(MlopsError):
    """Base of the errors of forges. `status` is the HTTP status, where there was an answer."""

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ForgeUnreachable(ForgeError, StoreUnreachable):
    """No answer that helps: network, time-out, or a server error that stayed through the retries."""


class OutcomeUnknown(ForgeUnreachable):
    """The answer to a write was lost, so it may have taken effect; look before doing it again."""


class NotAuthenticated(ForgeError, PermissionDenied):
    """No token, or one that the forge does not accept."""


class PermissionMissing(ForgeError, PermissionDenied):
    """The token may not do this. `permission` is what the forge says it needs, where it does."""

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = 403, permission: str | None = None) -> None:
        super().__init__(message, hint=hint, status=status)
        self.permission = permission


class ForgeNotFound(ForgeError, NotFound):
    """Not there, or hidden from this token."""


class RequestRefused(ForgeError, InvalidInput):
    """The forge refuses what was sent."""


class ForgeConflict(RequestRefused, AlreadyExists):
    """What was to be made is there already, or has moved on in between."""


class RateLimited(ForgeError):
    """Too many requests. `retry_at` is when the forge takes more (seconds since 1970 UTC), where it says so."""

    code = "TEMPORARILY_UNAVAILABLE"

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = 429, retry_at: float | None = None) -> None:
        super().__init__(message, hint=hint, status=status)
        self.retry_at = retry_at


class ForgeNotSupported(ForgeError, NotSupported):
    """This forge, or this repository's plan, has no such ability."""


class Forge(Protocol):
    """One repository on a forge. Every method is one or more HTTP requests and raises `ForgeError`.

    Instances hold one HTTP session and belong to one thread. Lists are complete: all pages are read, lazily where
    an iterator is returned. A write whose answer is lost is looked up and not blindly repeated; where that cannot be
    decided, `OutcomeUnknown` is raised.
    """

    kind: ForgeKind
    repository: str
    """`owner/name`; on GitLab with all groups."""
    web_url: str
    """The repository's page for people, without a slash at the end."""
    limits: Limits

    def whoami(self) -> str:
        """Return the author that comments made with this token have, as `Comment.author` names it."""

    def default_branch(self) -> str:
        """Return the name of the default branch."""

    def branch_commit(self, branch: str) -> str | None:
        """Return the hash of the branch's newest commit, or None where there is no such branch."""

    def commit_url(self, commit: str) -> str:
        """Return the page of a commit, without asking the forge."""

    def pull_request(self, number: int) -> PullRequest:
        """Return one pull request."""

    def pull_requests(
        self, *, source: str | None = None, target: str | None = None, state: PullRequestState = "open"
    ) -> Iterator[PullRequest]:
        """Iterate over the pull requests from and to these branches of this repository, newest first."""

    def pull_requests_of(self, commit: str) -> list[PullRequest]:
        """Return the open pull requests that contain the commit; those whose head it is come first."""

    def create_pull_request(self, *, source: str, target: str, title: str, body: str, draft: bool = False) -> PullRequest:
        """Open a pull request between two branches of this repository; return the open one where there is one."""

    def update_pull_request(self, number: int, *, title: str | None = None, body: str | None = None) -> PullRequest:
        """Change the title or description of a pull request."""

    def merge_pull_request(
        self, number: int, *, mode: MergeMode = "merge", when_checks_pass: bool = True, message: str | None = None
    ) -> Merge:
        """Merge, or let the forge merge as soon as the checks pass; where nothing can be waited for, merge at once and say why.

        Bitbucket cannot merge later: there a build that still runs after two minutes is a refusal.
        """

    def comments(self, target: Target) -> Iterator[Comment]:
        """Iterate over all comments of the target, oldest first."""

    def create_comment(self, target: Target, body: str) -> Comment:
        """Add a comment. A lost answer is looked up, so that no second one appears."""

    def update_comment(self, comment: Comment, body: str) -> Comment:
        """Replace the text of a comment."""

    def delete_comment(self, comment: Comment) -> None:
        """Delete a comment; one that is gone already is no error."""

    def set_check(self, check: Check, id: str | None = None) -> PostedCheck:
        """Create a check, or update the one with this id. On GitHub an update adds its annotations to those that are there."""

    def publish(self, files: Sequence[AssetFile]) -> list[str]:
        """Put files where those who may read the repository, and no others, see them; return their URLs in order.

        Content that is there already is not stored again.
        """

    def rerun(self, run_id: str, *, failed_only: bool = True) -> str:
        """Start a workflow run or pipeline again, cancelling it first where it still runs; return its URL."""

    def git_credentials(self) -> GitCredentials:
        """Return what git needs to fetch and push over HTTPS."""


def find_own_comment(forge: Forge, target: Target, marker: str) -> Comment | None:
    """Return the newest comment that holds the marker and was written with this token's account, or None."""
    me = forge.whoami()
    own = [comment for comment in forge.comments(target) if marker in comment.body and comment.author == me]
    return own[-1] if own else None
