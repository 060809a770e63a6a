"""What Bitbucket Pipelines says in its environment.

Source: "Variables and secrets" in support.atlassian.com.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops_nb.forges.context import Run


def read(environment: Mapping[str, str]) -> Run | None:
    """Return what Bitbucket Pipelines says, or None where it does not run us."""
    said = {name: value for name, value in environment.items() if name.startswith(("BITBUCKET_", "PIPELINE_")) and value}
    repository = said.get("BITBUCKET_REPO_FULL_NAME")
    if not repository or "BITBUCKET_COMMIT" not in said:
        return None
    number = said.get("BITBUCKET_PR_ID", "")
    build = said.get("BITBUCKET_BUILD_NUMBER")
    server = "https://bitbucket.org"
    return Run(
        ci="bitbucket",
        server_url=server,
        repository=repository,
        commit=said["BITBUCKET_COMMIT"],
        branch=said.get("BITBUCKET_BRANCH"),
        tag=said.get("BITBUCKET_TAG"),
        base_branch=said.get("BITBUCKET_PR_DESTINATION_BRANCH"),
        pull_request=int(number) if number.isascii() and number.isdigit() else None,
        event="pull_request" if number else "push",
        workflow=said.get("BITBUCKET_PIPELINE_UUID") or said.get("PIPELINE_UUID"),
        run_id=said.get("BITBUCKET_PIPELINE_UUID") or said.get("PIPELINE_UUID"),
        run_url=f"{server}/{repository}/pipelines/results/{build}" if build else None,
        job_id=build,
        actor=said.get("BITBUCKET_STEP_TRIGGERER_UUID"),
    )
