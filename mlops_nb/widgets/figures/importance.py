"""Which params a metric goes along with, over many runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_nb.core.formatting import format_number
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.widgets.charts.chart import Bar, Bars
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.figures.choosing import chosen_metrics, is_seed, left_out, params_of, some
from mlops_nb.widgets.figures.scatter import column

MIN_RUNS = 10
MAX_BARS = 15
ALPHA = 0.05
METHOD = (
    "share of the variance of the metric's ranks that a param explains by itself: Spearman's ρ² of a number, or ε² of "
    "Kruskal and Wallis over levels or quarters, whichever is more; faint: p > 0.05 after Holm"
)
_LEVELS = 8


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """What a param explains of a metric.

    Attributes:
        param: Its name.
        share: Of the variance of the metric's ranks, 0 to 1.
        p_value: That chance gives as much, after Holm over all params.
        correlation: Spearman's ρ where the param is a number and it is what counts; None for levels.
        runs: How many runs have both.
    """

    param: str
    share: float
    p_value: float
    correlation: float | None
    runs: int


def importance(runs: Sequence[Run], metric: str | None = None) -> Figure:
    """Draw which params a metric goes along with: how much of the variance of its ranks each explains by itself.

    For a param that is a number: the square of Spearman's rank correlation, or the effect size ε² of the test of Kruskal
    and Wallis over its levels (over its quarters, if there are more than 8), whichever is more: so an optimum in the
    middle counts too. For other params: ε². Bars whose p-value, corrected after Holm, is above 0.05 are hollow. It says
    what goes along, not what causes; params that always change together cannot be told apart. Seeds are left out.

    Args:
        runs: At least 10 with the metric.
        metric: By default the main one.

    Raises:
        InvalidInput: If there are too few runs, or no param differs; with the reason.
        NotFound: If no run has the metric.
    """
    some(runs)
    metric = chosen_metrics(runs, metric, default=1)[0]
    found = importances(runs, metric)
    shown = found[:MAX_BARS]
    bars = [Bar(name=each.param, value=each.share, text=_text(each), note=f"{each.runs} runs", weak=each.p_value > ALPHA) for each in shown]
    notes = [f"{METHOD}", *left_out(len(shown), len(found), "params")]
    count = max(each.runs for each in found)
    summary = [f"{each.param}: {each.share:.0%} ({_text(each)})" for each in shown[:8]]
    chart = Bars(title=f"What {metric} goes along with ({count} runs)", bars=bars, x_label="share explained", notes=_wrapped(notes))
    return Figure(chart, summary)


def importances(runs: Sequence[Run], metric: str) -> list[Importance]:
    """Return what each param that differs explains of a metric, the most first; see `importance`.

    Raises:
        InvalidInput: If there are too few runs, or no param differs.
    """
    targets = column(runs, f"metrics.{metric}")
    kept = [at for at, value in enumerate(targets) if value is not None]
    if len(kept) < MIN_RUNS:
        raise InvalidInput(
            f"{len(kept)} runs with {metric} are too few to tell which params matter.", hint=f"At least {MIN_RUNS} are needed, better 30."
        )
    chosen = [runs[at] for at in kept]
    if len({targets[at] for at in kept}) < 2:
        raise InvalidInput(f"{metric} is the same in all {len(kept)} runs.", hint="There is nothing to explain.")
    raw = []
    for param in params_of(chosen):
        if is_seed(param):
            continue
        values = column(chosen, f"params.{param}")
        both = [(value, targets[at]) for at, value in zip(kept, values, strict=True) if value is not None]
        if len(both) >= MIN_RUNS and len({value for value, _ in both}) > 1:
            raw.append((param, *_explained([value for value, _ in both], [target for _, target in both]), len(both)))
    if not raw:
        raise InvalidInput(f"No param differs between the {len(kept)} runs with {metric}.", hint="Vary one, then look again.")
    adjusted = _holm([p for _, _, p, _, _ in raw])
    found = [
        Importance(param=param, share=share, p_value=p, correlation=rho, runs=count)
        for (param, share, _, rho, count), p in zip(raw, adjusted, strict=True)
    ]
    return sorted(found, key=lambda each: (-each.share, each.param))


def _explained(values: Sequence[float | str | None], targets: Sequence[Any]) -> tuple[float, float, float | None]:
    """Return share, p-value and Spearman's ρ (None where levels count)."""
    import numpy as np
    from scipy import stats

    ways: list[tuple[float, float, float | None]] = []
    levels: list[Any] = list(values)
    if all(isinstance(value, (int, float)) for value in values):
        rho, p = stats.spearmanr(values, targets)
        ways.append((float(rho) ** 2, float(p), float(rho)))
        if len(set(values)) > _LEVELS:
            edges = np.quantile(np.asarray(values, dtype=float), [0.25, 0.5, 0.75])
            levels = list(np.searchsorted(edges, np.asarray(values, dtype=float)))
    groups: dict[Any, list[float]] = {}
    for level, target in zip(levels, targets, strict=True):
        groups.setdefault(level, []).append(target)
    # Where nearly every run has a level of its own, levels explain anything.
    if 2 <= len(groups) <= len(targets) // 2:
        statistic, p = stats.kruskal(*groups.values())
        n, k = len(targets), len(groups)
        ways.append((max(0.0, (float(statistic) - k + 1) / (n - k)), float(p), None))
    if not ways:
        return 0.0, 1.0, None
    best = max(ways, key=lambda way: way[0])
    # Two looks at one param: the better p-value counts twice.
    return min(1.0, best[0]), min(1.0, best[1] * len(ways)), best[2]


def _holm(p_values: Sequence[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, p_values[at] * (len(p_values) - rank)))
        adjusted[at] = highest
    return adjusted


def _text(each: Importance) -> str:
    p = "p < 0.001" if each.p_value < 0.001 else f"p = {each.p_value:.3f}" if each.p_value < 0.1 else f"p = {each.p_value:.2f}"
    way = "by levels" if each.correlation is None else f"ρ = {format_number(each.correlation, decimals=2, signed=True)}"
    return f"{way}, {p}"


def _wrapped(notes: Sequence[str]) -> list[str]:
    import textwrap

    return [line for note in notes for line in textwrap.wrap(note, 125)]
