"""The figures: what they draw, what they leave out and say, and that hostile texts stay texts."""

from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
from nbconvert import HTMLExporter
from sklearn.metrics import roc_auc_score

from mlops_nb.core.records import CellExecution, CellOutcome, Run
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.base import TrackingStore
from mlops_nb.widgets.charts import theme
from mlops_nb.widgets.charts.figure import MAX_BYTES, Figure
from mlops_nb.widgets.figures import confusion, curves, importance, parallel, roc, scatter
from mlops_nb.widgets.figures.curves import cell_notes
from mlops_nb.widgets.figures.importance import importances
from mlops_nb.widgets.figures.predictions import roc_points
from mlops_nb.widgets.figures.smoothing import mean_band, smoothed
from tests.widgets.conftest import HOSTILE, MakeRun

_PLOTLY = "application/vnd.plotly.v1+json"


def checked(figure: Figure) -> dict[str, Any]:
    """Return what a figure displays, after Plotly and an XML parser have read it."""
    bundle = dict(figure._repr_mimebundle_())
    text = json.dumps(bundle, allow_nan=False)
    assert len(text) <= MAX_BYTES
    form = {name: part for name, part in bundle[_PLOTLY].items() if name != "config"}
    go.Figure(form)  # raises on what Plotly does not know
    tree = ElementTree.fromstring(bundle["image/svg+xml"])
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert names <= {"svg", "g", "title", "desc", "text", "path", "circle", "rect"}
    assert not any(name.startswith("on") or name.endswith("href") for element in tree.iter() for name in element.attrib)
    assert bundle["text/plain"].startswith(figure.title.split(" ")[0])
    return bundle


def traces(figure: Figure, name: str | None = None) -> list[dict[str, Any]]:
    return [trace for trace in figure.json["data"] if name is None or trace.get("name") == name]


def test_curves_draw_a_panel_per_metric_and_a_line_per_run(store: TrackingStore, sweep: list[Run]) -> None:
    figure = curves(store, sweep[:3], ["val_auc", "train_loss"])
    bundle = checked(figure)
    assert len(traces(figure)) == 6
    assert [trace["name"] for trace in traces(figure) if trace["showlegend"]] == ["sweep 0", "sweep 1", "sweep 2"]
    line = traces(figure, "sweep 1")[0]
    assert line["x"] == list(range(50)) and line["y"][10] == pytest.approx(0.9 * (1 - math.exp(-1)), rel=1e-6)
    assert "val_auc ↑" in bundle["image/svg+xml"] and "train_loss ↓" in bundle["image/svg+xml"]
    assert "sweep 2 0.7940" in bundle["text/plain"]


def test_what_is_too_much_is_left_out_and_said(store: TrackingStore, make_run: MakeRun) -> None:
    runs = [make_run(f"r{n}", {"n": n}, **{f"m{k}": [1.0, 2.0] for k in range(8)}) for n in range(23)]
    figure = curves(store, runs, [f"m{k}" for k in range(8)])
    assert figure.notes[:2] == ("3 of 23 runs are not shown", "2 of 8 metrics are not shown")
    assert len(traces(figure)) == 20 * 6
    checked(figure)


def test_a_long_series_is_thinned_within_the_budget_and_keeps_its_spike(store: TrackingStore, make_run: MakeRun) -> None:
    runs = []
    for number in range(20):
        course = [math.sin(step / 300) for step in range(5_000)]
        course[3_333] = 50.0
        runs.append(make_run(f"long {number}", loss=course))
    figure = curves(store, runs, "loss", smoothing=0.9)
    checked(figure)
    assert all(max(trace["y"]) < 50 for trace in traces(figure))  # smoothed
    assert all(max(trace["y"]) == 50 for trace in traces(curves(store, runs, "loss")))


