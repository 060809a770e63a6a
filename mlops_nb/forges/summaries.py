"""The page of a CI job that shows markdown, for when the pull request may not be written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlops_nb.core.cutting import cut

SUMMARY_BYTES: Final = 1 << 20
"""What GitHub takes for one step; a longer one is not shown at all."""
_CUT: Final = "*The end of the report is cut off here: a job's summary holds 1 MiB.*"


def add_job_summary(environment: Mapping[str, str], markdown: str) -> Path | None:
    """Append markdown to the summary of the job and return its file, or None where the CI has none.

    What does not fit into GitHub's limit is cut at the end of a line.

    Raises:
        OSError: If the file cannot be written.
    """
    place = environment.get("GITHUB_STEP_SUMMARY")
    if not place:
        return None
    path = Path(place)
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0) - len(_CUT) - 8
    text = markdown.encode("utf-8", "replace")
    if len(text) > room:
        text = cut(markdown, len(text[: max(room, 0)].decode(errors="ignore")), _CUT).encode("utf-8", "replace") if room > 0 else b""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "ab") as file:
        file.write(text.rstrip(b"\n") + b"\n" if text else b"")
    return path
