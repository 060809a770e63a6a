"""Merging on GitLab: waits until it knows whether it can merge, rebases, and leaves to it what has to wait for the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from mlops_nb.forges.base import ForgeConflict, ForgeError, Merge, MergeMode, NotAuthenticated, PermissionMissing, RequestRefused
from mlops_nb.forges.client import ForgeClient
from mlops_nb.forges.lost import poll

SETTLE_SECONDS: Final = 60.0
"""How long GitLab may take to know whether a merge request can be merged."""
PIPELINE_SECONDS: Final = 20.0
"""How long the pipeline of a new merge request may take to appear."""
REBASE_SECONDS: Final = 120.0
_UNDECIDED: Final = ("unchecked", "checking", "preparing", "approvals_syncing", "cannot_be_merged_recheck")
_WHY: Final = {
    "blocked_status": "another merge request that it depends on is not merged",
    "broken_status": "it has conflicts or lacks a branch",
    "ci_must_pass": "the project asks for a successful pipeline",
    "ci_still_running": "its pipeline still runs",
    "commits_status": "its source branch does not exist or has no commits",
    "conflict": "it has conflicts",
    "discussions_not_resolved": "threads are not resolved",
    "draft_status": "it is a draft",
    "jira_association_missing": "its title or description names no Jira issue",
    "need_rebase": "it has to be rebased (--rebase)",
    "not_approved": "approvals are missing",
    "not_open": "it is not open",
    "policies_denied": "a security policy denies it",
    "requested_changes": "a reviewer asked for changes",
    "status_checks_must_pass": "external status checks have to pass",
}


Explained = Callable[[str], AbstractContextManager[None]]


def merge(
    client: ForgeClient, project: str, number: int, explained: Explained, *, mode: MergeMode, when_checks_pass: bool, message: str | None
) -> Merge:
    """Merge a merge request; see `GitLab.merge_pull_request`. `explained` says what a job token may not do."""
    path = f"{project}/merge_requests/{number}"
    found = _settled(client, path, number)
    if found["state"] == "merged":
        return Merge(state="merged", mode=mode, reason="it was merged already")
    if found["state"] != "opened":
        raise RequestRefused(f"The merge request !{number} is {found['state']} and cannot be merged.", hint="Reopen it first.")
    if mode == "rebase":
        _rebase(client, path, number, explained)
        found = _settled(client, path, number)
    reason = _after_rebase(client, project) if mode == "rebase" else None
    if when_checks_pass and not found.get("head_pipeline"):
        found = poll(client, PIPELINE_SECONDS, lambda: _with_pipeline(client, path, number)) or found
        if not found.get("head_pipeline"):
            when_checks_pass = False
            reason = "; ".join(filter(None, (reason, "no pipeline runs for it, so there was nothing to wait for")))
    sent: dict[str, Any] = {"sha": found.get("sha"), "squash": mode == "squash"}
    if when_checks_pass:
        # GitLab 17.11 has renamed it; each version ignores the other name.
        sent |= {"auto_merge": True, "merge_when_pipeline_succeeds": True}
    if message is not None:
        sent["squash_commit_message" if mode == "squash" else "merge_commit_message"] = message
    answer = _accepted(client, path, number, explained, {name: value for name, value in sent.items() if value is not None})
    return Merge(state="merged" if answer["state"] == "merged" else "scheduled", mode=mode, reason=reason)


def _get(client: ForgeClient, path: str, number: int, **params: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path, what=f"show the merge request !{number}", params=params)
    return found


def _settled(client: ForgeClient, path: str, number: int) -> dict[str, Any]:
    """Return the merge request as soon as GitLab knows whether it can be merged; as it is, where that takes too long."""

    def decided() -> dict[str, Any] | None:
        found = _get(client, path, number)
        return None if found["state"] == "opened" and _status(found) in _UNDECIDED else found

    return poll(client, SETTLE_SECONDS, decided) or _get(client, path, number)


def _with_pipeline(client: ForgeClient, path: str, number: int) -> dict[str, Any] | None:
    found = _get(client, path, number)
    return found if found.get("head_pipeline") else None


def _status(found: Mapping[str, Any]) -> str:
    """Return why it cannot be merged; `merge_status` is what GitLab before 15.6 has."""
    return str(found.get("detailed_merge_status") or found.get("merge_status") or "")


def _rebase(client: ForgeClient, path: str, number: int, explained: Explained) -> None:
    what = f"rebase the merge request !{number}"
    with explained(what):
        client.put(f"{path}/rebase", {}, what=what)

    def done() -> dict[str, Any] | None:
        found = _get(client, path, number, include_rebase_in_progress="true")
        return None if found.get("rebase_in_progress") else found

    found = poll(client, REBASE_SECONDS, done)
    if found is None:
        raise RequestRefused(f"GitLab did not finish rebasing !{number} in {REBASE_SECONDS:.0f} s.", hint="It goes on; merge it later.")
    if found.get("merge_error"):
        raise ForgeConflict(f"GitLab could not rebase !{number}: {found['merge_error']}", hint="Rebase the branch, and push it.")


def _after_rebase(client: ForgeClient, project: str) -> str | None:
    method = client.get(project, what="show how the project merges").get("merge_method")
    return "it was rebased, and the project's settings ask for a merge commit all the same" if method == "merge" else None


def _accepted(client: ForgeClient, path: str, number: int, explained: Explained, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Send the merge until it is taken; GitLab says 405 while it makes up its mind, and after a merge whose answer was lost."""
    refusal: list[ForgeError] = []
    what = f"merge the merge request !{number}"

    def step() -> dict[str, Any] | None:
        try:
            with explained(what):
                answer: dict[str, Any] = client.put(f"{path}/merge", sent, what=what)
        except NotAuthenticated as error:
            raise PermissionMissing(
                f"GitLab did not merge !{number}: the token's account may not push to the target branch.",
                hint="Give it the role that 'Settings > Repository > Protected branches' asks of who merges.",
                status=401,
                permission="to merge into the target branch",
            ) from error
        except RequestRefused as error:
            if error.status not in (405, 406, 422):
                raise
            found = _get(client, path, number)
            if found["state"] == "merged" or found.get("merge_when_pipeline_succeeds"):
                return found
            if error.status != 405 or _status(found) not in (*_UNDECIDED, "mergeable", "can_be_merged"):
                why = _WHY.get(_status(found), "it has conflicts, or its source branch has just moved")
                raise type(error)(f"GitLab did not merge !{number}: {why}.", hint=f"See {found['web_url']}", status=error.status) from error
            refusal[:] = [error]
            return None
        return answer

    answer = poll(client, SETTLE_SECONDS, step)
    if answer is None:
        raise refusal[0]
    return answer