def test_hostile_names_and_values_are_shown_as_they_are(store: TrackingStore, make_run: MakeRun) -> None:
    values = [1.0, math.nan, math.inf, -math.inf, 1e308, -5.0, 2.0]
    runs = [make_run(HOSTILE, {"kind": f"{HOSTILE}{n}", "n": n}, odd=values, ok=[1.0, 2.0]) for n in range(2)]
    for figure in (
        curves(store, runs, ["odd", "ok"], log=True),
        curves(store, runs, "odd", group="kind", axis="time"),
        scatter(runs, "kind", "ok"),
        parallel(runs, "ok", params=["kind", "n"]),
        confusion({HOSTILE: (["<b>", "%{x}"], ["<b>", "$x$"])}),
        roc({HOSTILE: ([0, 1, 1], [0.1, 0.4, 0.3])}),
    ):
        bundle = checked(figure)
        shown = json.dumps(bundle[_PLOTLY], ensure_ascii=False)
        for part in ("<b>hgb", "<a href", "$x$", "\u202e", "\x07", "%{y} &"):
            assert part not in shown, part
        assert "<a " not in bundle["image/svg+xml"] and "\u202e" not in repr(figure) and "\x07" not in repr(figure)
    note = curves(store, runs, "odd", log=True).notes
    assert "gaps are NaN or infinite values" in note and "values that are not positive have no place on a logarithmic axis" in note


def test_each_point_names_the_cell_that_logged_it(store: TrackingStore, make_run: MakeRun) -> None:
    run = make_run("celled", loss=[1.0, 0.5, 0.25])
    start = run.start_time
    cells = [
        CellExecution(index=0, execution_count=4, source="fit(X)\nlog()", source_hash="a", started=start - 10, duration_ms=900),
        CellExecution(index=1, execution_count=7, source="more()", source_hash="b", started=start + 950, duration_ms=5_000),
    ]
    assert cell_notes(cells, [start, start + 1000, start + 2000]) == ["cell [4]", "cell [7]", "cell [7]"]
    assert cell_notes(cells, [start, start + 5]) == "cell [4] fit(X)"
    assert cell_notes(cells, [start - 50]) == "" and cell_notes([], [start]) == ""
    running = CellExecution(index=2, execution_count=9, source="go()", source_hash="c", started=start, outcome=CellOutcome.RUNNING)
    assert cell_notes([running], [start + 10**6]) == "cell [9] go()"


