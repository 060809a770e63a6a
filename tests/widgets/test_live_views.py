"""The run table and the metric explorer without a browser: their state follows what is asked for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from sklearn.metrics import roc_auc_score

import mlops_nb
from mlops_nb.core.records import Metric, Run
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, NotFound, StoreUnreachable
from mlops_nb.store.base import TrackingStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from mlops_nb.widgets import following, view
from mlops_nb.widgets.explorer import MetricExplorer
from mlops_nb.widgets.run_table import RunTable
from tests.widgets.conftest import HOSTILE, MakeRun

_STATIC = Path(view.__file__).parent / "static"
_WIDGET = "application/vnd.jupyter.widget-view+json"


def names(table: RunTable) -> list[str]:
    return [row["name"] for row in table.rows]


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def asked(of: Any, what: str) -> None:
    """Let the front end ask for an action."""
    of._handle_custom_msg({"do": what}, [])


def test_a_table_begins_with_the_newest_and_the_columns_that_most_runs_have(store: TrackingStore, sweep: list[Run]) -> None:
    table = RunTable(store, page_size=10)
    assert names(table)[:2] == ["sweep 23", "sweep 22"] and len(table.rows) == 10
    keys = [each["key"] for each in table.header]
    assert keys[:4] == ["name", "status", "started", "took"] and {"metrics.val_auc", "params.lr"} <= set(keys)
    assert table.place == {"first": 1, "last": 10, "total": 24, "more": True}


def test_pages_go_forward_back_and_to_any_place(store: TrackingStore, sweep: list[Run]) -> None:
    table = RunTable(store, page_size=10)
    table.page = 1
    assert names(table)[0] == "sweep 13"
    table.page = 2
    assert (len(table.rows), table.place["more"], table.place["last"]) == (4, False, 24)
    table.page = 0
    assert names(table)[0] == "sweep 23"
    other = RunTable(store, page_size=10, page=2)  # not come to by its neighbours
    assert names(other)[-1] == "sweep 0"
    other.page = 99  # beyond the end: the last one
    assert (other.page, names(other)[-1]) == (2, "sweep 0")
    other.page_size = 100
    assert (other.page, len(other.rows)) == (0, 24)


def test_sorting_takes_bare_names_and_begins_at_the_good_end(store: TrackingStore, sweep: list[Run]) -> None:
    table = RunTable(store, sort="-val_auc", page_size=10)
    values = [run.metrics["val_auc"].value for run in table.runs]
    assert values == sorted(values, reverse=True)
    assert {each["key"]: each["sorted"] for each in table.header}["metrics.val_auc"] == "descending"
    table.sort_by("val_auc")
    assert table.sort == "metrics.val_auc" and table.runs[0].metrics["val_auc"].value < values[-1]
    table.sort_by("metrics.train_loss")
    assert table.sort == "metrics.train_loss"  # a loss: the lowest first
    table.sort = "took"
    assert table.message.startswith("Runs cannot be sorted by 'took'") and table.rows
    table.sort = "val_acu"
    assert "Did you mean 'val_auc'" in table.message


def test_filters_text_and_archived_runs(store: TrackingStore, sweep: list[Run]) -> None:
    table = RunTable(store)
    table.query = "params.lr = '0.01' and val_auc > .8"
    assert len(table.rows) == table.place["last"] == 8 and table.message == ""
    table.query = "sweep 2"
    assert names(table) == ["sweep 23", "sweep 22", "sweep 21", "sweep 20", "sweep 2"]
    table.query = "val_auc >"
    assert "does not parse" in table.message and len(table.rows) == 5  # what was shown stays
    store.log_batch(sweep[-1].run_id, tags={"mlops.archived": "true"})
    table.query = ""
    assert "sweep 23" not in names(table) and table.message == ""
    table.query = "tags.`mlops.archived` = 'true'"
    assert names(table) == ["sweep 23"]


def test_groups_stand_together_under_their_value(store: TrackingStore, sweep: list[Run]) -> None:
    table = RunTable(store, group="solver", sort="-val_auc")
    groups = [row["group"] for row in table.rows]
    assert groups == ["solver = adam"] * 12 + ["solver = sgd"] * 12
    best = [run.metrics["val_auc"].value for run in table.runs[:12]]
    assert best == sorted(best, reverse=True)


def test_chosen_runs_stay_chosen_on_other_pages_and_are_compared(store: TrackingStore, sweep: list[Run]) -> None:
    table = RunTable(store, page_size=10)
    asked(table, "compare")
    assert table.message == "Choose two runs or more to compare."
    table.select(sweep[0], sweep[1].run_id, sweep[0])
    table.page = 1
    assert [run.name for run in table.selected_runs] == ["sweep 0", "sweep 1"]
    asked(table, "compare")
    assert table.compared["header"] == ["sweep 0", "sweep 1"]
    assert {"metric", "param"} == {row["kind"] for row in table.compared["rows"]}
    assert table.compare().result.run_ids == (sweep[0].run_id, sweep[1].run_id)
    asked(table, "close-comparison")
    assert table.compared == {}
    table.selected = ["0" * 32, sweep[0].run_id]
    asked(table, "compare")
    assert "0000" in table.message  # a run that is not there is said, not raised
    asked(table, "no such thing")


def test_what_people_wrote_stays_text_in_every_form(store: TrackingStore, make_run: MakeRun) -> None:
    runs = [make_run(HOSTILE, {"note": f"{HOSTILE}{n}"}, loss=[1.0, float("nan"), float("inf")]) for n in range(2)]
    table = RunTable(store, group="note", query="")
    explorer = MetricExplorer(store, runs)
    for each in (table, explorer):
        synced = [name for name in each.keys if not name.startswith("_") and name != "layout"]
        json.dumps({name: getattr(each, name) for name in synced}, allow_nan=False)
        data, _ = each._repr_mimebundle_()
        assert "<b>hgb" not in data["text/html"] and "<a " not in data["text/html"] and "\x07" not in data["text/plain"]
        assert "\u202e" not in data["text/plain"] and "<script" not in data["text/html"] and _WIDGET in data


def test_the_front_end_makes_text_nodes_only_and_loads_nothing() -> None:
    for path in _STATIC.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        forbidden = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\bfetch\(|XMLHttpRequest|import\s*\(|^import\b"
        )
        assert not re.search(forbidden, text, re.MULTILINE), path.name
        assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert len(text.splitlines()) <= 300
    assert "url(" not in (_STATIC / "views.css").read_text(encoding="utf-8")


def test_a_view_has_a_static_form_for_nbconvert(store: TrackingStore, sweep: list[Run]) -> None:
    outputs = [
        nbformat.v4.new_output("display_data", data=v._repr_mimebundle_()[0]) for v in (RunTable(store), MetricExplorer(store, sweep))
    ]
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)]))
    assert "sweep 23" in page and "val_auc" in page and page.count("<table>") == 2
    assert "Runs 1–24 of 24" in repr(RunTable(store))


def test_an_empty_store_says_how_to_begin(store: TrackingStore) -> None:
    table = RunTable(store)
    assert table.rows == [] and "%track start" in table.static_bundle()["text/html"]
    with pytest.raises(InvalidInput, match="no runs"):
        MetricExplorer(store, [])


def test_the_explorer_draws_what_is_chosen_and_keeps_colours(store: TrackingStore, sweep: list[Run]) -> None:
    explorer = MetricExplorer(store, sweep[:5], ["val_auc", "train_loss"])
    assert [panel["title"] for panel in explorer.panels] == ["val_auc ↑", "train_loss ↓"]
    colours = {line["name"]: line["colour"] for line in explorer.panels[0]["lines"]}
    explorer.chosen = [sweep[3].run_id]
    explorer.metrics = ["val_auc"]
    (line,) = explorer.panels[0]["lines"]
    assert (line["name"], line["colour"]) == ("sweep 3", colours["sweep 3"])
    explorer.smoothing = 0.5
    assert [each["mode"] for each in explorer.panels[0]["lines"]] == ["faint", "line"] and explorer.notes == ["smoothed (0.5)"]
    explorer.axis, explorer.log = "relative", True
    assert explorer.panels[0]["log"] and explorer.panels[0]["x_label"].endswith("(s)")
    assert explorer.figure().title == "val_auc ↑"
    explorer.chosen = []
    assert explorer.message == "Choose a run and a metric."
    explorer.chosen = ["nonsense", sweep[0].run_id]
    assert explorer.message == "" and len(explorer.panels[0]["lines"]) == 2
    explorer.metrics = ["nothing"]
    assert "No metric 'nothing'" in explorer.message


def test_zooming_asks_the_store_for_the_detail(store: TrackingStore, make_run: MakeRun) -> None:
    runs = [make_run(f"long {n}", loss=[float(step % 7) for step in range(4_000)]) for n in range(2)]
    explorer = MetricExplorer(store, runs, "loss")
    assert len(explorer.panels[0]["lines"][0]["x"]) <= 500
    explorer.zoom = [1_000, 1_050]
    assert explorer.panels[0]["lines"][0]["x"] == list(range(1_000, 1_051))
    explorer.zoom = [50, 20]
    assert "Steps from 50 to 20" in explorer.message
    asked(explorer, "reset-zoom")
    assert explorer.zoom == [] and explorer.message == ""


def test_seeds_are_offered_and_grouped(store: TrackingStore, sweep: list[Run]) -> None:
    explorer = MetricExplorer(store, sweep, "val_auc")
    assert explorer.groups[0] == "seed" and "lr" in explorer.groups and "fixed" not in explorer.groups
    explorer.group = "lr"
    assert [line["name"] for line in explorer.panels[0]["lines"]] == [f"lr={lr} (8 runs)" for lr in ("0.001", "0.01", "0.1")]
    assert explorer.panels[0]["lines"][0]["low"][-1] < explorer.panels[0]["lines"][0]["y"][-1]


def test_a_running_run_is_followed_until_it_ends(store: TrackingStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PERIOD", 0.02)
    run = make_run("live", loss=[3.0], ended=False)
    explorer, table = MetricExplorer(store, [run], "loss"), RunTable(store)
    assert explorer.following and explorer._follower.is_running
    store.log_batch(run.run_id, metrics=[Metric(key="loss", value=1.5, timestamp=run.start_time + 9, step=1)])
    wait_until(lambda: explorer.panels[0]["lines"][0]["y"] == [3, 1.5])
    wait_until(lambda: "1.500" in str(table.rows))
    store.update_run(run.run_id, status=RunStatus.FINISHED)
    wait_until(lambda: not explorer.following and not explorer._follower.is_running)
    wait_until(lambda: table.rows[0]["status"] == "finished" and not table._follower.is_running)


def test_a_view_that_is_closed_or_forgotten_is_followed_no_longer(
    store: TrackingStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PERIOD", 0.02)
    explorer = MetricExplorer(store, [make_run("live", loss=1.0, ended=False)], "loss")
    follower = explorer._follower
    explorer.close()
    assert follower._thread is not None
    follower._thread.join(5)
    assert not follower._thread.is_alive()


def test_a_store_that_goes_away_is_a_message(store: TrackingStore, sweep: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    table = RunTable(store)

    def gone(_: Any) -> Any:
        raise StoreUnreachable("The server does not answer.")

    monkeypatch.setattr(store, "search_runs", gone)
    asked(table, "refresh")
    assert table.message == "The server does not answer." and len(table.rows) == 24


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLOPS_NB_TRACKING_URI", "MLFLOW_TRACKING_URI", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sessions, "current", Session())
    return folder


def test_the_python_calls_find_runs_as_people_name_them(project: Path) -> None:
    assert mlops_nb.run_table().rows == []
    for number in range(3):
        with mlops_nb.start_run(f"try {number}", params={"lr": number}, tags={"sweep": "1"} if number else {}) as run:
            for step in range(5):
                run.log(loss=number + step, step=step)
    assert names(mlops_nb.run_table("loss > 4.5", sort="-loss")) == ["try 2", "try 1"]
    with pytest.raises(InvalidInput, match="There is no column"):
        mlops_nb.run_table(columns=["nothing"])
    with pytest.raises(InvalidInput, match="does not parse"):
        mlops_nb.run_table("loss >")
    assert [run["name"] for run in mlops_nb.explore("tag:sweep").runs] == ["try 2", "try 1"]
    assert [run["name"] for run in mlops_nb.explore(["@last", "try 0"]).runs] == ["try 2", "try 0"]
    assert [run["name"] for run in mlops_nb.explore("params.lr = '1'").runs] == ["try 1"]
    assert mlops_nb.plot(runs=["@last", "@last~1"], metrics="loss").title == "loss ↓"
    with pytest.raises(NotFound, match="no run 'tri 0'"):
        mlops_nb.plot("curves", ["tri 0"])
    with pytest.raises(InvalidInput, match=r"no figure 'curve'.*Did you mean 'curves'"):
        mlops_nb.plot("curve")
    with pytest.raises(InvalidInput, match="None of these runs has kept scores"):
        mlops_nb.plot("roc")


def test_predictions_that_a_run_has_kept_are_drawn(project: Path) -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 2, 400)
    with mlops_nb.start_run("kept"):
        scores = np.clip(truth * 0.4 + random.random(400) * 0.6, 0, 1)
        mlops_nb.log_predictions(truth, scores)
    with mlops_nb.start_run("named"):
        mlops_nb.log_predictions(np.where(truth == 1, "<yes>", "no"), np.where(random.random(400) < 0.5, "<yes>", "no"))
    roc = mlops_nb.plot("roc")
    assert len(roc.json["data"]) == 2 and roc.summary == [f"kept: AUC {roc_auc_score(truth, scores):.4f}"]
    both = mlops_nb.plot("confusion")
    assert {line.partition(":")[0] for line in both.summary} == {"kept", "named"}
