"""What an execution left: its runs in the store, the failing cell in the executed notebook."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import nbformat

from mlops_nb.ci.execution import Execution
from mlops_nb.ci.protocol import Ending
from mlops_nb.core.gates import Gate, gated_metrics
from mlops_nb.core.records import TAG_EXECUTION, CellExecution, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.store.base import RunQuery, TrackingStore

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_MAX_RUNS = 200
_MAX_TRACEBACK = 6_000
_MAX_SOURCE = 6_000
_ENDED = frozenset({RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED})


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Why a notebook did not come to its end: the cell's number (None: no cell is to blame), the line of the notebook's file in
    which it begins, its source, the traceback."""

    reason: str
    cell: int | None = None
    line: int | None = None
    source: str = ""
    traceback: str = ""
    hint: str = ""


def runs_of(store: TrackingStore, execution_id: str) -> list[Run]:
    """Return the runs of an execution, the newest first."""
    query = RunQuery(filter=f"tags.`{TAG_EXECUTION}` = '{execution_id}'", lifecycle_stage=None, max_results=_MAX_RUNS)
    return store.search_runs(query).items


def main_run(runs: Sequence[Run], gates: Sequence[Gate]) -> Run | None:
    """Return the run that stands for the notebook: the one with most of the gated metrics, then of all metrics, then the newest.

    Runs within runs count only where there is no other.
    """
    outer = [run for run in runs if run.parent_id is None] or list(runs)

    def weight(run: Run) -> tuple[int, int, int]:
        gated = {metric for _, metric in gated_metrics(gates, list(run.metrics)) if metric in run.metrics}
        return len(gated), len(run.metrics), run.start_time

    return max(outer, key=weight, default=None)


def add_tags(store: TrackingStore, runs: Sequence[Run], tags: Mapping[str, str]) -> None:
    """Tag runs."""
    for run in runs:
        store.log_batch(run.run_id, tags=dict(tags))


def close_runs(store: TrackingStore, runs: Sequence[Run], execution: Execution) -> list[Run]:
    """End the runs that nobody ends any more, because the execution was ended, and return all as they are now."""
    if execution.ending is Ending.FINISHED:
        return list(runs)
    where = f" in cell {execution.cell}" if execution.cell else ""
    for run in runs:
        if run.status not in _ENDED:
            now = time.time_ns() // 1_000_000
            store.update_run(run.run_id, status=RunStatus.KILLED, end_time=now, reason=f"{execution.reason}{where}"[:500])
    return [store.get_run(run.run_id) for run in runs]


def breakdown_of(execution: Execution, run: Run | None) -> Breakdown | None:
    """Return why a notebook did not come to its end; None if it did."""
    if execution.ending is Ending.FINISHED:
        return None
    cell, failing = execution.cell, None
    code = [each for each in _cells(execution.output) if each.cell_type == "code" and each.source.strip()]
    if cell is not None and cell <= len(code):
        failing = code[cell - 1]
    errors = [output for output in (failing.get("outputs", []) if failing else ()) if output.get("output_type") == "error"]
    traceback = _ANSI.sub("", "\n".join(map(str, errors[-1].get("traceback", [])))) if errors else ""
    return Breakdown(
        reason=_reason(execution, run),
        cell=cell,
        line=None if failing is None else line_of_cell(execution.notebook, failing),
        source=str(failing.source)[:_MAX_SOURCE] if failing else "",
        traceback=traceback[-_MAX_TRACEBACK:],
        hint=_hint(execution, run),
    )


def line_of_cell(notebook: Path, cell: Any) -> int | None:
    """Return the line of a notebook's file in which the source of a cell begins; None where that cannot be told.

    Args:
        notebook: The file as it was before it was executed.
        cell: Of the executed notebook; known again by its id.
    """
    try:
        text = notebook.read_text(encoding="utf-8")
        cells = json.loads(text)["cells"]
        place = next(
            place for place, each in enumerate(cells) if each.get("id") == cell.get("id") and "".join(each["source"]) == cell.source
        )
        first = [each["source"][0] if isinstance(each["source"], list) else each["source"] for each in cells[: place + 1] if each["source"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    written = json.dumps(first[-1], ensure_ascii=False)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if written in line]
    return lines[min(first.count(first[-1]), len(lines)) - 1] if lines else None


def _reason(execution: Execution, run: Run | None) -> str:
    where = f" in cell {execution.cell} of {execution.count}" if execution.cell else ""
    if execution.ending is Ending.FAILED:
        return execution.reason
    why = f"{execution.reason}{where}"
    # The journal of the kernel knows if the machine was short of memory.
    if execution.ending is Ending.DIED and run is not None and run.reason and (found := re.search(r"\(([^()]*memory[^()]*)\)", run.reason)):
        why += f" ({found[1]})"
    return why


def _hint(execution: Execution, run: Run | None) -> str:
    if execution.ending is Ending.TIMED_OUT:
        return "Give it more time (--cell-timeout, --timeout), or let it do less."
    if execution.ending is Ending.DIED:
        return "Mostly the memory was used up: let it use less, or give it a larger machine."
    if execution.ending is Ending.BROKEN and "NoSuchKernel" in execution.reason:
        return "Install the kernel, or name another: --kernel python3"
    if execution.ending is Ending.BROKEN and "No kernel name found" in execution.reason:
        return "Save it in Jupyter with a kernel, or name one: --kernel python3"
    return ""


def _cells(path: Path) -> list[Any]:
    """Return the cells of an executed notebook without papermill's own remarks; none if there is no such file."""
    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has types in part
    except Exception:  # noqa: BLE001  # not written, or half written when the process was killed
        return []
    return [cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])]


def peak_memory(cells: Sequence[CellExecution]) -> int | None:
    """Return the most memory that the kernel held (bytes), as far as the ledger knows."""
    return max((cell.peak_memory for cell in cells if cell.peak_memory), default=None)
