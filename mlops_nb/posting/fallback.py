"""Where a report goes that the forge did not take: the summary of the job, else a file. It is never lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mlops_nb.core.records import Record
from mlops_nb.posting.cutting import cut
from mlops_nb.posting.marks import unmarked

SUMMARY_BYTES = 1_000_000
"""GitHub takes 1 MiB from each step."""
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
            return _summarise(Path(summary), unmarked(markdown))
        except OSError:
            return _saved(markdown, folder)
    return _saved(markdown, folder)


def _summarise(path: Path, markdown: str) -> Kept:
    room = SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
    # In characters of up to four bytes; a text without such is cut only where it has to be.
    characters = room if markdown.isascii() else room // 4 if len(markdown.encode()) > room else len(markdown)
    text = cut(markdown, max(characters, 200), "*The end of the report is cut off here: a summary has 1 MiB.*")
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n\n{text}\n")
    return Kept(kind="summary", path=path)


def _saved(markdown: str, folder: Path) -> Kept:
    path = folder / SAVED
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(markdown, encoding="utf-8")
    part.replace(path)
    return Kept(kind="file", path=path)
