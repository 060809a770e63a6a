"""Charts as SVG without a script: what GitHub, nbconvert and pages without Plotly show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from mlops_nb.core.formatting import one_line
from mlops_nb.widgets.charts import scales, theme
from mlops_nb.widgets.charts.chart import Bars, Chart, Curves, Line, Matrix, Panel, Parallel, Ticks

WIDTH = theme.WIDTH
_MAX_POINTS = 240
_MAX_POINTS_IN_ALL = 5_000
_LEFT, _HEAD = 58, 26
_NO_XML = re.compile("[\ufffe\uffff\ud800-\udfff]")


def text(content: str, limit: int = 60) -> str:
    """Return a text for SVG: on one line, escaped, without what XML cannot hold."""
    content = _NO_XML.sub("\ufffd", one_line(content))
    return escape(content if len(content) <= limit else content[: limit - 1] + "…")


def to_svg(chart: Chart, description: str) -> str:
    """Return a chart as an SVG picture `WIDTH` pixels wide; `description` is its text for who does not see it."""
    if isinstance(chart, Curves):
        body, height = _curves(chart)
    elif isinstance(chart, Bars):
        body, height = _bars(chart)
    elif isinstance(chart, Parallel):
        body, height = _parallel(chart)
    else:
        body, height = _matrix(chart)
    head = _text(12, 20, chart.title, size=15, weight=600, limit=95)
    for line, note in enumerate(chart.notes):
        head += _text(12, 38 + 15 * line, note, size=11, limit=135)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img" '
        f'style="max-width:100%;height:auto" font-family="{escape(theme.FONT)}"><title>{text(chart.title, 200)}</title>'
        f'<desc>{text(description, 600)}</desc><g fill="{theme.TEXT}" style="fill:var(--jp-content-font-color1,{theme.TEXT})">'
        f"{head}{body}</g></svg>"
    )


def _text(x: float, y: float, content: str, *, size: float = 11, anchor: str = "start", weight: int = 400, limit: int = 60) -> str:
    strong = f' font-weight="{weight}"' if weight != 400 else ""
    middle = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{middle}{strong}>{text(content, limit)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str = "#808080", opacity: float = 0.25) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-opacity="{opacity:g}" fill="none"/>'


def _top(chart: Chart) -> float:
    return 34 + 15 * len(chart.notes)


# -- lines


def _curves(chart: Curves) -> tuple[str, float]:
    names = list(dict.fromkeys((line.name, line.look) for panel in chart.panels for line in panel.lines if line.mode != "faint"))
    legend = [] if chart.scale is not None or len(names) < 2 else names
    columns = 1 if len(chart.panels) == 1 else 2
    square = any(panel.unit for panel in chart.panels)
    inner = 360 if square else 290 if columns == 1 else 200
    wide = inner if square and columns == 1 else (WIDTH - 20 - columns * _LEFT - (columns - 1) * 10) / columns
    most = max(24, min(_MAX_POINTS, _MAX_POINTS_IN_ALL // max(1, sum(len(panel.lines) for panel in chart.panels))))
    body, top = "", _top(chart)
    for at, panel in enumerate(chart.panels):
        row, column = divmod(at, columns)
        x = _LEFT + column * (wide + _LEFT + 10)
        y = top + row * (inner + _HEAD + 48) + (_HEAD if columns > 1 else 6)
        body += _panel(panel, x, y, wide, inner, titled=columns > 1, most=most)
    height = top + math.ceil(len(chart.panels) / columns) * (inner + _HEAD + 48) - (0 if columns > 1 else 14)
    if chart.scale is not None:
        return body + _scale(chart.scale, height), height + 26
    drawn, used = _legend(legend, height)
    return body + drawn, height + used


def _panel(panel: Panel, x: float, y: float, width: float, height: float, *, titled: bool, most: int) -> str:
    every_y = [v for line in panel.lines for v in (*line.ys, *(line.low or ()), *(line.high or ()))]
    across = scales.fitted([v for line in panel.lines for v in line.xs], x, x + width, log=panel.log_x, margin=0.02)
    up = scales.fitted(every_y, y + height, y, log=panel.log_y)
    if panel.unit:
        across, up = scales.Scale(-0.01, 1.01, x, x + width), scales.Scale(-0.01, 1.01, y + height, y)
    body = _text(x, y - 8, panel.title, size=12.5, weight=600, limit=44) if titled else ""
    for place, words in _pairs(scales.ticks(up)):
        at = up.place(place)
        body += _rule(x, at, x + width, at) + _text(x - 6, at + 4, words, anchor="end", limit=12)
    bottom = panel.x_ticks or (scales.date_ticks(across) if panel.x_kind == "date" else scales.ticks(across, 6 if width > 400 else 4))
    for place, words in _pairs(bottom):
        if across.low <= place <= across.high:
            at = across.place(place)
            body += _rule(at, y, at, y + height) + _text(at, y + height + 15, words, anchor="middle", limit=16)
    body += _text(x + width / 2, y + height + 32, panel.x_label, anchor="middle")
    if panel.y_label and not titled:
        body += f'<g transform="translate({x - 44:.1f},{y + height / 2:.1f}) rotate(-90)">{_text(0, 0, panel.y_label, anchor="middle")}</g>'
    return body + "".join(_line(line, panel, across, up, most) for line in panel.lines)


def _pairs(ticks: Ticks) -> Iterable[tuple[float, str]]:
    return zip(ticks.places, ticks.texts, strict=True)


def _line(line: Line, panel: Panel, across: scales.Scale, up: scales.Scale, most: int) -> str:
    colour = theme.colour(line.look)
    if line.mode == "points":
        shades: Sequence[float | None] = line.shades or [None] * len(line.xs)
        return "".join(
            f'<circle cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="4" fill="{colour if shade is None else theme.shade(shade)}" '
            f'fill-opacity=".85"/>'
            for x, y, shade in zip(line.xs, line.ys, shades, strict=True)
            if x is not None and y is not None and scales.drawable(x, log=panel.log_x) and scales.drawable(y, log=panel.log_y)
        )
    body = ""
    if line.low is not None and line.high is not None:
        both = [
            (across.place(x), up.place(low), up.place(high))
            for x, low, high in zip(line.xs, line.low, line.high, strict=True)
            if x is not None and low is not None and high is not None
            if scales.drawable(low, log=panel.log_y) and scales.drawable(high, log=panel.log_y)
        ]
        both = both[:: max(1, len(both) // most)] + both[-1:]
        edge = [(x, high) for x, _, high in both] + [(x, low) for x, low, _ in reversed(both)]
        body += f'<path d="{_path(edge)}" fill="{colour}" fill-opacity=".18" stroke="none"/>' if edge else ""
    dashes = theme.SVG_DASHES[theme.dash(line.look)]
    style = ' stroke-width="1" stroke-opacity=".3"' if line.mode == "faint" else ' stroke-width="1.8"'
    if dashes and line.mode != "faint":
        style += f' stroke-dasharray="{dashes}"'
    pieces = _pieces(line, panel, across, up)
    total = sum(map(len, pieces)) or 1
    for piece in pieces:
        if len(piece) == 1:
            body += f'<circle cx="{piece[0][0]:.1f}" cy="{piece[0][1]:.1f}" r="2.5" fill="{colour}"/>'
        else:
            kept = _thinned(piece, max(4, most * len(piece) // total))
            body += f'<path d="{_path(kept)}" fill="none" stroke="{colour}" stroke-linejoin="round"{style}/>'
    return body


def _pieces(line: Line, panel: Panel, across: scales.Scale, up: scales.Scale) -> list[list[tuple[float, float]]]:
    """Return the stretches of a line between its gaps, in pixels."""
    found: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(line.xs, line.ys, strict=True):
        if x is not None and y is not None and scales.drawable(x, log=panel.log_x) and scales.drawable(y, log=panel.log_y):
            found[-1].append((across.place(x), up.place(y)))
        elif found[-1]:
            found.append([])
    return [piece for piece in found if piece]


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return the first, lowest, highest and last point of each stretch."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) * 4 // most)
    kept: list[tuple[float, float]] = []
    for at in range(0, len(points), size):
        part = points[at : at + size]
        ends = {0, len(part) - 1, min(range(len(part)), key=lambda i: part[i][1]), max(range(len(part)), key=lambda i: part[i][1])}
        kept += [part[i] for i in sorted(ends)]
    return kept


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _legend(names: Sequence[tuple[str, int]], y: float) -> tuple[str, float]:
    columns, body = 3, ""
    for at, (name, look) in enumerate(names):
        row, column = divmod(at, columns)
        x, line = 14 + column * (WIDTH - 20) / columns, y + 16 + 18 * row
        dashes = theme.SVG_DASHES[theme.dash(look)]
        style = f' stroke-dasharray="{dashes}"' if dashes else ""
        body += f'<path d="M{x:.1f} {line - 4:.1f}h26" stroke="{theme.colour(look)}" stroke-width="2.4"{style}/>'
        body += _text(x + 32, line, name, limit=30)
    return body, 18 * math.ceil(len(names) / columns) + (14 if names else 0)


def _scale(scale: tuple[str, float, float], y: float) -> str:
    title, low, high = scale
    steps = "".join(f'<rect x="{200 + 10 * k}" y="{y:.1f}" width="10.5" height="10" fill="{theme.shade(k / 19)}"/>' for k in range(20))
    words = _text(190, y + 9, f"{title}  {low:.4g}", anchor="end", limit=40)
    return words + steps + _text(410, y + 9, f"{high:.4g}")


# -- the others


def _bars(chart: Bars) -> tuple[str, float]:
    top, left = _top(chart) + 6, 210.0
    across = scales.Scale(0.0, max([0.1, *(bar.value for bar in chart.bars)]) * 1.05, left, WIDTH - 170.0)
    body, bottom = "", top + 26 * len(chart.bars)
    for place, words in _pairs(scales.ticks(across)):
        at = across.place(place)
        body += _rule(at, top, at, bottom) + _text(at, bottom + 15, words, anchor="middle")
    for at, bar in enumerate(chart.bars):
        y = top + 26 * at
        width = max(1.0, across.place(bar.value) - left)
        fill = 'fill="#808080" fill-opacity=".2" stroke="#808080"' if bar.weak else f'fill="{theme.COLOURS[0]}"'
        body += f'<rect x="{left}" y="{y + 4:.1f}" width="{width:.1f}" height="17" {fill}/>'
        body += _text(left - 8, y + 17, bar.name, anchor="end", limit=32) + _text(left + width + 7, y + 17, bar.text, limit=34)
    return body + _text((left + across.end) / 2, bottom + 33, chart.x_label, anchor="middle", limit=90), bottom + 46


def _parallel(chart: Parallel) -> tuple[str, float]:
    top, inner = _top(chart) + 26, 280.0
    last = chart.dimensions[-1]
    ups = [scales.fitted(each.values, top + inner, top, margin=0.0) for each in chart.dimensions]
    gap = (WIDTH - 150) / max(1, len(chart.dimensions) - 1)
    body = ""
    order = sorted(range(len(last.values)), key=lambda run: last.values[run])
    for run in order:
        points = [(70 + gap * at, ups[at].place(each.values[run])) for at, each in enumerate(chart.dimensions)]
        share = (last.values[run] - ups[-1].low) / (ups[-1].high - ups[-1].low)
        body += f'<path d="{_path(points)}" fill="none" stroke="{theme.shade(share)}" stroke-opacity=".55" stroke-width="1.2"/>'
    for at, (dimension, up) in enumerate(zip(chart.dimensions, ups, strict=True)):
        x = 70 + gap * at
        body += _rule(x, top, x, top + inner, opacity=0.9)
        body += _text(x, top - 10, dimension.name, anchor="middle", weight=600, limit=max(8, int(gap / 7)))
        for place, words in _pairs(dimension.ticks or scales.ticks(up)):
            if up.low - 1e-12 <= place <= up.high + 1e-12:
                beside, anchor = (x + 6, "start") if at == len(ups) - 1 else (x - 6, "end")
                body += _text(beside, up.place(place) + 4, words, anchor=anchor, size=10, limit=max(6, int(gap / 8)))
    return body, top + inner + 20


def _matrix(chart: Matrix) -> tuple[str, float]:
    size, shown = len(chart.labels), len(chart.grids)
    left = 110.0 if max(map(len, chart.labels)) > 6 else 70.0
    cell = min(56.0, (WIDTH - left - 20 - 40 * (shown - 1)) / (shown * size))
    top = _top(chart) + (22 if shown > 1 else 6)
    body, bottom = "", top + cell * size
    for at, grid in enumerate(chart.grids):
        x0 = left + at * (cell * size + 40)
        if shown > 1:
            body += _text(x0, top - 8, grid.title, weight=600, limit=max(6, int(cell * size / 7)))
        for row, (counts, shares) in enumerate(zip(grid.counts, grid.shares, strict=True)):
            for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
                fill, ink = theme.depth(share)
                x, y = x0 + cell * column, top + cell * row
                body += f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 2:.1f}" height="{cell - 2:.1f}" fill="{fill}"/>'
                if cell >= 24:
                    digits = min(12.0, (cell - 6) / (0.62 * len(f"{count:,}")))
                    body += (
                        f'<text x="{x + cell / 2 - 1:.1f}" y="{y + cell / 2 + 3:.1f}" font-size="{digits:.1f}" text-anchor="middle" '
                        f'fill="{ink}" style="fill:{ink}">{count:,}</text>'
                    )
        for place, name in enumerate(chart.labels):
            middle = cell * (place + 0.5)
            if at == 0:
                body += _text(x0 - 8, top + middle + 4, name, anchor="end", limit=14)
            body += _text(x0 + middle, bottom + 14, name, anchor="middle", size=10, limit=max(2, int(cell / 6)))
        body += _text(x0 + cell * size / 2, bottom + 32, "predicted", anchor="middle")
    body += f'<g transform="translate(16,{(top + bottom) / 2:.1f}) rotate(-90)">{_text(0, 0, "true", anchor="middle")}</g>'
    return body, bottom + 42
