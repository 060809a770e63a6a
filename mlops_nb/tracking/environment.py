"""What a run ran on: packages, Python, machine, and the code with all that is not committed.

Everything is found by a thread beside the run. What belongs to the process is found once.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from mlops_nb import config
from mlops_nb.core.redaction import Redactor
from mlops_nb.core.run_environment import CHANGES_FILE, TAG_REPOSITORY
from mlops_nb.core.run_folders import ENVIRONMENT_FILE, REQUIREMENTS_FILE
from mlops_nb.tracking import capture
from mlops_nb.tracking.system import Gpus

if TYPE_CHECKING:
    from mlops_nb.tracking.run import ActiveRun

logger = logging.getLogger("mlops_nb")

TAG_PYTHON = "mlops.python"
TAG_ENVIRONMENT = "mlops.environment"
TAG_CHANGES = "mlops.git.changes"
TAG_GPU = "mlops.gpu"

_PIECE = 32_000
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "
_INFO = (".dist-info", ".egg-info")


def describe(run: ActiveRun, project: config.Project, user_ns: dict[str, Any] | None) -> dict[str, str]:
    """Keep with a run what it ran on, as files, and return the tags about it.

    With MLOPS_NB_CAPTURE=hash the uncommitted changes are only hashed, with `off` nothing is kept besides the commit.
    """
    tags: dict[str, str] = {}
    notebook = capture.notebook_of_server() if user_ns is not None and capture.notebook_path(user_ns) is None else None
    if notebook is not None:
        tags |= capture.notebook_tags(notebook, project)
    level = os.environ.get("MLOPS_NB_CAPTURE", "source")
    tags |= capture.git_tags(project.root)
    if level == "off":
        return tags
    required, machine = requirements(), facts()
    run.add_beside(REQUIREMENTS_FILE, required)
    run.add_beside(ENVIRONMENT_FILE, msgspec.json.format(msgspec.json.encode(machine), indent=2))
    tags[TAG_PYTHON] = str(machine["python"])
    tags[TAG_ENVIRONMENT] = blake3(required).hexdigest(8)
    if machine["gpus"]:
        tags[TAG_GPU] = ", ".join(gpu["name"] for gpu in machine["gpus"])[:500]
    redact = Redactor(os.environ)
    if remote := capture.repository(project.root):
        tags[TAG_REPOSITORY] = redact(remote)
    changes = capture.changes(project.root)
    if changes:
        text = redacted(changes, redact).encode("utf-8", "replace")
        tags[TAG_CHANGES] = blake3(text).hexdigest(8)
        if level == "source":
            run.add_beside(CHANGES_FILE, text)
    return tags


def redacted(text: str, redact: Redactor) -> str:
    """Take the secrets out of a long text piece by piece, so that other threads get their turn in between."""
    pieces, first = [], 0
    while first < len(text):
        end = text.find("\n", first + _PIECE) + 1 or len(text)
        begin = text.rfind(_KEY_BEGINS, first, end)
        if begin >= 0 and text.find(_KEY_ENDS, begin, end) < 0:  # a private key takes several lines
            end = _line_end(text, text.find(_KEY_ENDS, begin))
        pieces.append(redact(text[first:end]))
        first = end
    return "".join(pieces)


def _line_end(text: str, place: int) -> int:
    return len(text) if place < 0 else text.find("\n", place) + 1 or len(text)


@functools.lru_cache(maxsize=1)
def requirements() -> bytes:
    """Return the packages that this process can import, one `name==version` a line, as pip writes them.

    Told from the names of their folders alone: reading each one's metadata would take a hundred times as long.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208  # names are all that is wanted
        except OSError:  # an archive, or a folder that is not there
            continue
        for entry in names:
            stem, suffix = os.path.splitext(entry)  # noqa: PTH122
            name, dash, version = stem.partition("-")
            if suffix in _INFO and dash and not name.startswith("~"):
                found.setdefault(name.replace("_", "-").lower(), version.partition("-py")[0])
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items())).encode()


@functools.lru_cache(maxsize=1)
def facts() -> dict[str, Any]:
    """Return Python, system, processor, memory (bytes) and GPUs of this machine."""
    gpus = Gpus()
    try:
        return {
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "system": platform.platform(),
            "machine": platform.machine(),
            "processor": _processor(),
            "processors": os.cpu_count(),
            "processors_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory": _memory(),
            "gpus": gpus.describe(),
            "gpu_driver": gpus.driver(),
        }
    finally:
        gpus.close()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _memory() -> int | None:
    try:
        import psutil

        return int(psutil.virtual_memory().total)
    except Exception:  # noqa: BLE001  # a system that psutil does not know
        return None
