"""Commit statuses and pipelines of GitLab."""

from __future__ import annotations

import re
from typing import Any, Final

from mlops_nb.forges.base import Check, ForgeConflict, ForgeError, ForgeNotFound, PostedCheck, RequestRefused
from mlops_nb.forges.client import ForgeClient, part
from mlops_nb.forges.context import Context
from mlops_nb.forges.lost import poll

DESCRIPTION_CHARACTERS: Final = 255
URL_CHARACTERS: Final = 255
CANCEL_SECONDS: Final = 120.0
_STATES: Final = {
    "queued": "pending",
    "in_progress": "running",
    "success": "success",
    "neutral": "success",
    "failure": "failed",
    "timed_out": "failed",
    "action_required": "failed",
    "cancelled": "canceled",
    "skipped": "skipped",
}
_MERGE_REF: Final = re.compile(r"refs/merge-requests/(\d+)/")
_ENDED: Final = ("success", "failed", "canceled", "skipped", "manual")


def description(check: Check) -> str:
    """Return the one line that a status has."""
    title = " ".join((check.title or next(iter(check.summary.strip().splitlines()), "")).split())
    words = {"neutral": "neutral", "timed_out": "timed out", "action_required": "action required", "skipped": "skipped"}
    said = words.get(check.conclusion or "", "")
    line = f"{said}: {title}" if said and title and said not in title.lower() else title or said
    return line if len(line) <= DESCRIPTION_CHARACTERS else f"{line[: DESCRIPTION_CHARACTERS - 1]}…"


class Statuses:
    """Sets statuses in the pipeline that runs us where that is about the commit, so that they are not in one of their own."""

    def __init__(self, client: ForgeClient, context: Context, project: str, web_url: str) -> None:
        self._client, self._context, self._project, self._web_url = client, context, project, web_url
        self._places: dict[str, tuple[str, int | None]] = {}

    def set(self, check: Check) -> PostedCheck:
        """Set the status; one that has this state already stays as it is."""
        url = check.details_url or self._context.run_url
        sent: dict[str, Any] = {"state": _STATES[check.conclusion or check.status], "name": check.name, "description": description(check)}
        if url and len(url) <= URL_CHARACTERS and url.startswith(("http://", "https://")):
            sent["target_url"] = url
        status = self._sent(check, sent)
        return PostedCheck(id=str(status["id"]), url=str(status.get("target_url") or f"{self._web_url}/-/commit/{check.commit}/pipelines"))

    def _sent(self, check: Check, sent: dict[str, Any]) -> dict[str, Any]:
        what = f"set the status '{check.name}' of commit {check.commit[:12]}"
        commit, pipeline = self._place(check.commit)
        try:
            return self._posted(commit, sent if pipeline is None else {**sent, "pipeline_id": pipeline}, what)
        except ForgeNotFound:
            if pipeline is None:
                raise
            self._places[check.commit] = (check.commit, None)  # the pipeline is gone, or of another project
            return self._posted(check.commit, sent, what)
        except RequestRefused as error:
            if "Cannot transition status" in error.message:
                return self._present(commit, check.name, sent)
            if sent["state"] == "skipped" and "state" in error.message:  # as GitLab before 17 says
                return self._posted(commit, {**sent, "state": "success"}, what)
            raise

    def _posted(self, commit: str, sent: dict[str, Any], what: str) -> dict[str, Any]:
        busy: list[ForgeError] = []

        def step() -> dict[str, Any] | None:
            try:
                answer: dict[str, Any] = self._client.post(f"{self._project}/statuses/{part(commit)}", sent, what=what, repeatable=True)
            except ForgeConflict as error:  # another job sets a status of this commit
                busy[:] = [error]
                return None
            return answer

        answer = poll(self._client, 20.0, step)
        if answer is None:
            raise busy[0]
        return answer

    def _place(self, commit: str) -> tuple[str, int | None]:
        """Return commit and pipeline for the statuses of a commit.

        A pipeline of merged results is about a merge of the commit; there its statuses belong, for there people look.
        """
        run = self._context
        if commit not in self._places:
            self._places[commit] = (commit, None)
            if run.ci == "gitlab" and run.run_id and run.run_id.isdigit() and commit == run.commit:
                try:
                    found = self._client.get(f"{self._project}/pipelines/{run.run_id}", what=f"show the pipeline {run.run_id}")
                    self._places[commit] = (str(found["sha"]), int(run.run_id))
                except ForgeNotFound:
                    return self._places[commit]  # it runs in a fork
        return self._places[commit]

    def _present(self, commit: str, name: str, sent: dict[str, Any]) -> dict[str, Any]:
        path = f"{self._project}/repository/commits/{part(commit)}/statuses"
        found = list(self._client.pages(path, what=f"list the statuses '{name}'", params={"name": name, "per_page": 100}))
        return found[0] if found else {"id": 0, **sent}


def rerun(client: ForgeClient, project: str, run_id: str, *, failed_only: bool) -> str:
    """Run a pipeline again and return its page; see `GitLab.rerun`."""
    path, what = f"{project}/pipelines/{part(run_id)}", f"run the pipeline {run_id} again"

    def get() -> dict[str, Any]:
        found: dict[str, Any] = client.get(path, what=f"show the pipeline {run_id}")
        return found

    def ended() -> dict[str, Any] | None:
        found = get()
        return found if found["status"] in _ENDED else None

    found = get()
    if found["status"] not in _ENDED:
        client.post(f"{path}/cancel", what=f"cancel the pipeline {run_id}", repeatable=True)
        stopped = poll(client, CANCEL_SECONDS, ended)
        if stopped is None:
            raise RequestRefused(
                f"The pipeline {run_id} did not stop within {CANCEL_SECONDS:.0f} s of being cancelled.", hint=f"See {found['web_url']}"
            )
        found = stopped
    if failed_only and found["status"] == "success":
        raise RequestRefused(f"The pipeline {run_id} has no failed job to run again.", hint="Run all of it again, without 'failed only'.")
    if failed_only:
        return str(client.post(f"{path}/retry", what=what, repeatable=True)["web_url"])
    merge_request = _MERGE_REF.match(str(found["ref"]))
    if merge_request:
        return str(client.post(f"{project}/merge_requests/{merge_request[1]}/pipelines", what=what)["web_url"])
    return str(client.post(f"{project}/pipeline", {"ref": found["ref"]}, what=what)["web_url"])
