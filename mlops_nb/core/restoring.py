"""The cells of a run as a notebook of their own, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import nbformat

from mlops_nb.core.formatting import format_duration
from mlops_nb.core.provenance import Notebook
from mlops_nb.core.records import CellExecution, Run

INJECTED = "# Parameters\n"
"""How a cell begins that papermill put in."""

_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
_MAX_NAMES = 1000


def with_sources(executions: Iterable[CellExecution], notebook: Notebook | None) -> list[CellExecution]:
    """Return executions with the sources that the ledger did not keep taken from the notebook, where they still are."""
    sources = {place.source_hash: place.source for place in (notebook.places if notebook is not None else [])}
    return [cell if cell.source else msgspec.structs.replace(cell, source=sources.get(cell.source_hash, "")) for cell in executions]


def as_notebook(executions: Sequence[CellExecution], introduction: str, *, before: str | None = None) -> Any:
    """Return a notebook with the sources of executions, in their order.

    Args:
        executions: What becomes a cell each.
        introduction: Markdown that goes before.
        before: Code that goes before.
    """
    document = nbformat.v4.new_notebook(metadata=dict(_KERNEL))  # type: ignore[no-untyped-call]  # nbformat has types in part
    document.cells.append(nbformat.v4.new_markdown_cell(introduction))  # type: ignore[no-untyped-call]
    if before is not None:
        document.cells.append(nbformat.v4.new_code_cell(before))  # type: ignore[no-untyped-call]
    taken: set[str] = {cell["id"] for cell in document.cells}
    for execution in executions:
        source = execution.source or "# The source of this cell was not kept; only its hash is known: " + execution.source_hash
        cell = nbformat.v4.new_code_cell(source)  # type: ignore[no-untyped-call]
        if execution.cell_id and _CELL_ID.fullmatch(execution.cell_id) and execution.cell_id not in taken:
            cell["id"] = execution.cell_id
        if source.startswith(INJECTED):
            cell["metadata"]["tags"] = ["parameters"]
        taken.add(cell["id"])
        document.cells.append(cell)
    return document


def restored_notebook(run: Run, executions: Sequence[CellExecution]) -> str:
    """Return the file of a notebook with the cells of a run, as they were executed."""
    return str(nbformat.writes(as_notebook(executions, _introduction(run))))  # type: ignore[no-untyped-call]


def restored_names(run: Run, stem: str | None) -> Iterator[str]:
    """Return file names for it, one after the other until one is free.

    Args:
        run: The run.
        stem: The name of its notebook without the ending, if that is known.
    """
    slug = re.sub(r"[^\w.-]+", "-", run.name).strip("-.")[:60] or run.run_id[:8]
    start = f"{stem[:60]}-{slug}" if stem else slug
    yield f"{start}.ipynb"
    yield from (f"{start}-{number}.ipynb" for number in range(2, _MAX_NAMES))


def _introduction(run: Run) -> str:
    params = "".join(f"\n- `{key}` = `{value[:100]}`" for key, value in sorted(run.params.items()))
    metrics = "".join(f"\n- `{key}`: {metric.value!r}" for key, metric in sorted(run.metrics.items()))
    took = f", {format_duration(run.duration_ms)}" if run.duration_ms is not None else ""
    return (
        f"The cells of run **{run.name}** (`{run.run_id}`), as they were executed: {run.status.value.lower()}{took}."
        + (f"\n\nParams{params}" if params else "")
        + (f"\n\nMetrics{metrics}" if metrics else "")
    )
