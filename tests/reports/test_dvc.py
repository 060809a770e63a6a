"""What DVC writes, in its own formats (DVC itself is not installed here: they are those of its sources and documentation)."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image as Pillow

from mlops_nb.core.comparison import Verdict
from mlops_nb.errors import InvalidInput
from mlops_nb.reports.pull_request import vega
from mlops_nb.reports.pull_request.data import Side
from mlops_nb.reports.pull_request.dvc import metrics_from_dvc, plots_from_dvc
from mlops_nb.reports.pull_request.pictures import Pictures
from mlops_nb.reports.pull_request.vega import to_png

ROWS = [{"step": str(n), "loss": 1 / (n + 1), "rev": rev} for rev in ("workspace", "main") for n in range(5)]
SPEC: dict[str, Any] = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"values": ROWS},
    "title": "loss",
    "width": 300,
    "height": 200,
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "loss", "type": "quantitative"},
        "color": {"field": "rev", "type": "nominal"},
    },
}


def png(text: str = "") -> bytes:
    stream = io.BytesIO()
    figure = Figure(figsize=(1, 1))
    figure.text(0.2, 0.5, text)
    figure.savefig(stream, format="png")
    return stream.getvalue()


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_metrics_as_json_become_rows_with_verdicts_and_say_that_noise_is_unknown(tmp_path: Path) -> None:
    diff = {
        "metrics.json": {
            "val.auc": {"old": 0.91, "new": 0.92, "diff": 0.01},
            "loss": {"old": 0.2, "new": 0.3, "diff": 0.1},
            "grade": {"old": "B", "new": "B-"},
        }
    }
    auc, loss = metrics_from_dvc(written(tmp_path / "metrics.json", diff))
    assert (auc.key, auc.base, auc.this, auc.verdict) == ("val.auc", 0.91, 0.92, Verdict.BETTER)
    assert (loss.verdict, loss.note) == (Verdict.WORSE, "single value, noise unknown")


def test_metrics_of_two_files_keep_their_files_and_new_and_nan_ones_are_told(tmp_path: Path) -> None:
    text = '{"a.json": {"auc": {"new": 0.9}}, "b.json": {"auc": {"old": NaN, "new": 0.9, "diff": NaN}, "gone": {"old": 1}}}'
    one, two, gone = metrics_from_dvc(written(tmp_path / "metrics.json", text))
    assert (one.key, one.verdict) == ("a.json: auc", Verdict.NEW)
    assert (two.base, two.verdict, gone.verdict) == ("NaN", Verdict.NOT_COMPARABLE, Verdict.MISSING)


@pytest.mark.parametrize("path", [True, False])
def test_metrics_as_markdown_give_the_same_rows(tmp_path: Path, path: bool) -> None:
    head, row = ("| Path | Metric | main | workspace | Change |", "| metrics.json | auc | 0.91 | 0.92 | 0.01 |")
    if not path:
        head, row = head.replace("| Path ", ""), row.replace("| metrics.json ", "")
    rule = "|" + "---|" * (head.count("|") - 1)
    (auc,) = metrics_from_dvc(written(tmp_path / "metrics.md", f"{head}\n{rule}\n{row}\n"))
    assert (auc.key, auc.base, auc.this, auc.verdict) == ("auc", 0.91, 0.92, Verdict.BETTER)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', "| a | b |\n|--|--|\n| 1 | 2 |", "<html>"])
def test_another_file_is_refused_with_the_command_that_writes_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="dvc metrics diff"):
        metrics_from_dvc(written(tmp_path / "metrics.json", text))


@pytest.mark.parametrize("is_old", [True, False])
def test_plots_are_drawn_and_pictures_taken_for_their_side(tmp_path: Path, is_old: bool) -> None:
    for name in ("workspace_roc.png", "main_roc.png"):
        (tmp_path / name).write_bytes(png(name))
    plots = {
        "loss.json": [
            {"type": "vega", "revisions": ["main", "workspace"], "content": json.dumps(SPEC) if is_old else SPEC, "datapoints": {}}
        ],
        "roc.png": [{"type": "image", "revisions": [rev], "url": str(tmp_path / f"{rev}_roc.png")} for rev in ("workspace", "main")],
    }
    pictures = Pictures()
    found = plots_from_dvc(written(tmp_path / "plots.json", plots if is_old else {"data": plots, "errors": []}), pictures)
    assert [(image.subject, image.side) for image in found] == [("loss.json", Side.BOTH), ("roc.png", Side.THIS), ("roc.png", Side.BASE)]
    drawn = Pillow.open(io.BytesIO(pictures.files[found[0].path]))
    assert drawn.width > 400 and len(drawn.convert("RGB").getcolors(100_000) or []) > 20


def test_a_plot_of_split_output_gets_its_rows_from_beside_it(tmp_path: Path) -> None:
    split = {**SPEC, "data": {"values": "<DVC_METRIC_DATA>"}, "title": "<DVC_METRIC_TITLE>"}
    points = {rev: [row for row in ROWS if row["rev"] == rev] for rev in ("workspace", "main")}
    view = {
        "type": "vega",
        "revisions": ["main"],
        "content": split,
        "datapoints": points,
        "anchor_definitions": {"<DVC_METRIC_TITLE>": "loss"},
    }
    pictures = Pictures()
    (image,) = plots_from_dvc(written(tmp_path / "plots.json", {"data": {"loss": [view]}}), pictures)
    assert pictures.files[image.path] == to_png({**SPEC, "data": {"values": [row for each in points.values() for row in each]}})


def test_a_folder_of_plots_is_taken_whole(tmp_path: Path) -> None:
    (static := tmp_path / "dvc_plots" / "static").mkdir(parents=True)
    written(tmp_path / "dvc_plots" / "loss.json", SPEC)
    (static / "workspace_roc.png").write_bytes(png("new"))
    (static / "HEAD_roc.png").write_bytes(png("old"))
    found = plots_from_dvc(tmp_path / "dvc_plots", Pictures())
    assert [(image.subject, image.side) for image in found] == [("loss", Side.BOTH), ("roc.png", Side.BASE), ("roc.png", Side.THIS)]


@pytest.mark.parametrize(
    "part",
    [
        {"data": {"url": "http://127.0.0.1:PORT/data.json"}},
        {"data": {"url": "/etc/passwd", "format": {"type": "csv"}}},
        {"data": {"sequence": {"start": 0, "stop": 1e12}}},
        {"mark": "image", "encoding": {"url": {"value": "http://127.0.0.1:PORT/x.png"}}},
        {"transform": [{"lookup": "a", "from": {"data": {"url": "http://127.0.0.1:PORT/d"}, "key": "a"}}]},
        {"layer": [{"mark": "point", "data": {"url": "http://127.0.0.1:PORT/d"}}]},
        {"width": 1e9},
        {"hconcat": [{"mark": {"type": "image", "url": "http://127.0.0.1:PORT/x.png"}}]},
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_plot_that_would_load_something_is_refused_and_loads_nothing(part: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        port = str(listening.getsockname()[1])
        spec = json.loads(json.dumps({**SPEC, **part}).replace("PORT", port))
        with pytest.raises(InvalidInput, match=r"would load|not in it|units large"):
            to_png(spec)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a_picture_outside_of_the_project_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    (project := tmp_path / "project").mkdir()
    monkeypatch.chdir(project)
    plots = {"data": {"x": [{"type": "image", "revisions": ["workspace"], "url": "../secret.png"}]}}
    with pytest.raises(InvalidInput, match="outside"):
        plots_from_dvc(written(project / "plots.json", plots), Pictures())


def test_a_specification_that_is_none_says_so() -> None:
    with pytest.raises(InvalidInput, match="no Vega-Lite"):
        to_png({"mark": "nonsense", "data": {"values": []}, "encoding": 5})


def test_a_specification_that_never_ends_is_ended_and_takes_only_its_own_process_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vega, "SECONDS", 4.0)
    rows = [part for name in "abc" for part in ({"calculate": "sequence(0, 5000)", "as": name}, {"flatten": [name]})]
    with pytest.raises(InvalidInput, match=r"takes longer than 4 s|more memory than it may"):
        to_png({**SPEC, "transform": rows})
