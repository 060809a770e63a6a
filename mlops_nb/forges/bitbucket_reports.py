"""Checks on Bitbucket Cloud: a build status, and a Code Insights report with annotations at lines."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from mlops_nb.forges.base import Annotation, Check, ForgeNotFound, PostedCheck
from mlops_nb.forges.client import ForgeClient, part
from mlops_nb.forges.context import Context

KEY_CHARACTERS: Final = 40
LINE_CHARACTERS: Final = 255
SUMMARY_CHARACTERS: Final = 450
DETAILS_CHARACTERS: Final = 2000
BATCH: Final = 100
ANNOTATIONS: Final = 1000
"""What a report holds; the rest is left out, and its details say so."""
_STATES: Final = {
    **dict.fromkeys(("queued", "in_progress"), ("INPROGRESS", "PENDING")),
    **dict.fromkeys(("success", "neutral", "skipped"), ("SUCCESSFUL", "PASSED")),
    **dict.fromkeys(("failure", "timed_out", "action_required"), ("FAILED", "FAILED")),
    "cancelled": ("STOPPED", "FAILED"),
}
_SEVERITIES: Final = {"failure": "HIGH", "warning": "MEDIUM", "notice": "LOW"}


def key_of(name: str) -> str:
    """Return what identifies a check on a commit: its name, or what is short enough and of this name only."""
    if 0 < len(name) <= KEY_CHARACTERS and name.isascii() and name.isprintable():
        return name
    return f"mlops-{sha256(name.encode()).hexdigest()[:32]}"


class Reports:
    """Sets checks of one repository."""

    def __init__(self, client: ForgeClient, context: Context, base: str, web_url: str) -> None:
        self._client, self._context, self._base, self._web_url = client, context, base, web_url

    def set(self, check: Check, *, is_update: bool) -> PostedCheck:
        """Set status and report. Those that complete or update one take away the annotations of before."""
        commit, key = f"{self._base}/commit/{part(check.commit)}", key_of(check.name)
        state, result = _STATES[check.conclusion or check.status]
        url = next((one for one in (check.details_url, self._context.run_url) if one and one.startswith(("http://", "https://"))), None)
        url = url or f"{self._web_url}/commits/{check.commit}"
        what = f"set the check '{check.name}' of commit {check.commit[:12]}"
        status = {"key": key, "state": state, "name": _cut(check.name, LINE_CHARACTERS), "url": url}
        line = " ".join(check.title.split())
        # The same key again replaces what is there, so it may be repeated.
        self._client.post(f"{commit}/statuses/build", {**status, "description": _cut(line, LINE_CHARACTERS)}, what=what, repeatable=True)
        report = f"{commit}/reports/mlops-{sha256(check.name.encode()).hexdigest()[:24]}"
        if is_update or check.status == "completed":
            with suppress(ForgeNotFound):  # there is none yet
                self._client.delete(report, what=what)
        self._client.put(report, self._report(check, result, url), what=what)
        annotations = [_annotation(one, index) for index, one in enumerate(check.annotations[:ANNOTATIONS])]
        for start in range(0, len(annotations), BATCH):
            self._client.post(f"{report}/annotations", annotations[start : start + BATCH], what=what, repeatable=True)
        return PostedCheck(id=key, url=url)

    def _report(self, check: Check, result: str, url: str) -> dict[str, Any]:
        left_out = len(check.annotations) - ANNOTATIONS
        note = f" ({left_out:,} more annotations are left out.)" if left_out > 0 else ""
        details = _cut(check.summary.strip() or check.title or check.name, DETAILS_CHARACTERS - len(note)) + note
        title = _cut(f"{check.name}: {check.title}" if check.title and check.title != check.name else check.name, SUMMARY_CHARACTERS)
        sent = {"title": title, "details": details, "report_type": "TEST", "reporter": "mlops-nb", "result": result}
        return {**sent, "link": url} if len(url) <= SUMMARY_CHARACTERS else sent


def _annotation(one: Annotation, index: int) -> dict[str, Any]:
    whole = " ".join(f"{one.title}: {one.message}".split() if one.title else one.message.split()) or one.level
    sent: dict[str, Any] = {
        "external_id": f"mlops-{index:04}",
        "annotation_type": "BUG" if one.level == "failure" else "CODE_SMELL",
        "path": one.path[:DETAILS_CHARACTERS],
        "line": max(1, one.line),
        "summary": _cut(whole, SUMMARY_CHARACTERS),
        "severity": _SEVERITIES[one.level],
        "result": "FAILED" if one.level == "failure" else "PASSED",
    }
    return (
        {**sent, "details": _cut(one.message, DETAILS_CHARACTERS)}
        if len(whole) > SUMMARY_CHARACTERS or "\n" in one.message.strip()
        else sent
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
