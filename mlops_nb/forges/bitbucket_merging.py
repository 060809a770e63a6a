"""Merging on Bitbucket Cloud, which has no request to merge later."""

from __future__ import annotations

from typing import Any, Final

from mlops_nb.forges.base import ForgeConflict, ForgeUnreachable, Merge, MergeMode, RequestRefused
from mlops_nb.forges.client import ForgeClient
from mlops_nb.forges.lost import poll

CHECKS_SECONDS: Final = 120.0
"""How long builds that still run are waited for."""
MERGED_SECONDS: Final = 60.0
"""How long a merge may take of which Bitbucket says that it takes long."""
STRATEGIES: Final[dict[MergeMode, str]] = {"merge": "merge_commit", "squash": "squash", "rebase": "rebase_fast_forward"}


def merge(client: ForgeClient, base: str, number: int, *, mode: MergeMode, when_checks_pass: bool, message: str | None) -> Merge:
    """Merge a pull request; see `Bitbucket.merge_pull_request`."""
    path = f"{base}/pullrequests/{number}"
    found = _get(client, path, number)
    if found["state"] == "MERGED":
        return Merge(state="merged", mode=mode, reason="it was merged already")
    if found["state"] != "OPEN":
        raise RequestRefused(f"Pull request {number} is {found['state'].lower()} and cannot be merged.", hint="Open a new one.")
    if when_checks_pass:
        _wait_for_builds(client, path, number, _page(found))
    sent: dict[str, Any] = {"merge_strategy": STRATEGIES[mode], "close_source_branch": True}
    if message is not None:
        sent["message"] = message
    try:
        done = client.post(f"{path}/merge", sent, what=f"merge pull request {number}")
    except ForgeUnreachable:  # the answer was lost, or 555: it takes longer than Bitbucket waits for
        done = None
    except RequestRefused as error:
        if "conflict" in error.message.lower():
            raise ForgeConflict(f"Bitbucket did not merge pull request {number}: it has conflicts.", hint=_page(found)) from error
        raise
    if done is None or done.get("state") != "MERGED":
        done = poll(client, MERGED_SECONDS, lambda: one if (one := _get(client, path, number))["state"] == "MERGED" else None)
    if done is None:
        raise RequestRefused(f"Bitbucket did not merge pull request {number} in {MERGED_SECONDS:.0f} s.", hint=_page(found))
    return Merge(state="merged", mode=mode)


def _get(client: ForgeClient, path: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path, what=f"show pull request {number}")
    return found


def _page(found: dict[str, Any]) -> str:
    return f"See {found['links']['html']['href']}"


def _wait_for_builds(client: ForgeClient, path: str, number: int, page: str) -> None:
    """Wait until no build runs. A failed build is a refusal, and so is one that still runs in the end: it may fail yet."""

    def states() -> list[dict[str, Any]]:
        return list(
            client.pages(f"{path}/statuses", what=f"list the builds of pull request {number}", params={"pagelen": 100}, items="values")
        )

    def ended() -> list[dict[str, Any]] | None:
        found = states()
        return None if _named(found, "INPROGRESS") else found

    done = poll(client, CHECKS_SECONDS, ended, every=5.0)
    found = states() if done is None else done
    if failed := _named(found, "FAILED", "STOPPED"):
        raise RequestRefused(
            f"Pull request {number} was not merged: {failed} did not succeed.", hint="Repair it, or merge without the checks."
        )
    if running := _named(found, "INPROGRESS"):
        raise RequestRefused(
            f"Pull request {number} was not merged: {running} still ran after {CHECKS_SECONDS:.0f} s, and Bitbucket cannot merge later.",
            hint=f"Merge it when the builds have ended, or run this again then. {page}",
        )


def _named(statuses: list[dict[str, Any]], *states: str) -> str:
    """Return the names of the builds in these states, for people; "" for none."""
    names = [str(one.get("name") or one["key"]) for one in statuses if one["state"] in states]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
