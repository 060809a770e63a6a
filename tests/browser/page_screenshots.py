"""Draws the pictures of the pages: `python tests/browser/page_screenshots.py docs`.

It starts JupyterLab on a new project, runs a notebook that trains twice, and takes pictures of the notebook with its chips,
of the page of a run and of a comparison.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from lab_server import CHROMIUM_ARGS, LabPage, LabServer, find_chromium
from playwright.sync_api import expect, sync_playwright

TRAIN = """%%track hgb -p lr=lr
import math, random
from sklearn.linear_model import LogisticRegression
model = LogisticRegression().fit(X, y)
random.seed(1)
for step in range(60):
    fall = math.exp(-step * lr)
    %track log loss=2*fall+0.1+random.uniform(-.02, .02) val_auc=0.94-0.3*fall --step step
%track model model --name churn --example X[:3]"""
CELLS = (
    "%load_ext mlops_nb",
    "from sklearn.datasets import make_classification\nX, y = make_classification(400, random_state=7)",
    "lr = 0.06",
    TRAIN,
    "lr = 0.12",
    TRAIN,
)


def draw(folder: Path, theme: str) -> None:
    """Save the pictures into a folder."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        executable = find_chromium(playwright.chromium)
        if executable is None:
            raise SystemExit("No Chromium: install the package chromium, or set CHROMIUM to its path.")
        server = LabServer(Path(scratch) / "churn", Path(scratch) / "home")
        try:
            server.write_notebook("train.ipynb", *CELLS)
            browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_ARGS))
            page = browser.new_page(viewport={"width": 1320, "height": 760}, device_scale_factor=2, locale="en-US")
            lab = LabPage(page, server)
            lab.set_theme(theme)
            lab.execute("application:toggle-left-area")
            lab.open_notebook("train.ipynb")
            for _ in CELLS:
                lab.run_cell_to_its_end()
            expect(page.locator(".mlops-nb-chip").last).to_contain_text("val_auc", timeout=60_000)
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / "chips.png")
            newest, before = (run["run_id"] for run in server.request("POST", "runs/search", json={})["runs"])
            lab.execute("mlops-nb:open-run", runId=newest, tab="metrics")
            expect(lab.run_page.get_by_role("application", name="val_auc: 60 values").locator("canvas")).to_be_visible(timeout=30_000)
            page.screenshot(path=folder / "run-page.png")
            lab.execute("mlops-nb:open-compare", run_ids=[before, newest])
            expect(page.locator(".mlops-nb-ComparePage").get_by_role("row", name="val_auc")).to_be_visible(timeout=30_000)
            page.screenshot(path=folder / "compare-page.png")
            browser.close()
        finally:
            server.stop()


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder for the PNG files")
    parser.add_argument("--theme", default="JupyterLab Light", help="the theme of JupyterLab")
    arguments = parser.parse_args()
    draw(arguments.folder, arguments.theme)


if __name__ == "__main__":
    main()
