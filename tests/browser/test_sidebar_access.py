"""The sidebar for everyone: axe-core, 280 px, the themes, reduced motion; and what it says when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_server import ROOT, LabPage, LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async selector => {
    const results = await axe.run(selector, { resultTypes: ['violations'] });
    return results.violations.map(({ id, impact, nodes: [{ html, failureSummary }] }) => ({ id, impact, html, failureSummary }));
}"""


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    tags = {"mlops.notebook": "train.ipynb", "mlops.hygiene": "linear", "mlops.verified": "true"}
    for number, value in enumerate((0.91, 0.94, 0.92)):
        run_id = server.create_run(f"hgb #{number + 1}", params={"lr": "0.1"}, val_auc=value)
        server.request("PATCH", f"runs/{run_id}", json={"tags": tags})
    failed = server.create_run("old-rf", status="FAILED")
    server.request("PATCH", f"runs/{failed}", json={"status": "FAILED", "reason": "MemoryError: no room in cell [4]", "tags": tags})
    server.request("POST", "runs", json={"experiment_id": "0", "name": "running", "tags": {"mlops.notebook": "train.ipynb"}})
    server.mlflow("POST", "registered-models/create", json={"name": "churn"})
    server.write_notebook("train.ipynb", "x = 1")
    return server


def violations(lab: LabPage, selector: str) -> list[dict[str, Any]]:
    if not AXE.exists():
        pytest.fail("axe-core is not installed: run `jlpm install` in labextension/.")
    lab.page.add_script_tag(path=AXE)
    found: list[dict[str, Any]] = lab.page.evaluate(RUN_AXE, selector)
    return [one for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_nothing_serious_and_nothing_is_too_wide(
    theme: str, server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    lab.set_theme(theme)
    lab.execute("docmanager:open", path="train.ipynb")
    lab.open_sidebar(280)
    section = lab.sidebar.locator("[data-key='notebook']")
    expect(section).to_contain_text("linear ✓ verified")
    expect(lab.row("hgb #3", "notebook")).to_contain_text("▼ worse")
    expect(lab.row("hgb #2", "notebook")).to_contain_text("▲ better")
    lab.sidebar.locator("[data-key='models']").click()
    lab.row("old-rf").click(modifiers=["Control"])
    lab.row("hgb #1").click(modifiers=["Control"])
    lab.sidebar.get_by_role("combobox", name="Filter runs").press_sequentially("auc")
    expect(lab.sidebar.get_by_role("option").first).to_be_visible()
    name = theme.removeprefix("JupyterLab ").lower().replace(" ", "-")
    lab.sidebar.screenshot(path=screenshots / f"sidebar-hints-{name}.png")
    assert violations(lab, ".mlops-nb-Sidebar") == []
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("Escape")
    expect(lab.sidebar.locator("[data-key='notebook']")).to_be_visible()
    lab.sidebar.screenshot(path=screenshots / f"sidebar-full-{name}.png")
    assert violations(lab, ".mlops-nb-Sidebar") == []
    for selector in (".mlops-nb-Sidebar", ".mlops-nb-tree"):
        assert lab.page.locator(selector).evaluate("node => node.scrollWidth - node.clientWidth") == 0
    lab.page.emulate_media(reduced_motion="reduce")
    mark = lab.sidebar.locator("[data-status='RUNNING'] svg").first
    assert mark.evaluate("node => getComputedStyle(node).animationName") == "none"


def test_an_offline_panel_says_from_when_it_is_and_catches_up(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar()
    expect(lab.row("old-rf")).to_be_visible()
    lab.page.route("**/mlops/api/v1/**", lambda route: route.abort())
    lab.sidebar.get_by_role("button", name="Refresh").click()
    alert = lab.sidebar.get_by_role("alert")
    expect(alert).to_contain_text("this is from")
    expect(lab.row("old-rf")).to_be_visible()
    assert violations(lab, ".mlops-nb-Sidebar") == []
    server.create_run("meanwhile")
    lab.page.unroute("**/mlops/api/v1/**")
    # The next change of the store, or coming back to the page, brings it up to date without a click.
    lab.page.evaluate("window.dispatchEvent(new Event('online'))")
    expect(alert).to_have_count(0)
    expect(lab.row("meanwhile")).to_be_visible()


def test_a_store_of_a_newer_version_is_named_with_the_command(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage]
) -> None:
    server = start_lab()
    server.create_run("first")
    lab = open_lab(server)
    problem = "store.db has schema 0009; this mlops_nb knows schemas up to 0004. A newer mlops_nb wrote it: pip install --upgrade mlops-nb"
    status = {**server.request("GET", "status"), "problem": problem, "run_count": 0}
    lab.page.route("**/mlops/api/v1/status*", lambda route: route.fulfill(json=status))
    lab.open_sidebar()
    lab.sidebar.get_by_role("button", name="Refresh").click()
    expect(lab.sidebar.get_by_role("status").filter(has_text="pip install --upgrade mlops-nb")).to_be_visible()


@pytest.mark.slow
def test_a_server_that_was_restarted_is_followed_again(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage]
) -> None:
    server = start_lab()
    server.create_run("before")
    lab = open_lab(server)
    lab.open_sidebar()
    expect(lab.row("before")).to_be_visible()
    server.restart()
    server.create_run("after the restart")
    expect(lab.row("after the restart")).to_be_visible(timeout=60_000)
    expect(lab.row("before")).to_be_visible()
    # JupyterLab's own requests fail meanwhile, and it does not catch all of them.
    lab.errors[:] = [error for error in lab.errors if "Failed to fetch" not in error]
