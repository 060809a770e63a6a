"""What a run should know of where it came from: the user, the program or notebook, the state of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlops_nb import config
from mlops_nb.core.records import (
    TAG_EXECUTION,
    TAG_GIT_BRANCH,
    TAG_GIT_COMMIT,
    TAG_GIT_DIRTY,
    TAG_NOTEBOOK,
    TAG_SOURCE_NAME,
    TAG_SOURCE_TYPE,
    TAG_USER,
)

ENV_NOTEBOOK = "MLOPS_NB_NOTEBOOK"
ENV_EXECUTION = "MLOPS_NB_EXECUTION"


def source_tags(project: config.Project, user_ns: dict[str, Any] | None) -> dict[str, str]:
    """Return the tags that name the user and the notebook or program. What is not known is left out."""
    tags = {TAG_USER: config.user_name()}
    notebook = notebook_path(user_ns)
    if notebook is not None:
        tags |= notebook_tags(notebook, project)
    elif user_ns is not None:
        tags |= {TAG_SOURCE_TYPE: "NOTEBOOK"}
    elif sys.argv and sys.argv[0] and Path(sys.argv[0]).exists():
        tags |= {TAG_SOURCE_NAME: _relative(Path(sys.argv[0]).resolve(), project.root), TAG_SOURCE_TYPE: "LOCAL"}
    if execution := os.environ.get(ENV_EXECUTION):
        tags[TAG_EXECUTION] = execution
    return {key: value for key, value in tags.items() if value}


def notebook_tags(notebook: Path, project: config.Project) -> dict[str, str]:
    """Return the tags of a run that comes from a notebook."""
    shown = _relative(notebook, project.root)
    return {TAG_NOTEBOOK: shown, TAG_SOURCE_NAME: shown, TAG_SOURCE_TYPE: "NOTEBOOK"}


def notebook_path(user_ns: dict[str, Any] | None) -> Path | None:
    """Return the notebook that this kernel runs, as far as its front end tells; None when unknown.

    Asked in this order: our papermill engine, the Jupyter server (which sets JPY_SESSION_NAME), VS Code.
    """
    if value := os.environ.get(ENV_NOTEBOOK):
        return Path(value).resolve()
    if user_ns is None:
        return None
    session = os.environ.get("JPY_SESSION_NAME", "")
    if session.endswith(".ipynb"):
        return Path(session).resolve()
    vscode = user_ns.get("__vsc_ipynb_file__")
    return Path(vscode).resolve() if isinstance(vscode, str) else None


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def git_tags(folder: Path) -> dict[str, str]:
    """Return commit, branch and whether there are uncommitted changes; empty outside a repository or without git."""
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        # The user's git settings must not start programs (fsmonitor, pagers) from our background thread.
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if result.returncode != 0:
        return {}
    tags = {}
    if match := re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", result.stdout, re.MULTILINE):
        tags[TAG_GIT_COMMIT] = match[1]
    if (match := re.search(r"^# branch\.head (.+)$", result.stdout, re.MULTILINE)) and match[1] != "(detached)":
        tags[TAG_GIT_BRANCH] = match[1]
    if tags.get(TAG_GIT_COMMIT):
        tags[TAG_GIT_DIRTY] = str(bool(re.search(r"^[12u] ", result.stdout, re.MULTILINE))).lower()
    return tags
