"""The page of a run: parts that have data, notes and tags, previews that are inert, the way to cells, charts of ten million points."""

from __future__ import annotations

import json
import math
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_server import LabPage, LabServer
from pages import put_file, record_run, serious_violations, write_cells
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELLS = {
    "load": "df = [1, 2, 3]",
    "other": "unused = 1",
    "train": "model = sum(df)",
    "score": "print(model)",
}
LEDGER = [
    {"cell_id": "load", "source": CELLS["load"], "writes": ["df"]},
    {"cell_id": "other", "source": CELLS["other"], "writes": ["unused"]},
    {"cell_id": "train", "source": CELLS["train"], "reads": ["df"], "writes": ["model"], "peak_memory": 80_000_000},
    {"cell_id": "score", "source": CELLS["score"], "reads": ["model"], "outputs": "6\n"},
]
HOSTILE = (
    "<script>window.wasHacked = true</script><img src=x onerror='window.wasHacked = true'>"
    "<a href='javascript:window.wasHacked = true'>click</a><iframe srcdoc='<script>parent.wasHacked = true</script>'></iframe>"
)


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    write_cells(server, "train.ipynb", CELLS)
    return server


@pytest.fixture(scope="module")
def run_id(server: LabServer) -> str:
    curve = [math.exp(-step / 20) for step in range(120)]
    series = {"mlops.series": "it's hgb"}
    record_run(server, "hgb #0", "train.ipynb", LEDGER, metrics={"val_auc": (0.9, 3)}, params={"lr": "0.03"}, tags=series)
    run_id = record_run(
        server,
        "hgb #1",
        "train.ipynb",
        LEDGER,
        metrics={"val_auc": (0.9312, 3), "system/cpu_utilization_percentage": (12.0, 2)},
        params={"lr": "0.06"},
        curve=curve,
        tags={**series, "mlops.hygiene": "reordered", "mlops.verified": "true", "mlops.python": "3.11.7"},
    )
    put_file(server, run_id, "environment/requirements.txt", b"numpy==2.4.6\npandas==3.1.1\n")
    put_file(server, run_id, "page.html", HOSTILE.encode())
    put_file(server, run_id, "scores.csv", b'name,score\n"a, b",1\n<b>c</b>,2\n')
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": HOSTILE, "text/plain": "x"}}
    cells = [{"cell_type": "markdown", "source": f"# Title {HOSTILE}"}, {"cell_type": "code", "source": "1 + 1", "outputs": [output]}]
    put_file(server, run_id, "hostile.ipynb", json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}).encode())
    return run_id


@pytest.fixture
def lab(server: LabServer, run_id: str, open_lab: Callable[[LabServer], LabPage]) -> LabPage:
    lab = open_lab(server)
    lab.execute("mlops-nb:open-run", runId=run_id)
    expect(lab.run_page.locator("h1")).to_have_text("hgb #1")
    expect(lab.run_page.get_by_role("tab", name="Artifacts")).to_be_visible()
    return lab


def test_there_is_a_tab_for_what_the_run_has_and_for_nothing_else(lab: LabPage) -> None:
    tabs = lab.run_page.get_by_role("tab")
    expect(tabs).to_have_text(["Overview", "Metrics", "Params", "Cells", "Environment", "System", "Artifacts", "Logs"])
    header = lab.run_page.locator("header")
    expect(header).to_contain_text("reordered")
    expect(header).to_contain_text("verified")
    since = lab.run_page.locator(".mlops-nb-progress")
    expect(since).to_contain_text("Since hgb #0")
    expect(since).to_contain_text("val_auc 0.9 → 0.9312 +0.0312 ▲ better")
    expect(since).to_contain_text("lr 0.03 → 0.06")
    lab.run_page.get_by_role("tab", name="Environment").click()
    expect(lab.run_page.get_by_role("row", name="numpy 2.4.6")).to_be_visible()
    lab.run_page.get_by_role("tab", name="Logs").click()
    expect(lab.run_page.locator(".mlops-nb-log pre")).to_have_text("6\n")
    lab.run_page.get_by_role("tab", name="System").click()
    expect(lab.run_page.locator("[data-metric='system/cpu_utilization_percentage']")).to_contain_text("12")


