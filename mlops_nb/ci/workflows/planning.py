"""What can be found out about a repository for its workflow, so that nobody has to say it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from mlops_nb.ci.origin import default_branch
from mlops_nb.ci.workflows import Plan
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.forges.git import git
from mlops_nb.forges.remotes import kind_of_host, parse_remote

_RELEASE = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?$")


def root_of(folder: Path) -> Path:
    """Return the root of the repository that a folder belongs to, else the folder."""
    top = git(folder, "rev-parse", "--show-toplevel")
    return Path(top) if top else folder


def plan_for(
    root: Path,
    *,
    forge: str | None,
    notebooks: Sequence[str],
    baseline: str,
    gates: str | None,
    branch: str | None,
    python: str,
    requirements: str | None,
    images: bool,
) -> tuple[str, Plan]:
    """Return the forge and the plan: what was said, and what the repository says about the rest.

    Raises:
        InvalidInput: If neither says which forge it is.
        NotFound: If a file that is named is not there, or there is no notebook.
    """
    remote = parse_remote(git(root, "remote", "get-url", "origin") or "")
    found = forge or (kind_of_host(remote.server) if remote else None)
    if found is None:
        raise InvalidInput("Neither an option nor the remote `origin` says which forge it is.", hint="--github, --gitlab or --bitbucket.")
    names = list(notebooks) or [name for name in (git(root, "ls-files", "-z", "*.ipynb") or "").split("\0") if name]
    if not names:
        raise NotFound(f"git knows no notebook in {root}.", hint="Name them: mlops-nb ci init train.ipynb")
    for name in (*notebooks, *([gates] if gates else []), *([requirements] if requirements else [])):
        if not (root / name).is_file():
            raise NotFound(f"There is no file {name} below {root}.", hint="Give its path from the root of the repository.")
    if requirements is None and (root / "requirements.txt").is_file():
        requirements = "requirements.txt"
    own = version("mlops-nb")
    return found, Plan(
        notebooks=names,
        baseline=baseline,
        gates=gates,
        branch=branch or default_branch(os.environ, root),
        python=python,
        requirements=requirements,
        package=f"mlops-nb[report]=={own}" if _RELEASE.match(own) else "mlops-nb[report]",
        images=images,
    )
