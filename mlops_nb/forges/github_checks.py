"""Check runs on GitHub, with annotations at lines of files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from mlops_nb.forges.base import Annotation, Check, PermissionMissing, PostedCheck, RequestRefused
from mlops_nb.forges.client import PER_PAGE, ForgeClient, part
from mlops_nb.forges.lost import once

SUMMARY_CHARACTERS: Final = 65_535
ANNOTATIONS_A_CALL: Final = 50
_MAX_MESSAGE = 60_000  # GitHub takes 64 KB
_MAX_TITLE = 255


def set_check(client: ForgeClient, base: str, check: Check, id: str | None, *, fallback_url: str) -> PostedCheck:
    """Create a check run, or update the one with this id.

    Args:
        base: The repository's path in the API.
        fallback_url: Where the check is seen, if GitHub does not say.

    Raises:
        RequestRefused: If the summary is too long.
        PermissionMissing: For tokens that are no App's, besides the usual reasons.
    """
    if len(check.summary) > SUMMARY_CHARACTERS:
        raise RequestRefused(
            f"The summary of the check '{check.name}' has {len(check.summary):,} characters, and GitHub takes {SUMMARY_CHARACTERS:,}.",
            hint="Shorten it, or link to the whole of it.",
            status=422,
        )
    firsts = range(0, max(1, len(check.annotations)), ANNOTATIONS_A_CALL)
    batches = [check.annotations[first : first + ANNOTATIONS_A_CALL] for first in firsts]
    sent: dict[str, Any] = {"name": check.name, "status": check.status, "output": _output(check, batches[0])}
    sent |= {"details_url": check.details_url} if check.details_url else {}
    sent |= {"conclusion": check.conclusion} if check.conclusion else {}
    what = f"set the check '{check.name}' on commit {check.commit[:12]}"
    try:
        item = _update(client, base, id, sent, what) if id is not None else _create(client, base, check, sent, what)
        for batch in batches[1:]:
            _update(client, base, str(item["id"]), {"output": _output(check, batch)}, what)
    except PermissionMissing as error:
        if "GitHub App" in error.message:
            error.hint = "Only Apps may set checks: use the workflow's GITHUB_TOKEN with 'permissions: checks: write', or an App's token."
        raise
    return PostedCheck(id=str(item["id"]), url=item.get("html_url") or fallback_url)


def _update(client: ForgeClient, base: str, id: str, sent: dict[str, Any], what: str) -> dict[str, Any]:
    """Update a check run. Annotations add up, so that with them a lost answer is looked up before trying again."""
    path = f"{base}/check-runs/{part(id)}"
    annotations = len(sent["output"].get("annotations", ()))
    if not annotations:
        return dict(client.patch(path, sent, what=what))
    before = _annotations(client.get(path, what=what))

    def arrived() -> dict[str, Any] | None:
        item = dict(client.get(path, what=what))
        return item if _annotations(item) >= before + annotations else None

    return once(lambda: dict(client.send("PATCH", path, what=what, body=sent).json()), arrived)


def _annotations(item: dict[str, Any]) -> int:
    return int((item.get("output") or {}).get("annotations_count") or 0)


def _create(client: ForgeClient, base: str, check: Check, sent: dict[str, Any], what: str) -> dict[str, Any]:
    """Create a check run with a mark of our own, by which it is found where the answer is lost."""
    mark = uuid.uuid4().hex
    body = {**sent, "head_sha": check.commit, "external_id": mark}

    def made() -> dict[str, Any] | None:
        listed = client.pages(
            f"{base}/commits/{part(check.commit)}/check-runs",
            what=f"look for the check '{check.name}'",
            params={"check_name": check.name, "filter": "all", "per_page": PER_PAGE},
            items="check_runs",
        )
        return next((dict(item) for item in listed if item.get("external_id") == mark), None)

    return once(lambda: dict(client.post(f"{base}/check-runs", body, what=what)), made)


def _output(check: Check, annotations: Sequence[Annotation]) -> dict[str, Any]:
    listed = [
        {
            "path": one.path,
            "start_line": max(1, one.line),
            "end_line": max(1, one.line, one.end_line or 1),
            "annotation_level": one.level,
            "message": one.message[:_MAX_MESSAGE] or "(no message)",
            **({"title": one.title[:_MAX_TITLE]} if one.title else {}),
        }
        for one in annotations
    ]
    return {"title": check.title or check.name, "summary": check.summary, **({"annotations": listed} if listed else {})}
