"""What the process of `mlops-nb ci run` and the one that executes a notebook say to each other: a job, then events, as JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from mlops_nb.execution.course import Checkpoint, Course


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook to execute.

    Attributes:
        notebook: Its path, absolute.
        output: Where the executed notebook goes, absolute.
        execution_id: The tag of its runs.
        parameters: As papermill takes them.
        cwd: The working directory of the kernel; by default that of the process.
        kernel: Instead of the notebook's own.
        cell_timeout: How long one cell may take (s); None: as long as it likes.
        seconds: How long all of it may take; None: as long as it likes.
        start_timeout: How long the kernel may take to start (s).
        course: Which part of the notebook is executed; None: all of it, without checkpoints.
        prints: Whether what cells print is told.
    """

    notebook: str
    output: str
    execution_id: str
    parameters: dict[str, Any] = {}
    cwd: str | None = None
    kernel: str | None = None
    cell_timeout: int | None = None
    seconds: float | None = None
    start_timeout: int = 60
    course: Course | None = None
    prints: bool = False


class Ending(StrEnum):
    """How an execution ended. DIED: the kernel or the process that executes did. STOPPED: a signal asked for it."""

    FINISHED = "finished"
    FAILED = "failed"
    DIED = "died"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    BROKEN = "could not be run"


class KernelStarted(msgspec.Struct, frozen=True, tag="kernel"):
    pid: int | None


class CellStarted(msgspec.Struct, frozen=True, tag="cell"):
    number: int
    count: int


class CellEnded(msgspec.Struct, frozen=True, tag="cell-ended"):
    number: int
    count: int
    seconds: float
    is_failed: bool


class Printed(msgspec.Struct, frozen=True, tag="printed"):
    """What a cell has printed, without secrets."""

    text: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """How it ended, and why in one line."""

    ending: Ending
    reason: str = ""


Event = KernelStarted | CellStarted | CellEnded | Printed | Checkpoint | Ended
