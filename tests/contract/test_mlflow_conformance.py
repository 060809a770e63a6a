"""Every call of MLflow's client that we serve, one after the other, and what each says: `mlflow_calls.txt` is the table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.contract.test_mlflow_registry import mlflow_server  # noqa: F401 - a fixture
from tests.team import TOKEN, TeamProcess, environment

pytest.importorskip("mlflow", reason="The client whose behaviour is the contract.")

pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).parent
TABLE = HERE / "mlflow_calls.txt"


class Line(NamedTuple):
    """A call, what it says ("ok" or the error's code), and why MLflow's own server says something else, if it does."""

    area: str
    call: str
    outcome: str
    why: str


def table() -> list[Line]:
    lines: list[Line] = []
    area = ""
    for text in TABLE.read_text(encoding="utf-8").splitlines():
        if text.startswith("## "):
            area = text[3:]
        elif text and not text.startswith(("#", "| ")):
            call, _, why = text.partition("  #~ ")
            call, _, outcome = call.partition("  #! ")
            lines.append(Line(area, call, outcome or "ok", why))
    return lines


LINES = table()
AREAS = list(dict.fromkeys(line.area for line in LINES))


def walk(folder: Path, uri: str, **variables: str) -> list[dict[str, Any]]:
    """Return what a client says of each call."""
    out = folder / "said.json"
    settings = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, str(HERE / "mlflow_walk.py"), str(TABLE), str(out)],
        env=environment(folder) | settings | {"MLFLOW_TRACKING_URI": uri} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said: list[dict[str, Any]] = json.loads(out.read_text())
    assert [one["call"] for one in said] == [line.call for line in LINES]
    return said


@pytest.fixture(scope="module")
def said(team: TeamProcess, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return walk(tmp_path_factory.mktemp("client"), team.mount, MLFLOW_TRACKING_TOKEN=TOKEN)


@pytest.mark.parametrize("area", AREAS)
def test_each_call_says_what_the_table_says(said: list[dict[str, Any]], area: str) -> None:
    pairs = [(line, one) for line, one in zip(LINES, said, strict=True) if line.area == area]
    assert [(line.call, one["outcome"], one.get("message")) for line, one in pairs if one["outcome"] != line.outcome] == []


@pytest.mark.slow
def test_mlflows_own_server_differs_where_the_table_says_so_and_nowhere_else(
    said: list[dict[str, Any]],
    mlflow_server: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    theirs = walk(tmp_path, mlflow_server)
    kept = ("outcome", "value")
    differ = [tuple(one[key] for key in kept) != tuple(other[key] for key in kept) for one, other in zip(said, theirs, strict=True)]
    unexpected = [
        (line.call, [one[key] for key in kept], [other[key] for key in kept])
        for line, one, other, is_other in zip(LINES, said, theirs, differ, strict=True)
        if is_other and not line.why
    ]
    assert unexpected == []
    assert [line.call for line, is_other in zip(LINES, differ, strict=True) if line.why and not is_other] == []


def test_the_table_has_every_method_of_the_client() -> None:
    """What it lacks is not served, or needs packages that not everybody has."""
    from mlflow import MlflowClient

    used = Counter(re.findall(r"client\.(\w+)", TABLE.read_text(encoding="utf-8")))
    public = {name for name, value in vars(MlflowClient).items() if not name.startswith("_") and callable(value)}
    not_served = ("mcp_", "workspace")
    assert {name for name in public if name not in used and not any(word in name for word in not_served)} <= {"log_figure"}


# What only requests of other programs bring about.


def post(team: TeamProcess, path: str, body: object, status: int = 200) -> dict[str, Any]:
    answer = team.request("POST", "/api/2.0/mlflow" + path, json=body)
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture
def run_id(team: TeamProcess) -> str:
    return str(post(team, "/runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"])


def data_of(team: TeamProcess, run_id: str, kind: str) -> dict[str, str]:
    run = team.request("GET", "/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]
    return {one["key"]: one["value"] for one in run["data"].get(kind, [])}


def test_values_that_are_too_long_are_cut_as_mlflow_cuts_them(team: TeamProcess, run_id: str) -> None:
    long = "v" * 9000
    for _ in range(2):  # once more is the same value, not a change
        post(team, "/runs/log-parameter", {"run_id": run_id, "key": "one", "value": long})
        post(team, "/runs/log-batch", {"run_id": run_id, "params": [{"key": "two", "value": long}], "tags": [{"key": "a", "value": long}]})
    post(team, "/runs/set-tag", {"run_id": run_id, "key": "b", "value": long})
    assert {key: len(value) for key, value in data_of(team, run_id, "params").items()} == {"one": 6000, "two": 6000}
    tags = data_of(team, run_id, "tags")
    assert (len(tags["a"]), len(tags["b"])) == (8000, 8000)


def test_clients_of_mlflow_2_write_and_read_traces_in_their_way(team: TeamProcess) -> None:
    experiment = post(team, "/experiments/create", {"name": "traces of old clients"})["experiment_id"]
    begin = {
        "experiment_id": experiment,
        "timestamp_ms": 1700000000000,
        "request_metadata": [{"key": "mlflow.traceInputs", "value": '{"x": 1}'}],
        "tags": [{"key": "mlflow.traceName", "value": "f"}],
    }
    begun = post(team, "/traces", begin)["trace_info"]
    request_id = begun["request_id"]
    assert begun["status"] == "IN_PROGRESS" and "execution_time_ms" not in begun
    tags = {tag["key"]: tag["value"] for tag in begun["tags"]}
    assert tags == {"mlflow.traceName": "f", "mlflow.artifactLocation": f"mlflow-artifacts:/{experiment}/traces/{request_id}/artifacts"}
    end = {"timestamp_ms": "1700000000250", "status": "ERROR", "request_metadata": [{"key": "mlflow.traceOutputs", "value": "2"}]}
    ended = team.request("PATCH", f"/api/2.0/mlflow/traces/{request_id}", json=end).json()["trace_info"]
    assert (ended["status"], ended["execution_time_ms"], ended["timestamp_ms"]) == ("ERROR", 250, 1700000000000)
    assert {one["key"] for one in ended["request_metadata"]} == {"mlflow.traceInputs", "mlflow.traceOutputs"}
    assert team.request("GET", f"/api/2.0/mlflow/traces/{request_id}/info").json() == {"trace_info": ended}
    query = {"experiment_ids": [experiment], "filter": "status = 'ERROR'", "max_results": 10}
    assert team.request("GET", "/ajax-api/2.0/mlflow/traces", params=query).json() == {"traces": [ended]}
    seen = team.request("GET", f"/api/3.0/mlflow/traces/{request_id}").json()["trace"]["trace_info"]
    assert (seen["request_preview"], seen["response_preview"], seen["execution_duration"]) == ('{"x": 1}', "2", "0.250s")
    wrong = team.request("PATCH", f"/api/2.0/mlflow/traces/{request_id}", json={"timestamp_ms": 1, "status": "DONE"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert team.request("GET", "/api/2.0/mlflow/traces/tr-none/info").status_code == 404
    gone = post(team, "/traces/delete-traces", {"experiment_id": experiment, "request_ids": [request_id]})
    assert gone == {"traces_deleted": 1}


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow", "/ajax-api/2.0/mlflow"])
def test_requests_in_the_manner_of_other_languages_are_understood(team: TeamProcess, prefix: str) -> None:
    """R and Java send what protobuf's JSON allows: other names, whole numbers as text, enums as numbers, lists in queries."""
    run = post(team, "/runs/create", {"experimentId": "0", "startTime": "1700000000000", "runName": "java", "userId": None})["run"]["info"]
    assert (run["start_time"], run["run_name"]) == (1700000000000, "java")
    point = {"runUuid": run["run_id"], "key": "m", "value": "Infinity", "timestamp": "1700000000000", "step": "7"}
    assert team.request("POST", prefix + "/runs/log-metric", json=point).json() == {}
    query = {"run_uuid": run["run_id"], "metric_key": "m"}
    points = team.request("GET", prefix + "/metrics/get-history", params=query).json()["metrics"]
    assert points == [{"key": "m", "value": "Infinity", "timestamp": 1700000000000, "step": 7}]
    search = {"experimentIds": ["0"], "runViewType": 1, "maxResults": "5", "filter": f"attributes.run_id = '{run['run_id']}'"}
    assert len(team.request("POST", prefix + "/runs/search", json=search).json()["runs"]) == 1
    ended = team.request("POST", prefix + "/runs/update", json={"run_id": run["run_id"], "status": 3, "end_time": "1700000000001"}).json()
    assert (ended["run_info"]["status"], ended["run_info"]["end_time"]) == ("FINISHED", 1700000000001)
    listed = team.request("GET", prefix + "/experiments/search", params={"max_results": "5", "view_type": "ALL", "order_by": ["name ASC"]})
    assert "Default" in [experiment["name"] for experiment in listed.json()["experiments"]]
    inside = team.request(
        "POST", prefix + "/runs/search", data=json.dumps(json.dumps(search)), headers={"Content-Type": "application/json"}
    )
    assert len(inside.json()["runs"]) == 1
