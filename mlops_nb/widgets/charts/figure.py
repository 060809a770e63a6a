"""A figure as notebooks show it: Plotly's where it can be drawn, a static picture elsewhere, and always words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_nb.core.formatting import one_line
from mlops_nb.errors import InvalidInput
from mlops_nb.widgets.charts.chart import Chart, Curves
from mlops_nb.widgets.charts.plotly_form import Json, to_plotly
from mlops_nb.widgets.charts.svg import to_svg

if TYPE_CHECKING:
    from plotly.graph_objects import Figure as PlotlyFigure

MAX_BYTES = 200_000
_PLOTLY_BYTES = 120_000
_PLOTLY = "application/vnd.plotly.v1+json"


class Figure:
    """A chart of runs. The last line of a cell shows it; `save` writes a picture; `to_plotly` gives it to change it.

    In a notebook it takes at most 200 kB: Plotly's JSON for JupyterLab, Notebook 7 and VS Code, also in a notebook that is
    not trusted; an SVG for GitHub, nbconvert and pages without Plotly; text for terminals. No script, nothing loaded.

    Args:
        chart: What it shows.
        summary: The same in words, one line each.
    """

    def __init__(self, chart: Chart, summary: list[str]) -> None:
        self.chart = chart
        self.summary = summary

    @property
    def title(self) -> str:
        return self.chart.title

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know: what was left out, how it was computed."""
        return tuple(self.chart.notes)

    @cached_property
    def json(self) -> Json:
        """The figure in Plotly's JSON, within its budget of bytes."""
        chart, form = self.chart, to_plotly(self.chart)
        while _size(form) > _PLOTLY_BYTES and isinstance(chart, Curves) and any(len(line.xs) > 8 for p in chart.panels for line in p.lines):
            chart = _halved(chart)
            form = to_plotly(chart)
        return form

    @cached_property
    def svg(self) -> str:
        """The figure as a static picture."""
        return to_svg(self.chart, " ".join(self.summary))

    def to_plotly(self) -> PlotlyFigure:
        """Return it as `plotly.graph_objects.Figure`, to change or to put into an application."""
        from plotly.graph_objects import Figure as PlotlyFigure

        return PlotlyFigure(self.json)

    def save(self, path: str | Path) -> Path:
        """Write it as a picture (`.svg`), Plotly's JSON (`.json`) or a page that needs nothing else (`.html`, 5 MB).

        Raises:
            InvalidInput: If the name ends in something else.
        """
        path = Path(path)
        if path.suffix == ".svg":
            path.write_text(self.svg, encoding="utf-8")
        elif path.suffix == ".json":
            path.write_text(json.dumps(self.json, allow_nan=False), encoding="utf-8")
        elif path.suffix in (".html", ".htm"):
            path.write_text(self.to_plotly().to_html(include_plotlyjs=True, full_html=True), encoding="utf-8")
        else:
            raise InvalidInput(f"A figure cannot be written as '{path.suffix or path.name}'.", hint="Use .svg, .html or .json.")
        return path

    def __repr__(self) -> str:
        return "\n".join(one_line(line) for line in (self.title, *(f"  {line}" for line in self.summary), *self.notes))

    def _repr_mimebundle_(self, **_: Any) -> Mapping[str, Any]:
        return {_PLOTLY: {**self.json, "config": _CONFIG}, "image/svg+xml": self.svg, "text/plain": repr(self)}


# Not `responsive`: in JupyterLab, whose outputs have no height of their own, the figure would collapse.
_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


def _size(form: Json) -> int:
    return len(msgspec.json.encode(form))


def _halved(chart: Curves) -> Curves:
    """Return the chart with about half of its points; the ends and one extreme of each stretch of four stay."""
    replace = msgspec.structs.replace
    panels = []
    for panel in chart.panels:
        lines = []
        for line in panel.lines:
            kept = _kept(line.ys) if line.mode != "points" else [at for at in range(len(line.ys)) if at % 2 == 0]
            columns: dict[str, Any] = {"xs": [line.xs[i] for i in kept], "ys": [line.ys[i] for i in kept]}
            for name in ("low", "high", "shades"):
                values = getattr(line, name)
                columns[name] = None if values is None else [values[i] for i in kept]
            columns["notes"] = line.notes if isinstance(line.notes, str) else [line.notes[i] for i in kept]
            lines.append(replace(line, **columns))
        panels.append(replace(panel, lines=lines))
    return replace(chart, panels=panels)


def _kept(ys: Any) -> list[int]:
    last = len(ys) - 1
    found = {0, last}
    for at in range(0, len(ys), 4):
        stretch = [i for i in range(at, min(at + 4, len(ys))) if ys[i] is not None]
        if stretch:
            found |= {min(stretch, key=lambda i: ys[i]), max(stretch, key=lambda i: ys[i])}
        else:
            found.add(at)
    return sorted(found)
