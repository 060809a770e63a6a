"""Charts in Plotly's JSON (schema of plotly.js 2 and 3), written without loading plotly.

Plotly reads some HTML, `%{...}`, entities and, where a page has MathJax, formulas in every text: `label` takes their
meaning away, and no text of a user reaches the figure in another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from mlops_nb.core.formatting import one_line
from mlops_nb.widgets.charts import theme
from mlops_nb.widgets.charts.chart import Bars, Chart, Curves, Line, Matrix, Numbers, Panel, Parallel, Ticks
from mlops_nb.widgets.charts.scales import drawable

Json = dict[str, Any]
_DIGITS = 7
_SCALE = [[0.0, theme.shade(0)], [0.5, theme.shade(0.5)], [1.0, theme.shade(1)]]
_TOP, _BOTTOM, _BETWEEN = 72, 52, 78


def label(text: str, limit: int = 60) -> str:
    """Return a text that Plotly shows as it is, on one line."""
    text = one_line(text)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return escape(text, quote=False).replace("$", "&#36;").replace("%{", "%&#123;")


def to_plotly(chart: Chart) -> Json:
    """Return a figure as `{"data": [...], "layout": {...}}`, fit for JSON: no NaN, no infinities."""
    if isinstance(chart, Curves):
        return _curves(chart)
    if isinstance(chart, Bars):
        return _bars(chart)
    return _parallel(chart) if isinstance(chart, Parallel) else _matrix(chart)


def _layout(chart: Chart, height: float) -> Json:
    title: Json = {"text": f"<b>{label(chart.title, 100)}</b>", "x": 0.01, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"t": 8}}
    title["font"] = {"size": 15}
    if chart.notes:
        title["subtitle"] = {"text": "<br>".join(label(note, 140) for note in chart.notes), "font": {"size": 11, "color": theme.TEXT}}
    return {
        "title": title,
        "height": round(height) + _below(chart),
        "autosize": True,
        "font": {"family": theme.FONT, "size": 12, "color": theme.TEXT},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 16, "t": _TOP + _below(chart), "b": _BOTTOM},
        "hoverlabel": {"font": {"size": 12}, "namelength": -1},
    }


def _below(chart: Chart) -> int:
    """Return the room (px) that notes past the first take."""
    return 15 * max(0, len(chart.notes) - 1)


def _axis(text: str, **more: Any) -> Json:
    return {
        "title": {"text": label(text), "font": {"size": 12}},
        "gridcolor": theme.GRID,
        "zeroline": False,
        "automargin": True,
        "exponentformat": "power",
        **more,
    }


def _ticks(ticks: Ticks | None) -> Json:
    return {} if ticks is None else {"tickmode": "array", "tickvals": list(ticks.places), "ticktext": [label(t, 24) for t in ticks.texts]}


def drawn_numbers(values: Numbers, *, log: bool = False) -> list[float | int | None]:
    """Return numbers as JSON takes them, rounded to 7 digits; what cannot be drawn is None."""
    return [_rounded(value) if drawable(value, log=log) else None for value in values]


def _rounded(value: float | None) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    short = float(f"{value:.{_DIGITS}g}") if abs(value) < 1e12 else value
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


# -- lines


def _curves(chart: Curves) -> Json:
    panels = chart.panels
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    inner = theme.PANEL_HEIGHT if len(panels) > 1 else 300
    if any(panel.unit for panel in panels):
        inner = 380
    height = rows * inner + (rows - 1) * _BETWEEN + _TOP + _BOTTOM
    layout = _layout(chart, height)
    data: list[Json] = []
    named: set[str] = set()
    share, gap = rows * inner + (rows - 1) * _BETWEEN, 0.09
    notes: list[Json] = []
    for at, panel in enumerate(panels):
        row, column = divmod(at, columns)
        number = "" if at == 0 else str(at + 1)
        wide = (1 - gap * (columns - 1)) / columns
        across = [round(column * (wide + gap), 4), round(column * (wide + gap) + wide, 4)]
        top = 1 - row * (inner + _BETWEEN) / share
        up = [round(max(0.0, top - inner / share), 4), round(top, 4)]
        layout[f"xaxis{number}"] = _x_axis(panel, f"y{number}", across)
        layout[f"yaxis{number}"] = _y_axis(panel, f"x{number}", up)
        if len(panels) > 1:
            title = {"text": f"<b>{label(panel.title, 48)}</b>", "x": across[0], "y": up[1], "xref": "paper", "yref": "paper"}
            notes.append({**title, "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"size": 12.5}})
        for line in panel.lines:
            data += _traces(line, panel, number, named)
    shown = sum(bool(trace.get("showlegend")) for trace in data)
    below = columns > 1 or any(panel.unit for panel in panels)
    layout |= {"showlegend": shown > 1, "hovermode": "closest", "annotations": notes, "legend": _legend(below, height)}
    if below and shown > 1:
        layout["margin"]["b"] = _BOTTOM + 22 * math.ceil(shown / 3) + 20
        layout["height"] += layout["margin"]["b"] - _BOTTOM
    if chart.scale is not None:
        _add_scale(data, chart.scale)
    return {"data": data, "layout": layout}


def _legend(below: bool, height: float) -> Json:
    if below:
        return {"orientation": "h", "y": -(_BOTTOM + 6) / max(1.0, height - _TOP - _BOTTOM), "yanchor": "top", "x": 0, "font": {"size": 11}}
    return {"font": {"size": 11}, "tracegroupgap": 0, "itemwidth": 36}


def _x_axis(panel: Panel, anchor: str, domain: list[float]) -> Json:
    kind = "date" if panel.x_kind == "date" else "log" if panel.log_x else "linear"
    axis = _axis(panel.x_label, type=kind, anchor=anchor, domain=domain, **_ticks(panel.x_ticks))
    return {**axis, "range": [-0.01, 1.01], "constrain": "domain"} if panel.unit else axis


def _y_axis(panel: Panel, anchor: str, domain: list[float]) -> Json:
    axis = _axis(panel.y_label, type="log" if panel.log_y else "linear", anchor=anchor, domain=domain)
    return {**axis, "range": [-0.01, 1.01], "scaleanchor": anchor, "constrain": "domain"} if panel.unit else axis


def _traces(line: Line, panel: Panel, number: str, named: set[str]) -> list[Json]:
    place = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    xs, ys = drawn_numbers(line.xs, log=panel.log_x), drawn_numbers(line.ys, log=panel.log_y)
    colour = theme.colour(line.look)
    base: Json = {"type": "scatter", "x": xs, "y": ys, "name": label(line.name, 40), "legendgroup": label(line.name, 80), **place}
    if line.mode == "faint":
        return [{**base, "mode": "lines", "line": {"color": colour, "width": 1}, "opacity": 0.3, "hoverinfo": "skip", "showlegend": False}]
    first = line.name not in named
    named.add(line.name)
    base |= {"showlegend": first, "hovertemplate": _hover(line, panel)}
    if isinstance(line.notes, str):
        base["meta"] = label(line.notes, 120)
    else:
        base["customdata"] = [label(note, 120) for note in line.notes]
    traces = _band(line, panel, place) if line.low is not None and line.high is not None else []
    if line.mode == "points":
        marker: Json = {"size": 8, "color": colour}
        if line.shades is not None:
            marker |= {"color": [round(s, 3) for s in line.shades], "cmin": 0, "cmax": 1, "colorscale": _SCALE}
        return [*traces, {**base, "mode": "markers", "marker": marker}]
    few = sum(y is not None for y in ys) <= 20 and not panel.unit
    base |= {"mode": "lines+markers" if few else "lines", "line": {"color": colour, "width": 1.8, "dash": theme.dash(line.look)}}
    return [*traces, {**base, "marker": {"size": 5}} if few else base]


def _hover(line: Line, panel: Panel) -> str:
    x = "%{x|%Y-%m-%d %H:%M:%S}" if panel.x_kind == "date" else "%{x}"
    note = "%{meta}" if isinstance(line.notes, str) else "%{customdata}"
    x_name, y_name = label(panel.x_label, 40) or "x", label(panel.y_label or panel.title, 40)
    note = f"<br>{note}" if line.notes else ""
    return f"<b>%{{fullData.name}}</b><br>{x_name} {x}<br>{y_name} %{{y:.6~g}}{note}<extra></extra>"


def _band(line: Line, panel: Panel, place: Json) -> list[Json]:
    assert line.low is not None and line.high is not None
    kept = [
        (x, low, high)
        for x, low, high in zip(line.xs, line.low, line.high, strict=True)
        if drawable(x) and drawable(low, log=panel.log_y) and drawable(high, log=panel.log_y)
    ]
    if not kept:
        return []
    xs, low, high = (list(map(_rounded, column)) for column in zip(*kept, strict=True))
    band = {"type": "scatter", "x": xs + xs[::-1], "y": high + low[::-1], "fill": "toself", "fillcolor": theme.translucent(line.look, 0.18)}
    group = {"legendgroup": label(line.name, 80), "name": label(line.name, 40), "showlegend": False, "hoverinfo": "skip"}
    return [{**band, **group, "mode": "lines", "line": {"width": 0}, **place}]


def _add_scale(data: list[Json], scale: tuple[str, float, float]) -> None:
    title, low, high = scale
    for trace in data:
        if isinstance(trace.get("marker", {}).get("color"), list):
            bar = {"title": {"text": label(title, 30)}, "tickvals": [0, 1], "ticktext": [f"{low:.4g}", f"{high:.4g}"], "thickness": 12}
            trace["marker"] |= {"showscale": True, "colorbar": {**bar, "outlinewidth": 0}}
            return


# -- the others


def _bars(chart: Bars) -> Json:
    layout = _layout(chart, _TOP + _BOTTOM + 20 + 26 * len(chart.bars))
    colours = ["rgba(128,128,128,0.25)" if bar.weak else theme.COLOURS[0] for bar in chart.bars]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [_rounded(bar.value) for bar in chart.bars],
        "y": list(range(len(chart.bars))),
        "text": ["\u00a0" + label(bar.text, 60) for bar in chart.bars],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[label(bar.name, 60), label(bar.note, 120)] for bar in chart.bars],
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{x:.3f} %{customdata[1]}<extra></extra>",
        "marker": {"color": colours, "line": {"color": [theme.GREY if bar.weak else theme.COLOURS[0] for bar in chart.bars], "width": 1}},
    }
    names = Ticks(list(range(len(chart.bars))), [bar.name for bar in chart.bars])
    apart = {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}
    layout["yaxis"] = _axis("", autorange="reversed", **apart, **_ticks(names)) | {"gridcolor": "rgba(0,0,0,0)"}
    layout["xaxis"] = _axis(chart.x_label, range=[0, max([0.1, *(bar.value for bar in chart.bars)]) * 1.35])
    return {"data": [trace], "layout": {**layout, "showlegend": False}}


def _parallel(chart: Parallel) -> Json:
    last = chart.dimensions[-1]
    low, high = min(last.values), max(last.values)
    dimensions = [
        {"label": label(each.name, 22), "values": list(map(_rounded, each.values)), **_ticks(each.ticks)} for each in chart.dimensions
    ]
    for dimension in dimensions:
        dimension.pop("tickmode", None)
    bar = {"title": {"text": label(last.name, 24)}, "thickness": 12, "outlinewidth": 0, **_ticks(last.ticks)}
    line = {"color": list(map(_rounded, last.values)), "colorscale": _SCALE, "cmin": low, "cmax": high, "showscale": True, "colorbar": bar}
    font = {"color": theme.TEXT, "size": 11, "shadow": "none"}
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line, "labelfont": font, "tickfont": font, "rangefont": font}
    layout = _layout(chart, 400)
    layout["margin"] |= {"l": 56, "r": 40, "t": _TOP + 34 + _below(chart)}
    return {"data": [trace], "layout": layout}


def _matrix(chart: Matrix) -> Json:
    size = len(chart.labels)
    names = Ticks(list(range(size)), list(chart.labels))
    inner = max(200, min(520, 46 * size))
    layout = _layout(chart, inner + _TOP + _BOTTOM + 50)
    layout["margin"]["t"] += 20
    gap = 0.14
    wide = (1 - gap * (len(chart.grids) - 1)) / len(chart.grids)
    data: list[Json] = []
    notes: list[Json] = []
    for at, grid in enumerate(chart.grids):
        number = "" if at == 0 else str(at + 1)
        across = [round(at * (wide + gap), 4), round(at * (wide + gap) + wide, 4)]
        scale = [[each / 4, theme.depth(each / 4)[0]] for each in range(5)]
        data.append(
            {
                "type": "heatmap",
                "z": [[_rounded(share) for share in row] for row in grid.shares],
                "customdata": [list(row) for row in grid.counts],
                "colorscale": scale,
                "zmin": 0,
                "zmax": 1,
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "hovertemplate": "true %{y}<br>predicted %{x}<br>%{customdata} (%{z:.1%})<extra></extra>",
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
            }
        )
        square = {"constrain": "domain", "showgrid": False, "ticks": "", **_ticks(names)}
        layout[f"xaxis{number}"] = _axis("predicted", domain=across, anchor=f"y{number}", constraintoward="left", **square)
        beside = _axis("true" if at == 0 else "", anchor=f"x{number}", autorange="reversed", showticklabels=at == 0, **square)
        layout[f"yaxis{number}"] = {**beside, "scaleanchor": f"x{number}"}
        if len(chart.grids) > 1:
            title = {"text": f"<b>{label(grid.title, 40)}</b>", "x": across[0], "y": 1, "xref": "paper", "yref": "paper"}
            notes.append({**title, "xanchor": "left", "yanchor": "bottom", "showarrow": False})
        notes += _counts(grid.counts, grid.shares, number)
    return {"data": data, "layout": {**layout, "annotations": notes}}


def _counts(counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]], number: str) -> Iterable[Json]:
    if len(counts) > 12:  # too small to read; the pointer shows them
        return
    for row, (line, parts) in enumerate(zip(counts, shares, strict=True)):
        for column, (count, share) in enumerate(zip(line, parts, strict=True)):
            font = {"color": theme.depth(share)[1], "size": 12}
            place = {"x": column, "y": row, "xref": f"x{number}", "yref": f"y{number}"}
            yield {"text": f"{count:,}", "showarrow": False, "font": font, **place}
