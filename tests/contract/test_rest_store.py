"""The store contract over HTTP, against a real server."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from mlops_nb.core.events import ModelLogged
from mlops_nb.core.logged_models import LoggedModelStatus
from mlops_nb.core.records import Metric
from mlops_nb.errors import InvalidInput, NotFound, PermissionDenied, StoreUnreachable
from mlops_nb.store.registering import register
from mlops_nb.store.rest import RestStore
from tests.contract.inputs_contract import InputsContract
from tests.contract.store_contract import StoreContract

# A server starts in seconds and the contract has a hundred tests: this extension gives the running server another project.
SWAP = """
from pathlib import Path
from jupyter_server.base.handlers import APIHandler
from tornado.web import authenticated
from mlops_nb.api.project import ServedProject
from mlops_nb.config import find_project

class SwapHandler(APIHandler):
    @authenticated
    def post(self):
        service = self.serverapp.extension_manager.extension_points["mlops_nb_server"].app.service
        service.project.close()
        service.project = ServedProject(find_project(Path(self.get_json_body()["root"])))
        self.finish({})

def _jupyter_server_extension_points():
    return [{"module": "swap_project"}]

def _load_jupyter_server_extension(server):
    server.web_app.add_handlers(".*$", [(server.base_url + "swap", SwapHandler)])
"""
TOKEN = "the-servers-token"


@pytest.fixture(scope="module")
def swapping(start_jupyter: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that can be given another project."""
    home = tmp_path_factory.mktemp("home")
    (home / "swap_project.py").write_text(SWAP)
    return start_jupyter(home=home, ServerApp__jpserver_extensions="{'mlops_nb_server': True, 'swap_project': True}")


@pytest.fixture
def store(swapping: Any, tmp_path: Path) -> Iterator[RestStore]:
    (tmp_path / "pyproject.toml").touch()
    swapped = requests.post(swapping.url + "swap", json={"root": str(tmp_path)}, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    assert swapped.status_code == 200, swapped.text
    store = RestStore(swapping.mount + "/", token=TOKEN)
    yield store
    store.close()


class TestRestStore(StoreContract):
    """All of the contract."""


class TestInputsOverRest(InputsContract):
    """What runs read and made."""


@pytest.fixture(scope="module")
def shared(jupyter: Any) -> Iterator[RestStore]:
    store = RestStore(jupyter.mount, token=TOKEN)
    yield store
    store.close()


def test_a_wrong_token_is_a_refusal_and_not_a_missing_server(jupyter: Any) -> None:
    store = RestStore(jupyter.mount, token="wrong")
    with pytest.raises(PermissionDenied):
        store.status()
    store.close()


def test_a_server_that_is_not_there_is_unreachable_with_a_hint() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = RestStore(f"http://127.0.0.1:{unused.getsockname()[1]}/mlops")
        with pytest.raises(StoreUnreachable, match="does not answer") as caught:
            store.status()
        assert caught.value.hint
        store.close()


def test_another_address_of_the_server_is_told_as_such(jupyter: Any) -> None:
    store = RestStore(jupyter.url.rstrip("/"), token=TOKEN)
    with pytest.raises(StoreUnreachable, match="is not the address of an mlops_nb server"):
        store.get_run("x")
    store.close()


@pytest.mark.parametrize("run_id", ["", ".", "..", "a/b", "%2e%2e", "?x=1", "#"])
def test_an_odd_run_id_is_not_there(shared: RestStore, run_id: str) -> None:
    with pytest.raises(NotFound):
        shared.get_run(run_id)


def test_a_store_serves_many_threads_at_once(shared: RestStore) -> None:
    run = shared.create_run("0")
    failures: list[BaseException] = []

    def log(worker: int) -> None:
        try:
            for step in range(20):
                shared.log_batch(run.run_id, metrics=[Metric(key=f"m{worker}", value=math.sqrt(step), timestamp=step, step=step)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=log, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [(series.key, series.total) for series in shared.series(run.run_id)] == [(f"m{worker}", 20) for worker in range(8)]


def test_a_model_is_registered_behind_a_server(store: RestStore) -> None:
    run = store.create_run(store.create_experiment("registered"))
    made = ModelLogged(seq=1, model_id="m-" + "1" * 32, name="clf", status=LoggedModelStatus.PENDING)
    store.ingest(run.run_id, "a" * 32, [made, msgspec.structs.replace(made, seq=2, status=LoggedModelStatus.READY)])
    versions = [
        register(store, "churn", f"models:/{made.model_id}", model_id=made.model_id, aliases=["challenger"], tags={"t": "x"})
        for _ in range(2)
    ]
    assert [(v.name, v.version, v.model_id, v.run_id) for v in versions] == [("churn", n, made.model_id, run.run_id) for n in (1, 2)]
    assert versions[0].tags == {"t": "x"} and versions[0].aliases == ["challenger"]
    with pytest.raises(InvalidInput):
        register(store, "a/b", f"models:/{made.model_id}", tags={})
    with pytest.raises(NotFound):
        register(store, "churn", "models:/m-" + "2" * 32, model_id="m-" + "2" * 32, tags={})
