"""Runners in the browser: launched from a notebook, followed and ended in the sidebar."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_server import LabPage, LabServer
from pages import AXE
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

_SLOW_MS = 90_000
CELLS = (
    "%load_ext mlops_nb\n%runner launch here-1 --on local --idle 10m --max-hours 1 --yes",
    "%runner",
    "%runner run train.ipynb --on here-1",
)
TRAINING = (
    "%load_ext mlops_nb\nimport time",
    "for step in range(30):\n    %track log loss=1/(1+step)\n    time.sleep(.1)",
    "print('done')",
)


def _rented(server: LabServer, name: str, state: str, hours: float, **fields: Any) -> None:
    """Write a rented machine into the ledger, which some other process looks after."""
    now = time.time()
    guards = {"idle": 600, "max_hours": 4, "max_cost": 3.0}
    offer = {"cloud": "aws", "type": "g4dn.12xlarge", "region": "us-west-2", "zone": "us-west-2b", "gpu": "T4", "gpus": 4, "hourly": 3.912}
    runner = {
        "id": name.encode().hex().ljust(32, "0")[:32],
        "installation": "elsewhere",
        "request": {"name": name, "cloud": "aws", "guards": guards},
        "state": "requested",
        "created": now - hours * 3600,
        "updated": now,
        "offer": {**offer, "spot": True},
        "hard_stop": now + 2520,
        "lease_expires": now + 3000,
    }
    added = server.request("POST", "runners", json={"runner": runner, "event": {"time": now, "kind": "requested"}})["runner"]
    for word in ("creating", state):
        changed = {**added, "state": word, **(fields if word == state else {})}
        added = server.request("PUT", f"runners/{added['id']}", json={"runner": changed, "events": [{"time": now, "kind": word}]})["runner"]


def test_a_runner_is_launched_followed_and_ended_from_the_sidebar(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    server = start_lab()
    server.write_notebook("runner.ipynb", *CELLS)
    server.write_notebook("train.ipynb", *TRAINING)
    lab = open_lab(server)
    lab.open_notebook("runner.ipynb")
    lab.open_sidebar()
    lab.run_cell()
    row = lab.sidebar.locator("[data-runner]").filter(has_text="here-1")
    expect(row).to_contain_text("idle", timeout=_SLOW_MS)
    expect(row).to_contain_text("ends in 9 min")
    expect(lab.sidebar.locator(".mlops-nb-sr[aria-live]")).to_contain_text("Runner here-1: idle")
    group = lab.sidebar.locator("[data-key='runners']")
    expect(group).to_contain_text(re.compile("Runners.*1$"))

    # Its card, and a notebook that it executes.
    lab.run_cell()
    card = lab.page.locator(".jp-OutputArea table")
    expect(card.first).to_contain_text("here-1", timeout=_SLOW_MS)
    lab.run_cell()
    expect(row).to_contain_text("train", timeout=_SLOW_MS)
    expect(row).to_contain_text("ends in 5")
    for theme, name in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        lab.set_theme(theme)
        lab.page.screenshot(path=screenshots / f"runner-page-{name}.png")
    expect(lab.page.locator(".jp-OutputArea").filter(has_text="The executed notebook").first).to_be_visible(timeout=_SLOW_MS)
    expect(row).to_contain_text("idle", timeout=_SLOW_MS)
    lab.page.screenshot(path=screenshots / "runner-ran.png")

    _menu(lab, row, "Show Logs")
    log = lab.page.locator(".mlops-nb-endpoint-logs")
    expect(log).to_contain_text("begins")
    lab.page.screenshot(path=screenshots / "runner-logs.png")
    lab.page.locator(".jp-Dialog").get_by_role("button", name="Close").click()
    before = server.request("GET", "runners/here-1")["runner"]["hard_stop"]
    _menu(lab, row, "Let Live Half an Hour Longer")
    lab.page.wait_for_timeout(0)
    _wait(lambda: server.request("GET", "runners/here-1")["runner"]["hard_stop"] == pytest.approx(before + 1800))

    row.focus()
    lab.page.keyboard.press("s")
    dialog = lab.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Stop the runner here-1?")
    lab.page.screenshot(path=screenshots / "runner-stop.png")
    dialog.get_by_role("button", name="Stop").click()
    expect(row).to_have_count(0, timeout=_SLOW_MS)
    expect(lab.sidebar.locator(".mlops-nb-sr[aria-live]")).to_contain_text("Runner here-1 is gone")
    ended = server.request("GET", "runners/here-1")["runner"]
    assert ended["state"] == "gone" and ended["resources"] == []


def test_what_a_rented_machine_costs_ticks_by_the_clock_of_the_server(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    server = start_lab()
    server.create_run("gentle", val_auc=0.91)
    _rented(server, "gpu-1", "busy", 0.1, job="train-with-a-long-name-that-needs-room.ipynb")
    _rented(server, "a-runner-whose-name-is-as-long-as-names-may-be-4", "idle", 0.6, idle_since=time.time())
    _rented(server, "taken", "lost", 0.01, job="<img src=x onerror=alert(1)>.ipynb", interrupted=time.time())
    _rented(server, "leaves", "draining", 0.2, job="last.ipynb")
    lab = open_lab(server)
    # A laptop whose clock is two hours slow.
    lab.page.clock.install(time=time.time() - 7200)
    lab.open_sidebar()
    row = lab.sidebar.locator("[data-runner]").filter(has_text="gpu-1")
    expect(row).to_contain_text("$0.3")
    expect(row).to_contain_text("/3.00")
    expect(row).to_contain_text("ends in 4")
    cost = row.locator(".mlops-nb-runner-cost")
    first = cost.inner_text()
    lab.page.clock.fast_forward(10_000)
    expect(cost).not_to_have_text(first)
    for theme, name in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        lab.set_theme(theme)
        lab.open_sidebar(280)
        lab.sidebar.screenshot(path=screenshots / f"runners-280-{name}.png")
        lab.open_sidebar(560)
        lab.sidebar.screenshot(path=screenshots / f"runners-560-{name}.png")
        if AXE.exists():
            lab.page.add_script_tag(path=str(AXE))
            found = lab.page.evaluate("async () => (await axe.run('.mlops-nb-tree')).violations.map(v => [v.id, v.nodes.map(n => n.html)])")
            assert found == [], name
    lab.open_sidebar(280)
    for each in lab.sidebar.locator("[data-runner]").all():
        box, end = each.bounding_box(), each.locator(".mlops-nb-runner-cost").bounding_box()
        assert box is not None and end is not None and end["x"] + end["width"] <= box["x"] + box["width"]


def _menu(lab: LabPage, row: Locator, name: str) -> None:
    row.click(button="right")
    lab.page.get_by_role("menuitem", name=name).click()


def _wait(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
