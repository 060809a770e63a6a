"""Below a prefix as a hub gives it, and in Notebook 7."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_server import TOKEN, LabPage, LabServer
from pages import record_run, write_cells
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PREFIX = "/user/ada lovelace/".replace(" ", "%20")
CELLS = {"train": "model = 1", "score": "auc = 0.93"}
LEDGER = [{"cell_id": key, "source": source} for key, source in CELLS.items()]


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    extensions = repr({"mlops_nb_server": True, "notebook": True})
    server = start_lab(options={"ServerApp.base_url": PREFIX, "ServerApp.jpserver_extensions": extensions})
    write_cells(server, "train.ipynb", CELLS)
    record_run(server, "first", "train.ipynb", LEDGER, metrics={"val_auc": (0.9312, 1)}, curve=[3, 2, 1])
    return server


def test_pages_and_chips_work_below_the_prefix_of_a_hub(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    assert server.url.endswith(PREFIX)
    lab = open_lab(server)
    lab.execute("docmanager:open", path="train.ipynb")
    lab.page.locator(".jp-NotebookPanel:visible .mlops-nb-chip").first.click()
    expect(lab.run_page.locator("[data-metric='val_auc']")).to_contain_text("0.9312")
    expect(lab.run_page.get_by_role("application", name="loss: 3 values").locator("canvas")).to_be_visible()


def test_notebook_7_shows_chips_and_the_run_beside_the_notebook(server: LabServer, page: Page) -> None:
    pytest.importorskip("notebook", reason="Notebook 7 is not installed: pip install notebook")
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(error.stack or error.message))
    page.goto(f"{server.url}notebooks/train.ipynb?token={TOKEN}")
    chip = page.locator(".mlops-nb-chip").first
    expect(chip).to_contain_text("val_auc 0.9312", timeout=60_000)
    chip.click()
    expect(page.locator(".mlops-nb-RunPage:visible h1")).to_have_text("first")
    # Notebook 7.6 throws one of its own as it starts, without us too.
    assert [error for error in errors if "mlops-nb" in error] == []
