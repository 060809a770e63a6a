"""The live card of a `%%track` cell in JupyterLab: it redraws while the cell runs, and its button stops the cell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

# A kernel takes its time on a machine that is busy.
_SLOW_MS = 30_000

LONG = """%%track sweep -p lr=0.05 -p depth=6 -t demo
import math, time
for step in range(2000):
    %track log val_auc=1 - math.exp(-step / 60) train_loss=math.exp(-step / 40) epoch=step // 10
    time.sleep(0.05)
'never'"""
FAILING = """%%track broken
%track log loss=1.5
1 / 0"""
SHORT = """%%track sweep
for step in range(30):
    %track log val_auc=step / 30 --step step
'the value'"""


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    server.write_notebook("live.ipynb", "%load_ext mlops_nb", LONG, FAILING, SHORT)
    return server


def saved_outputs(server: LabServer, lab: LabPage, cell: int) -> list[dict[str, Any]]:
    lab.page.evaluate("""() => {
        window.isSaved = false;
        void window.jupyterapp.commands.execute('docmanager:save').then(() => { window.isSaved = true; });
    }""")
    lab.page.wait_for_function("window.isSaved")
    notebook = json.loads((server.project / "live.ipynb").read_text())
    outputs: list[dict[str, Any]] = notebook["cells"][cell]["outputs"]
    return outputs


def test_the_card_lives_under_its_cell_and_its_button_stops_the_cell(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    lab.open_notebook("live.ipynb")
    lab.run_cell_to_its_end()
    lab.run_cell()
    cell = lab.page.locator(".jp-NotebookPanel:visible .jp-CodeCell").nth(1)
    card: Locator = cell.locator(".mlops-nb-live")
    expect(card.first).to_contain_text("sweep #1", timeout=_SLOW_MS)
    expect(card.first).to_contain_text("running")
    expect(card.first.locator("svg")).to_have_count(3, timeout=_SLOW_MS)
    before = card.first.inner_text()
    expect(card.first).not_to_have_text(before, timeout=_SLOW_MS)  # it redraws while the cell runs
    button = cell.get_by_role("button", name="Stop")
    expect(button).to_be_visible()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lab.set_theme(theme)
        cell.screenshot(path=screenshots / f"live-card-{theme.rpartition(' ')[2].lower()}.png")
    button.click()
    expect(card.first).to_contain_text("killed", timeout=_SLOW_MS)
    expect(card.first).to_contain_text("interrupted")
    expect(cell.get_by_role("button", name="Stop")).to_have_count(0)
    expect(cell).to_contain_text("KeyboardInterrupt")
    found = server.request("POST", "runs/search", json={"max_results": 5})
    assert [(run["name"], run["status"]) for run in found["runs"]] == [("sweep #1", "KILLED")]
    outputs = saved_outputs(server, lab, 1)
    html = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(html) == 2 and not re.search("<script|commandlinker|<button", "".join(map("".join, html)))
    assert sum(len("".join(text)) for text in html) <= 20_000
    cell.screenshot(path=screenshots / "live-card-stopped.png")


def test_a_failing_cell_has_one_traceback_and_a_card_that_says_why(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    lab.open_notebook("live.ipynb")
    lab.execute("notebook:move-cursor-down")
    lab.execute("notebook:move-cursor-down")
    lab.run_cell_to_its_end()
    cells = lab.page.locator(".jp-NotebookPanel:visible .jp-CodeCell")
    card = cells.nth(2).locator(".mlops-nb-live")
    expect(card.first).to_contain_text("FAILED", timeout=_SLOW_MS)
    expect(card.first).to_contain_text("ZeroDivisionError: division by zero")
    expect(cells.nth(2).locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(1)
    lab.run_cell_to_its_end()
    expect(cells.nth(3).locator(".mlops-nb-live").first).to_contain_text("finished", timeout=_SLOW_MS)
    expect(cells.nth(3)).to_contain_text("'the value'")
    cells.nth(2).screenshot(path=screenshots / "live-card-failed.png")
    cells.nth(3).screenshot(path=screenshots / "live-card-finished.png")
