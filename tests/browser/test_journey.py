"""From `%track start` in a notebook to the curve of the run, without a reload."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELLS = (
    "%load_ext mlops_nb",
    "%track start warm-up",
    "%track stop",
    "%track start first -p lr=0.1 -p depth=6",
    "import math\nfor step in range(30):\n    %track log val_acc=1-math.exp(-step/9) --step step\n%track log best=0.97",
    "%track stop",
)
# Counts from the moment the user runs the cell to the moment the row is drawn, both on the clock of the page.
WATCH = """
  window.rowSeconds = null;
  const began = performance.now();
  const observer = new MutationObserver(() => {
    const names = [...document.querySelectorAll('.mlops-nb-row-name')].map(node => node.textContent);
    if (names.includes('first')) {
      window.rowSeconds = (performance.now() - began) / 1000;
      observer.disconnect();
    }
  });
  observer.observe(document.body, { childList: true, subtree: true, characterData: true });
"""


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    return start_lab()


def test_a_run_appears_by_itself_and_shows_its_curve_its_cells_and_its_end(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.write_notebook("train.ipynb", *CELLS)
    lab = open_lab(server)
    lab.open_notebook("train.ipynb")
    lab.open_sidebar()
    expect(lab.sidebar).to_contain_text("No runs yet.")
    expect(lab.sidebar).to_contain_text("%track on")

    for _ in range(3):
        lab.run_cell()
    expect(lab.row("warm-up").get_by_text("Finished")).to_be_attached(timeout=20_000)

    lab.page.evaluate(WATCH)
    lab.run_cell()
    lab.page.wait_for_function("window.rowSeconds !== null", timeout=20_000)
    seconds = lab.page.evaluate("window.rowSeconds")
    with capsys.disabled():
        print(f"\nfrom running the cell to the row in the sidebar: {seconds:.2f} s")
    expect(lab.row("first", "now")).to_contain_text("lr=0.1")
    expect(lab.row("first", "notebook")).to_be_visible()
    expect(lab.row("warm-up", "notebook")).to_be_visible()
    expect(lab.row("first").get_by_text("Running")).to_be_attached()

    lab.row("first").click()
    expect(lab.run_page.locator("h1")).to_have_text("first")
    # A part without anything to show has no tab.
    expect(lab.run_page.get_by_role("tab", name="Params")).to_be_visible()
    expect(lab.run_page.get_by_role("tab", name="Metrics")).to_have_count(0)

    lab.execute("docmanager:open", path="train.ipynb")
    lab.run_cell()
    expect(lab.row("first", "now")).to_contain_text("val_acc", timeout=20_000)
    lab.row("first", "now").click()
    lab.run_page.get_by_role("tab", name="Metrics").click()
    chart = lab.run_page.get_by_role("application", name="val_acc: 30 values")
    expect(chart.locator("canvas")).to_be_visible()
    expect(lab.run_page.locator(".mlops-nb-single")).to_contain_text("0.97")
    assert chart.evaluate(HAS_INK), "the canvas of the chart is empty"

    lab.execute("docmanager:open", path="train.ipynb")
    lab.run_cell()
    expect(lab.row("first").get_by_text("Finished")).to_be_attached(timeout=20_000)
    expect(lab.row("first", "now")).to_have_count(0)
    lab.row("first").click()
    expect(lab.run_page.locator(".mlops-nb-run-status")).to_contain_text("Finished")

    lab.run_page.get_by_role("tab", name="Overview").click()
    lab.run_page.get_by_role("row", name="val_acc").get_by_role("button", name="Show cell").click()
    target = lab.run_page.locator(".mlops-nb-cell[data-target='true']")
    expect(target).to_contain_text("%track log val_acc")
    expect(target).to_be_focused()
    lab.page.screenshot(path=screenshots / "journey.png")


HAS_INK = """node => {
  const canvas = node.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value, index) => index % 4 === 3 && value > 0);
}"""


def test_a_cell_that_fails_leaves_a_failed_run_with_its_reason(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    server.write_notebook("broken.ipynb", "%load_ext mlops_nb", "%%track doomed\nraise ValueError('the data is empty')")
    lab = open_lab(server)
    lab.open_notebook("broken.ipynb")
    lab.open_sidebar()
    lab.run_cell()
    lab.run_cell()
    row = lab.sidebar.locator("[data-key^='project/']").filter(has_text="doomed")
    expect(row.get_by_text("Failed", exact=True)).to_be_attached(timeout=20_000)
    expect(row).to_contain_text("the data is empty")


def test_a_change_from_elsewhere_is_shown_within_seconds(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar()
    server.create_run("from elsewhere", val_auc=0.91)
    began = time.monotonic()
    expect(lab.row("from elsewhere")).to_contain_text("val_auc 0.91")
    assert time.monotonic() - began < 5


def test_files_of_a_run_are_shown_without_running_what_is_in_them(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    hostile = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='40'><script>alert(1)</script></svg>"
    (server.project / "roc.svg").write_text(hostile)
    (server.project / "page.html").write_text("<script>alert(1)</script>")
    server.write_notebook("files.ipynb", "%load_ext mlops_nb", "%%track with-files\n%track file roc.svg\n%track file page.html")
    lab = open_lab(server)
    lab.open_notebook("files.ipynb")
    lab.open_sidebar()
    lab.run_cell_to_its_end()
    lab.run_cell_to_its_end()
    lab.sidebar.locator("[data-key^='notebook/']").click()
    lab.run_page.get_by_role("tab", name="Artifacts").click()
    lab.run_page.get_by_role("button", name="roc.svg").click()
    image = lab.run_page.get_by_role("img", name="roc.svg")
    expect(image).to_be_visible()
    # An address on our origin would run the script when the picture is opened in a tab of its own.
    assert str(image.get_attribute("src")).startswith("data:")
    lab.run_page.get_by_role("button", name="page.html").click()
    expect(lab.run_page.locator(".mlops-nb-preview pre")).to_have_text("<script>alert(1)</script>")
    with lab.page.expect_download() as download:
        lab.run_page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text() == "<script>alert(1)</script>"
