"""The cells of a run as a notebook of their own."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_nb.core.provenance import Notebook, closure, results_of
from mlops_nb.core.records import CellExecution, Run
from mlops_nb.core.restoring import INJECTED, with_sources
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking.saved import hash_of

OWN_TRACKING = ("%track", "mlops_nb", "import mlflow", "from mlflow")
"""What a notebook holds that tracks itself."""


class RunCells:
    """The ledger of a run, with the sources that it did not keep taken from the notebook where they still are.

    Attributes:
        executions: By index.
        injected: Indexes of those that papermill put in.
    """

    def __init__(self, store: TrackingStore, run: Run, notebook: Notebook | None) -> None:
        self.run = run
        self.executions = with_sources(store.cells(run.run_id), notebook)
        self.injected = {cell.index for cell in self.executions if cell.source.startswith(INJECTED)}

    @property
    def own(self) -> list[CellExecution]:
        """Those that ran while the run was open."""
        return [cell for cell in self.executions if cell.started + cell.duration_ms >= self.run.start_time - 1]

    @property
    def targets(self) -> list[int]:
        """The executions that the run has its results from, and the one that began it."""
        metric_cells = {metric.cell for metric in self.run.metrics.values() if metric.cell is not None}
        found = set(results_of(self.executions, metric_cells)) or {cell.index for cell in self.own}
        return sorted(found | {cell.index for cell in self.own[:1]})

    @property
    def closure(self) -> list[CellExecution]:
        """What the results need, in order."""
        needed = set(closure(self.executions, self.targets))
        return [cell for cell in self.executions if cell.index in needed]

    @property
    def tracks_itself(self) -> bool:
        """Whether the cells open the run, and not who executed them."""
        return any(mark in cell.source for cell in self.executions for mark in OWN_TRACKING)


def missing_sources(executions: Sequence[CellExecution]) -> list[CellExecution]:
    """Return the executions whose source is not known as it was: it was not kept, was cut off, or held a secret."""
    return [cell for cell in executions if hash_of(cell.source) != cell.source_hash]
