"""The run table, the metric explorer and the figures in JupyterLab: with a kernel, and in a notebook that is not trusted."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

# A kernel takes its time on a machine that is busy.
_SLOW_MS = 30_000
_EVIL = "<img src=x onerror=alert(1)>"
_TABLE = """import mlops_nb
table = mlops_nb.run_table(page_size=10)
table"""
_EXPLORER = """view = mlops_nb.explore(["sweep 0", "sweep 1", "sweep 2"], ["val_auc", "loss"])
view"""
_FIGURE = 'mlops_nb.plot("curves", ["sweep 0", "sweep 1"], "val_auc", smoothing=0.5)'


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    for number in range(24):
        run_id = server.create_run(f"sweep {number}" if number != 23 else _EVIL, params={"lr": f"0.0{number % 3 + 1}", "seed": str(number)})
        now = int(time.time() * 1000)
        points = [
            {"key": key, "value": value, "timestamp": now + step * 100, "step": step}
            for step in range(60)
            for key, value in (("val_auc", 0.5 + number / 100 + step / 300), ("loss", 1 / (step + 1) + number / 50))
        ]
        server.request("POST", f"runs/{run_id}/batch", json={"metrics": points})
    server.write_notebook("views.ipynb", _TABLE, _EXPLORER, _FIGURE)
    return server


def opened(server: LabServer, lab: LabPage, cells: int) -> Locator:
    lab.open_notebook("views.ipynb")
    for _ in range(cells):
        lab.run_cell_to_its_end()
    return lab.page.locator(".jp-NotebookPanel:visible")


def test_the_table_filters_sorts_pages_groups_and_compares_with_the_keyboard(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    table = opened(server, lab, 1).locator(".mlops-nb-RunTable")
    rows = table.get_by_role("table", name="Runs").locator("tbody tr")
    expect(rows).to_have_count(10, timeout=_SLOW_MS)
    expect(rows.first).to_contain_text(_EVIL)  # as text
    expect(table).to_contain_text("1–10 of 24")
    table.get_by_role("button", name="val_auc").press("Enter")
    expect(table.get_by_role("columnheader", name="val_auc")).to_have_attribute("aria-sort", "descending", timeout=_SLOW_MS)
    expect(table.get_by_role("button", name="val_auc")).to_be_focused()
    table.get_by_role("button", name="Next page").press("Enter")
    expect(table).to_contain_text("11–20 of 24", timeout=_SLOW_MS)
    table.get_by_role("searchbox", name="Filter runs").fill("val_auc > .8 and")
    expect(table.get_by_role("alert")).to_contain_text("does not parse", timeout=_SLOW_MS)
    table.get_by_role("searchbox", name="Filter runs").fill("params.lr = '0.02'")
    table.get_by_role("searchbox", name="Filter runs").press("Enter")
    expect(table).to_contain_text("1–8 of 8", timeout=_SLOW_MS)
    table.get_by_label("Group by").select_option("params.seed")
    expect(rows.first).to_contain_text("seed = 1", timeout=_SLOW_MS)
    table.get_by_label("Group by").select_option("")
    expect(rows).to_have_count(8, timeout=_SLOW_MS)
    first = table.get_by_role("checkbox", name="Choose sweep").first
    first.press("Space")
    expect(table).to_contain_text("1 chosen")
    first.press("j")
    lab.page.keyboard.press("Space")
    expect(table).to_contain_text("2 chosen")
    table.get_by_role("button", name="Compare").press("Enter")
    expect(table.get_by_role("table", name="Comparison")).to_contain_text("val_auc", timeout=_SLOW_MS)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.set_theme(theme)
        table.screenshot(path=screenshots / f"run-table-{theme.rpartition(' ')[2].lower()}.png")


def test_the_explorer_draws_what_is_chosen_and_zooms(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    view = opened(server, lab, 2).locator(".mlops-nb-MetricExplorer")
    charts = view.locator(".mlops-nb-chart")
    expect(charts).to_have_count(2, timeout=_SLOW_MS)
    expect(view.get_by_role("list", name="Lines").locator("li")).to_have_text(["sweep 0", "sweep 1", "sweep 2"])
    charts.first.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.page.keyboard.press("ArrowDown")
    expect(view.locator(".mlops-nb-readout")).to_contain_text("sweep 1 · val_auc")
    view.get_by_label("log", exact=True).check()
    expect(view).not_to_contain_text("smoothed")
    view.get_by_label("smoothing").fill("0.6")
    expect(view).to_contain_text("smoothed (0.6)", timeout=_SLOW_MS)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.set_theme(theme)
        view.screenshot(path=screenshots / f"explorer-{theme.rpartition(' ')[2].lower()}.png")
    box = charts.first.bounding_box()
    assert box is not None
    lab.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2, steps=3)
    lab.page.mouse.up()
    expect(view.get_by_label("First step")).not_to_have_value("", timeout=_SLOW_MS)
    assert 10 < int(view.get_by_label("First step").input_value()) < int(view.get_by_label("Last step").input_value()) < 50
    view.get_by_role("button", name="All steps").click()
    expect(view.get_by_label("First step")).to_have_value("", timeout=_SLOW_MS)
    view.locator("summary").filter(has_text=re.compile("^Runs")).click()
    view.get_by_role("checkbox", name="sweep 2").uncheck()
    expect(view.get_by_role("list", name="Lines").locator("li")).to_have_count(2, timeout=_SLOW_MS)


def test_a_figure_is_drawn_by_plotly_also_where_the_notebook_is_not_trusted(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    notebook = opened(server, lab, 3)
    plot = notebook.locator(".jp-RenderedPlotly")
    expect(plot.locator(".scatterlayer .trace").first).to_be_visible(timeout=_SLOW_MS)
    lab.page.wait_for_function("document.querySelector('.jp-RenderedPlotly').offsetHeight > 300")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.set_theme(theme)
        plot.screenshot(path=screenshots / f"figure-{theme.rpartition(' ')[2].lower()}.png")
    lab.page.evaluate("""() => {
        window.isSaved = false;
        void window.jupyterapp.commands.execute('docmanager:save').then(() => { window.isSaved = true; });
    }""")
    lab.page.wait_for_function("window.isSaved")
    saved = nbformat.read(server.project / "views.ipynb", as_version=4)
    bundle = saved.cells[2].outputs[0].data
    # Plotly's extension adds the picture that it has drawn.
    assert set(bundle) - {"image/png"} == {"application/vnd.plotly.v1+json", "image/svg+xml", "text/plain"}
    assert len(json.dumps(bundle)) < 200_000
    bundle.pop("image/png", None)  # as where the notebook ran without JupyterLab
    saved.cells[2].source += "  # no longer what was signed"
    nbformat.write(saved, server.project / "foreign.ipynb")
    lab.execute("docmanager:open", path="foreign.ipynb")
    foreign = lab.page.locator(".jp-NotebookPanel:visible").filter(has_text="no longer what was signed")
    expect(foreign.locator(".jp-RenderedPlotly .scatterlayer .trace").first).to_be_visible(timeout=_SLOW_MS)
    # Without a kernel that has the table there is its static form, never an error.
    expect(foreign.locator(".jp-RenderedHTMLCommon table").first).to_contain_text("sweep 22")
    expect(foreign).not_to_contain_text("Error displaying widget")
    foreign.screenshot(path=screenshots / "figure-untrusted.png")
