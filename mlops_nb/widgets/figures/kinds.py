"""Figures by name, of runs by selectors: what `mlops_nb.plot` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.figures.curves import Axis, curves
from mlops_nb.widgets.figures.importance import importance
from mlops_nb.widgets.figures.parallel import parallel
from mlops_nb.widgets.figures.predictions import confusion, predicted_classes, predicted_scores, roc
from mlops_nb.widgets.figures.scatter import scatter
from mlops_nb.widgets.selecting import Which, session_store, which_runs

KINDS = ("curves", "parallel", "scatter", "importance", "confusion", "roc")
_MOST = 1_000


def plot(
    kind: str = "curves",
    runs: Which = None,
    metrics: str | Sequence[str] | None = None,
    *,
    axis: Axis = "step",
    smoothing: float = 0.0,
    log: bool = False,
    group: str | None = None,
    x: str | None = None,
    y: str | None = None,
    colour: str | None = None,
    params: Sequence[str] | None = None,
) -> Figure:
    """Draw runs.

        mlops_nb.plot("curves", ["@last", "@best:val_auc"], "val_auc", smoothing=0.6)
        mlops_nb.plot("curves", "tag:sweep", group="seed")
        mlops_nb.plot("parallel", "params.model = 'hgb'", "val_auc")
        mlops_nb.plot("importance", metrics="val_auc")

    Args:
        kind: `curves`, `parallel`, `scatter`, `importance`, or, of predictions that runs have kept, `confusion` or `roc`.
        runs: Runs, selectors (`@last`, a name, the beginning of an id), a filter or text; by default all runs here, the
            newest 1,000.
        metrics: Names; for other kinds than curves the first one counts.
        axis, smoothing, log, group: Of curves: x is `step`, `time` or `relative` (since the run began); smoothing is 0 to 1;
            `group="seed"` draws the mean of runs with the same params, seeds aside, with its interval at 95 %.
        x, y, colour: Of a scatter: params or metrics.
        params: Of parallel coordinates; by default those that differ.

    Returns:
        A `Figure`: the last line of a cell shows it, `save("curves.svg")` writes it, `to_plotly()` gives Plotly's.
    Raises:
        InvalidInput: If there is nothing to draw; with the reason.
        NotFound: If a run, metric or param is not there.
    """
    store = session_store()
    found = which_runs(store, runs, most=_MOST)
    first = metrics if isinstance(metrics, str) or metrics is None else next(iter(metrics), None)
    ways: dict[str, Callable[[], Figure]] = {
        "curves": lambda: curves(store, found, metrics, axis=axis, smoothing=smoothing, log=log, group=group),
        "parallel": lambda: parallel(found, first, params=params),
        "scatter": lambda: scatter(found, x, y or first, colour=colour, log=log),
        "importance": lambda: importance(found, first),
        "confusion": lambda: confusion(predicted_classes(store, found)),
        "roc": lambda: roc(predicted_scores(store, found)),
    }
    if kind not in ways:
        raise InvalidInput(f"There is no figure '{kind}'.", hint=did_you_mean(kind, KINDS) or f"Use {', '.join(KINDS)}.")
    return ways[kind]()
