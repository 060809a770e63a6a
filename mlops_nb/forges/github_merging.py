"""Merging on GitHub: by its auto-merge, which waits for the checks, or at once where there is nothing that could wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mlops_nb.forges.base import Merge, MergeMode, RequestRefused

if TYPE_CHECKING:
    from mlops_nb.forges.github import GitHub

_ENABLE: Final = """
mutation($id: ID!, $mode: PullRequestMergeMethod!, $title: String, $body: String) {
  enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $mode, commitHeadline: $title, commitBody: $body}) {
    pullRequest { autoMergeRequest { enabledAt } }
  }
}
"""
_NOTHING_TO_WAIT_FOR: Final = (
    ("clean status", "nothing is left to wait for"),
    ("Protected branch rules not configured", "its target has no protection rule, so that nothing is waited for"),
    ("unstable status", "none of its checks is required"),
    ("has_hooks status", "nothing is left to wait for"),
    ("Auto merge is not allowed", "auto-merge is off in the repository's settings, General, 'Allow auto-merge'"),
    ("Can't enable auto-merge", "auto-merge is off in the repository's settings, General, 'Allow auto-merge'"),
)
"""What GitHub says when it does not wait, and why in our words; then it is merged at once, if the rules allow."""


def merge(forge: GitHub, number: int, *, mode: MergeMode, when_checks_pass: bool, message: str | None) -> Merge:
    """Merge a pull request, or let GitHub do it when the checks have passed."""
    title, _, body = (message or "").partition("\n")
    reason = None
    if when_checks_pass:
        variables = {"id": forge.node_id(number), "mode": mode.upper(), "title": title or None, "body": body.strip() or None}
        try:
            forge.graphql(_ENABLE, variables, what=f"merge pull request {number} when its checks have passed")
            return Merge(state="scheduled", mode=mode)
        except RequestRefused as refusal:
            reason = next((why for said, why in _NOTHING_TO_WAIT_FOR if said in refusal.message), None)
            if reason is None:
                raise
    sent: dict[str, Any] = {"merge_method": mode, "sha": forge.pull_request(number).commit}
    sent |= {"commit_title": title} if title else {}
    sent |= {"commit_message": body.strip()} if body.strip() else {}
    try:
        forge.merge_now(number, sent)
    except RequestRefused as refusal:
        # The answer to the first try may have been lost after its effect.
        if forge.pull_request(number).merged:
            return Merge(state="merged", mode=mode, reason=reason)
        if reason is not None:
            refusal.hint = f"It was to be merged at once, since {reason}."
        raise
    return Merge(state="merged", mode=mode, reason=reason)
