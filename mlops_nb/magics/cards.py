"""How runs look in an output: text for terminals and agents, HTML with inline SVG for notebooks.

The HTML carries no script and no link to a server, so that it shows the same in an untrusted notebook, on GitHub and
in nbviewer. Everything that people wrote is escaped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime
from html import escape

from mlops_nb.core.formatting import fitted, format_duration, format_number, one_line, padded, width
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import Run, Series
from mlops_nb.core.run_state import RunStatus
from mlops_nb.core.salience import common_keys, main_metrics
from mlops_nb.tracking.run import ActiveRun

Bundle = dict[str, str]

GLYPHS = {
    RunStatus.RUNNING: "▶",
    RunStatus.SCHEDULED: "◷",
    RunStatus.FINISHED: "●",
    RunStatus.FAILED: "✗",
    RunStatus.KILLED: "■",
    RunStatus.LOST: "?",
}
_COLOURS = {
    RunStatus.RUNNING: "var(--jp-brand-color1, #1976d2)",
    RunStatus.SCHEDULED: "var(--jp-ui-font-color2, #757575)",
    RunStatus.FINISHED: "var(--jp-success-color1, #2e7d32)",
    RunStatus.FAILED: "var(--jp-error-color1, #c62828)",
    RunStatus.KILLED: "var(--jp-warn-color1, #b26a00)",
    RunStatus.LOST: "var(--jp-warn-color1, #b26a00)",
}
_SHOWN = 40
_NAME_COLUMNS, _VALUE_COLUMNS = 24, 16
_ALWAYS = 5


def active_run_bundle(run: ActiveRun) -> Bundle:
    """Return the card of a run that this process records."""
    end = run.end_time if run.end_time is not None else time.time_ns() // 1_000_000
    values = {key: value for key, (value, _step) in run.latest.items()}
    return _card(run.name, run.run_id, run.experiment, run.status, run.reason, end - run.start_time, values, run.params)


def run_bundle(run: Run, series: Sequence[Series] = ()) -> Bundle:
    """Return the card of a run in the store, with all of its params and metrics."""
    values = {key: metric.value for key, metric in run.metrics.items()}
    elapsed = run.duration_ms if run.end_time is not None else time.time_ns() // 1_000_000 - run.start_time
    card = _card(run.name, run.run_id, None, run.status, run.reason, elapsed, values, run.params)
    courses = {each.key: [value for _, _, value in each.points] for each in series}
    rows = [(key, format_number(value), sparkline(key, courses.get(key, ()))) for key, value in sorted(values.items())]
    tags = {k: v for k, v in sorted(run.tags.items()) if k != "mlflow.runName"}
    text = [card["text/plain"], *(f"  {key} = {value}" for key, value, _ in rows)]
    text += [one_line(f"  {k}: {v}") for k, v in sorted(run.params.items())]
    tables = table(["metric", "last", ""], [(escape(k), escape(v), spark) for k, v, spark in rows[:_SHOWN]])
    tables += table(["param", "value"], [(escape(k), escape(v[:200])) for k, v in sorted(run.params.items())[:_SHOWN]])
    tables += table(["tag", "value"], [(escape(k), escape(v[:200])) for k, v in list(tags.items())[:_SHOWN]])
    return {"text/plain": "\n".join(text), "text/html": card["text/html"] + tables}


def _card(
    name: str,
    run_id: str,
    experiment: str | None,
    status: RunStatus,
    reason: str | None,
    elapsed: float | None,
    metrics: dict[str, float],
    params: dict[str, str],
) -> Bundle:
    shown = [f"{key} {format_number(metrics[key])}" for key in main_metrics(list(metrics))]
    settings = " ".join(f"{key}={value[:30]}" for key, value in list(params.items())[:6])
    facts = [status.value.lower(), format_duration(elapsed), *shown, settings, f"{experiment} / {run_id[:8]}" if experiment else run_id[:8]]
    text = one_line(f"{GLYPHS[status]} {name} " + " · ".join(fact for fact in facts if fact))
    if reason:
        text += f"\n  {reason}"
    colour = _COLOURS[status]
    why = f'<div style="color:{colour};margin-top:2px">{escape(reason)}</div>' if reason else ""
    html = (
        f'<div class="mlops-nb-card" style="border-left:3px solid {colour};padding:2px 10px;margin:2px 0">'
        f'<span style="color:{colour}" aria-hidden="true">{GLYPHS[status]}</span> <b>{escape(name)}</b> '
        f'<span style="opacity:.85">{" · ".join(escape(fact) for fact in facts if fact)}</span>{why}</div>'
    )
    return {"text/plain": text, "text/html": html}


def runs_bundle(runs: Sequence[Run], *, columns: int | None = None) -> Bundle:
    """Return runs as a table, with the metrics and params that most of them have; of the text what fits in so many columns."""
    if not runs:
        text = "No runs here yet. Start one: %track start"
        return {"text/plain": text, "text/html": f"<div>{escape(text)}</div>"}
    metrics = common_keys([[key for key in run.metrics if not key.startswith(SYSTEM_METRICS)] for run in runs], 4, main_metrics)
    params = common_keys([list(run.params) for run in runs], 4)
    header = ["", "run", "id", "started", "took", *metrics, *params]
    rows = []
    for run in runs:
        started = datetime.fromtimestamp(run.start_time / 1000).strftime("%m-%d %H:%M:%S")
        values = [format_number(run.metrics[key].value) if key in run.metrics else "" for key in metrics]
        rows.append(
            [
                f"{GLYPHS[run.status]} {run.status.value.lower()}",
                run.name[:60],
                run.run_id[:8],
                started,
                format_duration(run.duration_ms),
                *values,
                *(run.params.get(key, "")[:30] for key in params),
            ]
        )
    plain = [[one_line(cell) for cell in row] for row in [header, *rows]]
    if columns is not None:
        plain = [[row[0], fitted(row[1], _NAME_COLUMNS), *(fitted(cell, _VALUE_COLUMNS) for cell in row[2:])] for row in plain]
    widths = [max(width(row[i]) for row in plain) for i in range(len(header))]
    while columns is not None and len(widths) > _ALWAYS and sum(widths) + 2 * (len(widths) - 1) > columns:
        del widths[-1]
    lines = ["  ".join(padded(row[i], size) for i, size in enumerate(widths)).rstrip() for row in plain]
    html = table(header, [[escape(cell) for cell in row] for row in rows[:100]])
    return {"text/plain": "\n".join(lines), "text/html": html}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; the cells are HTML already."""
    if not rows:
        return ""
    cell = 'style="text-align:left;padding:1px 10px 1px 0"'
    head = "".join(f"<th {cell}>{escape(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(f"<td {cell}>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<table style="margin:4px 0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def colour_of(status: RunStatus) -> str:
    """Return the CSS colour of a state, that of the page's theme where it has one."""
    return _COLOURS[status]


def sparkline(name: str, course: Sequence[float], *, most: int = 60, width: int = 120, height: int = 22) -> str:
    """Return the course of a number as a small inline SVG; nothing for less than two values."""
    values = [value for value in course if math.isfinite(value)]
    if len(values) < 2:
        return ""
    values = [*values[: -1 : max(1, -(-len(values) // most))], values[-1]]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = " ".join(
        f"{i * width / (len(values) - 1):.1f},{height - 2 - (v - low) / span * (height - 4):.1f}" for i, v in enumerate(values)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(name)}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5" opacity=".7"/></svg>'
    )
