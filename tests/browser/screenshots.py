"""Draws the picture of the README: `python tests/browser/screenshots.py docs/sidebar.png`.

It starts JupyterLab on a new project, runs a notebook that tracks a few runs, and takes a picture of the sidebar beside
a run that is still running.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from lab_server import CHROMIUM_ARGS, LabPage, LabServer, find_chromium
from playwright.sync_api import expect, sync_playwright

TRAIN = """%%track cnn -e churn -p lr=lr -p depth=depth
import math, random
random.seed(depth)
for epoch in range(40):
    fall = math.exp(-epoch * lr * 2)
    noise = random.uniform(-0.01, 0.01)
    %track log train_loss=2.2*fall+0.1 val_loss=2*fall+0.25+noise --step epoch
    %track log val_acc=0.94-0.8*fall+noise --step epoch"""
CELLS = (
    "%load_ext mlops_nb",
    "lr, depth = 0.03, 4",
    TRAIN,
    "lr, depth = 0.06, 6",
    TRAIN,
    "%%track old-forest -e churn -p trees=5000\nraise MemoryError('Unable to allocate 7.45 GiB for the features')",
    "lr, depth = 0.05, 8",
    "%track start cnn-deep -e churn -p lr=lr -p depth=depth",
    TRAIN.split("\n", 1)[1],
)


def draw(output: Path, theme: str) -> None:
    """Save the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        executable = find_chromium(playwright.chromium)
        if executable is None:
            raise SystemExit("No Chromium: install the package chromium, or set CHROMIUM to its path.")
        server = LabServer(Path(folder) / "churn", Path(folder) / "home")
        try:
            server.write_notebook("train.ipynb", *CELLS)
            browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_ARGS))
            page = browser.new_page(viewport={"width": 1320, "height": 760}, device_scale_factor=2, locale="en-US")
            lab = LabPage(page, server)
            lab.set_theme(theme)
            lab.open_notebook("train.ipynb")
            lab.open_sidebar(300)
            for _ in CELLS:
                lab.run_cell_to_its_end()
            running = lab.sidebar.locator("[data-key^='now/']")
            expect(running).to_contain_text("val_acc", timeout=60_000)
            running.click()
            lab.run_page.get_by_role("tab", name="Metrics").click()
            expect(lab.run_page.get_by_role("application", name="val_acc: 40 values").locator("canvas")).to_be_visible(timeout=30_000)
            page.mouse.move(900, 740)
            output.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=output)
            browser.close()
        finally:
            server.stop()


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the PNG file to write")
    parser.add_argument("--theme", default="JupyterLab Light", help="the theme of JupyterLab")
    arguments = parser.parse_args()
    draw(arguments.output, arguments.theme)


if __name__ == "__main__":
    main()
