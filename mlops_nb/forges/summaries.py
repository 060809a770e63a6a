"""The page of a CI job that shows markdown, for when the pull request may not be written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlops_nb.core.cutting import cut

SUMMARY_BYTES: Final = 1 << 20
"""What GitHub takes for one step; a longer one is not shown at all."""
_WORTH_BYTES: Final = 300
_CUT: Final = "*The end of the report is cut off here: a job's summary holds 1 MiB.*"


def add_job_summary(environment: Mapping[str, str], markdown: str) -> Path | None:
    """Append markdown to the summary of the job and return its file, or None where there is none, or it is full already.

    What does not fit into GitHub's limit is cut at the end of a line.

    Raises:
        OSError: If the file cannot be written.
    """
    place = environment.get("GITHUB_STEP_SUMMARY")
    if not place:
        return None
    path = Path(place)
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0) - len(_CUT) - 8
    if room < _WORTH_BYTES:
        return None
    text = markdown.encode("utf-8", "replace")
    if len(text) > room:
        text = cut(markdown, len(text[:room].decode(errors="ignore")), _CUT).encode("utf-8", "replace")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "ab") as file:
        file.write(text.rstrip(b"\n") + b"\n")
    return path
