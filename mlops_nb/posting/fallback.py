"""Where a report goes that the forge did not take: the summary of the job, else a file. It is never lost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mlops_nb.core.records import Record
from mlops_nb.forges.summaries import add_job_summary
from mlops_nb.posting.marks import unmarked

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
    try:
        path = add_job_summary(environment, f"\n\n{unmarked(markdown)}")
    except OSError:
        path = None
    return _saved(markdown, folder) if path is None else Kept(kind="summary", path=path)


def _saved(markdown: str, folder: Path) -> Kept:
    path = folder / SAVED
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(markdown, encoding="utf-8")
    part.replace(path)
    return Kept(kind="file", path=path)
