"""What can be done with runs from the sidebar: each action leads to what it says, and what can be undone is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

_SLOW_MS = 30_000
CELLS = (
    "%load_ext mlops_nb",
    "lr = 0.1",
    "%%track sweep -p lr=lr\n%track log val_auc=0.8",
    "%%track sweep -p lr=lr\n%track log val_auc=0.9",
    "%%track doomed\nraise MemoryError('no room')",
)
ENDLESS = "import time\nstep = 0\nwhile True:\n    step += 1\n    %track log loss=1/step --step step\n    time.sleep(0.1)"


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    return start_lab()


def choose(lab: LabPage, name: str, action: str) -> None:
    lab.row(name).click(button="right")
    lab.page.get_by_role("menuitem", name=action, exact=True).click()


def test_a_notebooks_runs_are_told_apart_and_lead_back_to_it(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    server.write_notebook("train.ipynb", *CELLS)
    lab = open_lab(server)
    lab.open_notebook("train.ipynb")
    lab.open_sidebar()
    for _ in CELLS:
        lab.run_cell_to_its_end()
    section = lab.sidebar.locator("[data-key='notebook']")
    expect(section).to_contain_text("train.ipynb", timeout=_SLOW_MS)
    best = lab.row("sweep #2", "notebook")
    expect(best).to_contain_text("▲ better")
    expect(best.get_by_title("Best run")).to_be_visible()
    expect(lab.row("sweep #1", "notebook")).to_have_count(0)
    best.focus()
    lab.page.keyboard.press("ArrowRight")
    expect(lab.row("sweep #1", "notebook")).to_be_visible()
    expect(lab.row("doomed #1", "notebook")).to_contain_text("cell [5] · MemoryError: no room")
    lab.sidebar.screenshot(path=screenshots / "sidebar-notebook.png")

    # Its cells come back as a notebook that opens; the one there is left alone.
    before = (server.project / "train.ipynb").read_bytes()
    choose(lab, "sweep #2", "Restore as Notebook")
    current = lab.page.locator(".lm-DockPanel-tabBar .lm-mod-current .lm-TabBar-tabLabel")
    expect(current).to_have_text("train-sweep-2.ipynb", timeout=_SLOW_MS)
    restored = nbformat.read(server.project / "train-sweep-2.ipynb", as_version=4)
    assert "val_auc=0.9" in "".join(cell.source for cell in restored.cells)
    assert (server.project / "train.ipynb").read_bytes() == before

    # From there back to the cell's notebook.
    lab.row("doomed #1").focus()
    lab.page.keyboard.press("g")
    expect(current).to_have_text("train.ipynb")


def test_a_running_run_shows_its_course_and_is_stopped(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    server.write_notebook("endless.ipynb", "%load_ext mlops_nb", "%track start endless", ENDLESS)
    lab = open_lab(server)
    lab.open_notebook("endless.ipynb")
    lab.open_sidebar()
    lab.run_cell_to_its_end()
    lab.run_cell_to_its_end()
    lab.run_cell()
    row = lab.row("endless", "now")
    expect(row).to_contain_text(re.compile(r"cell 3/3 · step \d+"), timeout=_SLOW_MS)
    expect(row.locator("svg.mlops-nb-sparkline")).to_be_visible()
    expect(lab.page.locator(".mlops-nb-status-button")).to_contain_text("1 run")
    row.get_by_role("button", name="Stop run endless").click()
    expect(lab.sidebar.locator("[data-key='now']")).to_have_count(0, timeout=_SLOW_MS)
    found = server.request("POST", "runs/search", json={"query": "endless"})["runs"][0]
    assert (found["status"], found["reason"]) == ("KILLED", "stopped from the sidebar")


def test_a_run_that_no_notebook_here_runs_is_only_marked_after_asking(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    run_id = server.request("POST", "runs", json={"experiment_id": "0", "name": "elsewhere"})["run"]["run_id"]
    lab = open_lab(server)
    lab.open_sidebar()
    lab.row("elsewhere", "now").focus()
    lab.page.keyboard.press("s")
    expect(lab.page.get_by_role("dialog")).to_contain_text("interrupt it where it runs")
    assert server.request("GET", f"runs/{run_id}")["run"]["status"] == "RUNNING"
    lab.page.get_by_role("button", name="Mark as stopped").click()
    expect(lab.sidebar.locator("[data-key='now']")).to_have_count(0)
    assert server.request("GET", f"runs/{run_id}")["run"]["status"] == "KILLED"


def test_tags_and_notes_are_written_and_taken_away(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    run_id = server.create_run("to-tag")
    lab = open_lab(server)
    lab.open_sidebar()
    lab.row("to-tag").focus()
    lab.page.keyboard.press("t")
    lab.page.get_by_role("dialog").get_by_role("textbox").fill("stage=prod = 1")
    lab.page.keyboard.press("Enter")
    expect(lab.page.get_by_role("dialog")).to_have_count(0)
    lab.row("to-tag").focus()
    lab.page.keyboard.press("n")
    lab.page.get_by_role("dialog").get_by_role("textbox").fill("two\nlines <b>")
    lab.page.get_by_role("button", name="Save").click()
    expect(lab.row("to-tag").locator(".mlops-nb-row-more")).to_have_attribute("title", re.compile("two\nlines <b>"))
    tags = server.request("GET", f"runs/{run_id}")["run"]["tags"]
    assert (tags["stage"], tags["mlflow.note.content"]) == ("prod = 1", "two\nlines <b>")
    lab.row("to-tag").focus()
    lab.page.keyboard.press("t")
    lab.page.get_by_role("dialog").get_by_role("textbox").fill("-stage")
    lab.page.keyboard.press("Enter")
    expect(lab.page.get_by_role("dialog")).to_have_count(0)
    lab.page.wait_for_timeout(200)
    assert "stage" not in server.request("GET", f"runs/{run_id}")["run"]["tags"]


def test_several_runs_are_archived_and_deleted_together_and_brought_back(
    server: LabServer, open_lab: Callable[[LabServer], LabPage]
) -> None:
    ids = [server.create_run(f"many-{number}") for number in range(3)]
    lab = open_lab(server)
    lab.open_sidebar()
    for action, done in (("Archive", "Archived 2 runs"), ("Delete Run", "Deleted 2 runs")):
        lab.row("many-0").click(modifiers=["Control"])
        lab.row("many-1").click(modifiers=["Control"])
        choose(lab, "many-0", action)
        for name in ("many-0", "many-1"):
            expect(lab.row(name)).to_have_count(0)
        expect(lab.row("many-2")).to_be_visible()
        toast = lab.page.get_by_role("alert").filter(has_text=done)
        toast.get_by_role("button", name="Undo").click()
        for name in ("many-0", "many-1"):
            expect(lab.row(name)).to_be_visible()
        expect(toast).to_have_count(0)
    runs = [server.request("GET", f"runs/{run_id}")["run"] for run_id in ids]
    assert all(run["lifecycle_stage"] == "active" and "mlops.archived" not in run["tags"] for run in runs)


def test_compare_hands_the_selected_runs_over_the_first_being_the_base(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    ids = [server.create_run(f"pair-{number}") for number in range(2)]
    lab = open_lab(server)
    lab.open_sidebar()
    lab.page.evaluate("""() => {
        const { commands } = window.jupyterapp;
        window.compared = [];
        commands.commandExecuted.connect((_, { id, args }) => {
            if (id === 'mlops-nb:open-compare') { window.compared.push(args); }
        });
    }""")
    lab.row("pair-0").focus()
    lab.page.keyboard.press("Space")
    lab.row("pair-1").focus()
    lab.page.keyboard.press("Space")
    lab.page.keyboard.press("c")
    lab.page.wait_for_function("window.compared.length === 1")
    # The page that opens takes the focus.
    expect(lab.page.locator(".lm-TabBar-tabLabel", has_text="Compare 2 runs")).to_be_visible()
    lab.row("pair-1").focus()
    lab.page.keyboard.press("d")
    lab.page.wait_for_function("window.compared.length === 2")
    assert lab.page.evaluate("window.compared") == [{"run_ids": ids}, {"run_ids": ids, "what": "cells"}]


def test_a_run_is_reproduced_in_a_console_that_shows_the_outcome(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    server.write_notebook("again.ipynb", "%load_ext mlops_nb", "%%track again\n%track log val_auc=0.5")
    lab = open_lab(server)
    lab.open_notebook("again.ipynb")
    lab.open_sidebar()
    lab.run_cell_to_its_end()
    lab.run_cell_to_its_end()
    expect(lab.row("again #1")).to_be_visible(timeout=_SLOW_MS)
    run_id = server.request("POST", "runs/search", json={"query": "again"})["runs"][0]["run_id"]
    choose(lab, "again #1", "Reproduce")
    console = lab.page.locator(".jp-CodeConsole")
    expect(console).to_contain_text(f"%track reproduce {run_id}", timeout=_SLOW_MS)
    expect(lab.sidebar.locator("[data-key='notebook']")).to_contain_text("verified", timeout=60_000)


def test_registered_models_are_listed_with_versions_and_aliases(server: LabServer, open_lab: Callable[[LabServer], LabPage]) -> None:
    run_id = server.create_run("trained")

    def registry(path: str, **body: str) -> None:
        answer = server.mlflow("POST", path, json=body)
        assert answer.status_code == 200, answer.text

    registry("registered-models/create", name="churn <b>")
    for _ in range(3):
        registry("model-versions/create", name="churn <b>", source=f"runs:/{run_id}/model", run_id=run_id)
    registry("registered-models/alias", name="churn <b>", alias="prod", version="2")
    lab = open_lab(server)
    lab.open_sidebar()
    section = lab.sidebar.locator("[data-key='models']")
    section.click()
    row = lab.sidebar.locator("[data-key^='models/']")
    expect(row).to_contain_text("churn <b>")
    expect(row).to_contain_text("v3, v2 @prod")


def test_the_first_cell_is_inserted_and_the_first_run_appears(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage]
) -> None:
    server = start_lab()
    server.write_notebook("new.ipynb", "x = 1")
    lab = open_lab(server)
    lab.open_notebook("new.ipynb")
    lab.open_sidebar()
    lab.sidebar.get_by_role("button", name="Insert %track on").click()
    cells = lab.page.locator(".jp-NotebookPanel:visible .jp-Cell .cm-content")
    expect(cells.first).to_contain_text("%track on")
    expect(cells).to_have_count(2)
    server.create_run("first")
    expect(lab.row("first")).to_be_visible()
