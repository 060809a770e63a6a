"""What runs ran on, side by side: packages, Python, machine, commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlops_nb.core.comparison import ValueRow
from mlops_nb.core.records import TAG_GIT_BRANCH, TAG_GIT_COMMIT, TAG_GIT_DIRTY, TAG_NOTEBOOK, Run
from mlops_nb.core.run_folders import ENVIRONMENT_FILE, REQUIREMENTS_FILE
from mlops_nb.errors import MlopsError
from mlops_nb.store.base import TrackingStore

PACKAGE = "package "
"""The beginning of the keys of packages."""

_TAGS = {
    TAG_GIT_COMMIT: "git commit",
    TAG_GIT_BRANCH: "git branch",
    TAG_GIT_DIRTY: "git uncommitted",
    "mlops.git.changes": "git changes",
    TAG_NOTEBOOK: "notebook",
}
_FACTS = ("python", "implementation", "system", "machine", "processor", "processors_usable", "memory", "gpu_driver")
_MAX_FILE = 2_000_000


def compare_environments(store: TrackingStore, runs: Sequence[Run]) -> tuple[ValueRow, ...]:
    """Return what runs ran on, the base first: the changed rows before the others. Packages only where they differ.

    Raises:
        StoreError: If the store cannot be read.
    """
    columns = [_environment(store, run) for run in runs]
    # Runs of other clients say nothing of their packages: that is no difference.
    telling = [column for column in columns if any(key.startswith(PACKAGE) for key in column)]
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        values = tuple(column.get(key) for column in columns)
        is_package = key.startswith(PACKAGE)
        known = {column.get(key) for column in telling} if is_package else {value for value in values if value is not None}
        if (changed := len(known) > 1) or not is_package:
            rows.append(ValueRow(key=key, values=values, changed=changed))
    return tuple(sorted(rows, key=lambda row: not row.changed))


def _environment(store: TrackingStore, run: Run) -> dict[str, str]:
    found = {name: run.tags[tag] for tag, name in _TAGS.items() if tag in run.tags}
    facts = _facts(_read(store, run, ENVIRONMENT_FILE))
    found |= {key: str(facts[key]) for key in _FACTS if facts.get(key) not in (None, "")}
    gpus = facts.get("gpus")
    if isinstance(gpus, list) and gpus:
        found["gpus"] = ", ".join(str(gpu.get("name", "")) for gpu in gpus if isinstance(gpu, Mapping))
    for line in _read(store, run, REQUIREMENTS_FILE).decode("utf-8", "replace").splitlines():
        name, equals, version = line.partition("==")
        if equals:
            found[f"{PACKAGE}{name.strip()}"] = version.strip()
    return found


def _facts(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content or b"{}", type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}


def _read(store: TrackingStore, run: Run, path: str) -> bytes:
    """Return a file of a run; nothing where it is not there, or beyond what such a file can be."""
    content = bytearray()
    try:
        for piece in store.read_artifact(run.run_id, path):
            content += piece
            if len(content) > _MAX_FILE:
                return b""
    except MlopsError:
        return b""
    return bytes(content)
