"""Which forge and which run a command is about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_nb.forges.base import Forge
    from mlops_nb.forges.context import Context
    from mlops_nb.posting.marks import Writer


def open_forge(driver: str | None, repo: str | None, token: str | None) -> tuple[Forge, Context]:
    """Return the forge and what this run is about, from the options, the CI's environment and git."""
    from mlops_nb.forges import connect
    from mlops_nb.forges.context import discover
    from mlops_nb.forges.tokens import find_token

    context = discover(os.environ, Path.cwd(), repository=repo, driver=driver)
    return connect(context, find_token(context.kind, _environment_for(context), token)), context


def _environment_for(context: Context) -> dict[str, str]:
    """Return the environment without the token that the CI made for its own server, where that is not the one we speak to."""
    from urllib.parse import urlsplit

    environment = dict(os.environ)
    job = {"github": ("GITHUB_SERVER_URL", "GITHUB_TOKEN"), "gitlab": ("CI_SERVER_URL", "CI_JOB_TOKEN")}.get(context.kind)
    if job is None or not environment.get(job[0]):
        return environment
    is_elsewhere = urlsplit(environment[job[0]]).hostname != urlsplit(context.server_url).hostname
    # GITHUB_TOKEN may also be one that people have made for the other server; that of the job begins like this.
    if is_elsewhere and (job[1] == "CI_JOB_TOKEN" or environment.get(job[1], "").startswith("ghs_")):
        environment.pop(job[1], None)
    return environment


def writer_of(context: Context) -> Writer:
    """Return who writes a comment: the run, its attempt and the job, told apart from its siblings in a matrix."""
    import hashlib

    from mlops_nb.posting.marks import Writer

    attempt = os.environ.get("GITHUB_RUN_ATTEMPT") or os.environ.get("BITBUCKET_STEP_RUN_NUMBER") or ""
    job = os.environ.get("RUNNER_TRACKING_ID") or os.environ.get("RUNNER_NAME") or "" if context.ci == "github" else ""
    job = job or (os.environ.get("BITBUCKET_STEP_UUID") or "" if context.ci == "bitbucket" else "")
    number = os.environ.get("BITBUCKET_BUILD_NUMBER") if context.ci == "bitbucket" else context.run_id
    return Writer(
        run=number or "",
        attempt=attempt,
        job=hashlib.sha256(job.encode()).hexdigest()[:12] if job else "",
        commit=context.commit or "",
    )


def place_of(context: Context) -> tuple[str, ...]:
    """Return the workflow and job in whose name a report is posted."""
    names = {
        "github": (os.environ.get("GITHUB_WORKFLOW"), os.environ.get("GITHUB_JOB")),
        "gitlab": (os.environ.get("CI_JOB_NAME"),),
    }.get(context.ci or "", ())
    return tuple(name for name in names if name)
