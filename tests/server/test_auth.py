"""Who may come in: every route, every way to say who one is."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import requests

from mlops_nb.api.table import OPERATIONS

ROUTES = [(method, re.sub(r"\{\w+(\.\.\.)?\}", "x", path)) for operation in OPERATIONS for method, path in operation.routes]


def forbidden(response: requests.Response) -> bool:
    if response.request.method == "HEAD":
        return response.status_code == 403 and not response.content
    return response.status_code == 403 and response.json()["error_code"] == "PERMISSION_DENIED"


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/"), ("GET", ""), ("POST", "/no/such/route"), ("DELETE", "/api/v1/status")])
def test_nobody_gets_in_without_a_token_or_with_a_wrong_one(jupyter: Any, method: str, path: str) -> None:
    assert forbidden(jupyter.request(method, path, token=None))
    assert forbidden(jupyter.request(method, path, token="wrong"))
    assert forbidden(jupyter.request(method, path, token="wrong", scheme="token"))
    assert forbidden(jupyter.request(method, path, token=""))


# Of machines: by a ticket, and by an agent's token.
OF_MACHINES = ("/api/v1/runners/-/redeem", "/api/v1/runners/-/agent")


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] not in OF_MACHINES])
def test_the_servers_token_opens_every_route(jupyter: Any, method: str, path: str) -> None:
    assert jupyter.request(method, path).status_code not in (401, 403, 405)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token", "Token"])
def test_the_token_is_taken_in_both_spellings(jupyter: Any, scheme: str) -> None:
    answer = jupyter.request("GET", "/api/v1/status", scheme=scheme)
    assert answer.status_code == 200
    assert not answer.cookies, "a request with a token must not cost a login cookie"


def test_the_local_token_is_taken_as_well(jupyter: Any) -> None:
    assert jupyter.request("GET", "/api/v1/status", token=jupyter.local_token).status_code == 200
    assert forbidden(jupyter.request("GET", "/api/v1/status", token=jupyter.local_token + "x"))
    elsewhere = requests.get(jupyter.url + "api/contents", headers={"Authorization": f"Bearer {jupyter.local_token}"}, timeout=10)
    assert elsewhere.status_code == 403, "it opens the tracking API only"


def test_the_token_itself_in_basic_authentication_is_refused(jupyter: Any) -> None:
    assert forbidden(jupyter.request("GET", "/api/v1/status", scheme="Basic"))


def test_a_page_of_the_server_may_read_and_needs_the_xsrf_token_to_write(jupyter: Any) -> None:
    browser = requests.Session()
    browser.get(jupyter.url + "login", params={"token": "the-servers-token"}, timeout=10)
    assert browser.get(jupyter.mount + "/api/v1/status", timeout=10).status_code == 200
    body = {"name": f"by a page {time.time_ns()}"}
    assert forbidden(browser.post(jupyter.mount + "/api/v1/experiments", json=body, timeout=10))
    headers = {"X-XSRFToken": browser.cookies["_xsrf"]}
    assert browser.post(jupyter.mount + "/api/v1/experiments", json=body, headers=headers, timeout=10).status_code == 200


def test_a_foreign_page_with_the_users_cookie_gets_nothing(jupyter: Any) -> None:
    browser = requests.Session()
    browser.get(jupyter.url + "login", params={"token": "the-servers-token"}, timeout=10)
    foreign = {"Origin": "https://evil.example"}
    assert forbidden(browser.get(jupyter.mount + "/api/v1/status", headers=foreign, timeout=10))


def test_a_request_for_another_host_is_refused(jupyter: Any) -> None:
    assert forbidden(jupyter.request("GET", "/api/v1/status", headers={"Host": "evil.example"}))


def test_the_servers_authorizer_decides_about_reading_and_writing(start_jupyter: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "read_only.py").write_text(
        "from jupyter_server.auth.authorizer import Authorizer\n"
        "class ReadOnly(Authorizer):\n"
        "    async def is_authorized(self, handler, user, action, resource):\n"
        "        return resource != 'mlops' or action == 'read'\n"
    )
    server = start_jupyter(home=home, ServerApp__authorizer_class="read_only.ReadOnly")
    assert server.request("GET", "/api/v1/status").status_code == 200
    assert server.request("POST", "/api/v1/runs/search", json={}).status_code == 200
    assert forbidden(server.request("POST", "/api/v1/experiments", json={"name": "x"}))
    assert forbidden(server.request("PUT", "/api/v1/runs/x/artifacts/files/a", data=b"x"))
    assert not (server.project / ".mlops").exists()
