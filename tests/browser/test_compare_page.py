"""The page that compares runs, and that of a registered model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_server import LabPage, LabServer
from pages import put_file, record_run, serious_violations, write_cells
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror='window.wasHacked = true'>"
CELLS = {"lr": "lr = 0.12", "plot": "print('a plot')", "train": "model = train(lr)"}
MANY = 50
POINTS = 10_000


def ledger(lr: str) -> list[dict[str, object]]:
    """The cells of a run with this line about the learning rate."""
    sources = {**CELLS, "lr": lr}
    return [{"cell_id": key, "source": source} for key, source in sources.items()]


@pytest.fixture(scope="module")
def server(start_lab: Callable[..., LabServer]) -> LabServer:
    server = start_lab()
    write_cells(server, "train.ipynb", CELLS)
    return server


@pytest.fixture(scope="module")
def pair(server: LabServer) -> list[str]:
    first = record_run(
        server,
        f"base {HOSTILE}",
        "train.ipynb",
        ledger("lr = 0.06"),
        metrics={"val_auc": (0.91, 2), "old": (1.0, 2)},
        params={"lr": "0.06", "depth": "6"},
        curve=[1, 0.5, 0.3],
    )
    second = record_run(
        server,
        "second",
        "train.ipynb",
        ledger("lr = 0.12"),
        metrics={"val_auc": (0.93, 2)},
        params={"lr": "0.12", "depth": "6"},
        curve=[1, 0.4, 0.2],
    )
    for run_id, version in ((first, "1.7.0"), (second, "1.8.0")):
        put_file(server, run_id, "environment/requirements.txt", f"numpy==2.4.6\nscikit-learn=={version}\n".encode())
        put_file(server, run_id, "environment/environment.json", json.dumps({"python": "3.11.7"}).encode())
    return [first, second]


@pytest.fixture
def lab(server: LabServer, pair: list[str], open_lab: Callable[[LabServer], LabPage]) -> LabPage:
    lab = open_lab(server)
    lab.execute("mlops-nb:open-compare", run_ids=pair)
    expect(lab.page.locator(".mlops-nb-ComparePage h1")).to_contain_text("second")
    return lab


def test_two_runs_are_compared_down_to_their_cells(lab: LabPage) -> None:
    page = lab.page.locator(".mlops-nb-ComparePage")
    expect(page.locator(".mlops-nb-verdict-line")).to_contain_text("▲ better")
    row = page.get_by_role("row", name="val_auc")
    expect(row).to_contain_text("+0.02")
    expect(row).to_contain_text("▲ better")
    expect(page.get_by_role("row", name="old")).to_contain_text("missing")
    page.get_by_role("tab", name="Params").click()
    expect(page.get_by_role("row", name="lr 0.06 0.12")).to_be_visible()
    expect(page.get_by_role("row", name="depth")).to_have_count(0)
    page.get_by_label("Only what differs").uncheck()
    expect(page.get_by_role("row", name="depth")).to_be_visible()
    page.get_by_role("tab", name="Environment").click()
    expect(page.get_by_role("row", name="scikit-learn 1.7.0 1.8.0")).to_be_visible()
    page.get_by_role("tab", name="Plots").click()
    expect(page.get_by_role("button", name="second: lr 0.12, val_auc 0.93").first).to_be_visible()
    page.get_by_role("tab", name="Cells").click()
    expect(page.locator(".mlops-nb-pair")).to_have_count(1)
    expect(page.locator(".mlops-nb-diff-line[data-sign='-']")).to_contain_text("lr = 0.06")
    expect(page.locator(".mlops-nb-diff-line[data-sign='+']")).to_contain_text("lr = 0.12")
    page.get_by_label("Only changed cells").uncheck()
    expect(page.locator(".mlops-nb-pair")).to_have_count(3)
    page.get_by_role("button", name="Go to cell [3] of second").click()
    expect(lab.page.locator(".jp-NotebookPanel:visible .jp-Cell.jp-mod-active")).to_contain_text("model = train(lr)")
    assert lab.page.evaluate("window.wasHacked") is None


def test_the_base_can_be_changed_and_a_run_left_out(lab: LabPage, server: LabServer, pair: list[str]) -> None:
    third = record_run(server, "third", "train.ipynb", ledger("lr = 0.3"), metrics={"val_auc": (0.8, 2)})
    lab.execute("mlops-nb:open-compare", run_ids=[*pair, third])
    page = lab.page.locator(".mlops-nb-ComparePage:visible")
    expect(page.get_by_role("row", name="val_auc")).to_contain_text("▼ worse")
    page.get_by_role("button", name="Make third the base").click()
    expect(page.locator("thead th").nth(1)).to_contain_text("third")
    expect(page.get_by_role("row", name="val_auc").locator("[data-verdict='better']")).to_have_count(2)
    page.get_by_role("button", name="Leave second out").click()
    expect(page.locator("thead").first.locator("th")).to_have_count(3)
    server.request("PATCH", f"runs/{third}", json={"name": "renamed"})
    server.request("POST", f"runs/{third}/batch", json={"metrics": [{"key": "val_auc", "value": 0.99, "timestamp": 9**15, "step": 1}]})
    expect(page.locator("thead th").nth(1)).to_contain_text("renamed", timeout=15_000)
    expect(page.get_by_role("row", name="val_auc")).to_contain_text("0.99")


def test_axe_finds_nothing_serious_on_any_part_of_a_comparison(lab: LabPage, screenshots: Path) -> None:
    page, found = lab.page.locator(".mlops-nb-ComparePage"), []
    for theme in ("Light", "Dark", "Dark High Contrast"):
        lab.set_theme(f"JupyterLab {theme}")
        for tab in page.get_by_role("tab").all_text_contents():
            page.get_by_role("tab", name=tab, exact=True).click()
            if tab == "Curves":
                expect(page.locator("canvas")).to_be_visible()
            found += [f"{theme}, {tab}: {one}" for one in serious_violations(lab.page, ".mlops-nb-ComparePage")]
            lab.page.screenshot(path=screenshots / f"compare-{tab.lower()}-{theme.lower().replace(' ', '-')}.png")
    assert found == []


def test_a_registered_model_shows_its_versions_and_leads_to_the_run(lab: LabPage, server: LabServer, pair: list[str]) -> None:
    mlmodel = 'flavors: {sklearn: {sklearn_version: 1.9.1}}\nsignature: {inputs: \'[{"type": "double", "name": "age"}]\'}\n'
    put_file(server, pair[1], "model/MLmodel", mlmodel.encode())
    name = f"churn {HOSTILE}".replace("/", "")
    root = "../../api/2.0/mlflow"
    server.request("POST", f"{root}/registered-models/create", json={"name": name, "description": "Who leaves."})
    version = {"name": name, "source": f"runs:/{pair[1]}/model", "run_id": pair[1]}
    server.request("POST", f"{root}/model-versions/create", json=version)
    server.request("POST", f"{root}/model-versions/create", json={**version, "description": "Better"})
    server.request("POST", f"{root}/registered-models/alias", json={"name": name, "alias": "champion", "version": "1"})
    lab.execute("mlops-nb:open-model", name=name)
    page = lab.page.locator(".mlops-nb-ModelPage")
    expect(page.locator("h1")).to_have_text(name)
    expect(page.get_by_role("row", name="v1")).to_contain_text("@champion")
    expect(page).to_contain_text("Better")
    expect(page.get_by_role("row", name="age double")).to_be_visible()
    expect(page).to_contain_text("mlflow.sklearn.load_model")
    assert serious_violations(lab.page, ".mlops-nb-ModelPage") == []
    page.get_by_role("row", name="v1").get_by_role("button", name="second").click()
    expect(lab.run_page.locator("h1")).to_have_text("second")
    assert lab.page.evaluate("window.wasHacked") is None


@pytest.mark.slow
def test_fifty_curves_of_ten_thousand_points_are_drawn_within_a_second(
    server: LabServer, open_lab: Callable[[LabServer], LabPage], capsys: pytest.CaptureFixture[str]
) -> None:
    run_ids = []
    for number in range(MANY):
        curve = [1 / (1 + step / (100 + number)) for step in range(POINTS)]
        run_ids.append(record_run(server, f"run {number}", "none.ipynb", [], params={"lr": str(number)}, curve=curve))
    lab = open_lab(server)
    lab.execute("mlops-nb:open-compare", run_ids=run_ids)
    page = lab.page.locator(".mlops-nb-ComparePage:visible")
    expect(page.locator("h1")).to_contain_text("run 49", timeout=60_000)
    expect(page.get_by_role("row", name="loss")).to_contain_text("better")
    lab.page.evaluate("""() => {
        const tab = [...document.querySelectorAll('.mlops-nb-ComparePage [role=tab]')].find(one => one.dataset.tab === 'curves');
        window.drawnAfter = null;
        const began = performance.now();
        const look = () => {
            const canvas = document.querySelector('.mlops-nb-ComparePage canvas');
            const ink = canvas?.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(value => value > 0);
            if (ink) { window.drawnAfter = performance.now() - began; } else { requestAnimationFrame(look); }
        };
        tab.click();
        look();
    }""")
    lab.page.wait_for_function("window.drawnAfter !== null", timeout=30_000)
    with capsys.disabled():
        print(f"\n{MANY} runs x {POINTS} points: drawn after {lab.page.evaluate('window.drawnAfter'):.0f} ms")
