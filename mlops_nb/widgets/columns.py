"""The columns of a run table: what they are called, what stands in them, how the store sorts by them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime

from mlops_nb.core.formatting import format_duration, format_number, one_line
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import Run
from mlops_nb.core.salience import common_keys, main_metrics
from mlops_nb.errors import InvalidInput, did_you_mean

# The attributes that are columns, with their heads and what the store sorts them by.
ATTRIBUTES = {
    "name": ("run", "run_name"),
    "status": ("status", "status"),
    "started": ("started", "start_time"),
    "took": ("took", None),
    "id": ("id", "run_id"),
    "user": ("user", "user_id"),
    "reason": ("reason", "reason"),
}
_MAIN = 4
_LENGTH = 120
_KEYED = re.compile(r"(metrics|params|tags)\.(.+)", re.DOTALL)


def default_columns(runs: Sequence[Run]) -> list[str]:
    """Return the columns to begin with: what every run has, and the metrics and params that most of these runs have."""
    metrics = common_keys([[key for key in run.metrics if not key.startswith(SYSTEM_METRICS)] for run in runs], _MAIN, main_metrics)
    params = common_keys([list(run.params) for run in runs], _MAIN)
    return ["status", "started", "took", *(f"metrics.{key}" for key in metrics), *(f"params.{key}" for key in params)]


def offered_columns(runs: Sequence[Run], chosen: Sequence[str]) -> list[str]:
    """Return all columns that these runs could have, and those chosen."""
    metrics = sorted({f"metrics.{key}" for run in runs for key in run.metrics})
    params = sorted({f"params.{key}" for run in runs for key in run.params})
    tags = sorted({f"tags.{key}" for run in runs for key in run.tags})
    return list(dict.fromkeys([*(key for key in ATTRIBUTES if key != "name"), *metrics, *params, *tags, *chosen]))


def checked_column(name: str, offered: Sequence[str] = ()) -> str:
    """Return a column by its name; a bare one may be a metric or a param of `offered`.

    Raises:
        InvalidInput: If it is none.
    """
    if name in ATTRIBUTES or _KEYED.fullmatch(name):
        return name
    for full in (f"metrics.{name}", f"params.{name}", f"tags.{name}"):
        if full in offered:
            return full
    guess = did_you_mean(name, [*ATTRIBUTES, *offered, *(each.partition(".")[2] for each in offered)])
    raise InvalidInput(f"There is no column '{one_line(name)[:60]}'.", hint=guess or "Use metrics.NAME, params.NAME or tags.NAME.")


def head(column: str) -> str:
    """Return what stands over a column."""
    return ATTRIBUTES[column][0] if column in ATTRIBUTES else column.partition(".")[2]


def is_number(column: str) -> bool:
    """Return whether a column is set to the right."""
    return column.startswith("metrics.") or column == "took"


def order_by(column: str, descending: bool) -> str | None:
    """Return the store's order clause for a column; None where it cannot sort by it."""
    way = "desc" if descending else "asc"
    if column in ATTRIBUTES:
        name = ATTRIBUTES[column][1]
        return None if name is None else f"attributes.{name} {way}"
    kind, _, key = column.partition(".")
    return f"{kind}.`{key.replace('`', '``')}` {way}"


def cell(run: Run, column: str) -> str:
    """Return what stands in a column for a run; nothing where it has nothing."""
    if column in ATTRIBUTES:
        return _attribute(run, column)
    kind, _, key = column.partition(".")
    if kind == "metrics":
        return format_number(run.metrics[key].value) if key in run.metrics else ""
    text = (run.params if kind == "params" else run.tags).get(key, "")
    return one_line(text[:_LENGTH])


def _attribute(run: Run, column: str) -> str:
    if column == "started":
        return datetime.fromtimestamp(run.start_time / 1000).strftime("%Y-%m-%d %H:%M:%S")
    if column == "took":
        return format_duration(run.duration_ms if run.end_time is not None else max(0, time.time_ns() // 1_000_000 - run.start_time))
    texts = {"name": run.name, "status": run.status.value.lower(), "id": run.run_id, "user": run.user, "reason": run.reason or ""}
    return one_line(texts[column][:_LENGTH])
