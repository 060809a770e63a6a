"""Runs as one table: the columns that MLflow's data frames have."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mlops_nb.core.records import Run, float_to_json

_FIXED = ("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time")


def run_rows(runs: Sequence[Run]) -> tuple[list[str], list[list[object]]]:
    """Return the names of the columns, and a row for each run; what a run lacks is None."""
    metrics = sorted({key for run in runs for key in run.metrics})
    params = sorted({key for run in runs for key in run.params})
    tags = sorted({key for run in runs for key in run.tags})
    columns = [*_FIXED, *(f"metrics.{k}" for k in metrics), *(f"params.{k}" for k in params), *(f"tags.{k}" for k in tags)]
    rows: list[list[object]] = []
    for run in runs:
        fixed: list[object] = [run.run_id, run.experiment_id, run.status.value, run.artifact_uri, run.start_time, run.end_time]
        values = [float_to_json(run.metrics[k].value) if k in run.metrics else None for k in metrics]
        rows.append([*fixed, *values, *(run.params.get(k) for k in params), *(run.tags.get(k) for k in tags)])
    return columns, rows


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as CSV with a line of names; None is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
