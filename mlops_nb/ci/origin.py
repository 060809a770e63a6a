"""Which commit, branch and pull request the runs of this job belong to, by CI and git, and what they are tagged with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from mlops_nb.core.records import (
    TAG_CI,
    TAG_CI_DEFAULT_BRANCH,
    TAG_CI_EVENT,
    TAG_CI_PULL_REQUEST,
    TAG_CI_URL,
    TAG_GIT_BRANCH,
    TAG_GIT_COMMIT,
    Record,
)
from mlops_nb.forges.context import of_ci, of_git
from mlops_nb.forges.git import git

LOCAL = "local"
_MAX_EVENT = 20_000_000
_BRANCH = re.compile(r"[\w.][\w./+@-]{0,200}")


class Origin(Record, frozen=True, kw_only=True):
    """Where the runs of this job come from. What is not known is empty or None.

    Attributes:
        ci: The CI that runs us, or `LOCAL`.
        commit: The commit that people pushed.
        branch: Its branch.
        default_branch: What the repository's default branch is called.
        is_default: Whether the runs are those of the default branch, unchanged.
        pull_request: Number of the pull request.
        event: The CI's name of what started the job.
        url: Page of the job.
    """

    ci: str = LOCAL
    commit: str = ""
    branch: str = ""
    default_branch: str = "main"
    is_default: bool = False
    pull_request: int | None = None
    event: str = ""
    url: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the runs."""
        found = {
            TAG_CI: self.ci,
            TAG_CI_EVENT: self.event,
            TAG_CI_PULL_REQUEST: "" if self.pull_request is None else str(self.pull_request),
            TAG_CI_URL: self.url,
            TAG_CI_DEFAULT_BRANCH: self.default_branch if self.is_default else "",
            TAG_GIT_COMMIT: self.commit,
            TAG_GIT_BRANCH: self.branch,
        }
        return {key: value for key, value in found.items() if value}

    @property
    def tags_of_baseline(self) -> dict[str, str]:
        """The tags of runs of the default branch that this job makes to compare with: they are nobody else's baseline."""
        kept = {key: value for key, value in self.tags.items() if key in (TAG_CI, TAG_CI_URL)}
        return {**kept, TAG_CI_EVENT: "baseline", TAG_GIT_BRANCH: self.default_branch}


def origin_of(environment: Mapping[str, str], folder: Path) -> Origin:
    """Find out where the runs of this job come from.

    Args:
        environment: The variables of this process.
        folder: Inside the working tree.
    """
    default = default_branch(environment, folder)
    run = of_ci(environment)
    if run is None:
        here = of_git(folder)
        is_clean = here.commit is not None and git(folder, "status", "--porcelain", "--untracked-files=no") == ""
        return Origin(
            commit=here.commit or "",
            branch=here.branch or "",
            default_branch=default,
            is_default=here.branch == default and is_clean,
        )
    is_request = (
        run.pull_request is not None or run.base_branch is not None or run.from_fork or (run.event or "").startswith("pull_request")
    )
    return Origin(
        ci=run.ci or LOCAL,
        commit=run.commit or of_git(folder).commit or "",
        branch=run.branch or "",
        default_branch=default,
        is_default=not is_request and run.tag is None and run.branch == default,
        pull_request=run.pull_request,
        event=run.event or "",
        url=run.run_url or "",
    )


def default_branch(environment: Mapping[str, str], folder: Path) -> str:
    """Return what the default branch is called: by the CI, by git, else `main`."""
    for found in (environment.get("CI_DEFAULT_BRANCH"), _of_github_event(environment)):
        if found and _BRANCH.fullmatch(found):
            return found
    remote = git(folder, "symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD")
    if remote:
        return remote.removeprefix("origin/")
    for name in ("main", "master"):
        for place in ("refs/remotes/origin", "refs/heads"):
            if git(folder, "rev-parse", "--verify", "--quiet", f"{place}/{name}"):
                return name
    return "main"


def _of_github_event(environment: Mapping[str, str]) -> str | None:
    path = environment.get("GITHUB_EVENT_PATH")
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            event = json.loads(file.read(_MAX_EVENT))
        found = event["repository"]["default_branch"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not an event: then git is asked
        return None
    return found if isinstance(found, str) else None
