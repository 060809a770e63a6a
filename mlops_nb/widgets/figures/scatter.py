"""One thing of many runs against another: a param or metric on each axis, a third one as colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_nb.core.comparison import run_labels
from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.widgets.charts.chart import Curves, Line, Panel, Ticks
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.figures.choosing import chosen_metrics, known, left_out, metrics_of, number_of, params_of, some

MAX_POINTS = 1_000
_MAX_LEVELS = 20
_LOG_RATIO = 100


def scatter(runs: Sequence[Run], x: str | None = None, y: str | None = None, *, colour: str | None = None, log: bool = False) -> Figure:
    """Draw a dot for each run.

    Args:
        runs: At most 1,000 are drawn, the first ones.
        x, y: A param or metric each (`params.lr` or `metrics.lr` where both have the name); by default the param that
            varies most, and the main metric.
        colour: A third one, as a scale from blue to vermilion; numbers only.
        log: Logarithmic y-axis. The x-axis is where its values are positive and the largest is 100 times the smallest.

    Raises:
        InvalidInput: If there is nothing to draw.
        NotFound: If no run has what is named.
    """
    some(runs)
    y = y or chosen_metrics(runs, None, default=1)[0]
    x = x or _most_varied(runs) or next((key for key in chosen_metrics(runs, None, default=2) if key != y), y)
    columns = {name: column(runs, name) for name in (x, y, colour) if name is not None}
    ticks = {name: levels(values) for name, values in columns.items()}
    if ticks[y] is not None:
        raise InvalidInput(f"'{y}' is no number in these runs.", hint="Put it on the x-axis: scatter(runs, x=..., y=...).")
    if colour is not None and ticks[colour] is not None:
        raise InvalidInput(f"'{colour}' is no number in these runs.", hint="Colour by a number, or put it on the x-axis.")
    at = [i for i in range(len(runs)) if all(values[i] is not None for values in columns.values())]
    if not at:
        raise InvalidInput(f"No run has both {x} and {y}.", hint="See %track ls for what the runs have.")
    shown = at[:MAX_POINTS]
    labels = run_labels(runs)
    names = ticks[x]
    xs = [_place(columns[x][i], names) for i in shown]
    ys = [_place(columns[y][i], None) for i in shown]
    notes = left_out(len(shown), len(at)) + ([f"{len(runs) - len(at)} runs lack one of them"] if len(at) < len(runs) else [])
    log_x = names is None and all(v > 0 for v in xs) and max(xs) / min(xs) >= _LOG_RATIO
    shades = scale = None
    if colour is not None:
        values = [_place(columns[colour][i], None) for i in shown]
        low, high = min(values), max(values)
        shades = [(value - low) / ((high - low) or 1.0) for value in values]
        scale = (colour, low, high)
    line = Line(name="runs", xs=xs, ys=ys, mode="points", notes=[labels[i] for i in shown], shades=shades)
    panel = Panel(title=f"{y} against {x}", lines=[line], x_label=x, y_label=y, log_x=log_x, log_y=log, x_ticks=names)
    best = [f"{len(shown)} runs: {x} against {y}", f"{y} from {format_number(min(ys))} to {format_number(max(ys))}"]
    return Figure(Curves(title=panel.title, panels=[panel], notes=notes, scale=scale), best)


def column(runs: Sequence[Run], name: str) -> list[float | str | None]:
    """Return a param or metric of each run: numbers, or texts where one of them is none.

    Raises:
        NotFound: If no run has it.
    """
    metrics, params = metrics_of(runs), params_of(runs)
    kind, _, key = name.partition(".")
    if (kind == "metrics" and key in metrics) or (name in metrics and name not in params):
        key = key if kind == "metrics" and key in metrics else name
        values = [run.metrics[key].value if key in run.metrics else None for run in runs]
        return [value if value is not None and math.isfinite(value) else None for value in values]
    key = key if kind == "params" and key in params else name
    texts = [run.params.get(known(key, [*params, *metrics], "param or metric")) for run in runs]
    numbers = [number_of(text) for text in texts]
    if all(number is not None for number, text in zip(numbers, texts, strict=True) if text is not None):
        return list(numbers)
    return list(texts)


def levels(values: Sequence[float | str | None]) -> Ticks | None:
    """Return places for the texts of a column, the first 20 of them by name; None for a column of numbers."""
    texts = sorted({value for value in values if isinstance(value, str)})
    return Ticks(range(len(texts[:_MAX_LEVELS])), texts[:_MAX_LEVELS]) if texts else None


def _place(value: float | str | None, ticks: Ticks | None) -> float:
    if isinstance(value, str):
        assert ticks is not None
        return float(list(ticks.texts).index(value)) if value in ticks.texts else float(len(ticks.texts))
    assert value is not None
    return value


def _most_varied(runs: Sequence[Run]) -> str | None:
    counts = {key: len({run.params.get(key) for run in runs}) for key in params_of(runs)}
    numeric = [key for key, count in counts.items() if count > 1 and all(number_of(run.params.get(key, "0")) is not None for run in runs)]
    return max(numeric or [key for key, count in counts.items() if count > 1], key=lambda key: counts[key], default=None)
