"""Metrics over steps or time: a panel per metric, a line per run, or per group of runs with an interval."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar, get_args

import msgspec

from mlops_nb.core.comparison import Direction, direction_of
from mlops_nb.core.formatting import format_number, one_line
from mlops_nb.core.records import CellExecution, CellOutcome, Run, Series
from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.store.base import TrackingStore
from mlops_nb.widgets.charts.chart import Curves, Line, Panel
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.figures.choosing import MAX_LINES, MAX_PANELS, Group, chosen_metrics, grouped, left_out, some
from mlops_nb.widgets.figures.smoothing import checked, mean_band, smoothed

Axis = Literal["step", "time", "relative"]
_T = TypeVar("_T")
_KEPT = 40
_POINTS_IN_ALL = 6_000
_POINTS_OF_LINE = (60, 500)
_FAINT_UP_TO = 6
_ARROWS = {Direction.HIGHER: " ↑", Direction.LOWER: " ↓", Direction.NONE: ""}
_UNITS = ((3600_000.0, "h", 2 * 3600_000.0), (60_000.0, "min", 2 * 60_000.0), (1000.0, "s", 0.0))


class CurveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How curves are drawn; see `curves`."""

    axis: Axis = "step"
    smoothing: float = 0.0
    log: bool = False
    group: str | None = None
    start_step: int | None = None
    end_step: int | None = None
    max_lines: int = MAX_LINES


def curves(
    store: TrackingStore,
    runs: Sequence[Run],
    metrics: str | Sequence[str] | None = None,
    *,
    axis: Axis = "step",
    smoothing: float = 0.0,
    log: bool = False,
    group: str | None = None,
) -> Figure:
    """Draw metrics over steps or time.

    The store thins long series; first, last and extreme values stay. The pointer names the cell that logged a point.

    Args:
        store: Where the runs are.
        runs: At most 20 lines are drawn, the first ones; a note says how many are not.
        metrics: One panel each, at most 6; by default the main ones.
        axis: `step`; `time` of day, here; `relative`: since the run began.
        smoothing: 0 (none) to 1; the values as they are stay faintly behind up to six lines.
        log: A logarithmic y-axis; values that are not positive are gaps.
        group: `seed`: the mean of runs with the same params, seeds aside, with its interval at 95 %; or a param or tag.

    Raises:
        InvalidInput: If there is nothing to draw, or an option is not known.
        NotFound: If no run has a metric, param or tag that is named.
    """
    options = CurveOptions(axis=checked_axis(axis), smoothing=checked(smoothing), log=log, group=group)
    some(runs)
    chart, summary = curve_chart(CurveReader(store), runs, chosen_metrics(runs, metrics), options)
    return Figure(chart, summary)


def checked_axis(axis: str) -> Axis:
    """Return an axis by its name.

    Raises:
        InvalidInput: If there is none of that name.
    """
    names: tuple[Axis, ...] = get_args(Axis)
    for name in names:
        if name == axis:
            return name
    raise InvalidInput(f"There is no axis '{axis}'.", hint=did_you_mean(axis, names) or f"Use {', '.join(names)}.")


