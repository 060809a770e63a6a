"""A Jupyter server that hosts runners: a real machine's agent beside it, and events for the sidebar."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import websocket
from msgspec.structs import replace

from mlops_nb.core.runners import Runner, RunnerState
from mlops_nb.store.rest import RestStore
from tests.contract.runner_contract import event, new_runner
from tests.outgoing.sockets import free_port

SCHEMA_ID = "https://mlops-nb.readthedocs.io/events/runners_changed/v1"
TOKEN = "the-servers-token"


@pytest.fixture
def store(jupyter: Any) -> Iterator[RestStore]:
    store = RestStore(jupyter.mount, token=TOKEN)
    yield store
    store.close()


def next_changes(socket: websocket.WebSocket) -> int:
    while True:
        told = json.loads(socket.recv())
        if told["schema_id"] == SCHEMA_ID:
            return int(told["changes"])


def until(look: Callable[[], Any], why: Callable[[], object], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)
    return found


def test_whoever_listens_hears_of_every_change_of_a_runner(jupyter: Any, store: RestStore) -> None:
    url = jupyter.url.replace("http:", "ws:") + "api/events/subscribe"
    socket = websocket.create_connection(url, header=[f"Authorization: Bearer {TOKEN}"], timeout=10)
    try:
        before = next_changes(socket)
        runner = store.runners.add(new_runner(), event())
        began = time.monotonic()
        assert next_changes(socket) > before
        assert time.monotonic() - began < 2.0
        store.runners.save(replace(runner, state=RunnerState.DESTROYING))
        assert next_changes(socket) > before + 1
    finally:
        socket.close()


@pytest.mark.slow
def test_a_runner_beside_the_server_lives_through_the_servers_death_and_ends_when_told(
    start_jupyter: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    options = {"ServerApp__port": str(free_port())}
    server = start_jupyter(home=home, **options)
    request = {"name": "beside", "cloud": "local", "agent": {"kind": "notebook"}}
    answer = server.request("POST", "/api/v1/runners/-/launch", json={"request": request})
    assert answer.status_code == 200, answer.text
    runner_id = answer.json()["runner"]["id"]

    def seen() -> Runner:
        store = RestStore(server.mount, token=TOKEN)
        try:
            return store.runners.get(runner_id)
        finally:
            store.close()

    until(lambda: seen().state is RunnerState.IDLE, lambda: (seen(), server.log))
    server.process.kill()
    server.process.wait()
    server = start_jupyter(server.project, home=home, **options)
    last = seen().last_seen or 0.0
    until(lambda: (seen().last_seen or 0.0) > last, lambda: (seen(), server.log))
    assert seen().state is RunnerState.IDLE
    assert server.request("POST", f"/api/v1/runners/{runner_id}/down", json={}).status_code == 200
    gone = until(lambda: (now := seen()).state is RunnerState.GONE and now, lambda: (seen(), server.log))
    assert gone.reason == "it was ended by hand" and list(gone.resources) == []
    left = [one for one in psutil.process_iter(["cmdline"]) if runner_id in " ".join(one.info["cmdline"] or [])]
    assert left == []
