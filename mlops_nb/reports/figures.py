"""Figures of a report as PNG: a curve per metric, and the differences of a comparison as bars.

Matplotlib is loaded on first use, without pyplot, so that the user's own figures and settings stay as they are.
"""

from __future__ import annotations

import io
import math
import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from mlops_nb.core.comparison import Direction, MetricRow, Verdict
from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Series
from mlops_nb.errors import MissingDependencyError
from mlops_nb.reports.content import Report
from mlops_nb.reports.document import Image, Line, Span, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CURVES = 10
MAX_BARS = 10
_LABEL_LENGTH = 20
# Above this ratio between the largest and the smallest value a linear axis hides the small ones.
_LOG_RATIO = 100.0
# Longer bars would flatten all the others.
_BAR_LIMIT = 100.0

# Beyond this, sums of two values overflow while axes are laid out.
_LARGEST = 1e300

# Style settings and fonts are global in Matplotlib: one drawing at a time.
_lock = threading.Lock()


class _Theme(msgspec.Struct, frozen=True):
    """Colours for one background; `runs` after Okabe and Ito, who chose them to differ for every kind of sight."""

    background: str
    text: str
    grid: str
    base: str
    runs: tuple[str, ...]


_LIGHT = _Theme("#ffffff", "#1f2328", "#d8dee4", "#57606a", ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a06a00", "#3b3b98"))
_DARK = _Theme("#0d1117", "#e6edf3", "#30363d", "#9ea7b3", ("#56b4e9", "#e69f00", "#2cc795", "#e29ac6", "#f0e442", "#a5a5ff"))
_DASHES = ("-", "--", "-.", ":")


def draw_figures(report: Report, *, dark: bool = True, bars: bool = True, keys: Sequence[str] | None = None) -> list[Image]:
    """Draw the figures of a report: the differences first, then curves by the importance of their metrics.

    Args:
        report: The data.
        dark: Also draw the variants for dark pages.
        bars: Draw the differences of a comparison.
        keys: Only curves of these metrics; None: of all.

    Raises:
        MissingDependencyError: If there is something to draw and Matplotlib is not installed.
    """
    rows = _bar_rows(report) if bars else []
    wanted = [row for row in report.comparison.metrics if keys is None or row.key in keys]
    curves = [(row, lines) for row in wanted if (lines := _curve_lines(report, row.key))][:MAX_CURVES]
    if not rows and not curves:
        return []
    try:
        from matplotlib import style
    except ImportError:
        raise MissingDependencyError("matplotlib", extra="report", purpose="Drawing the figures of a report") from None
    images: list[Image] = []
    with _lock, style.context("default"):
        themes = [_LIGHT, _DARK] if dark else [_LIGHT]
        if rows:
            drawn = [_png(theme, partial(_draw_bars, report=report, rows=rows), _bar_height(report, rows)) for theme in themes]
            images.append(_image(1, "differences", (Span("Metrics against the base, in percent"),), drawn))
        for row, lines in curves:
            drawn = [_png(theme, partial(_draw_curves, report=report, row=row, lines=lines)) for theme in themes]
            images.append(_image(len(images) + 1, row.key, (Span(one_line(row.key, 60), "name"),), drawn))
    return images


def _image(number: int, subject: str, caption: Line, drawn: Sequence[bytes]) -> Image:
    slug = re.sub(r"[^a-z0-9]+", "-", subject.lower())[:40].strip("-")
    name = f"{number:02d}-{slug or 'metric'}.png"
    return Image(name=name, caption=caption, media_type="image/png", light=drawn[0], dark=drawn[1] if len(drawn) > 1 else None, titled=True)


def _png(theme: _Theme, draw: Callable[[Axes, _Theme], None], height: float = 2.9) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, height), dpi=130, facecolor=theme.background, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=theme.background)
    axes.tick_params(which="both", colors=theme.text, labelsize=8, length=0)
    axes.grid(True, color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    draw(axes, theme)
    stream = io.BytesIO()
    # Without the version of the library in it the same data gives the same bytes.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


class _CurveLine(msgspec.Struct, frozen=True):
    place: int
    series: Series


def _curve_lines(report: Report, key: str) -> list[_CurveLine]:
    """Return the series of a metric that have something to connect."""
    found = [(place, series) for place, part in enumerate(report.parts) for series in part.series if series.key == key]
    lines = [_CurveLine(place, series) for place, series in found if any(_can_be_drawn(value) for _, _, value in series.points)]
    return lines if any(len(line.series.points) > 1 for line in lines) else []


def _draw_curves(axes: Axes, theme: _Theme, *, report: Report, row: MetricRow, lines: Sequence[_CurveLine]) -> None:
    by_time = all(step == line.series.points[0][0] for line in lines for step, _, _ in line.series.points)
    drawn = [(line, *_coordinates(line.series, by_time)) for line in lines]
    finite = [y for _, _, ys in drawn for y in ys if math.isfinite(y)]
    if min(finite) > 0 and max(finite) / min(finite) >= _LOG_RATIO:
        axes.set_yscale("log")
    elif max(map(abs, finite)) < 1e5:
        axes.ticklabel_format(axis="y", useOffset=False)
    has_gaps = any(math.isnan(y) for _, _, ys in drawn for y in ys)
    for line, xs, ys in drawn:
        colour, dashes = _look(theme, report, line.place)
        few = sum(map(math.isfinite, ys)) <= 20
        axes.plot(xs, ys, dashes, color=colour, linewidth=1.8, marker="o" if few else "", markersize=3.5, label=_label(report, line.place))
        if gaps := [x for x, y in zip(xs, ys, strict=True) if not math.isfinite(y)]:
            axes.plot(gaps, [0.02] * len(gaps), "x", color=colour, markersize=5, transform=axes.get_xaxis_transform(), label="_gap")
    _style_title(
        axes,
        theme,
        f"{_printable(row.key, 40)} {_ARROWS[row.direction]}",
        ("seconds" if by_time else "step") + ("  (× not a number)" if has_gaps else ""),
    )
    if len(report.parts) > 1:
        _place_labels(axes, theme, report, drawn)
    if not by_time:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


_ARROWS = {Direction.HIGHER: "↑", Direction.LOWER: "↓", Direction.NONE: ""}


def _coordinates(series: Series, by_time: bool) -> tuple[list[float], list[float]]:
    """Return x and y; what cannot be drawn becomes a gap, as NaN already is one."""
    start = series.points[0][1]
    xs = [(when - start) / 1000 if by_time else float(step) for step, when, _ in series.points]
    return xs, [value if _can_be_drawn(value) else math.nan for _, _, value in series.points]


def _can_be_drawn(value: float) -> bool:
    return abs(value) <= _LARGEST


def _look(theme: _Theme, report: Report, place: int) -> tuple[str, str]:
    """Return colour and dashes of a run: the base is grey, and past the last colour the dashes change."""
    if place == 0 and len(report.parts) > 1:
        return theme.base, "-"
    number = max(0, place - 1)
    return theme.runs[number % len(theme.runs)], _DASHES[number // len(theme.runs) % len(_DASHES)]


def _label(report: Report, place: int) -> str:
    name = _printable(report.parts[place].label, _LABEL_LENGTH)
    return f"{name} (base)" if place == 0 and len(report.parts) > 1 else name


def _place_labels(axes: Axes, theme: _Theme, report: Report, drawn: Sequence[tuple[_CurveLine, list[float], list[float]]]) -> None:
    """Write each run's name at the end of its curve, apart from each other; many runs get a legend."""
    if len(drawn) > 6:
        legend = axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), labelcolor=theme.text)
        legend.set_in_layout(True)
        return
    ends = [(line, *_last_finite(xs, ys)) for line, xs, ys in drawn]
    right = max(x for _, x, _ in ends)
    low, high = axes.get_ylim()
    # Heights on the axis as shown, from 0 to 1, whether it is linear or logarithmic.
    scale = math.log if axes.get_yscale() == "log" else float
    heights = [((scale(y) - scale(low)) / (scale(high) - scale(low)), line) for line, _, y in ends]
    for (_, line), shown in zip(*_spread(heights), strict=True):
        axes.annotate(
            _label(report, line.place),
            xy=(right, shown),
            xycoords=("data", "axes fraction"),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=_look(theme, report, line.place)[0],
        )


