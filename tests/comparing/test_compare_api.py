"""The operation that the compare page asks."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlops_nb.api.http import HttpAnswer, HttpRequest
from mlops_nb.api.project import Served
from mlops_nb.api.service import OperationService
from mlops_nb.core.run_folders import REQUIREMENTS_FILE
from mlops_nb.store.base import ServedStore
from tests.comparing.conftest import MakeRun, a_cell

Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def store(service: OperationService) -> ServedStore:
    return service.project.store(create=True)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[OperationService]:
    service = OperationService(Served(store_uri=f"sqlite:///{tmp_path}/store.db", artifact_root=str(tmp_path / "artifacts")))
    yield service
    service.close()


@pytest.fixture
def ask(service: OperationService) -> Ask:
    route = service.router.resolve("POST", "/api/v1/compare")
    assert route is not None

    def ask(**fields: Any) -> tuple[int, dict[str, Any]]:
        request = HttpRequest(method="POST", content_type="application/json", body=msgspec.json.encode(fields))
        answer: HttpAnswer = asyncio.run(service.respond(route, request))
        assert isinstance(answer.body, bytes)
        return answer.status, json.loads(answer.body)

    return ask


def test_two_runs_are_compared_with_all_their_parts(ask: Ask, make_run: MakeRun) -> None:
    base = make_run(
        "first",
        {"val_auc": 0.9, "loss": float("nan")},
        params={"lr": "0.06", "depth": "6"},
        cells=[a_cell(0, "import pandas\nlr = 0.06", "a", writes=["lr"]), a_cell(1, "fit(lr)", "b", reads=["lr"])],
        files={REQUIREMENTS_FILE: b"pandas==2.1\nscipy==1.11\n"},
        metric_cell=1,
    )
    other = make_run(
        "second",
        {"val_auc": 0.92, "loss": 0.4, "fresh": 1.0},
        params={"lr": "0.12", "depth": "6"},
        cells=[a_cell(0, "import pandas\nlr = 0.12", "a", writes=["lr"]), a_cell(1, "fit(lr)", "b", reads=["lr"])],
        files={REQUIREMENTS_FILE: b"pandas==3.0\nscipy==1.11\n"},
        metric_cell=1,
    )
    status, answer = ask(run_ids=[base.run_id, other.run_id])
    assert status == 200
    assert [run["name"] for run in answer["runs"]] == ["first", "second"]
    assert answer["verdict"]["word"] == "better"
    assert answer["verdict"]["text"].startswith("second improves on first: val_auc 0.9000 → 0.9200")
    rows = {row["key"]: row for row in answer["metrics"]}
    assert rows["val_auc"]["direction"] == "higher" and rows["val_auc"]["base"] == 0.9
    (change,) = rows["val_auc"]["changes"]
    assert change["run_id"] == other.run_id
    assert change["verdict"] == "better" and change["difference"] == pytest.approx(0.02) and change["interval"] is None
    assert rows["loss"]["base"] == "NaN" and rows["loss"]["changes"][0]["verdict"] == "not comparable"
    assert rows["fresh"]["base"] is None and rows["fresh"]["changes"][0]["verdict"] == "new"
    assert {"key": "lr", "values": ["0.06", "0.12"], "changed": True} in answer["params"]
    assert [row["key"] for row in answer["environment"] if row["changed"]] == ["package pandas"]
    assert [(cause["kind"], cause["name"]) for cause in answer["explanations"]] == [
        ("param", "lr"),
        ("cell", "cell [1]"),
        ("package", "pandas"),
    ]
    first, second = answer["cells"]
    assert first["status"] == "changed"
    assert first["source_diff"] == [["=", "import pandas"], ["-", "lr = 0.06"], ["+", "lr = 0.12"]]
    assert second["status"] == "same" and second["inputs"] == ["lr"] and second["outputs_changed"] is False
    assert answer["data"]["same"] is True


def test_only_what_is_asked_for_is_answered_and_cells_need_two_runs(ask: Ask, make_run: MakeRun) -> None:
    runs = [make_run(f"r{i}", {"auc": i / 10}, params={"lr": str(i)}) for i in range(5)]
    status, answer = ask(run_ids=[run.run_id for run in runs], parts=["metrics", "cells", "data"])
    assert status == 200
    assert answer["params"] is answer["cells"] is answer["data"] is answer["environment"] is None
    assert len(answer["metrics"][0]["changes"]) == 4
    assert answer["verdict"]["text"].startswith("Best of 4: r4 improves on r0")


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"run_ids": ["0" * 32]}, 400, "length >= 2"),
        ({"run_ids": [f"{i:032x}" for i in range(51)]}, 400, "length <= 50"),
        ({"run_ids": ["0" * 32, "f" * 32]}, 404, "not found"),
        ({"run_ids": ["0" * 32, "0" * 32]}, 400, "named twice"),
        ({"run_ids": ["a", "b"], "parts": ["metric"]}, 400, "no part"),
        ({"run_ids": 3}, 400, "run_ids"),
    ],
)
def test_wrong_requests_say_what_is_wrong(ask: Ask, fields: dict[str, Any], status: int, message: str) -> None:
    answered, body = ask(**fields)
    assert answered == status
    assert message in body["message"]


def test_a_metric_that_no_run_has_is_told_with_those_that_there_are(ask: Ask, make_run: MakeRun) -> None:
    runs = [make_run(f"r{i}", {"val_auc": i / 10}) for i in range(2)]
    status, body = ask(run_ids=[run.run_id for run in runs], metrics=["auc"])
    assert status == 404 and "Have: val_auc." in body["message"]


def test_comparing_does_not_hold_up_the_event_loop(service: OperationService, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops_nb.comparing import comparison

    runs = [make_run(f"r{i}", {"auc": i / 10}) for i in range(2)]
    threads: list[str] = []
    compare_runs = comparison.compare_runs

    def watched(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread().name)
        return compare_runs(*args, **kwargs)

    monkeypatch.setattr(comparison, "compare_runs", watched)
    route = service.router.resolve("POST", "/api/v1/compare")
    assert route is not None
    body = msgspec.json.encode({"run_ids": [run.run_id for run in runs]})
    answer = asyncio.run(service.respond(route, HttpRequest(method="POST", content_type="application/json", body=body)))
    assert answer.status == 200
    assert [name.startswith("mlops-api") for name in threads] == [True]
