"""The metrics of a comparison as rows for programs: a pandas table, a CSV file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from mlops_nb.core.comparison import RunComparison
from mlops_nb.errors import MissingDependencyError

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("metric", "direction", "run", "run_id", "base", "value", "difference", "low", "high", "p_value", "verdict", "method", "note")
Cell = str | float | None


def metric_rows(comparison: RunComparison) -> list[tuple[Cell, ...]]:
    """Return one row a metric and run, besides the base; the columns are `COLUMNS`."""
    return [
        (
            row.key,
            row.direction.value,
            comparison.labels[place + 1],
            comparison.run_ids[place + 1],
            row.base,
            change.value,
            change.difference,
            None if change.interval is None else change.interval[0],
            None if change.interval is None else change.interval[1],
            change.p_value,
            change.verdict.value,
            change.method,
            change.note,
        )
        for row in comparison.metrics
        for place, change in enumerate(row.changes)
    ]


def metric_table(comparison: RunComparison) -> DataFrame:
    """Return the rows as a pandas table.

    Raises:
        MissingDependencyError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependencyError("pandas", extra="demo", purpose="A table of metrics") from None
    return pd.DataFrame(metric_rows(comparison), columns=list(COLUMNS))


def to_csv(comparison: RunComparison) -> str:
    """Return the rows, and behind them the params, as CSV. No text begins like a formula: spreadsheets would run it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_safe(cell) for cell in row] for row in metric_rows(comparison))
    writer.writerow([])
    writer.writerow(["param", *(_safe(label) for label in comparison.labels), "changed"])
    for row in comparison.params:
        writer.writerow([_safe(row.key), *(_safe(value) for value in row.values), str(row.changed).lower()])
    return text.getvalue()


def _safe(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "\u2212"):
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell
