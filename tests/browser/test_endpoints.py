"""Endpoints in JupyterLab: served from a cell, seen in the sidebar with their traffic, tried and stopped from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

_SLOW_MS = 90_000
CELLS = (
    """%load_ext mlops_nb
import numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
X = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 3)), columns=['tenure', 'usage', '<img src=x onerror=alert(1)>'])
model = LogisticRegression().fit(X, (X.tenure > 0).astype(int))
ep = %serve model --name churn --example X
ep""",
    "for i in range(12): ep.predict(X[i * 20 : i * 20 + 20])\n%serve monitor churn",
)


def test_an_endpoint_is_seen_tried_and_stopped_from_the_sidebar_and_outlives_its_kernel(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage], screenshots: Path
) -> None:
    server = start_lab()
    server.write_notebook("serve.ipynb", *CELLS)
    lab = open_lab(server)
    lab.open_notebook("serve.ipynb")
    lab.open_sidebar()
    lab.run_cell()
    row = lab.sidebar.locator("[data-endpoint='churn']")
    expect(row).to_contain_text("churn v1", timeout=_SLOW_MS)
    lab.run_cell()
    expect(row).to_contain_text("drift ok", timeout=_SLOW_MS)
    expect(row).to_contain_text("rpm · p95")
    expect(row).to_contain_text("ends in")
    lab.page.get_by_role("button", name="Send").click()
    expect(lab.page.locator(".jp-OutputArea").first).to_contain_text("→", timeout=_SLOW_MS)
    # The panel below the cell follows the endpoint.
    panel = lab.page.locator(".jp-OutputArea").filter(has_text="requests / min")
    expect(panel.last).to_contain_text("✓", timeout=_SLOW_MS)
    for theme, name in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        lab.set_theme(theme)
        lab.sidebar.screenshot(path=screenshots / f"endpoint-280-{name}.png")
        lab.page.screenshot(path=screenshots / f"endpoint-page-{name}.png")
    lab.open_sidebar(520)
    lab.sidebar.screenshot(path=screenshots / "endpoint-520.png")
    lab.open_sidebar(280)

    # Enter tries it; a wrong request says why.
    row.focus()
    lab.page.keyboard.press("Enter")
    dialog = lab.page.locator(".jp-Dialog")
    dialog.get_by_label("Request, JSON").press("Control+Enter")
    expect(dialog.get_by_role("status")).to_contain_text("predictions")
    dialog.get_by_label("Request, JSON").fill('{"dataframe_records": [{"tenure": "much"}]}')
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.locator("pre[data-error='true']")).to_contain_text("Failed")
    lab.page.screenshot(path=screenshots / "endpoint-try.png")
    dialog.get_by_role("button", name="Close").click()
    row.click(button="right")
    lab.page.get_by_role("menuitem", name="Show Logs").click()
    expect(lab.page.locator(".mlops-nb-endpoint-logs")).to_be_visible()
    lab.page.locator(".jp-Dialog").get_by_role("button", name="Close").click()

    # The kernel goes, the endpoint stays; its own time ends it.
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.shutdown()")
    answer = server.request("GET", "endpoints/churn")["endpoint"]
    assert answer["state"] == "ready" and answer["drift"] == "ok"
    server.request("POST", "endpoints/churn/extend", json={"ttl": 4})
    expect(row).to_contain_text("ends in", timeout=_SLOW_MS)
    before = time.monotonic()
    expect(row).to_have_count(0, timeout=_SLOW_MS)
    assert time.monotonic() - before < 60
