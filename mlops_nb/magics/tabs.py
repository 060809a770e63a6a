"""One side of a run: what `%track show RUN --tab cells` shows, as text and as HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import msgspec

from mlops_nb.core.formatting import fitted, format_duration, format_number, one_line, padded, width
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import ProductKind, Run
from mlops_nb.core.run_folders import ENVIRONMENT_FILE
from mlops_nb.errors import InvalidInput, NotFound, did_you_mean
from mlops_nb.magics import cards
from mlops_nb.store.base import TrackingStore

_MOST = 200
_ENVIRONMENT = (
    "mlflow.source.",
    "mlflow.user",
    "mlops.notebook",
    "mlops.execution",
    "mlops.env",
    "mlops.git",
    "mlops.python",
    "mlops.hardware",
)
_CELL_COLUMNS = 60


class Tab(msgspec.Struct, frozen=True, kw_only=True):
    """Rows under headers. `pictures` has, by row, HTML that is shown behind it."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    pictures: list[str] = []

    def __str__(self) -> str:
        if not self.rows:
            return f"{self.title}: nothing"
        shown = [[fitted(one_line(cell), _CELL_COLUMNS) for cell in row] for row in (self.header, *self.rows[:_MOST])]
        widths = [max(width(row[i]) for row in shown) for i in range(len(self.header))]
        lines = ["  ".join(padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in shown]
        return "\n".join([self.title, *lines])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        pictures = [*self.pictures, *[""] * len(self.rows)]
        header = [*self.header, ""] if self.pictures else list(self.header)
        rows = [
            [*(escape(cell[:300]) for cell in row), *([picture] if self.pictures else [])]
            for row, picture in zip(self.rows[:_MOST], pictures, strict=False)
        ]
        html = f"<div><b>{escape(self.title)}</b></div>{cards.table(header, rows) or '<div>nothing</div>'}"
        return {"text/plain": str(self), "text/html": html}


def tab_named(store: TrackingStore, run: Run, tab: str) -> Tab:
    """Return a tab of a run: one of `parsers.TABS`.

    Raises:
        InvalidInput: If there is no such tab.
    """
    if tab not in _MAKERS:
        raise InvalidInput(f"There is no tab '{tab}'.", hint=did_you_mean(tab, _MAKERS) or f"There are: {', '.join(_MAKERS)}.")
    return _MAKERS[tab](store, run)


def _metrics(store: TrackingStore, run: Run) -> Tab:
    return _metric_tab(store, run, "metrics", [key for key in sorted(run.metrics) if not key.startswith(SYSTEM_METRICS)])


def _system(store: TrackingStore, run: Run) -> Tab:
    return _metric_tab(store, run, "system", [key for key in sorted(run.metrics) if key.startswith(SYSTEM_METRICS)])


def _metric_tab(store: TrackingStore, run: Run, title: str, keys: Sequence[str]) -> Tab:
    series = {each.key: each for each in store.series(run.run_id, keys[:_MOST], max_points=120)} if keys else {}
    rows, pictures = [], []
    for key in keys:
        metric = run.metrics[key]
        course = [value for _, _, value in series[key].points] if key in series else []
        count = series[key].total if key in series else 1
        rows.append((key, format_number(metric.value), str(metric.step), f"{count:,}", "" if metric.cell is None else str(metric.cell)))
        pictures.append(cards.sparkline(key, course))
    return Tab(title=f"{run.name}: {title}", header=("metric", "last", "step", "points", "cell"), rows=rows, pictures=pictures)


def _params(_: TrackingStore, run: Run) -> Tab:
    return Tab(title=f"{run.name}: params", header=("param", "value"), rows=sorted(run.params.items()))


def _cells(store: TrackingStore, run: Run) -> Tab:
    logged: dict[int, list[str]] = {}
    for metric in run.metrics.values():
        if metric.cell is not None:
            logged.setdefault(metric.cell, []).append(metric.key)
    rows = []
    for cell in store.cells(run.run_id):
        first = next((line for line in cell.source.splitlines() if line.strip()), "(source not kept)")
        gave = [*sorted(logged.get(cell.index, [])), *(product.name for product in cell.products)]
        number = f"[{cell.execution_count}]" if cell.execution_count else ""
        rows.append(
            (
                number,
                cell.outcome.value,
                format_duration(cell.duration_ms),
                first,
                ", ".join(cell.reads),
                ", ".join(cell.writes),
                ", ".join(gave),
            )
        )
    return Tab(title=f"{run.name}: cells", header=("cell", "outcome", "took", "first line", "reads", "writes", "gave"), rows=rows)


def _data(_: TrackingStore, run: Run) -> Tab:
    rows = [(each.dataset.name, each.context or "", each.dataset.digest, each.dataset.source_type) for each in run.inputs.datasets]
    return Tab(title=f"{run.name}: data", header=("data", "for", "digest", "source"), rows=rows)


def _files(store: TrackingStore, run: Run) -> Tab:
    files = [artifact for artifact in store.list_artifacts(run.run_id, recursive=True) if not artifact.is_dir]
    rows = [(file.path, f"{file.file_size or 0:,} B", file.media_type or "") for file in files]
    return Tab(title=f"{run.name}: files", header=("path", "size", "type"), rows=rows)


def _environment(store: TrackingStore, run: Run) -> Tab:
    rows = sorted((key, value) for key, value in run.tags.items() if key.startswith(_ENVIRONMENT))
    try:
        facts = msgspec.json.decode(b"".join(store.read_artifact(run.run_id, ENVIRONMENT_FILE)), type=dict[str, Any])
    except (NotFound, msgspec.MsgspecError):  # a run of another client, or one that has just begun
        facts = {}
    rows += [(key, str(value)) for key, value in facts.items() if value not in (None, [], {})]
    return Tab(title=f"{run.name}: environment", header=("what", "value"), rows=rows)


def _model(store: TrackingStore, run: Run) -> Tab:
    cells = {product.name: cell for cell in store.cells(run.run_id) for product in cell.products if product.kind is ProductKind.MODEL}
    rows = []
    for output in run.outputs:
        cell = cells.get(output.model_id)
        rows.append((output.model_id, str(output.step), f"[{cell.execution_count}]" if cell is not None else ""))
    return Tab(title=f"{run.name}: models", header=("model", "step", "cell"), rows=rows)


_MAKERS: dict[str, Callable[[TrackingStore, Run], Tab]] = {
    "metrics": _metrics,
    "params": _params,
    "cells": _cells,
    "data": _data,
    "files": _files,
    "env": _environment,
    "system": _system,
    "model": _model,
}
