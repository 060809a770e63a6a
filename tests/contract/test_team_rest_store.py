"""The store contract over HTTP, against the application of a team's server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from mlops_nb.api.asgi import Message, Mount, Receive, Send, TeamServer
from mlops_nb.api.gate import Access
from mlops_nb.api.project import Served
from mlops_nb.errors import PermissionDenied
from mlops_nb.store.rest import RestStore
from tests.contract.store_contract import StoreContract

TOKEN = "the-teams-token"


class Swapping:
    """An application that can be given another team server: a process for each of a hundred tests would take minutes."""

    def __init__(self) -> None:
        self.team: TeamServer | None = None
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.listen()
            self._socket = listener.dup()
        self._server = uvicorn.Server(uvicorn.Config(self, lifespan="off", log_level="warning", access_log=False))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._socket])))
        self._thread.start()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        assert self.team is not None
        await self.team(scope, receive, send)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)


@pytest.fixture(scope="module")
def swapping() -> Iterator[Swapping]:
    server = Swapping()
    yield server
    server.close()


@pytest.fixture
def team(swapping: Swapping, tmp_path: Path) -> Iterator[TeamServer]:
    swapping.team = TeamServer(Mount(served=Served(store_uri=f"sqlite:///{tmp_path}/store.db"), access=Access(tokens=(TOKEN,))))
    yield swapping.team
    swapping.team.service.close()


@pytest.fixture
def store(swapping: Swapping, team: TeamServer) -> Iterator[RestStore]:
    store = RestStore(swapping.url, token=TOKEN)
    yield store
    store.close()


class TestTeamRestStore(StoreContract):
    """All of the contract."""


def test_a_wrong_token_is_a_refusal_and_not_a_missing_server(swapping: Swapping, team: TeamServer) -> None:
    store = RestStore(swapping.url, token="wrong")
    with pytest.raises(PermissionDenied, match="token"):
        store.status()
    store.close()


def test_a_run_that_gives_no_sign_of_life_is_closed_by_the_server_itself(
    swapping: Swapping, team: TeamServer, store: RestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlops_nb.api import asgi
    from mlops_nb.core.events import RunStarted
    from mlops_nb.core.names import new_run_id

    run_id = new_run_id()
    store.ingest(run_id, "source", [RunStarted(seq=1, ts=1_000, experiment="exp", name="run", user="me", tags={})])
    monkeypatch.setattr(asgi, "LEASE_CHECK_SECONDS", 0.02)
    opened = team.service.project.store()
    monkeypatch.setattr(opened, "expire_leases", lambda: type(opened).expire_leases(opened, older_than_seconds=0))

    async def watch() -> None:
        watching = asyncio.create_task(team._watch())
        deadline = time.monotonic() + 10
        while (await asyncio.to_thread(store.get_run, run_id)).status != "LOST" and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        watching.cancel()

    asyncio.run(watch())
    assert store.get_run(run_id).status == "LOST"
