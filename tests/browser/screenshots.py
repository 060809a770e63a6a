"""Draws the pictures of the documentation: `python tests/browser/screenshots.py docs/screenshot.png --sidebar docs/sidebar`.

It starts JupyterLab on a new project, runs a notebook that tracks a few runs, and takes a picture of the sidebar beside
a run that is still running; and, with `--sidebar`, of the sidebar alone: each theme, and each thing that it can do.
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


THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}


def draw_sidebar(lab: LabPage, folder: Path) -> None:
    """Save pictures of the panel, 280 px wide: by theme, with hints, a selection, a menu, models."""
    folder.mkdir(parents=True, exist_ok=True)
    lab.open_sidebar(280)
    run_id = lab.server.create_run("hgb", val_acc=0.91)
    for path, body in (
        ("registered-models/create", {"name": "churn"}),
        ("model-versions/create", {"name": "churn", "source": f"runs:/{run_id}/model", "run_id": run_id}),
        ("registered-models/alias", {"name": "churn", "alias": "prod", "version": "1"}),
    ):
        lab.server.mlflow("POST", path, json=body).raise_for_status()
    lab.sidebar.get_by_role("button", name="Refresh").click()
    lab.sidebar.locator("[data-key='models']").click()
    expect(lab.sidebar.locator("[data-key^='models/']")).to_contain_text("@prod", timeout=30_000)
    for name, theme in THEMES.items():
        lab.set_theme(theme)
        lab.page.mouse.move(900, 700)
        lab.sidebar.screenshot(path=folder / f"{name}.png")
    lab.set_theme(THEMES["light"])
    box = lab.sidebar.get_by_role("combobox", name="Filter runs")
    box.press_sequentially("metrics.val_acc > 0.9 and p")
    expect(lab.sidebar.get_by_role("listbox", name="Hints").get_by_role("option").first).to_be_visible()
    lab.sidebar.screenshot(path=folder / "filter.png")
    box.fill("")
    expect(lab.sidebar.locator("[data-key='now']")).to_be_visible()
    rows = lab.sidebar.locator("[data-key^='project/']")
    rows.nth(1).click(modifiers=["Control"])
    rows.nth(2).click(modifiers=["Control"])
    expect(lab.sidebar.get_by_role("toolbar")).to_be_visible()
    lab.sidebar.screenshot(path=folder / "selected.png")
    rows.nth(1).click(button="right")
    expect(lab.page.get_by_role("menuitem", name="Reproduce")).to_be_visible()
    lab.page.screenshot(path=folder / "actions.png", clip={"x": 0, "y": 0, "width": 620, "height": 760})


def draw(output: Path, theme: str, sidebar: Path | None = None) -> None:
    """Save the picture, and those of the sidebar into a folder if there is one for them."""
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
            if sidebar is not None:
                draw_sidebar(lab, sidebar)
            browser.close()
        finally:
            server.stop()


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the PNG file to write")
    parser.add_argument("--theme", default="JupyterLab Light", help="the theme of JupyterLab")
    parser.add_argument("--sidebar", type=Path, metavar="FOLDER", help="a folder for pictures of the sidebar alone")
    arguments = parser.parse_args()
    draw(arguments.output, arguments.theme, arguments.sidebar)


if __name__ == "__main__":
    main()
