"""Where a report goes that the forge did not take: the summary of the job, else a file. It is never lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mlops_nb.core.records import Record
from mlops_nb.posting.cutting import cut
from mlops_nb.posting.marks import unmarked

SUMMARY_BYTES = 1 << 20
"""What GitHub takes from each step; a longer one is not shown at all."""
_WORTH_BYTES = 1_000
SAVED = "unposted-report.md"


class Kept(Record, frozen=True, kw_only=True):
    """Where a report was kept, instead of posted."""

    kind: Literal["summary", "file"]
    path: Path

    @property
    def words(self) -> str:
        """Say where it is."""
        return (
            "It is in the summary of this job."
            if self.kind == "summary"
            else f"It is in the file {self.path}: keep it as an artifact of the job."
        )


def keep(markdown: str, environment: Mapping[str, str], folder: Path) -> Kept:
    """Keep a report that could not be posted: in the summary of the GitHub job, else in a file of the folder.

    Raises:
        OSError: If the folder cannot be written either.
    """
    summary = environment.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            kept = _summarise(Path(summary), unmarked(markdown))
        except OSError:
            kept = None
        if kept is not None:
            return kept
    return _saved(markdown, folder)


def _summarise(path: Path, markdown: str) -> Kept | None:
    """Append to the summary what fits into it; None: this step has filled it already."""
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0) - len(b"\n\n\n")
    if room < _WORTH_BYTES:
        return None
    # What `cut` puts at the end is in ASCII: it has no more bytes than the characters that it takes the place of.
    characters = len(markdown.encode("utf-8", "replace")[:room].decode(errors="ignore"))
    text = cut(markdown, characters, "*The end of the report is cut off here: a summary has 1 MiB.*")
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"\n\n{text}\n")
    return Kept(kind="summary", path=path)


def _saved(markdown: str, folder: Path) -> Kept:
    path = folder / SAVED
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(markdown, encoding="utf-8")
    part.replace(path)
    return Kept(kind="file", path=path)
