"""Jobs of `%runner run`: a notebook, or a cell, that is executed on a runner. Pure; no I/O.

    QUEUED → RUNNING → DONE | FAILED | CANCELLED
               ↓  ↑
            INTERRUPTED   (the machine was taken back or lost; it is queued again, once)

What a job needs and gives are files of its run, below `runner/`: the bundle that ships, the checkpoint, the executed notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from mlops_nb.core.records import Record

BUNDLE = "runner/bundle.tar.gz"
CHECKPOINT = "runner/checkpoint"
"""Beginning of the names of its two files: `-0003.ipynb` and `-0003.pkl` after the third cell."""
EXECUTED = "runner/executed.ipynb"
RESULTS = "runner/results"
MOST_ATTEMPTS = 2
TAG_JOB = "mlops.job"
"""Of the run that a job is: the job's id."""


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class Job(Record, frozen=True, kw_only=True):
    """A job as it is kept; times are seconds since 1970.

    Attributes:
        id: 32 hex digits.
        revision: As of a runner.
        run_id: The run that it is, with its files.
        kind: A notebook from its first cell, or one cell with names that go in and out.
        notebook: Path in the bundle, POSIX.
        parameters: JSON values, put in as papermill does.
        cells: From and to (1-based, both included) where not all are executed.
        returns: Names that come back, of `%%runner --out`.
        digest: SHA-256 of the bundle: a machine executes no other bytes.
        runner_id: Where it is or shall be executed; "" while any runner of its wish may take it.
        before: The runner that had it when it was interrupted.
        attempts: How often it was begun, at most `MOST_ATTEMPTS`.
        cell, cells_total: How far it is.
        checkpoint_cell: Cells of the checkpoint that need not be executed again; 0: none.
        digests: SHA-256 of files that a machine has kept for the next one, by path.
        cancel: Somebody has asked that it ends.
    """

    id: str
    revision: int = 0
    run_id: str
    kind: Literal["notebook", "cell"] = "notebook"
    name: str
    notebook: str
    parameters: Mapping[str, Any] = {}
    cells: tuple[int, int] | None = None
    returns: Sequence[str] = ()
    digest: str
    runner_id: str = ""
    before: str = ""
    state: JobState = JobState.QUEUED
    reason: str = ""
    attempts: int = 0
    cell: int = 0
    cells_total: int = 0
    checkpoint_cell: int = 0
    digests: Mapping[str, str] = {}
    cancel: bool = False
    created: float
    updated: float
    started: float | None = None
    ended: float | None = None
    user: str = ""
