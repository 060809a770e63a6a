"""Workflows for GitHub, GitLab and Bitbucket that run notebooks for a pull request and post the report.

Each has two stages. The first runs the notebooks, which may be anybody's code, without secrets and with a token that can only
read; it keeps the report as data. The second has the token that can post, and runs no code of the pull request.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import jinja2
import msgspec
import yaml

from mlops_nb.errors import AlreadyExists, InvalidInput

FOLDER = "mlops-report"
"""Where the first stage leaves the report for the second."""

ENVIRONMENT = "mlops-report"
"""The environment or deployment for which the token is, on GitLab and Bitbucket."""

BASELINES = ("rerun", "file", "store")

# The commits of the releases named; a tag could be moved to other code.
_PINS = {
    "checkout": "08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0",
    "setup_python": "e797f83bcb11b83ae66e0230d6156d7c80228e7c # v6.0.0",
    "upload_artifact": "ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2",
    "download_artifact": "634f93cb2916e3fdff6788551b99b062d0335ce0 # v5.0.0",
}
_VERSION = re.compile(r"3\.\d{1,2}(\.\d{1,2})?$")
# In a file of a CI these begin something, or end a line.
_SPECIAL = re.compile(r"[\x00-\x1f\x7f]|\$\{\{|\}\}")


NEXT_STEPS = {
    "github": (
        "Commit both files. The second takes effect once it is on the default branch.",
        "No secret is needed. If stage two may not write: Settings > Actions > General > Workflow permissions.",
    ),
    "gitlab": (
        "Include the file from .gitlab-ci.yml, and add the variable MLOPS_NB_FORGE_TOKEN, masked, for the environment mlops-report alone:",
        "a project access token with the scope api and the role Reporter (Developer, to set the commit's status).",
    ),
    "bitbucket": (
        "Commit the file, and add a deployment environment mlops-report with the secured variable MLOPS_NB_FORGE_TOKEN:",
        "a repository access token with the permissions pullrequest:write and repository:write.",
    ),
}
"""What is left to be done by hand, in lines."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the workflow does.

    Attributes:
        notebooks: Paths from the root of the repository.
        baseline: With what to compare: `rerun` executes the base branch in the same job; `file` reads the committed
            `.mlops/baseline.json`; `store` takes the newest run of the default branch from the tracking server, which the job
            must be able to reach.
        gates: The gate file, or None for the default one if there is one.
        branch: The default branch.
        python: Its version, such as 3.12.
        requirements: A requirements file to install, or None.
        package: What to install of us, as pip takes it.
        images: Whether pictures are put where the forge shows them.
    """

    notebooks: Sequence[str]
    baseline: str = "rerun"
    gates: str | None = None
    branch: str = "main"
    python: str = "3.12"
    requirements: str | None = None
    package: str = "mlops-nb[report]"
    images: bool = True


def workflow_files(forge: str, plan: Plan) -> dict[PurePosixPath, str]:
    """Return the files of a workflow, by their paths from the root of the repository.

    Args:
        forge: github, gitlab or bitbucket.
        plan: What the workflow does.

    Raises:
        InvalidInput: If a name cannot stand in such a file, or something is not known.
    """
    _check(plan)
    make = _FORGES.get(forge)
    if make is None:
        raise InvalidInput(f"There is no workflow for '{forge}'.", hint=f"There are: {', '.join(_FORGES)}.")
    return make(plan)


def write_files(root: Path, files: dict[PurePosixPath, str], *, replace: bool = False) -> list[Path]:
    """Write the files below the root of a repository, all or none, and return those that have changed.

    Raises:
        AlreadyExists: If one is there with other content, and `replace` is false.
        InvalidInput: If a folder cannot be written to.
    """
    changed = {}
    for name, text in files.items():
        path = root / name
        there = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
        if there == text:
            continue
        if there is not None and not replace:
            raise AlreadyExists(
                f"{name} is there already, and says something else.", hint="--force replaces it; --print shows what would be written."
            )
        changed[path] = text
    for path, text in changed.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{path} cannot be written: {error.strerror or error}.", hint="--print shows it instead.") from error
    return list(changed)


def _github(plan: Plan) -> dict[PurePosixPath, str]:
    folder = PurePosixPath(".github/workflows")
    run, post = folder / "notebooks.yml", folder / "notebook-report.yml"
    common = {"name": "Notebooks", "post_name": "Notebook report", "pins": _PINS}
    return {
        run: _render("github-run.yml.j2", plan, **common, post_file=post.name),
        post: _render("github-post.yml.j2", plan, **common),
    }


def _gitlab(plan: Plan) -> dict[PurePosixPath, str]:
    path = PurePosixPath(".gitlab/notebooks.yml")
    return {path: _render("gitlab.yml.j2", plan, path=str(path), run_job="run-notebooks", post_job="post-notebook-report")}


def _bitbucket(plan: Plan) -> dict[PurePosixPath, str]:
    return {PurePosixPath("bitbucket-pipelines.yml"): _render("bitbucket.yml.j2", plan)}


_FORGES: dict[str, Callable[[Plan], dict[PurePosixPath, str]]] = {"github": _github, "gitlab": _gitlab, "bitbucket": _bitbucket}


def _render(template: str, plan: Plan, **names: object) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            folder=FOLDER,
            environment=ENVIRONMENT,
            branch=plan.branch,
            python=plan.python,
            images=plan.images,
            on_push=plan.baseline == "store",
            install=[
                *([f"python -m pip install --requirement {shlex.quote(plan.requirements)}"] if plan.requirements else []),
                f"python -m pip install {shlex.quote(plan.package)}",
            ],
            install_post=[f"python -m pip install {shlex.quote(plan.package)}"],
            run=_run_command(plan),
            post=" ".join(["mlops-nb ci post", FOLDER, *([] if plan.images else ["--no-images"])]),
            **names,
        )
    )


def _run_command(plan: Plan) -> str:
    baseline = {"rerun": "rerun", "file": ".mlops/baseline.json", "store": "@main"}[plan.baseline]
    gates = ["--gates", plan.gates] if plan.gates else []
    return shlex.join(
        ["mlops-nb", "ci", "run", *plan.notebooks, "--baseline", baseline, *gates, "--report", f"{FOLDER}/report.md", "--html"]
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlops_nb.ci.workflows"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # it is YAML; what comes from outside goes through the filter `yaml`
    )
    environment.filters["yaml"] = _as_yaml
    return environment


def _as_yaml(text: str) -> str:
    """Return a text as one YAML scalar on one line, in quotes where it needs them."""
    dumped: str = yaml.safe_dump(text, width=10_000_000, allow_unicode=True)
    return dumped.removesuffix("\n").removesuffix("...").strip()


def _check(plan: Plan) -> None:
    if not plan.notebooks:
        raise InvalidInput("A workflow needs a notebook to run.", hint="mlops-nb ci init --github train.ipynb")
    if plan.baseline not in BASELINES:
        raise InvalidInput(f"There is no baseline '{plan.baseline}'.", hint=f"There are: {', '.join(BASELINES)}.")
    if not _VERSION.match(plan.python):
        raise InvalidInput(f"'{plan.python}' is no version of Python.", hint="For instance 3.12.")
    for text in (*plan.notebooks, plan.branch, plan.package, plan.gates, plan.requirements):
        if text and (_SPECIAL.search(text) or text.startswith("-")):
            raise InvalidInput(f"{text[:200]!r} cannot stand in the file of a workflow.", hint="Rename it, without control characters.")
    for text in (*plan.notebooks, plan.gates, plan.requirements):
        if text and (PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts):
            raise InvalidInput(f"'{text}' is not below the root of the repository.", hint="Give the path from its root.")
