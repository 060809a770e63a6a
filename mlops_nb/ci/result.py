"""What came of `mlops-nb ci run`, for programs: an exit status that says what went wrong, and each notebook's part."""

from __future__ import annotations

import signal
from enum import IntEnum
from pathlib import Path

import msgspec

from mlops_nb.ci.protocol import Ending
from mlops_nb.core.gates import GateResult


class Exit(IntEnum):
    """The exit statuses. A signal gives 128 and its number: 130 for SIGINT, 143 for SIGTERM."""

    PASSED = 0
    GATE_FAILED = 1
    USAGE = 2
    NOTEBOOK_FAILED = 3
    TIMED_OUT = 4
    KERNEL_DIED = 5
    NOT_RECORDED = 6


_OF_ENDING = {
    Ending.FINISHED: Exit.PASSED,
    Ending.FAILED: Exit.NOTEBOOK_FAILED,
    Ending.BROKEN: Exit.NOTEBOOK_FAILED,
    Ending.TIMED_OUT: Exit.TIMED_OUT,
    Ending.DIED: Exit.KERNEL_DIED,
}


class NotebookResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a notebook.

    Attributes:
        notebook: Its path in the project.
        path: Its path on this machine.
        ending: How its execution ended.
        reason: Why, if it did not come to its end.
        cell: Number of the cell that it ended in, from 1.
        line: Where that cell begins in the notebook's file, from 1; None where that cannot be told.
        seconds: How long it took.
        run_id: The run that stands for it; empty if it has none.
        verdict: What became of it, in the report's words.
        baseline: What it was compared with, or why with nothing.
        gates: What came of the gates.
        output: The executed notebook; None if there is none.
    """

    notebook: str
    path: Path
    ending: Ending
    reason: str
    cell: int | None
    line: int | None
    seconds: float
    run_id: str
    verdict: str
    baseline: str
    gates: tuple[GateResult, ...]
    output: Path | None

    @property
    def exit_code(self) -> int:
        """What this notebook alone would give."""
        found = _OF_ENDING.get(self.ending, Exit.NOTEBOOK_FAILED)
        if found is Exit.PASSED and any(gate.is_failure for gate in self.gates):
            return int(Exit.GATE_FAILED)
        return int(found)


class CiResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all.

    Attributes:
        exit_code: See `Exit`; of several notebooks that of the worst.
        notebooks: Each one's part.
        files: What was written of the report, the Markdown first.
        problems: What else went wrong, such as a store that did not answer.
        gates_file: Where the gates stand, from the root of the project.
    """

    exit_code: int
    notebooks: tuple[NotebookResult, ...]
    files: tuple[Path, ...]
    problems: tuple[str, ...] = ()
    gates_file: str = ""

    @property
    def passed(self) -> bool:
        """Whether all ran to their end and no gate failed."""
        return self.exit_code == 0

    @property
    def verdict(self) -> str:
        """`pass` or `fail`."""
        return "pass" if self.passed else "fail"

    def __str__(self) -> str:
        lines = []
        for each in self.notebooks:
            failed = [gate.reason for gate in each.gates if gate.is_failure]
            cell = f" in cell {each.cell}" if each.cell else ""
            how = f"{each.ending.value}{cell}: {each.reason}" if each.ending is not Ending.FINISHED else each.verdict
            sign = "✓" if each.exit_code == 0 else "✗"
            lines.append(" · ".join([f"{sign} {each.notebook}", how, f"baseline: {each.baseline}"]))
            lines += [f"    {reason}" for reason in failed]
        lines += [f"! {problem}" for problem in self.problems]
        return "\n".join(lines)


def exit_code_of(notebooks: tuple[NotebookResult, ...], received: signal.Signals | None, *, is_recorded: bool) -> int:
    """Return the exit status: a signal's, else that of the worst notebook."""
    if received is not None:
        return 128 + received
    worst = max((each.exit_code for each in notebooks), default=0)
    return worst if worst or is_recorded else int(Exit.NOT_RECORDED)
