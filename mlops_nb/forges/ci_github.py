"""What GitHub Actions says in its environment and in the event's payload.

Source: "Variables" and "Events that trigger workflows" in docs.github.com.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_nb.forges.context import Run
from mlops_nb.forges.git import git

_MERGE_REF = re.compile(r"refs/pull/(\d+)/(?:merge|head)")
_QUEUE_REF = re.compile(r"refs/heads/gh-readonly-queue/(?P<base>.+)/pr-(?P<number>\d+)-[0-9a-f]{7,64}")
_MAX_PAYLOAD = 32 << 20


def read(environment: Mapping[str, str]) -> Run | None:
    """Return what GitHub Actions says, or None where it does not run us."""
    repository = environment.get("GITHUB_REPOSITORY")
    # A codespace has the repository's name as well, but runs no workflow: there git knows the commit.
    if not repository or not (environment.get("GITHUB_ACTIONS") or environment.get("GITHUB_SHA")):
        return None
    server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
    run_id = environment.get("GITHUB_RUN_ID") or None
    event = environment.get("GITHUB_EVENT_NAME") or None
    known: dict[str, Any] = {
        "ci": "github",
        "server_url": server.rstrip("/"),
        "api_url": environment.get("GITHUB_API_URL") or None,
        "repository": repository,
        "event": event,
        "workflow": environment.get("GITHUB_WORKFLOW") or None,
        "run_id": run_id,
        "run_url": f"{server.rstrip('/')}/{repository}/actions/runs/{run_id}" if run_id else None,
        "job_id": environment.get("GITHUB_JOB") or None,
        "actor": environment.get("GITHUB_TRIGGERING_ACTOR") or environment.get("GITHUB_ACTOR") or None,
        **_of_ref(environment),
    }
    known.update(_of_payload(event or "", _payload(environment), repository, environment))
    return Run(**known)


def _of_ref(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the variables say by themselves; the payload knows better."""
    ref = environment.get("GITHUB_REF", "")
    sha = environment.get("GITHUB_SHA") or None
    found: dict[str, Any] = {"commit": sha, "base_branch": environment.get("GITHUB_BASE_REF") or None}
    if ref.startswith("refs/heads/"):
        found["branch"] = ref.removeprefix("refs/heads/")
    elif ref.startswith("refs/tags/"):
        found["tag"] = ref.removeprefix("refs/tags/")
    if merge := _MERGE_REF.fullmatch(ref):
        found["pull_request"] = int(merge[1])
        if ref.endswith("/merge") and sha:
            found["commit"] = _second_parent(sha, environment.get("GITHUB_WORKSPACE")) or sha
    if queue := _QUEUE_REF.fullmatch(ref):
        found.update(pull_request=int(queue["number"]), base_branch=queue["base"])
    if environment.get("GITHUB_HEAD_REF"):
        found["branch"] = environment["GITHUB_HEAD_REF"]
    return found


def _payload(environment: Mapping[str, str]) -> dict[str, Any]:
    path = environment.get("GITHUB_EVENT_PATH")
    try:
        if not path or Path(path).stat().st_size > _MAX_PAYLOAD:
            return {}
        payload = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # the variables have to do, as under tools that imitate Actions
    return payload if isinstance(payload, dict) else {}


def _of_payload(event: str, payload: dict[str, Any], repository: str, environment: Mapping[str, str]) -> dict[str, Any]:
    pull = _dict(payload, "pull_request")
    if pull:
        return _of_pull_request(pull, repository)
    if event == "workflow_run":
        return _of_workflow_run(_dict(payload, "workflow_run"), repository)
    if event == "issue_comment" and _dict(payload, "issue", "pull_request"):
        # GITHUB_SHA is the default branch's, and the payload does not know the pull request's head.
        return {"pull_request": _number(_dict(payload, "issue")), "commit": None, "branch": None}
    if event in ("check_run", "check_suite"):
        suite = _dict(payload, "check_run", "check_suite") or _dict(payload, "check_suite")
        head = _dict(payload, event).get("head_sha")
        found = {"commit": head, "branch": suite.get("head_branch")} if head else {}
        return {**found, **_of_listed(suite.get("pull_requests"), repository)}
    if event == "merge_group":
        head = _dict(payload, "merge_group").get("head_sha")
        return {"commit": head} if head else {}
    if event in ("deployment", "deployment_status"):
        sha = _dict(payload, "deployment").get("sha")
        return {"commit": sha} if sha else {}
    return {}


def _of_pull_request(pull: dict[str, Any], repository: str) -> dict[str, Any]:
    head, base = _dict(pull, "head"), _dict(pull, "base")
    # A fork that was deleted since has no repository any more.
    source = _dict(head, "repo").get("full_name")
    found = {
        "pull_request": _number(pull),
        "commit": head.get("sha"),
        "branch": head.get("ref"),
        "base_branch": base.get("ref"),
        "head_repository": source,
        "from_fork": source is None or source.casefold() != repository.casefold(),
    }
    return {key: value for key, value in found.items() if value is not None}


def _of_workflow_run(run: dict[str, Any], repository: str) -> dict[str, Any]:
    """Return what a finished run was about, not the trusted run that reads its results."""
    source = _dict(run, "head_repository").get("full_name")
    found = {
        "commit": run.get("head_sha"),
        "branch": run.get("head_branch"),
        "head_repository": source,
        "from_fork": source is None or source.casefold() != repository.casefold(),
    }
    kept = {key: value for key, value in found.items() if value is not None}
    # GitHub lists none for forks; then it is found by the commit.
    return {**kept, **_of_listed(run.get("pull_requests"), repository, found["commit"])}


def _of_listed(pulls: object, repository: str, commit: object = None) -> dict[str, Any]:
    """Return the pull request of a list in a payload; of several, the first into this repository."""
    for pull in pulls if isinstance(pulls, list) else ():
        into = _dict(pull, "base", "repo").get("name")
        is_here = into is None or into == repository.split("/")[-1]
        if is_here and (commit is None or _dict(pull, "head").get("sha") in (None, commit)):
            return {"pull_request": _number(pull), "base_branch": _dict(pull, "base").get("ref")}
    return {}


def _dict(value: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _number(item: dict[str, Any]) -> int | None:
    number = item.get("number")
    return number if isinstance(number, int) else None


def _second_parent(commit: str, folder: str | None) -> str | None:
    """Return what was merged into the base, read from the commit itself, for a shallow clone hides its parents."""
    if re.fullmatch(r"[0-9a-f]{40,64}", commit) is None:
        return None
    head = (git(Path(folder or "."), "cat-file", "commit", commit) or "").split("\n\n", 1)[0]
    parents = re.findall(r"^parent ([0-9a-f]{40,64})$", head, re.MULTILINE)
    return parents[1] if len(parents) == 2 else None
