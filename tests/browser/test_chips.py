"""Results at the cells that gave them: they open the run, follow edits and moves, survive windowing, and can be switched off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_server import LabPage, LabServer
from pages import record_run, serious_violations, write_cells
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

MANY = {f"c{number}": f"x = {number}\n" * 12 for number in range(60)}
CELLS = {"train": "model = 1", "score": "auc = 0.93", **MANY}
LEDGER = [{"cell_id": key, "source": CELLS[key]} for key in ("train", "score", "c59")]


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    write_cells(server, "train.ipynb", CELLS)
    write_cells(server, "empty.ipynb", {"a": "1"})
    return server


def test_a_chip_opens_its_run_and_follows_edits_moves_and_newer_runs(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.execute("docmanager:open", path="train.ipynb")
    notebook = lab.page.locator(".jp-NotebookPanel:visible")
    expect(notebook.locator(".jp-Cell").first).to_be_visible()
    chips = notebook.locator(".mlops-nb-chip")
    expect(chips).to_have_count(0)
    run_id = record_run(server, "first", "train.ipynb", LEDGER, metrics={"val_auc": (0.9312, 1), "last": (3, 2)}, params={})
    chip = chips.first
    expect(chip).to_have_text(f"● val_auc 0.9312 · run {run_id[:4]}")
    score = notebook.locator(".jp-Cell").filter(has_text="auc = 0.93")
    expect(score.locator(".mlops-nb-chip")).to_have_count(1)
    assert serious_violations(lab.page, ".mlops-nb-Chip") == []

    lab.page.evaluate("""() => {
        const cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells;
        cells[1].setSource('auc = 0.5');
    }""")
    expect(chip).to_contain_text("changed since")
    lab.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells[1].setSource('auc = 0.93'); }")
    expect(chip).not_to_contain_text("changed since")
    lab.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.model.sharedModel.moveCell(1, 0); }")
    expect(notebook.locator(".jp-Cell").first.locator(".mlops-nb-chip")).to_contain_text("val_auc")

    # The cell at the end has no parts until it comes into view.
    lab.execute("mlops-nb:go-to-cell", path="train.ipynb", cell_id="c59")
    expect(notebook.locator(".jp-Cell").filter(has_text="x = 59").locator(".mlops-nb-chip")).to_contain_text("last 3")

    newer = record_run(server, "second", "train.ipynb", LEDGER, metrics={"val_auc": (0.95, 0)})
    lab.execute("mlops-nb:go-to-cell", path="train.ipynb", cell_id="train")
    expect(chips.first).to_have_text(f"● val_auc 0.95 · run {newer[:4]}")
    expect(notebook.locator(".jp-Cell").filter(has_text="model = 1").locator(".mlops-nb-chip")).to_have_count(1)
    lab.execute("mlops-nb:show-in-notebook", path="train.ipynb", runId=run_id)
    expect(chips.first).to_contain_text(f"run {run_id[:4]}")

    chips.first.focus()
    chips.first.press("Enter")
    expect(lab.run_page.locator("h1")).to_have_text("first")
    expect(lab.run_page.locator("[data-metric='val_auc'][data-target='true']")).to_be_visible()


def test_chips_can_be_switched_off_and_a_notebook_without_runs_asks_for_none(
    server: LabServer, open_lab: Callable[[LabServer], LabPage]
) -> None:
    lab = open_lab(server)
    asked: list[str] = []
    lab.page.on("request", lambda request: asked.append(request.url) if "/cells" in request.url else None)
    lab.execute("docmanager:open", path="empty.ipynb")
    expect(lab.page.locator(".jp-NotebookPanel:visible .jp-Cell")).to_have_count(1)
    lab.page.wait_for_load_state("networkidle")
    assert asked == []
    record_run(server, "third", "train.ipynb", LEDGER, metrics={"val_auc": (0.97, 1)})
    lab.execute("docmanager:open", path="train.ipynb")
    chips = lab.page.locator(".jp-NotebookPanel:visible .mlops-nb-chip")
    expect(chips.first).to_contain_text("0.97")
    lab.execute("mlops-nb:toggle-chips")
    expect(chips).to_have_count(0)
    lab.execute("mlops-nb:toggle-chips")
    expect(chips.first).to_contain_text("0.97")


def test_a_cell_that_is_gone_is_said_to_be_gone(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.execute("mlops-nb:go-to-cell", path="train.ipynb", cell_id="nowhere")
    expect(lab.page.get_by_text("This cell is no longer in train.ipynb.")).to_be_visible()
    lab.execute("mlops-nb:go-to-cell", path="train.ipynb", cell_id="nowhere", source="auc = 0.93")
    expect(lab.page.locator(".jp-NotebookPanel:visible .jp-Cell.jp-mod-active")).to_contain_text("auc = 0.93")
