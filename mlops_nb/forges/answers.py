"""What an answer of a forge means: its errors in words that say what was tried, what is missing, and what to do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mlops_nb.forges.base import (
    ForgeConflict,
    ForgeError,
    ForgeKind,
    ForgeNotFound,
    ForgeUnreachable,
    NotAuthenticated,
    OutcomeUnknown,
    PermissionMissing,
    RateLimited,
    RequestRefused,
)
from mlops_nb.forges.tokens import names_for

TITLES: Final[dict[ForgeKind, str]] = {"github": "GitHub", "gitlab": "GitLab", "bitbucket": "Bitbucket"}
SECONDARY_SECONDS = 60.0
"""How long to leave GitHub alone after "secondary rate limit" without a time; its documentation asks for a minute."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MAX_MESSAGE = 500


class Answer:
    """One answer: status, headers (names without regard to case) and the whole body."""

    __slots__ = ("_read", "content", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.status, self.headers, self.content = status, headers, content
        self._read: tuple[Any, ...] = ()

    def json(self) -> Any:
        """Return the body; None where it is empty. ValueError if it is not JSON."""
        if not self._read:
            self._read = (json.loads(self.content) if self.content.strip() else None,)
        return self._read[0]

    def json_or_none(self) -> Any:
        """Return the body, or None where it is not JSON."""
        try:
            return self.json()
        except ValueError:
            return None


def message_of(answer: Answer) -> str:
    """Return what the forge says about the error, in one line."""
    said = list(_said(answer.json_or_none()))
    if not said and "json" not in answer.headers.get("Content-Type", "") and len(answer.content) < 300:
        said = [answer.content.decode(errors="replace")]
    return _CONTROL.sub(" ", "; ".join(dict.fromkeys(one for one in said if one)))[:_MAX_MESSAGE].strip()


def _said(body: Any, depth: int = 0) -> Iterable[str]:
    """Find the texts in GitHub's `message` and `errors`, GitLab's `message` or `error` of any form, Bitbucket's `error`."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, list) and depth < 4:
        for one in body[:5]:
            yield from _said(one, depth + 1)
    elif isinstance(body, dict) and depth < 4:
        if isinstance(body.get("field"), str) and "message" not in body:  # GitHub's validation errors
            yield " ".join(str(body[key]) for key in ("resource", "field", "code") if body.get(key))
        if {"granted", "required"} <= body.keys():  # Bitbucket's scopes, which `permission_of` reads
            return
        texts = [key for key in ("message", "error", "error_description", "detail", "errors") if key in body]
        if texts or depth == 0:
            for key in texts:
                yield from _said(body[key], depth + 1)
        else:  # GitLab: {"message": {"base": ["..."]}}
            for key, value in list(body.items())[:5]:
                yield f"{key}: {'; '.join(_said(value, depth + 1))}"


def wait_asked(answer: Answer, now: float) -> float | None:
    """Return how long the forge asks to be left alone (s), if this answer is a rate limit; else None.

    Headers: `Retry-After`; GitHub's `x-ratelimit-reset`, GitLab's `RateLimit-Reset` (s since 1970 UTC).
    """
    if answer.status not in (403, 429):
        return None
    is_secondary = "rate limit" in message_of(answer).lower() or "abuse" in message_of(answer).lower()
    is_used_up = _header(answer, "X-RateLimit-Remaining", "RateLimit-Remaining") == "0"
    after = retry_after(answer, now)
    if answer.status == 403 and not (is_secondary or is_used_up or after is not None):
        return None
    if after is not None:
        return after
    reset = _header(answer, "X-RateLimit-Reset", "RateLimit-Reset")
    if is_used_up and reset and re.fullmatch(r"\d{9,11}", reset):
        return max(0.0, float(reset) - now) + 1
    return SECONDARY_SECONDS


def retry_after(answer: Answer, now: float) -> float | None:
    """Return the seconds of a `Retry-After` header, given as a number or a date."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError):
        return None


def _header(answer: Answer, *names: str) -> str | None:
    return next((answer.headers[name] for name in names if name in answer.headers), None)


def permission_of(answer: Answer, kind: ForgeKind) -> str | None:
    """Return the permission that the forge says is needed, in its own words, or None."""
    if kind == "github":
        if needed := answer.headers.get("X-Accepted-GitHub-Permissions"):
            return " or ".join(one.strip() for one in needed.split(";")).replace("=", ": ")
        accepted = _set(answer.headers.get("X-Accepted-OAuth-Scopes", ""))
        if accepted and not accepted & _set(answer.headers.get("X-OAuth-Scopes", "")):
            return f"scope {' or '.join(sorted(accepted))}"
        return None
    body = answer.json_or_none()
    if not isinstance(body, dict):
        return None
    if kind == "gitlab":
        scope = body.get("scope")
        return f"scope {scope}" if isinstance(scope, str) else None
    error = body.get("error")
    detail = error.get("detail") if isinstance(error, dict) else None
    required = detail.get("required") if isinstance(detail, dict) else None
    return f"scope {', '.join(map(str, required))}" if isinstance(required, list) and required else None


def _set(header: str) -> set[str]:
    return {one.strip() for one in header.split(",") if one.strip()}


def limited(kind: ForgeKind, what: str, answer: Answer, wait: float, now: float) -> RateLimited:
    """Return the error for a rate limit that is too long to wait for."""
    until = time.strftime("%H:%M:%S UTC", time.gmtime(now + wait))
    return RateLimited(
        f"{TITLES[kind]} takes no more requests from this token for now: could not {what} ({answer.status} {message_of(answer)}).",
        hint=f"It takes them again at {until}, in {_span(wait)}. Run it again then.",
        status=answer.status,
        retry_at=now + wait,
    )


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def error_of(
    kind: ForgeKind, what: str, tried: str, answer: Answer, *, source: str | None, fork_hint: str | None, is_read: bool
) -> ForgeError:
    """Return the error for an answer of 400 and more.

    Args:
        what: What was to be done, as a verb with its object.
        tried: Method and path of the request.
        source: Where the token came from.
        fork_hint: What to do on 403 where the token is one of a fork's run, or None.
        is_read: Whether the request changed nothing.
    """
    said = message_of(answer).removeprefix(f"{answer.status} ")  # GitLab repeats it
    head = f"{TITLES[kind]} did not {what}: {answer.status}{f' {said}' if said else ''} ({tried})."
    token = f"the token from {source}" if source else "no token"
    if answer.status == 401:
        hint = (
            f"It was asked with {token}. Is it whole, not expired, and made for {TITLES[kind]}?"
            if source
            else f"Give --token, or set one of {names_for(kind)}."
        )
        return NotAuthenticated(head, hint=hint, status=401)
    permission = permission_of(answer, kind)
    if answer.status == 403:
        needs = (
            f"It needs the {'' if permission.startswith('scope ') else 'permission '}{permission}; asked with {token}."
            if permission
            else f"It was asked with {token}."
        )
        return PermissionMissing(head, hint=f"{needs} {fork_hint or _grant(kind, source)}", permission=permission)
    if answer.status == 404:
        hint = f"It is not there, or {token} may not see it: {TITLES[kind]} says 'not found' for both."
        hint += f" It needs the permission {permission}." if permission else ""
        return ForgeNotFound(head, hint=hint, status=404)
    if answer.status in (409, 412):
        return ForgeConflict(head, status=answer.status)
    if answer.status < 500:
        return RequestRefused(head, status=answer.status)
    if is_read or answer.status in (501, 505):
        return ForgeUnreachable(head, hint="Try again later; its status page may say more.", status=answer.status)
    return OutcomeUnknown(head, hint="It may have taken effect all the same; look before running it again.", status=answer.status)


def _grant(kind: ForgeKind, source: str | None) -> str:
    if kind == "github":
        if source == "GITHUB_TOKEN":
            return "Add it below 'permissions:' in the workflow."
        return "Give it to the token or App in its settings."
    if kind == "gitlab":
        return "The token needs the scope 'api' and at least the role Developer; a job token may do little more than read."
    return "Give it to the token in its settings."