def test_axes_are_steps_time_of_the_place_or_time_since_the_start(
    store: TrackingStore, sweep: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        figure = curves(store, sweep[:1], "val_auc", axis="time")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert traces(figure)[0]["x"][0] == sweep[0].start_time + 5.5 * 3600_000
    assert figure.json["layout"]["xaxis"]["type"] == "date"
    relative = curves(store, sweep[:1], "val_auc", axis="relative")
    assert traces(relative)[0]["x"][:3] == [0, 1, 2]
    assert relative.json["layout"]["xaxis"]["title"]["text"] == "time since the run began (s)"
    with pytest.raises(InvalidInput, match="There is no axis 'steps'"):
        curves(store, sweep, axis="steps")  # type: ignore[arg-type]


def test_seeds_are_a_mean_with_the_interval_of_student(store: TrackingStore, sweep: list[Run]) -> None:
    from scipy import stats

    figure = curves(store, sweep, "val_auc", group="seed")
    lines = [trace for trace in traces(figure) if trace["mode"] != "lines" or "fill" not in trace]
    # `solver` differs within a rate: runs that differ in more than the seed are no repetition.
    assert len(lines) == 6 and lines[0]["name"] == "lr=0.001 solver=sgd (4 runs)"
    by_rate = curves(store, sweep, "val_auc", group="lr")
    band, line = traces(by_rate, "lr=0.01 (8 runs)")
    ends = [run.metrics["val_auc"].value for run in sweep if run.params["lr"] == "0.01"]
    low, high = stats.t.interval(0.95, 7, np.mean(ends), stats.sem(ends))
    assert line["y"][-1] == pytest.approx(np.mean(ends), rel=1e-6)
    at = len(band["x"]) // 2
    assert (band["y"][at], band["y"][at - 1]) == pytest.approx((low, high), rel=1e-6)
    with pytest.raises(NotFound, match="No param or tag 'sed'"):
        curves(store, sweep, group="sed")


def test_the_mean_of_runs_of_other_lengths_counts_those_that_are_there() -> None:
    xs, mean, low, high = mean_band([([0, 1, 2], [1.0, 1.0, 1.0]), ([0, 1], [3.0, math.nan])])
    assert xs == [0, 1, 2] and mean == [2, 1, 1]
    assert math.isnan(low[2]) and math.isnan(high[2]) and low[0] < 2 < high[0]
    assert mean_band([([0], [math.nan])]) == ([], [], [], [])


def test_smoothing_is_the_same_for_thinned_series_and_passes_over_gaps() -> None:
    whole = list(range(1_000))
    wave = [math.sin(x / 100) for x in whole]
    every = smoothed(whole, wave, 0.9)
    fifth = smoothed(whole[::5], wave[::5], 0.9)
    assert max(abs(a - b) for a, b in zip(every[::5][20:], fifth[20:], strict=True)) < 0.05
    assert max(abs(a - b) for a, b in zip(every, wave, strict=True)) > 0.05
    gap = smoothed([0, 1, 2], [1.0, math.nan, 3.0], 0.5)
    assert gap[0] == 1 and math.isnan(gap[1]) and 1 < gap[2] <= 3
    with pytest.raises(InvalidInput, match="not between 0 and 1"):
        curves(None, [], smoothing=2)  # type: ignore[arg-type]


def test_scatter_takes_params_metrics_names_and_a_third_as_colour(sweep: list[Run]) -> None:
    figure = scatter(sweep, "lr", "val_auc", colour="train_loss")
    checked(figure)
    assert figure.json["layout"]["xaxis"]["type"] == "log"
    assert traces(figure)[0]["x"] == [float(run.params["lr"]) for run in sweep]
    assert min(traces(figure)[0]["marker"]["color"]) == 0 and max(traces(figure)[0]["marker"]["color"]) == 1
    named = scatter(sweep, "solver", "val_auc")
    assert named.json["layout"]["xaxis"]["ticktext"] == ["adam", "sgd"]
    with pytest.raises(InvalidInput, match="'solver' is no number"):
        scatter(sweep, "lr", "solver")
    with pytest.raises(NotFound, match=r"No param or metric 'lrr'.*Did you mean 'lr'"):
        scatter(sweep, "lrr", "val_auc")


def test_parallel_draws_params_that_differ_and_says_which_runs_lack_one(sweep: list[Run], make_run: MakeRun) -> None:
    figure = parallel([*sweep, make_run("bare", val_auc=0.5)], "val_auc")
    checked(figure)
    trace = traces(figure)[0]
    assert [each["label"] for each in trace["dimensions"]] == ["fixed", "lr", "seed", "solver", "val_auc"]
    assert trace["dimensions"][1]["ticktext"] == ["0.001", "0.01", "0.1"]
    assert figure.notes == ("1 runs lack one of them",)
    with pytest.raises(InvalidInput, match="No param differs"):
        parallel(sweep[:1])


def test_importance_finds_what_matters_and_refuses_too_few_runs(sweep: list[Run], make_run: MakeRun) -> None:
    found = importances(sweep, "val_auc")
    assert [each.param for each in found] == ["lr", "solver"]  # neither the seed nor what never differs
    assert found[0].share > 0.6 and found[0].p_value < 0.05 and found[0].correlation is None  # an optimum in the middle
    assert found[1].share < 0.2 and found[1].p_value > 0.05
    figure = importance(sweep, "val_auc")
    checked(figure)
    assert "Kruskal" in " ".join(figure.notes)
    with pytest.raises(InvalidInput, match="9 runs with val_auc are too few"):
        importance(sweep[:9], "val_auc")
    same = [make_run(f"s{n}", {"lr": n}, acc=1.0) for n in range(10)]
    with pytest.raises(InvalidInput, match="acc is the same in all 10 runs"):
        importance(same, "acc")


def test_importance_of_noise_is_rarely_taken_for_something(make_run: MakeRun) -> None:
    random = np.random.default_rng(7)
    runs = [make_run(f"n{n}", {f"p{k}": random.integers(0, 5) for k in range(10)}, acc=random.normal()) for n in range(40)]
    assert sum(each.p_value <= 0.05 for each in importances(runs, "acc")) <= 1


def test_roc_has_the_area_that_scikit_learn_gives(sweep: list[Run]) -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, 3_000)
    scores = np.round(truth * 0.3 + random.normal(size=3_000), 1)  # with ties
    xs, ys, area = roc_points("a", truth, scores)
    assert area == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert (xs[0], ys[0], xs[-1], ys[-1]) == (0, 0, 1, 1) and len(xs) <= 300
    checked(roc({"a": (truth, scores), "b": (truth, -scores)}))
    with pytest.raises(InvalidInput, match="needs two classes; 'c' has 3"):
        roc({"c": ([0, 1, 2], [0.1, 0.2, 0.3])})
    with pytest.raises(InvalidInput, match="NaN"):
        roc({"c": ([0, 1], [0.1, math.nan])})


