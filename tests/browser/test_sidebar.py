"""The sidebar: hostile names, states, keyboard, deleting; and its looks in both themes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

HOSTILE = '<script>alert(1)</script> "quoted" 🚀'
LONG = "a-very-long-name-" * 14


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    server.create_run("baseline", params={"lr": "0.06", "depth": "6"}, val_auc=0.9127)
    server.create_run("stopped-early", status="KILLED", loss=0.31)
    server.create_run(LONG, params={"p" * 100: "v" * 300}, **{"a_metric_with_a_name_that_must_be_cut/validation_accuracy": 0.5})
    server.create_run(HOSTILE, params={"html": "<img src=x onerror=alert(1)>"}, **{"val/acc": 0.97})
    return server


def test_hostile_names_are_text_everywhere(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar()
    lab.row(HOSTILE).click()
    expect(lab.run_page.locator("h1")).to_have_text(HOSTILE)
    expect(lab.run_page).to_contain_text("<img src=x onerror=alert(1)>")
    expect(lab.page.locator(".lm-DockPanel-tabBar .lm-mod-current .lm-TabBar-tabLabel")).to_have_text(HOSTILE)
    assert lab.page.locator(".mlops-nb-Sidebar script, .mlops-nb-RunPage script, .mlops-nb-RunPage img").count() == 0


def test_the_panel_never_scrolls_sideways(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar(280)
    expect(lab.row(LONG)).to_be_visible()
    for selector in (".mlops-nb-Sidebar", ".mlops-nb-tree"):
        overflow = lab.page.locator(selector).evaluate("node => node.scrollWidth - node.clientWidth")
        assert overflow == 0, f"{selector} is {overflow} px too wide"


def test_a_filter_that_cannot_be_read_says_where_and_keeps_the_list(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar()
    box = lab.sidebar.get_by_role("combobox", name="Filter runs")
    box.fill("metrics.val_auc > 0.9")
    expect(lab.sidebar.locator("[data-key^='project/']")).to_have_count(1)
    box.fill("metrics.val_auc > 0.9 or ) x")
    message = lab.sidebar.locator(".mlops-nb-filter-message")
    expect(message.locator("mark")).to_have_text(") x")
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(lab.row("baseline")).to_be_visible()
    box.fill("no run is called this")
    expect(lab.sidebar).to_contain_text("No run matches.")
    lab.sidebar.get_by_role("button", name="Clear the filter").last.click()
    expect(lab.row("stopped-early")).to_be_visible()
    expect(message).to_be_empty()
    expect(box).to_have_value("")


def test_the_filter_is_typed_with_hints(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar()
    expect(lab.row("baseline")).to_be_visible()
    box = lab.sidebar.get_by_role("combobox", name="Filter runs")
    box.click()
    box.press_sequentially("auc")
    expect(lab.sidebar.get_by_role("option", name="metrics.val_auc")).to_be_visible()
    box.press("ArrowDown")
    expect(lab.sidebar.get_by_role("listbox", name="Hints").get_by_role("option", selected=True)).to_have_text("metrics.val_auc")
    box.press("Tab")
    expect(box).to_have_value("metrics.val_auc ")
    box.press_sequentially("> 0.9 ")
    expect(lab.sidebar.get_by_role("option", name="and")).to_be_visible()
    expect(lab.sidebar.locator("[data-key^='project/']")).to_have_count(1)
    box.press("Escape")
    expect(lab.sidebar.get_by_role("option")).to_have_count(0)
    expect(box).not_to_have_value("")
    box.press("Escape")
    expect(box).to_have_value("")
    expect(lab.row("stopped-early")).to_be_visible()


def test_everything_can_be_reached_with_the_keyboard(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    keys = lab.page.keyboard
    keys.press("Alt+Shift+E")
    expect(lab.sidebar).to_be_visible()
    group = lab.sidebar.locator("[data-key='project']")
    expect(group).to_be_focused()
    keys.press("ArrowLeft")
    expect(group).to_have_attribute("aria-expanded", "false")
    keys.press("ArrowRight")
    keys.press("j")
    expect(lab.row(HOSTILE)).to_be_focused()
    keys.press("/")
    expect(lab.sidebar.get_by_role("combobox", name="Filter runs")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("End")
    expect(lab.row("baseline")).to_be_focused()
    assert lab.sidebar.locator("[role=treeitem][tabindex='0']").count() == 1
    keys.press("Space")
    keys.press("k")
    keys.press("Space")
    expect(lab.sidebar.locator("[aria-selected=true]")).to_have_count(2)
    expect(lab.sidebar.get_by_role("toolbar")).to_contain_text("2 selected")
    keys.press("Escape")
    expect(lab.sidebar.locator("[aria-selected=true]")).to_have_count(0)
    keys.press("j")
    keys.press(".")
    expect(lab.page.get_by_role("menuitem", name="Copy Run Id")).to_be_visible()
    keys.press("Escape")
    lab.row("baseline").focus()
    keys.press("?")
    expect(lab.page.get_by_role("dialog")).to_contain_text("go to the cell")
    keys.press("Escape")
    lab.row("baseline").focus()
    keys.press("Enter")
    expect(lab.run_page.locator("h1")).to_have_text("baseline")
    overview = lab.run_page.get_by_role("tab", name="Overview")
    overview.focus()
    keys.press("ArrowRight")
    expect(lab.run_page.get_by_role("tab", name="Metrics")).to_be_focused()
    expect(lab.run_page.get_by_role("tab", name="Metrics")).to_have_attribute("aria-selected", "true")


def test_a_run_can_be_renamed_deleted_and_brought_back(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    run_id = server.create_run("short-lived")
    lab = open_lab(server)
    lab.open_sidebar()
    lab.row("short-lived").click(button="right")
    lab.page.get_by_role("menuitem", name="Rename Run").click()
    lab.page.get_by_role("dialog").get_by_role("textbox").fill("renamed")
    lab.page.keyboard.press("Enter")
    expect(lab.row("renamed")).to_be_visible()
    lab.row("renamed").click(button="right")
    lab.page.get_by_role("menuitem", name="Delete Run").click()
    expect(lab.row("renamed")).to_have_count(0)
    assert server.request("GET", f"runs/{run_id}")["run"]["lifecycle_stage"] == "deleted"
    lab.page.get_by_role("button", name="Undo").click()
    expect(lab.row("renamed")).to_be_visible()
    server.request("PATCH", f"runs/{run_id}", json={"lifecycle_stage": "deleted"})
    expect(lab.row("renamed")).to_have_count(0)


def test_an_open_run_page_comes_back_after_a_reload(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    lab = open_lab(server)
    lab.open_sidebar()
    lab.row("baseline").click()
    expect(lab.run_page.locator("h1")).to_have_text("baseline")
    # The layout is saved a moment after it changes.
    with lab.page.expect_response(lambda response: "/api/workspaces" in response.url and response.request.method == "PUT"):
        pass
    lab.page.goto(f"{server.url}lab")
    expect(lab.run_page.locator("h1")).to_have_text("baseline")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_pictures_of_the_sidebar_and_a_run_page(
    theme: str, server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    lab = open_lab(server)
    lab.set_theme(theme)
    lab.open_sidebar(280)
    lab.row("baseline").click()
    expect(lab.run_page.locator("h1")).to_have_text("baseline")
    name = theme.removeprefix("JupyterLab ").lower().replace(" ", "-")
    lab.sidebar.screenshot(path=screenshots / f"sidebar-{name}.png")
    lab.page.screenshot(path=screenshots / f"run-page-{name}.png")
    assert (screenshots / f"sidebar-{name}.png").stat().st_size > 5_000
