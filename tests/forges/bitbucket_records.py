"""What the loopback Bitbucket remembers."""

from __future__ import annotations

import html
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.forges.server import Reply

# The scope of an API token, and of an access token or app password, that a request needs: part of the path, reading, writing.
SCOPES = [
    ("/pipelines-config/runners", ("read:runner:bitbucket", "runner"), ("write:runner:bitbucket", "runner:write")),
    ("/workspaces", ("read:workspace:bitbucket", "account"), ("admin:workspace:bitbucket", "account:write")),
    ("/pullrequests", ("read:pullrequest:bitbucket", "pullrequest"), ("write:pullrequest:bitbucket", "pullrequest:write")),
    ("/pipelines", ("read:pipeline:bitbucket", "pipeline"), ("write:pipeline:bitbucket", "pipeline:write")),
    ("/issues", ("read:issue:bitbucket", "issue"), ("write:issue:bitbucket", "issue:write")),
    ("/repositories", ("read:repository:bitbucket", "repository"), ("write:repository:bitbucket", "repository:write")),
]
EVERY = tuple(scope for _, reading, writing in SCOPES for scope in (reading[1], writing[1]))
EVERY_OF_USERS = tuple(scope for _, reading, writing in SCOPES for scope in (reading[0], writing[0]))


@dataclass
class Account:
    """Who a secret belongs to: `email` for API tokens (Basic), None for access tokens (Bearer)."""

    name: str
    scopes: tuple[str, ...] = EVERY
    email: str | None = None

    @property
    def uuid(self) -> str:
        return "{" + str(uuid.uuid5(uuid.NAMESPACE_URL, self.name)) + "}"


@dataclass
class PullRequest:
    id: int
    source: str
    target: str
    title: str
    description: str = ""
    author: str = "ada"
    draft: bool = False
    state: str = "OPEN"
    fork: str | None = None
    fork_commit: str | None = None
    merge_commit: str | None = None


@dataclass
class Comment:
    id: int
    place: tuple[str, str]
    raw: str
    author: str
    deleted: bool = False
    time: float = 0
    updated: float = 0


@dataclass
class Pipeline:
    uuid: str
    number: int
    target: dict[str, Any]
    state: str = "IN_PROGRESS"
    polls_until_stopped: int = 0
    stopping: bool = False
    result: str = ""


def refused(message: str, status: int, **detail: Any) -> Reply:
    return Reply({"type": "error", "error": {"message": message, **({"detail": detail} if detail else {})}}, status)


@cache
def rendered(raw: str) -> str:
    """Return the HTML of a comment, with raw HTML as text as Bitbucket shows it."""
    import markdown

    return markdown.markdown(html.escape(raw, quote=False), extensions=["tables", "fenced_code"])