def test_a_note_and_tags_are_changed_in_place(lab: LabPage, server: LabServer, run_id: str) -> None:
    page = lab.run_page
    page.get_by_role("button", name="Add a note").click()
    page.get_by_role("textbox", name="Note").fill("Looks <b>good</b>")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".mlops-nb-run-note")).to_have_text("Looks <b>good</b>")
    page.get_by_role("textbox", name="New tag").fill("stage=best")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".mlops-nb-tag")).to_contain_text("stage=best")
    tags = server.request("GET", f"runs/{run_id}")["run"]["tags"]
    assert (tags["mlflow.note.content"], tags["stage"]) == ("Looks <b>good</b>", "best")
    page.get_by_role("button", name="Remove the tag stage").click()
    expect(page.locator(".mlops-nb-tag")).to_have_count(0)


def test_the_cells_that_explain_a_metric_are_marked_and_lead_to_the_notebook(lab: LabPage) -> None:
    page = lab.run_page
    page.get_by_role("tab", name="Cells").click()
    page.get_by_label("Explain").select_option("m:val_auc")
    expect(page.get_by_text("3 cells explain it")).to_be_visible()
    page.get_by_label("Only these cells").check()
    expect(page.locator(".mlops-nb-cell")).to_have_count(3)
    expect(page.locator(".mlops-nb-cell[data-role='target']")).to_contain_text("print(model)")
    page.get_by_role("button", name="Go to cell [3]").click()
    active = lab.page.locator(".jp-NotebookPanel:visible .jp-Cell.jp-mod-active")
    expect(active).to_contain_text("model = sum(df)")


def test_a_chart_is_read_and_zoomed_by_keys_and_a_click_goes_to_the_cell_that_logged_the_point(lab: LabPage) -> None:
    lab.run_page.get_by_role("tab", name="Metrics").click()
    chart = lab.run_page.get_by_role("application", name="loss: 120 values")
    expect(chart.locator("canvas")).to_be_visible()
    chart.focus()
    chart.press("ArrowRight")
    chart.press("ArrowRight")
    expect(lab.run_page.locator(".mlops-nb-readout").first).to_contain_text("step 1")
    chart.press("+")
    expect(lab.run_page.get_by_role("button", name="Show all")).to_be_visible()
    chart.press("0")
    expect(lab.run_page.get_by_role("button", name="Show all")).to_have_count(0)
    chart.locator(".u-over").click(position={"x": 60, "y": 60})
    active = lab.page.locator(".jp-NotebookPanel:visible .jp-Cell.jp-mod-active")
    expect(active).to_contain_text("print(model)")


def test_previews_of_files_are_inert(lab: LabPage) -> None:
    page = lab.run_page
    page.get_by_role("tab", name="Artifacts").click()
    preview = page.locator(".mlops-nb-preview")
    page.get_by_role("button", name="page.html").click()
    expect(preview.locator("pre")).to_contain_text("<script>")
    page.get_by_role("button", name="scores.csv").click()
    expect(preview.get_by_role("cell", name="a, b")).to_be_visible()
    expect(preview.get_by_role("cell", name="<b>c</b>")).to_be_visible()
    page.get_by_role("button", name="hostile.ipynb").click()
    expect(preview.get_by_role("heading", name="Title")).to_be_visible()
    expect(preview.get_by_text("click").last).to_be_visible()
    lab.page.wait_for_load_state("networkidle")
    assert lab.page.evaluate("window.wasHacked") is None
    assert preview.locator("script, iframe, [onerror], a[href^='javascript']").count() == 0


