"""What a run ran on, read back from the files and tags in which it was kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT, TAG_GIT_DIRTY, Record
from mlops_nb.core.run_folders import ENVIRONMENT_FILE, REQUIREMENTS_FILE

CHANGES_FILE = "code/changes.diff"
TAG_REPOSITORY = "mlflow.source.git.repoURL"


class Git(Record, frozen=True, kw_only=True):
    """The code of a run. `changes` is the artifact with what was not committed, where it was kept."""

    commit: str = ""
    branch: str = ""
    repository: str = ""
    is_dirty: bool = False
    changes: str | None = None


class RunEnvironment(Record, frozen=True, kw_only=True):
    """What a run ran on.

    `machine` has plain facts by name (`memory` in bytes), `packages` are versions by name, both empty where they were not kept.
    """

    machine: dict[str, str | int | float | bool | None] = {}
    gpus: list[str] = []
    packages: dict[str, str] = {}
    git: Git = Git()


def environment_of(tags: Mapping[str, str], files: Mapping[str, bytes]) -> RunEnvironment:
    """Return what a run ran on.

    Args:
        tags: The run's.
        files: By path, those of the three files that there are. What cannot be read in them is left out.
    """
    facts = _facts(files.get(ENVIRONMENT_FILE, b""))
    gpus = facts.pop("gpus", None)
    return RunEnvironment(
        machine={str(key): value for key, value in facts.items() if isinstance(value, str | int | float | bool)},
        gpus=[str(gpu.get("name", gpu)) if isinstance(gpu, dict) else str(gpu) for gpu in gpus] if isinstance(gpus, list) else [],
        packages=packages_of(files.get(REQUIREMENTS_FILE, b"")),
        git=Git(
            commit=tags.get(TAG_GIT_COMMIT, ""),
            branch=tags.get(TAG_GIT_BRANCH, ""),
            repository=tags.get(TAG_REPOSITORY, ""),
            is_dirty=tags.get(TAG_GIT_DIRTY, "").lower() == "true",
            changes=CHANGES_FILE if CHANGES_FILE in files else None,
        ),
    )


def packages_of(text: bytes) -> dict[str, str]:
    """Return the versions by name that lines such as `name==version` say; other lines are left out."""
    found = {}
    for line in text.decode("utf-8", "replace").splitlines():
        name, sign, version = line.partition("==")
        if sign and name.strip():
            found[name.strip()] = version.partition(";")[0].strip()
    return found


def _facts(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):  # none, or a file of somebody else's under this name
        return {}
