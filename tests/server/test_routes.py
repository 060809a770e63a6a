"""The forms of answers: what is not there, what is wrong, what is too large."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import TOKEN


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/api/2.0/mlflow/workspaces",
        "/api/2.0/mlflow/unified-traces",
        "/v1/metrics",
        "/api/v1/",
        "/api/v1/status/",
    ],
)
def test_a_route_that_is_not_there_is_a_404_without_json(jupyter: Any, path: str) -> None:
    for method in ("GET", "POST"):
        answer = jupyter.request(method, path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_thing_that_is_not_there_is_a_404_with_json(jupyter: Any) -> None:
    for path in (
        "/api/v1/runs/" + "0" * 32,
        "/api/2.0/mlflow/runs/get?run_id=" + "0" * 32,
        "/api/2.0/mlflow/experiments/get?experiment_id=77",
    ):
        answer = jupyter.request("GET", path)
        assert answer.status_code == 404
        assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_a_wrong_method_names_the_right_ones(jupyter: Any) -> None:
    answer = jupyter.request("DELETE", "/api/2.0/mlflow/experiments/search")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"


def test_health_and_version_are_what_clients_probe_for(jupyter: Any) -> None:
    assert jupyter.request("GET", "/health").text == "OK"
    assert tuple(int(part) for part in jupyter.request("GET", "/version").text.split(".")) >= (3, 4, 0)
    assert jupyter.request("GET", "/api/3.0/mlflow/server-info").json()["workspaces_enabled"] is False


def test_a_missing_field_and_a_wrong_one_are_told_in_mlflows_words(jupyter: Any) -> None:
    missing = jupyter.request("POST", "/api/2.0/mlflow/experiments/create", json={})
    assert missing.status_code == 400
    assert missing.json()["message"].startswith("Missing value for required parameter 'name'.")
    wrong = jupyter.request("POST", "/api/2.0/mlflow/experiments/create", json={"name": 123})
    assert wrong.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert wrong.json()["message"].startswith("Invalid value 123 for parameter 'name' supplied")


def test_a_taken_name_is_a_400_as_in_mlflow(jupyter: Any) -> None:
    assert jupyter.request("POST", "/api/2.0/mlflow/experiments/create", json={"name": "taken"}).status_code == 200
    again = jupyter.request("POST", "/api/2.0/mlflow/experiments/create", json={"name": "taken"})
    assert (again.status_code, again.json()["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")


def test_a_body_that_is_not_json_is_refused(jupyter: Any) -> None:
    form = jupyter.request("POST", "/api/2.0/mlflow/experiments/create", data={"name": "x"})
    assert form.status_code == 400
    assert "Content-Type must be one of" in form.json()["message"]
    broken = jupyter.request("POST", "/api/v1/experiments", data=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400


def test_a_json_body_over_the_limit_is_a_clear_413(jupyter: Any) -> None:
    body = b'{"name": "' + b"x" * (17 << 20) + b'"}'
    for path in ("/api/v1/experiments", "/api/2.0/mlflow/runs/log-batch"):
        answer = jupyter.request("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert "16 MiB" in answer.json()["message"]


def test_a_wrong_filter_tells_where_and_how(jupyter: Any) -> None:
    answer = jupyter.request("POST", "/api/v1/runs/search", json={"query": "metrics.acc >> 1"})
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert answer.json()["position"] == 13
    assert answer.json()["hint"]


def test_the_search_box_takes_filters_and_free_text(jupyter: Any) -> None:
    experiment = jupyter.request("POST", "/api/v1/experiments", json={"name": "box"}).json()["experiment_id"]
    for name, lr in (("calm-ibis", "1"), ("bold-kite", "2")):
        run = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": experiment, "name": name}).json()["run"]
        assert jupyter.request("POST", f"/api/v1/runs/{run['run_id']}/batch", json={"params": {"lr": lr}}).status_code == 200
    for query, names in (("IBIS", ["calm-ibis"]), ("params.lr = '2'", ["bold-kite"]), ("", ["bold-kite", "calm-ibis"])):
        found = jupyter.request("POST", "/api/v1/runs/search", json={"query": query, "experiment_ids": [experiment]}).json()
        assert sorted(run["name"] for run in found["runs"]) == names
        assert found["revision"] >= max(run["revision"] for run in found["runs"])


def test_an_answer_holds_no_number_that_json_cannot_name(jupyter: Any) -> None:
    run = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]
    points = [{"key": "m", "value": v, "step": s, "timestamp": 1} for s, v in enumerate([1.5, "NaN", "Infinity", "-Infinity"])]
    assert jupyter.request("POST", f"/api/v1/runs/{run['run_id']}/batch", json={"metrics": points}).status_code == 200
    series = jupyter.request("GET", f"/api/v1/runs/{run['run_id']}/series?key=m").json()["series"]
    assert [point[2] for point in series[0]["points"]] == [1.5, "NaN", "Infinity", "-Infinity"]
    history = jupyter.request("GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run['run_id']}&metric_key=m").json()
    assert [point["value"] for point in history["metrics"]] == [1.5, "NaN", "Infinity", "-Infinity"]
    latest = jupyter.request("GET", f"/api/v1/runs/{run['run_id']}").json()["run"]["metrics"]
    assert latest == [{"key": "m", "value": "-Infinity", "step": 3, "timestamp": 1, "cell": None}]


def test_followers_are_told_of_changes_and_go_back_with_a_store_that_was_replaced(jupyter: Any) -> None:
    before = jupyter.request("GET", "/api/v1/status").json()["revision"]
    run = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]
    changes = jupyter.request("GET", f"/api/v1/changes?since={before}").json()
    assert [one["run_id"] for one in changes["runs"]] == [run["run_id"]]
    assert changes["revision"] > before
    assert changes["more"] is False
    ahead = jupyter.request("GET", f"/api/v1/changes?since={changes['revision'] + 1000}").json()
    assert ahead == {"revision": changes["revision"], "runs": [], "more": False}


def test_a_write_whose_client_has_left_is_done_and_is_no_fault_in_the_log(jupyter: Any) -> None:
    run = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]["run_id"]
    parts = urlsplit(jupyter.mount)
    for number in range(20):
        body = json.dumps({"tags": {f"k{number}": "v"}})
        connection = http.client.HTTPConnection(str(parts.hostname), int(parts.port or 0))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request("POST", f"{parts.path}/api/v1/runs/{run}/batch", body, headers)
        connection.close()
    deadline = time.monotonic() + 30
    while len([key for key in jupyter.request("GET", f"/api/v1/runs/{run}").json()["run"]["tags"] if key[0] == "k"]) < 20:
        assert time.monotonic() < deadline
    assert "Uncaught exception" not in jupyter.log
