"""What a chart shows, as plain data that knows nothing of how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Numbers = Sequence[float | None]
"""Numbers to draw; None, NaN and infinities are gaps."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A curve, or points that are not connected.

    Attributes:
        name: What the legend says; lines of one name in several panels are one entry.
        xs, ys: Of the same length.
        look: Which colour and dashes, by number; -1 is the grey of a base or of chance.
        mode: How it is drawn; `faint` is the curve behind a smoothed one.
        low, high: The band around it, along with `ys`.
        notes: What the pointer shows besides the numbers: one text for all points, or one for each.
        shades: For points: 0 to 1 each, a place on the scale of colours instead of `look`.
    """

    name: str
    xs: Numbers
    ys: Numbers
    look: int = 0
    mode: Literal["line", "faint", "points"] = "line"
    low: Numbers | None = None
    high: Numbers | None = None
    notes: str | Sequence[str] = ""
    shades: Sequence[float] | None = None


class Ticks(msgspec.Struct, frozen=True):
    """Places on an axis with what is written there, where they are not numbers."""

    places: Sequence[float]
    texts: Sequence[str]


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of axes with lines.

    Attributes:
        title: Over it.
        x_label, y_label: At the axes, with units.
        x_kind: `date`: x is milliseconds since 1970 in the time of the place.
        log_x, log_y: Logarithmic axes; what is not positive is a gap.
        x_ticks: Of an axis of names.
        unit: Both axes go from 0 to 1, and the panel is square.
    """

    title: str
    lines: Sequence[Line]
    x_label: str = ""
    y_label: str = ""
    x_kind: Literal["number", "date"] = "number"
    log_x: bool = False
    log_y: bool = False
    x_ticks: Ticks | None = None
    unit: bool = False


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """Panels of lines that share a legend. `scale` labels the scale of colours: title, lowest, highest."""

    title: str
    panels: Sequence[Panel]
    notes: Sequence[str] = ()
    scale: tuple[str, float, float] | None = None


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A bar from zero; a `weak` one is drawn hollow. `text` stands at its end."""

    name: str
    value: float
    text: str
    note: str = ""
    weak: bool = False


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """Horizontal bars, the first on top, on an axis from 0 to 1."""

    title: str
    bars: Sequence[Bar]
    x_label: str
    notes: Sequence[str] = ()


class Dimension(msgspec.Struct, frozen=True, kw_only=True):
    """An axis of parallel coordinates: where each run stands on it; `ticks` where places are names or powers."""

    name: str
    values: Sequence[float]
    ticks: Ticks | None = None


class Parallel(msgspec.Struct, frozen=True, kw_only=True):
    """Runs as lines over several axes; the last axis gives the colours."""

    title: str
    dimensions: Sequence[Dimension]
    notes: Sequence[str] = ()


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a confusion matrix; `shares` are of each row, 0 to 1."""

    title: str
    counts: Sequence[Sequence[int]]
    shares: Sequence[Sequence[float]]


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """Confusion matrices beside each other, of the same classes: rows are true, columns predicted."""

    title: str
    labels: Sequence[str]
    grids: Sequence[Grid]
    notes: Sequence[str] = ()


Chart = Curves | Bars | Parallel | Matrix
