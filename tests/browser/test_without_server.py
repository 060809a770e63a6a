"""The front end alone: the server half of the extension is missing or gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_server import LabPage, LabServer
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_missing_server_extension_is_named_with_the_command_that_enables_it(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage]
) -> None:
    lab = open_lab(start_lab(with_server_extension=False))
    lab.open_sidebar()
    expect(lab.sidebar).to_contain_text("The server extension is not enabled.")
    expect(lab.sidebar.locator("pre")).to_have_text("jupyter server extension enable mlops_nb_server")
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.sidebar.get_by_role("button", name="Copy").click()
    expect(lab.sidebar.get_by_text("Copied")).to_be_attached()


def test_a_server_that_fails_leaves_the_list_and_offers_to_try_again(
    start_lab: Callable[..., LabServer], open_lab: Callable[[LabServer], LabPage]
) -> None:
    server = start_lab()
    server.create_run("baseline", val_auc=0.9)
    lab = open_lab(server)
    lab.open_sidebar()
    expect(lab.row("baseline")).to_be_visible()
    failure = {"error_code": "INTERNAL_ERROR", "message": "disk full", "hint": None}
    lab.page.route("**/mlops/api/v1/**", lambda route: route.fulfill(status=500, json=failure))
    lab.sidebar.get_by_role("button", name="Refresh").click()
    expect(lab.sidebar.get_by_role("alert")).to_contain_text("disk full")
    expect(lab.row("baseline")).to_be_visible()
    lab.page.unroute("**/mlops/api/v1/**")
    lab.sidebar.get_by_role("button", name="Retry").click()
    expect(lab.sidebar.get_by_role("alert")).to_have_count(0)
