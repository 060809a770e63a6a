"""What the loopback GitLab remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

PROJECT_ID = 4711
# What a job token may do, from the documentation of CI_JOB_TOKEN.
JOB_TOKEN_MAY = {
    ("GET", "/projects/{id}/repository/commits/{sha}/merge_requests"),
    ("GET", "/projects/{id}/merge_requests"),
    ("GET", "/projects/{id}/merge_requests/{iid}"),
    ("GET", "/projects/{id}/merge_requests/{iid}/notes"),
}
ROLES = ("guest", "reporter", "developer", "maintainer")
NEEDS_DEVELOPER = ("/statuses/", "/merge", "/rebase", "/retry", "/cancel")


@dataclass
class Account:
    """Who a token belongs to and what it may do."""

    username: str
    scopes: tuple[str, ...] = ("api",)
    role: str = "maintainer"
    job: bool = False


@dataclass
class MergeRequest:
    iid: int
    source: str
    target: str
    title: str
    description: str = ""
    author: str = "ada"
    draft: bool = False
    state: str = "opened"
    squash: bool = False
    auto_merge: bool = False
    checking: int = 0
    rebasing: int = 0
    merge_error: str | None = None
    source_project: int = PROJECT_ID
    fork_commit: str | None = None
    merge_commit: str | None = None


@dataclass
class Note:
    id: int
    body: str
    author: str
    noteable: tuple[str, str]
    system: bool = False
    discussion: str = ""
    time: float = 0
    updated: float = 0


@dataclass
class Pipeline:
    id: int
    sha: str
    ref: str
    status: str = "running"
    polls_until_stopped: int = 0
    history: list[str] = field(default_factory=list)