def test_confusion_counts_orders_classes_as_numbers_and_puts_the_rarest_together() -> None:
    figure = confusion({"hgb": ([0.0, 10.0, 2.0, 2.0], [0, 10, 2, 10])})
    checked(figure)
    assert figure.json["layout"]["xaxis"]["ticktext"] == ["0", "2", "10"]
    assert figure.json["data"][0]["customdata"] == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    many = confusion({"m": (list(range(60)) * 2, list(range(60)) * 2)})
    checked(many)
    assert len(many.json["data"][0]["customdata"]) == 25 and many.notes[-1] == "the 36 rarest of 60 classes are put together"
    with pytest.raises(InvalidInput, match="2 true values and 1 predictions"):
        confusion({"x": ([1, 2], [1])})


def test_what_cannot_be_drawn_says_why(store: TrackingStore, make_run: MakeRun) -> None:
    with pytest.raises(InvalidInput, match="There are no runs to draw"):
        curves(store, [])
    with pytest.raises(InvalidInput, match="have no metrics"):
        curves(store, [make_run("bare")])
    with pytest.raises(NotFound, match=r"No metric 'los'.*Did you mean 'loss'"):
        curves(store, [make_run("one", loss=1.0)], "los")
    checked(curves(store, [make_run("one", loss=1.0), make_run("nan", loss=math.nan)], "loss"))


def test_colours_stand_out_from_white_and_from_dark_pages() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    shades = [theme.shade(share / 10) for share in range(11)]
    for colour in (*theme.COLOURS, theme.GREY, *shades):
        light, dark = 1.05 / (luminance(colour) + 0.05), (luminance(colour) + 0.05) / (luminance("#111111") + 0.05)
        assert min(light, dark) >= 3, colour
    text = luminance(theme.TEXT) + 0.05
    assert min(1.05 / text, text / (luminance("#111111") + 0.05)) > 4
    assert len({theme.colour(n) + theme.dash(n) for n in range(20)}) == 20


def test_nbconvert_shows_the_static_picture(store: TrackingStore, sweep: list[Run], tmp_path: Path) -> None:
    data = dict(curves(store, sweep[:2], "val_auc")._repr_mimebundle_())
    output = nbformat.v4.new_output("execute_result", data=data, execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("plot()", outputs=[output], execution_count=1)])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    body = page[page.index("<body") :]
    (picture,) = re.findall(r'<img[^>]*src="data:image/svg\+xml;base64,([^"]*)"', body)
    drawn = base64.b64decode(picture).decode()
    assert "val_auc ↑" in drawn and "sweep 1" in drawn
    assert "plotly" not in body.lower()


def test_a_figure_is_saved_as_a_picture_a_page_or_json(store: TrackingStore, sweep: list[Run], tmp_path: Path) -> None:
    figure = curves(store, sweep[:2], "val_auc")
    assert figure.save(tmp_path / "a.svg").read_text().startswith("<svg")
    assert json.loads(figure.save(tmp_path / "a.json").read_text())["layout"]["height"] > 100
    assert "Plotly.newPlot" in figure.save(tmp_path / "a.html").read_text()
    with pytest.raises(InvalidInput, match=r"cannot be written as '\.png'"):
        figure.save(tmp_path / "a.png")
    assert isinstance(figure.to_plotly(), go.Figure)


def test_importing_and_displaying_loads_no_plotly(tmp_path: Path) -> None:
    program = """
import sys, mlops_nb.widgets
assert not {"plotly", "numpy", "anywidget", "ipywidgets"} & set(sys.modules)
from mlops_nb.widgets.figures import curves
from mlops_nb.store.open import open_store
from mlops_nb.core.records import Metric
store = open_store("sqlite:///s.db")
run = store.create_run("0")
store.log_batch(run.run_id, metrics=[Metric(key="a", value=1.0, timestamp=1, step=s) for s in range(9)])
assert curves(store, [store.get_run(run.run_id)])._repr_mimebundle_()
assert not {"plotly", "numpy", "matplotlib", "IPython"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
