"""What ran in this kernel so far, whether a run was open or not, so that a run can say what it needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable
from typing import Any

from mlops_nb.core.dataflow import NOTHING, Names
from mlops_nb.core.provenance import Hygiene, NamesOf, Notebook, Standing, Writers, closure, graded
from mlops_nb.core.records import CellExecution, CellOutcome

MAX_KEPT = 3000
_NEWEST = 500


class _NoNames:
    """Knows nothing of sources: nobody has told who does."""

    def __call__(self, source: str) -> Names:
        return NOTHING

    def code_of(self, source: str) -> str:
        return source


class CellHistory:
    """The executions of cells in this kernel session, numbered from 0.

    At most about `MAX_KEPT` are kept: those that the present values come from and the newest ones. Any thread may ask.

    Attributes:
        injected: Numbers of cells that no notebook has, such as the parameters that papermill puts in.
        names: Tells the names of a cell's source; set by the hooks.
        notebook: Reads the notebook as it is saved; set by the hooks.
        leave: Gives a run what the running cell has shown by now, and returns the cell with what is known of it; set by the hooks.
    """

    def __init__(self) -> None:
        self.injected: set[int] = set()
        self.names: NamesOf = _NoNames()
        self.notebook: Callable[[], Notebook | None] = lambda: None
        self.leave: Callable[[Any], CellExecution | None] = lambda _run: None
        self._of: dict[int, CellExecution] = {}
        self._writers = Writers()
        self._next = 0
        self._lock = threading.Lock()

    def number(self) -> int:
        """Return the number of the next execution."""
        self._next += 1
        return self._next - 1

    def put(self, execution: CellExecution) -> None:
        """Take in an execution when it begins, and again when it has ended."""
        with self._lock:
            self._of[execution.index] = execution
            if execution.outcome is not CellOutcome.RUNNING:
                self._writers.add(execution)
            if len(self._of) > MAX_KEPT:
                self._forget()

    def _forget(self) -> None:
        executions = list(self._of.values())
        kept = set(closure(executions, self._writers.latest(), self._writers)) | {e.index for e in executions[-_NEWEST:]}
        if len(kept) > MAX_KEPT * 3 // 4:  # every one builds on the one before: the oldest have to go
            kept = {e.index for e in executions[-MAX_KEPT // 2 :]}
        self._of = {index: e for index, e in self._of.items() if index in kept}
        self._writers = Writers(e for e in self._of.values() if e.outcome is not CellOutcome.RUNNING)

    @property
    def executions(self) -> list[CellExecution]:
        """What ran, and what is running, in order."""
        with self._lock:
            return list(self._of.values())

    def has(self, execution: CellExecution) -> bool:
        """Return whether an execution is one of this session."""
        known = self._of.get(execution.index)
        return known is not None and (known.started, known.source_hash) == (execution.started, execution.source_hash)

    def needed_by(self, execution: CellExecution, known: Container[int]) -> list[CellExecution]:
        """Return the executions that one needs, without itself, those that are known, and what those need."""
        with self._lock:
            missing = any(
                index not in known
                for index in (self._writers.before(name, execution.index) for name in execution.reads)
                if index is not None
            ) or any(index not in known for index in self._writers.settings_before(execution.index, execution.writes))
            if not missing:
                return []
            executions = [*self._of.values(), execution]
            indexes = closure(executions, [execution.index], self._writers, known)
            return [self._of[index] for index in indexes if index != execution.index and index in self._of]

    def standing(self) -> Standing:
        """Return how the executions stand to the notebook as it is saved now."""
        return Standing(self.executions, self.notebook(), self.names, self.injected)

    def grade(self, targets: Iterable[int]) -> Hygiene | None:
        """Return how what some executions need stands to the notebook; None if there is nothing to say."""
        standing = self.standing()
        needed = closure(standing.executions, targets, standing.writers)
        return graded([standing.by_index[index] for index in needed], standing)
