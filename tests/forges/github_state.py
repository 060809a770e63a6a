"""What the loopback GitHub keeps, and its answers where it refuses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tests.forges.filling import filled
from tests.forges.server import Reply, Request

ALL_PERMISSIONS = dict.fromkeys(("issues", "pull_requests", "checks", "contents", "actions", "statuses"), "write")


@dataclass
class Account:
    """Whose a token is, and what it may do: the permissions of an App or fine-grained token, or a classic token's scopes."""

    login: str
    permissions: dict[str, str] = field(default_factory=lambda: dict(ALL_PERMISSIONS))
    scopes: list[str] | None = None

    @property
    def is_app(self) -> bool:
        return self.login.endswith("[bot]")

    def may(self, permission: str, level: str) -> bool:
        if self.scopes is not None:
            return level == "read" or "repo" in self.scopes
        held = self.permissions.get(permission)
        return held == "write" or (held == "read" and level == "read")


@dataclass
class Pull:
    number: int
    source: str
    target: str
    title: str
    body: str
    author: str
    head_repository: str
    head: str
    draft: bool = False
    state: str = "open"
    merged_at: str | None = None
    automerge: dict[str, Any] | None = None


def user(login: str) -> dict[str, Any]:
    kind = "Bot" if login.endswith("[bot]") else "User"
    return filled("github", "simple-user", login=login, type=kind, id=sum(login.encode()))


def now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def message(text: str, status: int, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    return Reply({"message": text, "documentation_url": "https://docs.github.com/rest", "status": str(status), **more}, status, headers)


def not_found() -> Reply:
    return message("Not Found", 404)


def invalid(resource: str, field_name: str, text: str) -> Reply:
    error = {"resource": resource, "code": "custom", "field": field_name, "message": text}
    return message("Validation Failed", 422, errors=[error])


def rate_limited(reset_at: float, status: int = 403) -> Reply:
    """Return the answer to one request too many in this hour."""
    headers = {"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(reset_at))}
    return message("API rate limit exceeded for installation ID 1.", status, headers)


def secondary_limit(retry_after: int | None = None) -> Reply:
    """Return the answer to too many writes at a time."""
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    return message("You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", 403, headers)


def paged(request: Request, url: str, items: list[Any], wrap: str | None = None) -> Reply:
    """Return one page with its `Link` header, thirty items unless asked for up to a hundred."""
    size = max(1, min(100, int(request.one("per_page", "30"))))
    page = max(1, int(request.one("page", "1")))
    last = max(1, -(-len(items) // size))

    def link(number: int, relation: str) -> str:
        query = {name: values[-1] for name, values in request.query.items()} | {"page": str(number)}
        return f'<{url}{request.path}?{urlencode(query)}>; rel="{relation}"'

    links = [link(page + 1, "next"), link(last, "last")] if page < last else []
    links += [link(page - 1, "prev"), link(1, "first")] if page > 1 else []
    chosen = items[(page - 1) * size : page * size]
    body = {"total_count": len(items), wrap: chosen} if wrap else chosen
    return Reply(body, 200, {"Link": ", ".join(links)} if links else {})