def _last_finite(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    return next((x, y) for x, y in zip(reversed(xs), reversed(ys), strict=True) if math.isfinite(y))


def _spread(heights: list[tuple[float, _CurveLine]], gap: float = 0.09) -> tuple[list[tuple[float, _CurveLine]], list[float]]:
    """Return the labels from bottom to top and heights at least `gap` apart, as near to their own as can be."""
    ordered = sorted(heights, key=lambda pair: (pair[0], pair[1].place))
    shown: list[float] = []
    for height, _ in ordered:
        shown.append(max(height, shown[-1] + gap) if shown else height)
    # Pushed up past the top: let the pile down again.
    ceiling = 1.0
    for place in range(len(shown) - 1, -1, -1):
        shown[place] = min(shown[place], ceiling)
        ceiling = shown[place] - gap
    return ordered, shown


class _Bar(msgspec.Struct, frozen=True):
    """A metric's change in percent of the base; `improvement` is positive when it got better."""

    place: int
    improvement: float
    text: str


def _bar_rows(report: Report) -> list[tuple[MetricRow, list[_Bar]]]:
    """Return metrics with a good end and a base to be a share of; a single one is no chart."""
    if not 2 <= len(report.parts) <= 4:
        return []
    rows = [(row, bars) for row in report.comparison.metrics if (bars := _bars(row))][:MAX_BARS]
    return rows if len(rows) > 1 and any(bar.improvement for _, bars in rows for bar in bars) else []


def _bars(row: MetricRow) -> list[_Bar]:
    if not row.base or row.direction is Direction.NONE:
        return []
    sign = -1.0 if row.direction is Direction.LOWER else 1.0
    bars: list[_Bar] = []
    for place, change in enumerate(row.changes, start=1):
        if change.difference is None or not math.isfinite(change.difference):
            continue
        percent = 100.0 * change.difference / abs(row.base)
        sign_word = {Verdict.BETTER: "▲ ", Verdict.WORSE: "▼ "}.get(change.verdict, "")
        bars.append(_Bar(place, sign * percent, f"{sign_word}{format_number(percent, decimals=_percent_decimals(percent), signed=True)} %"))
    return bars


def _percent_decimals(percent: float) -> int:
    return 2 if abs(percent) < 1 else 1 if abs(percent) < 100 else 0


def _bar_height(report: Report, rows: Sequence[tuple[MetricRow, list[_Bar]]]) -> float:
    return 0.9 + len(rows) * (0.14 + 0.2 * (len(report.parts) - 1))


def _draw_bars(axes: Axes, theme: _Theme, *, report: Report, rows: Sequence[tuple[MetricRow, list[_Bar]]]) -> None:
    thick = 0.8 / (len(report.parts) - 1)
    reach = max(min(_BAR_LIMIT, abs(bar.improvement)) for _, bars in rows for bar in bars)
    for height, (_, bars) in enumerate(rows):
        for bar in bars:
            y = height - 0.4 + thick * (bar.place - 0.5)
            width = max(-_BAR_LIMIT, min(_BAR_LIMIT, bar.improvement))
            colour = theme.runs[bar.place - 1] if len(report.parts) > 2 else theme.runs[0 if bar.improvement >= 0 else 1]
            axes.barh(y, width, thick * 0.85, color=colour)
            side = 1 if width >= 0 else -1
            ha = "left" if side > 0 else "right"
            axes.annotate(bar.text, (width, y), (4 * side, 0), textcoords="offset points", ha=ha, va="center", fontsize=8, color=theme.text)
    axes.axvline(0, color=theme.base, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{_printable(row.key, 28)} {_ARROWS[row.direction]}" for row, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(-1.45 * reach, 1.45 * reach)
    axes.grid(False, axis="y")
    axes.set_xticklabels([])
    _style_title(axes, theme, f"against {_printable(report.parts[0].label, 30)}", "← worse    better →")
    if len(report.parts) > 2:
        from matplotlib.patches import Patch

        patches = [Patch(color=theme.runs[place - 1], label=_label(report, place)) for place in range(1, len(report.parts))]
        axes.legend(handles=patches, fontsize=8, frameon=False, labelcolor=theme.text, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _style_title(axes: Axes, theme: _Theme, title: str, below: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=theme.text)
    axes.set_xlabel(below, fontsize=8, color=theme.text)


def _printable(text: str, limit: int) -> str:
    """Return text without what the font cannot draw and without Matplotlib's formula sign."""
    from matplotlib import font_manager

    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    shown = "".join(c for c in one_line(text, limit) if ord(c) in known).strip()
    return (shown or "?").replace("$", r"\$")
