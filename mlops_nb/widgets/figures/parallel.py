"""Parallel coordinates: each run a line over its params to a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.widgets.charts.chart import Dimension, Parallel, Ticks
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.figures.choosing import chosen_metrics, left_out, params_of, some
from mlops_nb.widgets.figures.scatter import column

MAX_RUNS = 400
MAX_AXES = 8
_MAX_LEVELS = 20
_LOG_RATIO = 100


def parallel(runs: Sequence[Run], metric: str | None = None, *, params: Sequence[str] | None = None) -> Figure:
    """Draw each run as a line over its params to a metric, which gives the colour.

    Axes of positive numbers of which the largest is 100 times the smallest are logarithmic; texts stand in their order.

    Args:
        runs: At most 400 are drawn, the first ones that have all of it.
        metric: The last axis; by default the main one.
        params: The axes, at most 7; by default those that differ between the runs.

    Raises:
        InvalidInput: If no param differs, or no run has all of them.
        NotFound: If no run has what is named.
    """
    some(runs)
    metric = chosen_metrics(runs, metric, default=1)[0]
    named = [params] if isinstance(params, str) else list(params) if params else _varied(runs)
    if not named:
        raise InvalidInput("No param differs between these runs.", hint="Compare runs with other params, or draw curves.")
    keys = named[: MAX_AXES - 1]
    columns = [column(runs, key if "." in key else f"params.{key}") for key in keys] + [column(runs, f"metrics.{metric}")]
    whole = [at for at in range(len(runs)) if all(values[at] is not None for values in columns)]
    if not whole:
        raise InvalidInput(f"No run has all of {', '.join(keys)} and {metric}.", hint="Name fewer params.")
    shown = whole[:MAX_RUNS]
    notes = left_out(len(shown), len(whole)) + left_out(len(keys), len(named), "params that differ")
    notes += [f"{len(runs) - len(whole)} runs lack one of them"] if len(whole) < len(runs) else []
    dimensions = [_dimension(name, [values[at] for at in shown]) for name, values in zip([*keys, metric], columns, strict=True)]
    numbers = [run.metrics[metric].value for run in (runs[at] for at in shown)]
    summary = [f"{len(shown)} runs over {', '.join(keys)}", f"{metric} from {format_number(min(numbers))} to {format_number(max(numbers))}"]
    return Figure(Parallel(title=f"{metric} over {len(keys)} params", dimensions=dimensions, notes=notes), summary)


def _varied(runs: Sequence[Run]) -> list[str]:
    """Return the params that differ: first those that most runs have."""
    counts = {key: sum(key in run.params for run in runs) for key in params_of(runs) if len({run.params.get(key) for run in runs}) > 1}
    return sorted(counts, key=lambda key: (-counts[key], key))


def _dimension(name: str, values: Sequence[float | str | None]) -> Dimension:
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) < len(values):
        texts = sorted({str(value) for value in values})
        kept = texts[:_MAX_LEVELS]
        named = kept if len(texts) <= _MAX_LEVELS else [*kept, "others"]
        places = [float(kept.index(str(value))) if str(value) in kept else float(len(kept)) for value in values]
        return Dimension(name=name, values=places, ticks=Ticks(list(range(len(named))), named))
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low >= _LOG_RATIO:
        powers = [math.log10(value) for value in numbers]
        marks = range(math.floor(min(powers)), math.ceil(max(powers)) + 1)
        few = list(marks)[:: max(1, len(marks) // 8)]
        return Dimension(name=name, values=powers, ticks=Ticks(few, [f"{10.0**k:g}" for k in few]))
    return Dimension(name=name, values=numbers)
