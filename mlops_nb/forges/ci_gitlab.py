"""What GitLab CI says in its environment.

Source: "Predefined CI/CD variables reference" in docs.gitlab.com.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops_nb.forges.context import Run


def read(environment: Mapping[str, str]) -> Run | None:
    """Return what GitLab CI says, or None where it does not run us."""
    said = {name: value for name, value in environment.items() if name.startswith(("CI_", "GITLAB_")) and value}
    own = said.get("CI_PROJECT_PATH")
    if not own or ("CI_SERVER_URL" not in said and "CI_PROJECT_URL" not in said):
        return None
    server = said.get("CI_SERVER_URL") or said["CI_PROJECT_URL"].removesuffix(f"/{own}")
    # A merge request's pipeline may run in the fork; what it is about is the project that it goes into.
    repository = said.get("CI_MERGE_REQUEST_PROJECT_PATH", own)
    source = said.get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH")
    return Run(
        ci="gitlab",
        server_url=server.rstrip("/"),
        api_url=said.get("CI_API_V4_URL"),
        repository=repository,
        # In a pipeline of merged results CI_COMMIT_SHA is the merge, which is in no branch.
        # The "external pull request" is one on GitHub, of whose repository this project is a mirror that runs CI.
        commit=said.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
        or said.get("CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_SHA")
        or said.get("CI_COMMIT_SHA"),
        branch=said.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
        or said.get("CI_EXTERNAL_PULL_REQUEST_SOURCE_BRANCH_NAME")
        or said.get("CI_COMMIT_BRANCH"),
        tag=said.get("CI_COMMIT_TAG"),
        base_branch=said.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        pull_request=_number(said.get("CI_MERGE_REQUEST_IID")) or _open_one(said.get("CI_OPEN_MERGE_REQUESTS", ""), repository),
        head_repository=source,
        event=said.get("CI_PIPELINE_SOURCE"),
        from_fork=source is not None and source.casefold() != repository.casefold(),
        workflow=said.get("CI_PIPELINE_NAME") or said.get("CI_PIPELINE_ID"),
        run_id=said.get("CI_PIPELINE_ID"),
        run_url=said.get("CI_JOB_URL") or said.get("CI_PIPELINE_URL"),
        job_id=said.get("CI_JOB_ID"),
        actor=said.get("GITLAB_USER_LOGIN"),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _open_one(listed: str, repository: str) -> int | None:
    """Return the first merge request into this project of `group/project!12,other/project!3`."""
    for one in listed.split(","):
        path, _, number = one.strip().rpartition("!")
        if path.casefold() == repository.casefold() and _number(number):
            return _number(number)
    return None
