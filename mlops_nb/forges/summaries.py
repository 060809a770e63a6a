"""The page of a CI job that shows markdown, for when the pull request may not be written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SUMMARY_BYTES: Final = 1 << 20
"""What GitHub takes for one step; a longer one is not shown at all."""
_CUT: Final = "\n\n*(Cut: a job's summary holds 1 MiB.)*\n"


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
    there = path.stat().st_size if path.exists() else 0
    text = f"{markdown}\n".encode("utf-8", "replace")
    room = SUMMARY_BYTES - there
    if len(text) > room:
        kept = text[: max(0, room - len(_CUT))]
        text = kept[: kept.rfind(b"\n") + 1] + _CUT.encode() if room > len(_CUT) else b""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "ab") as file:
        file.write(text)
    return path
