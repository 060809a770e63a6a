"""The tables of metrics: of one run, of two with differences, of several in columns, of many in rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mlops_nb.core.comparison import Direction, MetricChange, MetricRow, Verdict
from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Series
from mlops_nb.reports.content import Report
from mlops_nb.reports.document import Block, Line, Span, Style, Table, name, plain, table

ABOVE_THE_FOLD = 8
# More runs than this do not fit side by side.
_MOST_COLUMNS = 4

_ARROWS = {Direction.HIGHER: " ↑", Direction.LOWER: " ↓", Direction.NONE: ""}
_VERDICTS: dict[Verdict, tuple[str, Style]] = {
    Verdict.BETTER: ("▲ better", "good"),
    Verdict.WORSE: ("▼ worse", "bad"),
    Verdict.NOISE: ("≈ noise", "muted"),
    Verdict.SAME: ("= same", "muted"),
    Verdict.DIFFERENT: ("≠ different", "plain"),
    Verdict.NEW: ("new", "plain"),
    Verdict.MISSING: ("missing", "plain"),
    Verdict.NOT_COMPARABLE: ("not comparable", "bad"),
}


def metric_blocks(report: Report) -> list[Block]:
    """Return the most important metrics, and folded the rest."""
    rows = report.comparison.metrics
    if not rows:
        return [Block(title="Metrics", lines=(plain("No metrics were logged."),))]
    draw = _layout(len(report.parts))
    blocks = [Block(title="Metrics", table=draw(report, rows[:ABOVE_THE_FOLD]))]
    if rest := rows[ABOVE_THE_FOLD:]:
        title = "1 more metric" if len(rest) == 1 else f"{len(rest)} more metrics"
        # As many as there are rows, there may be columns: a page has room for some.
        shown = rest[: ABOVE_THE_FOLD * 2] if draw is _many else rest
        blocks.append(Block(title=title, folded=True, table=draw(report, shown)))
    return blocks


def _layout(runs: int) -> Callable[[Report, Sequence[MetricRow]], Table]:
    if runs <= 2:
        return _single if runs == 1 else _pair
    return _columns if runs <= _MOST_COLUMNS else _many


def _single(report: Report, rows: Sequence[MetricRow]) -> Table:
    series = {one.key: one for one in report.parts[0].series}
    has_curves = any(one.total > 1 for one in series.values())
    body: list[tuple[Line, ...]] = []
    for row in rows:
        history = _history(row, series.get(row.key)) if has_curves else ()
        body.append((_key(row), plain(format_number(row.base)), *history))
    return table(("metric", "last", "best", "at step", "points") if has_curves else ("metric", "value"), body, numeric=range(1, 5))


def _history(row: MetricRow, series: Series | None) -> tuple[Line, Line, Line]:
    """Return best value, its step and the number of points; thinning keeps the extremes, so the best one is there."""
    points = [point for point in series.points if math.isfinite(point[2])] if series else []
    if not series or series.total < 2 or not points or row.direction is Direction.NONE:
        return plain("–"), plain("–"), plain(f"{series.total:,}" if series else "–")
    step, _, best = (max if row.direction is Direction.HIGHER else min)(points, key=lambda point: point[2])
    return plain(format_number(best)), plain(f"{step:,}"), plain(f"{series.total:,}")


def _pair(report: Report, rows: Sequence[MetricRow]) -> Table:
    base, other = (name(part.label, 40) for part in report.parts)
    body: list[tuple[Line, ...]] = []
    for row in rows:
        change = row.changes[0]
        text, style = _VERDICTS[change.verdict]
        numbers: Style = "strong" if row.key == report.comparison.primary else "plain"
        delta = _number(row, change.difference, signed=True, style=numbers)
        body.append((_key(row), (_number(row, row.base),), (_number(row, change.value, style=numbers),), (delta,), (Span(text, style),)))
    return table(("metric", base, other, "Δ", "verdict"), body, numeric=range(1, 4))


def _columns(report: Report, rows: Sequence[MetricRow]) -> Table:
    header: tuple[str | Line, ...] = ("metric", *(name(part.label, 40) for part in report.parts))
    body = [(_key(row), (_number(row, row.base),), *(_value_and_delta(row, change) for change in row.changes)) for row in rows]
    return table(header, body, numeric=range(1, len(header)))


def _many(report: Report, rows: Sequence[MetricRow]) -> Table:
    header: tuple[str | Line, ...] = ("run", *(_key(row) for row in rows))
    body: list[tuple[Line, ...]] = [(name(report.parts[0].label, 40), *((_number(row, row.base),) for row in rows))]
    for place, part in enumerate(report.parts[1:]):
        body.append((name(part.label, 40), *(_value_and_delta(row, row.changes[place]) for row in rows)))
    return table(header, body, numeric=range(1, len(header)))


def _key(row: MetricRow) -> Line:
    return (*name(row.key, 60), Span(_ARROWS[row.direction]))


def _number(row: MetricRow, value: float | None, *, signed: bool = False, style: Style = "plain") -> Span:
    return Span(format_number(value, decimals=row.decimals, signed=signed), style)


def _value_and_delta(row: MetricRow, change: MetricChange) -> Line:
    text, style = _VERDICTS[change.verdict]
    value = _number(row, change.value)
    if change.verdict in (Verdict.BETTER, Verdict.WORSE, Verdict.DIFFERENT):
        return value, Span(f" {text[0]} {format_number(change.difference, decimals=row.decimals, signed=True)}", style)
    return (value,) if change.verdict is Verdict.SAME else (value, Span(f" {text}", style))
