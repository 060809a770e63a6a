"""JupyterLab in Chromium. These tests run in a pytest process of their own: `pytest tests/browser`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserType, Page

sys.path.insert(0, str(Path(__file__).parent))

from lab_server import CHROMIUM_ARGS, LabPage, LabServer, find_chromium


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type: BrowserType) -> dict[str, Any]:
    """Start the Chromium of this machine; skip without one, except in CI, where that is a failure."""
    executable = find_chromium(browser_type)
    if executable is None:
        reason = "No Chromium: install the package chromium, run `playwright install chromium`, or set CHROMIUM to its path."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return {"executable_path": executable, "args": list(CHROMIUM_ARGS)}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1400, "height": 900}, "locale": "en-US"}


@pytest.fixture(scope="module")
def start_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LabServer]]:
    """A function that starts JupyterLab on a new, empty project; all end with the module's tests."""
    started: list[LabServer] = []

    def start(**options: Any) -> LabServer:
        server = LabServer(tmp_path_factory.mktemp("lab") / "churn", tmp_path_factory.mktemp("home"), **options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def open_lab(page: Page) -> Iterator[Callable[[LabServer], LabPage]]:
    """A function that opens JupyterLab in the browser. The test fails if a script was injected or threw."""
    opened: list[LabPage] = []

    def open_(server: LabServer) -> LabPage:
        lab = LabPage(page, server)
        opened.append(lab)
        return lab

    yield open_
    for lab in opened:
        assert lab.dialogs == []
        assert lab.errors == []


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: the folder that MLOPS_NB_SCREENSHOTS names, for whoever wants to look at them."""
    folder = Path(os.environ.get("MLOPS_NB_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
