"""Curves of many runs to look into: which runs, which metrics, smoothed, zoomed, live while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from mlops_nb.core.comparison import run_labels
from mlops_nb.core.names import SYSTEM_METRICS
from mlops_nb.core.records import Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput
from mlops_nb.store.base import TrackingStore
from mlops_nb.widgets.charts import theme
from mlops_nb.widgets.charts.chart import Line, Panel
from mlops_nb.widgets.charts.figure import Figure
from mlops_nb.widgets.charts.plotly_form import drawn_numbers
from mlops_nb.widgets.figures.choosing import MAX_PANELS, chosen_metrics, is_seed, metrics_of, params_of, some
from mlops_nb.widgets.figures.curves import CurveOptions, CurveReader, checked_axis, curve_chart, curves
from mlops_nb.widgets.figures.smoothing import checked
from mlops_nb.widgets.following import Follower
from mlops_nb.widgets.selecting import Which, session_store, which_runs
from mlops_nb.widgets.static_form import Bundle, table_bundle
from mlops_nb.widgets.view import View, front_end, style

MAX_RUNS = 50
_FIRST = 10
_POINTS = 8_000
_MAX_GROUPS = 20


def explore(
    runs: Which = None,
    metrics: str | Sequence[str] | None = None,
    *,
    axis: str = "step",
    smoothing: float = 0.0,
    log: bool = False,
    group: str = "",
) -> MetricExplorer:
    """Show the curves of runs: choose runs and metrics, smooth, zoom; it goes on while a run does.

        view = mlops_nb.explore("tag:sweep", ["val_auc", "train_loss"], smoothing=0.6)
        view                        # shows it; what is changed in it can be read here:
        view.metrics, view.zoom
        view.figure()               # ... as a figure that stays in the notebook

    Args:
        runs: Runs, selectors, a filter or text; by default the newest 50, of which 10 are drawn.
        metrics: Names, at most 6; by default the main ones.
        axis: `step`, `time` of day, or `relative`: since the run began.
        smoothing: 0 (none) to 1.
        log: A logarithmic y-axis.
        group: `seed`: the mean of runs with the same params, seeds aside, with its interval at 95 %; or a param.

    Raises:
        InvalidInput: If there are no runs, or an option is not known.
        NotFound: If a run or metric is not there.
    """
    store = session_store()
    return MetricExplorer(
        store, which_runs(store, runs, most=MAX_RUNS), metrics, axis=checked_axis(axis), smoothing=smoothing, log=log, group=group
    )


class MetricExplorer(View):
    """See `explore`.

    Attributes:
        runs: What can be chosen: of each run `id`, `name` and `status`.
        chosen: Ids of the runs that are drawn.
        offered: The metrics that can be chosen.
        metrics: Those that are drawn.
        axis, smoothing, log, group: As in `explore`; `groups` are the ones that can be chosen.
        zoom: First and last step that are drawn, or nothing: all. The store is asked for more detail within them.
        panels: What is drawn: of each metric `title`, `x_label`, `x_kind`, `log` and `lines`.
        notes: What to know about it.
        following: Whether it changes by itself now.
    """

    _esm = front_end("chart", "explorer")
    _css = style()

    runs = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.List(traitlets.Unicode(), maxlen=MAX_RUNS).tag(sync=True)
    offered = traitlets.List(traitlets.Unicode()).tag(sync=True)
    metrics = traitlets.List(traitlets.Unicode(), maxlen=MAX_PANELS).tag(sync=True)
    axis = traitlets.Enum(["step", "time", "relative"], "step").tag(sync=True)
    smoothing = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    log = traitlets.Bool(False).tag(sync=True)
    group = traitlets.Unicode("").tag(sync=True)
    groups = traitlets.List(traitlets.Unicode()).tag(sync=True)
    zoom = traitlets.List(traitlets.Int(), maxlen=2).tag(sync=True)
    panels = traitlets.List(traitlets.Dict()).tag(sync=True)
    notes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    following = traitlets.Bool(False).tag(sync=True)

    def __init__(self, store: TrackingStore, runs: Sequence[Run], metrics: str | Sequence[str] | None = None, **state: Any) -> None:
        some(runs)
        checked(state.get("smoothing", 0.0))
        self._store = store
        self._read = CurveReader(store)
        self._runs = {run.run_id: run for run in runs[:MAX_RUNS]}
        self._drawn: list[list[str]] = []
        self._follower: Follower = Follower(store, self._follow, self._has_running)
        wanted = chosen_metrics(runs, metrics, default=2)
        first = list(self._runs) if metrics is not None or len(runs) <= _FIRST or state.get("group") else list(self._runs)[:_FIRST]
        super().__init__(metrics=wanted[:MAX_PANELS], chosen=first, **state)
        self._follower.look()
        self._offer()
        self._draw()
        self._look_on()
        self.observe(self._changed, ["chosen", "metrics", "axis", "smoothing", "log", "group", "zoom"])

    def actions(self) -> dict[str, Callable[[], object]]:
        return {"refresh": self.refresh, "reset-zoom": self.reset_zoom}

    def refresh(self) -> None:
        """Read the runs again."""
        self.try_to(self._read_again)
        self._look_on()

    def _read_again(self) -> None:
        self._follower.look()
        self._runs = {run_id: self._store.get_run(run_id) for run_id in self._runs}
        self._offer()
        self._draw()

    def reset_zoom(self) -> None:
        """Draw all steps."""
        self.zoom = []

    def figure(self) -> Figure:
        """Return what is drawn as a figure that stays in the notebook.

        Raises:
            InvalidInput: If nothing is chosen.
        """
        axis, group = checked_axis(self.axis), self.group or None
        return curves(self._store, self._chosen(), list(self.metrics), axis=axis, smoothing=self.smoothing, log=self.log, group=group)

    # -- how it follows

    def _follow(self) -> None:
        self.refresh()

    def _has_running(self) -> bool:
        return any(self._runs[run_id].status is RunStatus.RUNNING for run_id in self.chosen if run_id in self._runs)

    def _look_on(self) -> None:
        self.following = self._has_running()
        if self.following:
            self._follower.start()

    def _changed(self, _: Any) -> None:
        self.try_to(self._draw)
        self._look_on()

    def _chosen(self) -> list[Run]:
        found = [self._runs[run_id] for run_id in self.chosen if run_id in self._runs]
        if not found or not self.metrics:
            raise InvalidInput("Choose a run and a metric.")
        return found

    def _offer(self) -> None:
        runs = list(self._runs.values())
        present = metrics_of(runs)
        varied = [key for key in params_of(runs) if len({run.params.get(key) for run in runs}) > 1]
        seeds = ["seed"] if any(is_seed(key) for key in varied) else []
        with self.hold_sync():
            self.runs = [
                {"id": run.run_id, "name": label[:80], "status": run.status.value.lower()}
                for run, label in zip(runs, run_labels(runs), strict=True)
            ]
            self.offered = sorted(present, key=lambda key: (key.startswith(SYSTEM_METRICS), key))
            self.groups = [*seeds, *(key for key in varied if not is_seed(key))][:_MAX_GROUPS]

    def _draw(self) -> None:
        if len(self.zoom) == 1 or (self.zoom and self.zoom[0] > self.zoom[1]):
            raise InvalidInput(f"Steps from {self.zoom[0]} to {self.zoom[-1]} are none.", hint="Name the first, then the last.")
        start, end = self.zoom or (None, None)
        options = CurveOptions(
            axis=checked_axis(self.axis),
            smoothing=checked(self.smoothing),
            log=self.log,
            group=self.group or None,
            start_step=start,
            end_step=end,
            max_lines=MAX_RUNS,
        )
        runs = self._chosen()
        chart, summary = curve_chart(self._read, runs, chosen_metrics(runs, list(self.metrics)), options, max_points=_POINTS)
        places = {run_id: at for at, run_id in enumerate(self._runs)}
        # A run keeps its colour whichever others are drawn.
        looks = None if self.group else [places[run.run_id] for run in runs]
        self._drawn = [[*line.partition(": ")[::2]] for line in summary]
        with self.hold_sync():
            self.notes = list(chart.notes)
            self.panels = [_panel_state(panel, looks) for panel in chart.panels]

    def static_bundle(self) -> Bundle:
        return table_bundle(f"Metrics of {len(self.chosen)} runs", ["metric", "last values"], self._drawn, " · ".join(self.notes))


def _panel_state(panel: Panel, looks: Sequence[int] | None) -> dict[str, Any]:
    kept = {name: getattr(panel, name) for name in ("title", "x_label", "y_label", "x_kind")}
    return {**kept, "log": panel.log_y, "lines": [_line_state(line, looks) for line in panel.lines]}


def _line_state(line: Line, looks: Sequence[int] | None) -> dict[str, Any]:
    look = line.look if looks is None else looks[line.look]
    notes = line.notes if isinstance(line.notes, str) else list(line.notes)
    return {
        "name": line.name,
        "mode": line.mode,
        "colour": theme.colour(look),
        "dash": theme.SVG_DASHES[theme.dash(look)],
        "x": drawn_numbers(line.xs),
        "y": drawn_numbers(line.ys),
        "low": None if line.low is None else drawn_numbers(line.low),
        "high": None if line.high is None else drawn_numbers(line.high),
        "notes": notes,
    }