def test_axe_finds_nothing_serious_on_any_part_of_the_page_in_any_theme(lab: LabPage, screenshots: Path) -> None:
    found = []
    for theme in ("Light", "Dark", "Dark High Contrast"):
        lab.set_theme(f"JupyterLab {theme}")
        for tab in lab.run_page.get_by_role("tab").all_text_contents():
            lab.run_page.get_by_role("tab", name=tab, exact=True).click()
            found += [f"{theme}, {tab}: {one}" for one in serious_violations(lab.page, ".mlops-nb-RunPage")]
            lab.page.screenshot(path=screenshots / f"run-{tab.lower()}-{theme.lower().replace(' ', '-')}.png")
    assert found == []


def test_a_hidden_page_reads_nothing_and_is_right_when_it_is_seen_again(lab: LabPage, server: LabServer, run_id: str) -> None:
    lab.run_page.get_by_role("tab", name="Metrics").click()
    lab.execute("docmanager:open", path="train.ipynb")
    expect(lab.page.locator(".jp-NotebookPanel:visible")).to_be_visible()
    asked: list[str] = []
    lab.page.on("request", lambda request: asked.append(request.url) if f"runs/{run_id}/" in request.url else None)
    server.request("POST", f"runs/{run_id}/batch", json={"metrics": [{"key": "late", "value": 7, "timestamp": 1, "step": 0}]})
    with lab.page.expect_response(lambda response: "/changes" in response.url):
        pass
    lab.page.wait_for_timeout(600)  # as long as a page that is seen would need to ask
    # The chips of the notebook in front follow the same run: they ask for its cells, the page asks for its series.
    assert [url for url in asked if "/series" in url or "/artifacts" in url] == []
    lab.execute("mlops-nb:open-run", runId=run_id)
    expect(lab.run_page.locator("[data-metric='late']")).to_contain_text("7")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_with_ten_million_points_opens_and_zooms_within_300_ms(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage], capsys: pytest.CaptureFixture[str]
) -> None:
    server = start_lab()
    run_id = record_run(server, "long", "none.ipynb", LEDGER[:1])
    fill(server, run_id, 10_000_000)
    lab = open_lab(server)
    times: list[float] = []
    lab.page.on(
        "requestfinished",
        lambda request: times.append(request.timing["responseEnd"]) if f"{run_id}/series" in request.url else None,
    )
    lab.execute("mlops-nb:open-run", runId=run_id, tab="metrics")
    chart = lab.run_page.get_by_role("application", name="loss: 10000000 values")
    expect(chart.locator("canvas")).to_be_visible(timeout=30_000)
    over = chart.locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    for turn in range(20):
        with lab.page.expect_response(lambda response: "start_step" in response.url):
            if turn % 5 == 4:
                over.dblclick()
                expect(lab.run_page.get_by_role("button", name="Show all")).to_have_count(0)
            lab.page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
            lab.page.mouse.down()
            lab.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 50, steps=3)
            lab.page.mouse.up()
    times.sort()
    middle, late = times[len(times) // 2], times[math.ceil(len(times) * 0.95) - 1]
    with capsys.disabled():
        print(f"\nchart data of 10^7 points: {len(times)} reads, p50 {middle:.0f} ms, p95 {late:.0f} ms")
    assert len(times) >= 20


def fill(server: LabServer, run_id: str, count: int) -> None:
    """Put a series into the store as an import does."""
    from mlops_nb.core.records import Metric
    from mlops_nb.store.open import open_store

    began = time.monotonic()
    values = array("d", (math.exp(-step / 2e6) + 0.02 * math.sin(step / 37) for step in range(count)))
    store = open_store(server.request("GET", "status")["store"])
    try:
        for first in range(0, count, 500_000):
            points = [
                Metric(key="loss", value=values[step], timestamp=step, step=step) for step in range(first, min(count, first + 500_000))
            ]
            store.importing.put_points(run_id, points)
    finally:
        store.close()
    print(f"filled in {time.monotonic() - began:.0f} s")