def curve_chart(
    read: CurveReader, runs: Sequence[Run], metrics: Sequence[str], options: CurveOptions, *, max_points: int = _POINTS_IN_ALL
) -> tuple[Curves, list[str]]:
    """Return the chart and what it shows in words; see `curves`."""
    groups = grouped(runs, options.group)
    shown = groups[: options.max_lines]
    keys = list(metrics[:MAX_PANELS])
    notes = left_out(len(shown), len(groups), "runs" if options.group is None else "groups")
    notes += left_out(len(keys), len(metrics), "metrics")
    lines = sum(len(each.runs) for each in shown) * len(keys)
    low, high = _POINTS_OF_LINE
    points = max(low, min(high, max_points // max(1, lines)))
    sources = {
        run.run_id: _Source(
            run,
            {key: series for key in keys if (series := read.series(run, key, points, options.start_step, options.end_step))},
            read.cells(run) if options.group is None else [],
        )
        for each in shown
        for run in each.runs
    }
    unit = _unit(sources.values()) if options.axis == "relative" else (1.0, "")
    panels = [_panel(key, shown, sources, options, unit) for key in keys]
    summary = [line for key in keys if (line := _summary(key, shown, sources))]
    if options.group is not None:
        notes.append("line: mean of the runs; band: 95 % interval of the mean")
    if options.smoothing:
        notes.append(f"smoothed ({options.smoothing:.2g})")
    notes += _gaps(panels, options.log)
    title = keys[0] + _ARROWS[direction_of(keys[0])] if len(keys) == 1 else f"{len(keys)} metrics of {len(runs)} runs"
    return Curves(title=title, panels=panels, notes=notes), summary


class CurveReader:
    """Reads the curves and cells of runs, each once as long as the run stays as it is."""

    def __init__(self, store: TrackingStore) -> None:
        self._store = store
        self._kept: dict[str, tuple[int, dict[object, Any]]] = {}

    def series(self, run: Run, key: str, max_points: int, start: int | None, end: int | None) -> Series | None:
        """Return a metric of a run, thinned; None where it has none."""

        def read() -> Series | None:
            found = self._store.series(run.run_id, [key], max_points=max_points, start_step=start, end_step=end)
            return found[0] if found else None

        return self._remembered(run, (key, max_points, start, end), read) if key in run.metrics else None

    def cells(self, run: Run) -> Sequence[CellExecution]:
        """Return the ledger of a run."""
        return self._remembered(run, "cells", lambda: self._store.cells(run.run_id))

    def _remembered(self, run: Run, what: object, read: Callable[[], _T]) -> _T:
        revision, kept = self._kept.get(run.run_id, (-1, {}))
        if revision != run.revision:
            kept = {}
            self._kept[run.run_id] = (run.revision, kept)
        if len(kept) >= _KEPT:
            kept.clear()
        if what not in kept:
            kept[what] = read()
        found: _T = kept[what]
        return found


class _Source(msgspec.Struct, frozen=True):
    run: Run
    series: dict[str, Series]
    cells: Sequence[CellExecution]


def _unit(sources: Iterable[_Source]) -> tuple[float, str]:
    longest = max((s.points[-1][1] - each.run.start_time for each in sources for s in each.series.values() if s.points), default=0)
    return next((size, name) for size, name, least in _UNITS if longest >= least)


def _panel(key: str, groups: Sequence[Group], sources: dict[str, _Source], options: CurveOptions, unit: tuple[float, str]) -> Panel:
    lines: list[Line] = []
    for look, group in enumerate(groups):
        found = [source for run in group.runs if (source := sources[run.run_id]).series.get(key) and source.series[key].points]
        if not found:
            continue
        if options.group is None:
            lines += _lines(group.label, look, found[0], key, options, unit[0], faint=len(groups) <= _FAINT_UP_TO)
        else:
            courses = []
            for source in found:
                xs, ys = _coordinates(source, key, options.axis, unit[0])
                courses.append((xs, smoothed(xs, ys, options.smoothing) if options.smoothing else ys))
            x, mean, low, high = mean_band(courses)
            several = len(courses) > 1
            lines.append(Line(name=group.label, xs=x, ys=mean, look=look, low=low if several else None, high=high if several else None))
    label = {"step": "step", "time": "time", "relative": f"time since the run began ({unit[1]})"}[options.axis]
    return Panel(
        title=key + _ARROWS[direction_of(key)],
        lines=lines,
        x_label=label,
        y_label=key,
        x_kind="date" if options.axis == "time" else "number",
        log_y=options.log,
    )


def _lines(name: str, look: int, source: _Source, key: str, options: CurveOptions, unit: float, *, faint: bool) -> list[Line]:
    xs, ys = _coordinates(source, key, options.axis, unit)
    notes = cell_notes(source.cells, [when for _, when, _ in source.series[key].points])
    if not options.smoothing:
        return [Line(name=name, xs=xs, ys=ys, look=look, notes=notes)]
    smooth = Line(name=name, xs=xs, ys=smoothed(xs, ys, options.smoothing), look=look, notes=notes)
    return [Line(name=name, xs=xs, ys=ys, look=look, mode="faint"), smooth] if faint else [smooth]


def _coordinates(source: _Source, key: str, axis: Axis, unit: float) -> tuple[list[float], list[float]]:
    points = source.series[key].points
    ys = [value for _, _, value in points]
    if axis == "step":
        return [step for step, _, _ in points], ys
    if axis == "relative":
        xs = [round((when - source.run.start_time) / unit, 4) for _, when, _ in points]
    else:
        # Plotly shows milliseconds in UTC: they are moved to the clock of the place.
        offset = datetime.fromtimestamp(points[0][1] / 1000).astimezone().utcoffset()
        xs = [when + (offset.total_seconds() * 1000 if offset else 0.0) for _, when, _ in points]
    order = sorted(range(len(xs)), key=lambda at: xs[at])
    return [xs[at] for at in order], [ys[at] for at in order]


def cell_notes(cells: Sequence[CellExecution], times: Sequence[int]) -> str | list[str]:
    """Return which cell logged each point: the one that was running then. One text where all are from one cell."""
    if not cells:
        return ""
    ordered = sorted(cells, key=lambda cell: cell.started)
    starts = [cell.started for cell in ordered]
    found: list[CellExecution | None] = []
    for when in times:
        at = bisect.bisect_right(starts, when) - 1
        cell = ordered[at] if at >= 0 else None
        over = cell is not None and cell.outcome is not CellOutcome.RUNNING and when > cell.started + cell.duration_ms + 1
        found.append(None if over else cell)
    first = found[0]
    if all(cell is first for cell in found):
        if first is None:
            return ""
        return f"{_name(first)} {one_line(next(iter(first.source.strip().splitlines()), ''))[:60]}".strip()
    return ["" if cell is None else _name(cell) for cell in found]


def _name(cell: CellExecution) -> str:
    return f"cell [{cell.execution_count}]" if cell.execution_count is not None else f"cell #{cell.index}"


def _summary(key: str, groups: Sequence[Group], sources: dict[str, _Source]) -> str:
    ends = []
    for group in groups:
        values = [source.series[key].points[-1][2] for run in group.runs if (source := sources[run.run_id]).series.get(key)]
        if values:
            ends.append(f"{group.label} {format_number(sum(values) / len(values))}")
    more = f", and {len(ends) - 6} more" if len(ends) > 6 else ""
    return f"{key}: {', '.join(ends[:6])}{more}" if ends else f"{key}: no values here"


def _gaps(panels: Sequence[Panel], log: bool) -> list[str]:
    values = [value for panel in panels for line in panel.lines for value in line.ys if value is not None]
    notes = ["gaps are NaN or infinite values"] if any(not math.isfinite(value) for value in values) else []
    return [*notes, "values that are not positive have no place on a logarithmic axis"] if log and any(v <= 0 for v in values) else notes
