"""Writes in groups: each may fail alone, all have taken effect when they are answered, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlops_nb.api.http import HttpAnswer, HttpRequest
from mlops_nb.api.project import Served
from mlops_nb.api.service import OperationService
from mlops_nb.errors import StoreFull
from mlops_nb.store.base import ServedStore
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.store import SqlStore

SET_TAG = "/api/2.0/mlflow/runs/set-tag"


@pytest.fixture
def sizes() -> list[int]:
    return []


@pytest.fixture
def service(tmp_path: Path, sizes: list[int]) -> Iterator[OperationService]:
    served = Served(store_uri=f"sqlite:///{tmp_path}/store.db", artifact_root=str(tmp_path / "artifacts"))
    service = OperationService(served, on_group=sizes.append)
    yield service
    service.close()


def store_of(service: OperationService) -> ServedStore:
    return service.project.store(create=True)


async def post(service: OperationService, path: str, **fields: Any) -> HttpAnswer:
    route = service.router.resolve("POST", path)
    assert route is not None
    return await service.respond(route, HttpRequest(method="POST", content_type="application/json", body=msgspec.json.encode(fields)))


def together(service: OperationService, monkeypatch: pytest.MonkeyPatch, *tags: dict[str, str]) -> list[HttpAnswer]:
    """Set tags in one group: the writer is held up until all of them wait."""

    async def all_of() -> list[HttpAnswer]:
        taken, go_on = threading.Event(), threading.Event()
        count = service._count

        def hold(size: int) -> None:
            count(size)
            taken.set()
            assert go_on.wait(30)

        monkeypatch.setattr(service, "_count", hold)
        first = asyncio.ensure_future(post(service, SET_TAG, **tags[0]))
        await asyncio.to_thread(taken.wait, 30)
        rest = [asyncio.ensure_future(post(service, SET_TAG, **each)) for each in tags[1:]]
        while service._writes.qsize() < len(rest):
            await asyncio.sleep(0)
        monkeypatch.setattr(service, "_count", count)
        go_on.set()
        return await asyncio.gather(first, *rest)

    return asyncio.run(all_of())


def test_a_write_that_fails_fails_alone(service: OperationService, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    run = store_of(service).create_run("0").run_id
    good = [{"run_id": run, "key": f"k{i}", "value": "v"} for i in range(4)]
    lost, bad = {"run_id": "none", "key": "k", "value": "v"}, {"run_id": run, "key": "/", "value": "v"}
    answers = together(service, monkeypatch, good[0], good[1], lost, good[2], bad, good[3])
    assert sizes == [1, 5]
    assert [answer.status for answer in answers] == [200, 200, 404, 200, 400, 200]
    assert [key for key in store_of(service).get_run(run).tags if not key.startswith("mlflow.")] == ["k0", "k1", "k2", "k3"]


def test_where_the_commit_fails_all_of_the_group_are_told_and_nothing_of_it_is_there(
    service: OperationService, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(service)
    assert isinstance(store, SqlStore)
    run = store.create_run("0").run_id
    database = type(store.database)
    begin = database._begin

    @contextlib.contextmanager
    def failing(self: Database) -> Iterator[Any]:
        with begin(self) as connection:
            yield connection
            if len(sizes) > 1:
                raise StoreFull("no room")

    monkeypatch.setattr(database, "_begin", failing)
    answers = together(service, monkeypatch, *({"run_id": run, "key": f"k{i}", "value": "v"} for i in range(4)))
    assert [answer.status for answer in answers] == [200, 507, 507, 507]
    assert [key for key in store.get_run(run).tags if not key.startswith("mlflow.")] == ["k0"]


def test_a_figure_that_cannot_be_written_stops_no_write(tmp_path: Path) -> None:
    def fail(size: int) -> None:
        raise OSError("no room for figures")

    service = OperationService(Served(store_uri=f"sqlite:///{tmp_path}/store.db"), on_group=fail)
    run = store_of(service).create_run("0").run_id

    async def twice() -> list[HttpAnswer]:
        return [await asyncio.wait_for(post(service, SET_TAG, run_id=run, key=key, value="v"), 30) for key in ("a", "b")]

    assert [answer.status for answer in asyncio.run(twice())] == [200, 200]
    service.close()


def test_requests_that_come_after_the_end_are_refused_and_told_to_come_again(service: OperationService) -> None:
    run = store_of(service).create_run("0").run_id

    async def late() -> list[HttpAnswer]:
        await post(service, SET_TAG, run_id=run, key="a", value="v")
        await asyncio.to_thread(service.close)
        search = post(service, "/api/2.0/mlflow/runs/search", experiment_ids=["0"])
        return [await asyncio.wait_for(each, 30) for each in (post(service, SET_TAG, run_id=run, key="b", value="v"), search)]

    assert [answer.status for answer in asyncio.run(late())] == [503, 503]
