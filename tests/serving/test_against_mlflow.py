"""The same requests to our model server and to MLflow's own: the same answers, the same refusals."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serving.conftest import Host, until

_MLFLOW = """
import sys, uvicorn, mlflow.pyfunc
from mlflow.pyfunc.scoring_server import init
from starlette.applications import Starlette
from starlette.routing import Mount
mounts = [Mount("/" + name, init(mlflow.pyfunc.load_model(sys.argv[1] + "/" + name))) for name in sys.argv[3:]]
uvicorn.run(Starlette(routes=mounts), port=int(sys.argv[2]), log_level="warning")
"""
NAMES = ("numbers", "mixed", "tensor")


@pytest.fixture(scope="module")
def mlflow_url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's scoring application for each of the models, as `mlflow models serve` runs it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("mlflow") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", _MLFLOW, str(models), str(port), *NAMES], stdout=out, stderr=out, env=os.environ)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/numbers/ping", timeout=5).ok
        except requests.ConnectionError:
            return False

    try:
        until(answers, 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ours(host: Host, models: Path, mlflow_url: str) -> Host:
    for name in NAMES:
        assert host.start(name, models / name).state == "ready", host.logs(name)
    return host


COLUMNS = ["a", "b", "größe ☃", "d"]
ROW = [0.5, -1.25, 3.0, 0.0]
JSON = "application/json"


def split(rows: Any, columns: Any = COLUMNS, **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": rows, **more}}


ANSWERED: list[tuple[str, str, Any]] = [
    ("numbers", JSON, split([ROW, ROW])),
    ("numbers", JSON, split([ROW], index=[7])),
    ("numbers", JSON, split([ROW[::-1]], columns=COLUMNS[::-1])),
    ("numbers", JSON, split([[*ROW, 9]], columns=[*COLUMNS, "extra"])),
    ("numbers", JSON, split([[1, 2, 3, 4]])),
    ("numbers", JSON, split([["1.5", "2", "3", "4"]])),
    ("numbers", JSON, split([[True, False, True, 1]])),
    ("numbers", JSON, {"dataframe_records": [dict(zip(COLUMNS, ROW, strict=True))] * 3}),
    ("numbers", JSON, {"dataframe_records": [dict(zip(COLUMNS[::-1], ROW, strict=True))]}),
    ("numbers", JSON, {"instances": [dict(zip(COLUMNS, ROW, strict=True))] * 2}),
    ("numbers", JSON, {"inputs": {name: [value] * 2 for name, value in zip(COLUMNS, ROW, strict=True)}}),
    ("numbers", "application/json; charset=utf-8", split([ROW])),
    ("numbers", "text/csv", "a,b,größe ☃,d\n1,2,3,4\n0.5,0,0,-9\n"),
    ("numbers", "text/csv", "d,größe ☃,b,a\n1,2,3,4\n"),
    ("mixed", JSON, {"dataframe_records": [{"age": 30, "plan": "pro", "income": 0.5}, {"age": 50, "plan": "free", "income": -1}]}),
    ("mixed", JSON, {"dataframe_records": [{"age": 30, "plan": None, "income": 0.5}]}),
    ("mixed", JSON, {"dataframe_split": {"columns": ["plan", "age", "income"], "data": [["new 'plan' <b>", 3, 1.5]]}}),
    ("mixed", JSON, {"inputs": {"age": [30, 31], "plan": ["pro", "free"], "income": [1.0, 2.0]}}),
    ("mixed", "text/csv", "age,plan,income\n30,pro,1\n"),
    ("tensor", JSON, {"inputs": [[1.0, 2, 3], [4, 5, 6]]}),
    ("tensor", JSON, {"instances": [[1.0, 2, 3]]}),
]
REFUSED: list[tuple[str, str, Any]] = [
    ("numbers", JSON, b"{"),
    ("numbers", JSON, b""),
    ("numbers", JSON, b"\xff\xfe"),
    ("numbers", JSON, []),
    ("numbers", JSON, 5),
    ("numbers", JSON, {}),
    ("numbers", JSON, {"columns": ["a"], "data": [[1]]}),
    ("numbers", JSON, {"dataframe_split": {"columns": ["a"], "data": [[1]]}, "instances": [1]}),
    ("numbers", JSON, {"dataframe_split": [1]}),
    ("numbers", JSON, {"dataframe_split": {"columns": COLUMNS}}),
    ("numbers", JSON, {"dataframe_split": {"columns": COLUMNS, "data": [ROW], "what": 1}}),
    ("numbers", JSON, split([[1, 2]])),
    ("numbers", JSON, split([ROW[:3]], columns=COLUMNS[:3])),
    ("numbers", JSON, split([["x", 1, 2, 3]])),
    ("numbers", JSON, split([[[1], 1, 2, 3]])),
    ("numbers", JSON, split([[10**400, 1, 2, 3]])),
    ("numbers", JSON, {"dataframe_records": {"a": 1}}),
    ("numbers", JSON, {"inputs": {"a": [1], "b": [1]}}),
    ("numbers", JSON, {"instances": [{"a": 1, "b": 2, "größe ☃": 3, "d": 4}, {"a": 1}]}),
    ("numbers", "text/plain", b"1,2"),
    ("numbers", "application/json; charset=latin-1", split([ROW])),
    ("numbers", "application/json; format=pandas-split", split([ROW])),
    ("numbers", "text/csv", b"a,b\n1,2\n"),
    ("numbers", "text/csv", "a,b,größe ☃,d\nx,1,1,1\n"),
    ("numbers", "text/csv", b"\xff\xfe"),
    ("mixed", JSON, {"dataframe_records": [{"age": 30.5, "plan": "pro", "income": None}]}),
    ("mixed", JSON, {"dataframe_records": [{"age": "old", "plan": "pro", "income": 1}]}),
    ("mixed", JSON, {"dataframe_records": [{"plan": "pro", "income": 1}]}),
    ("tensor", JSON, {"inputs": [[1.0, 2]]}),
    ("tensor", JSON, {"inputs": [["a", "b", "c"]]}),
    ("tensor", JSON, {"inputs": {"x": [1]}}),
]


def both(ours: Host, mlflow_url: str, name: str, kind: str, body: Any) -> tuple[Any, Any]:
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    theirs = requests.post(f"{mlflow_url}/{name}/invocations", data=content, headers={"Content-Type": kind}, timeout=60)
    return ours.ask(name, content, kind), theirs


def test_what_mlflow_answers_we_answer(ours: Host, mlflow_url: str) -> None:
    for name, kind, body in ANSWERED:
        mine, theirs = both(ours, mlflow_url, name, kind, body)
        assert theirs.status_code == 200, (body, theirs.text)
        assert mine.status == 200, (body, mine.body)
        assert json.loads(mine.body) == theirs.json(), body


def test_what_mlflow_refuses_we_refuse_with_its_codes_and_words(ours: Host, mlflow_url: str) -> None:
    different = []
    for name, kind, body in REFUSED:
        mine, theirs = both(ours, mlflow_url, name, kind, body)
        if not 400 <= mine.status < 500:
            different.append((body, mine.status, mine.body, theirs.status_code, theirs.text[:300]))
        elif theirs.status_code == 500:
            continue  # a fault of MLflow's own
        elif theirs.headers["Content-Type"].startswith("text/plain"):
            if (mine.status, mine.body.decode()[:40]) != (theirs.status_code, theirs.text[:40]):
                different.append((body, mine.status, mine.body, theirs.status_code, theirs.text[:300]))
        else:
            own, other = json.loads(mine.body), theirs.json()
            if (mine.status, _told(own)) != (theirs.status_code, _told(other)):
                different.append((body, mine.status, own, theirs.status_code, other))
    assert not different, "\n".join(map(str, different))


def _told(document: dict[str, Any]) -> tuple[str, ...]:
    return (*(str(document[key]) for key in ("error_code", "sqlstate", "error_class")), _opening(document["message"]))


def _opening(message: str) -> str:
    """Return the first words of a message: later ones hold sets, whose order is chance, and in MLflow's the client's data."""
    return message[: len("Failed to predict data")]


def test_a_model_that_is_not_finite_answers_as_mlflows_does(ours: Host, mlflow_url: str) -> None:
    mine, theirs = both(ours, mlflow_url, "tensor", JSON, b'{"inputs": [[NaN, 1, 2], [Infinity, 1, 2]]}')
    # scikit-learn refuses NaN: both call that the client's mistake.
    assert mine.status == theirs.status_code == 400
    assert json.loads(mine.body)["message"][:40] == theirs.json()["message"][:40]
    assert "stack_trace" in json.loads(mine.body)


def test_the_small_routes_are_mlflows(ours: Host, mlflow_url: str) -> None:
    for path in ("/ping", "/health"):
        mine, theirs = ours.ask("numbers", b"", "", path, "GET"), requests.get(f"{mlflow_url}/numbers{path}", timeout=30)
        assert (mine.status, mine.body) == (theirs.status_code, theirs.content)
    assert ours.ask("numbers", b"", "", "/version", "GET").body.count(b".") == 2
    mine, theirs = ours.ask("numbers", b"", "", "/nothing", "GET"), requests.get(f"{mlflow_url}/numbers/nothing", timeout=30)
    assert (mine.status, json.loads(mine.body)) == (theirs.status_code, theirs.json())
    mine, theirs = ours.ask("numbers", b"", "", "/invocations", "GET"), requests.get(f"{mlflow_url}/numbers/invocations", timeout=30)
    assert (mine.status, json.loads(mine.body)) == (theirs.status_code, theirs.json())
