"""What clients send that no model should see: each gets a clear refusal, and the worker that refused it goes on."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from mlops_nb.serving.limits import Limits
from mlops_nb.serving.records import EndpointInfo
from tests.serving.conftest import Host

COLUMNS = ["a", "b", "größe ☃", "d"]


@pytest.fixture(scope="module")
def numbers(host: Host, models: Path) -> EndpointInfo:
    info = host.start("numbers", models / "numbers", limits=Limits(max_body=8 << 20, max_rows=1000, timeout=20), port=0)
    assert info.state == "ready", host.logs("numbers")
    return info


@pytest.fixture(autouse=True)
def _goes_on(host: Host, numbers: EndpointInfo) -> Any:
    """Whatever a test sent, the same process answers afterwards."""
    yield
    assert numbers.live is not None
    now = host.info("numbers").live
    assert now is not None and (now.pids, now.restarts) == (numbers.live.pids, 0)
    assert host.ask("numbers", {"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, 3, 4]]}}).status == 200


def token(host: Host) -> str:
    return str(host.supervisor.endpoint("numbers").record.token)


def by_port(host: Host, numbers: EndpointInfo, body: Any, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", numbers.port, timeout=60)
    given = {"Authorization": f"Bearer {token(host)}", "Content-Type": "application/json", **headers}
    connection.request("POST", "/invocations", body, {name.replace("_", "-"): value for name, value in given.items() if value})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_a_body_of_a_gigabyte_is_refused_without_being_kept(host: Host, numbers: EndpointInfo) -> None:
    piece = b" " * (1 << 20)
    status, text = by_port(host, numbers, (piece for _ in range(1024)), Content_Length=str(1 << 30))
    assert status == 413 and "larger than 8 MiB" in text
    status, text = by_port(host, numbers, (piece for _ in range(64)))  # in chunks, of a length that nobody announced
    assert status == 413 and "larger than 8 MiB" in text
    live = host.info("numbers").live
    assert live is not None and live.memory < 600 << 20


def test_too_many_rows_are_refused_in_every_form(host: Host) -> None:
    rows = 1_000_000
    for kind, body in (
        ("application/json", b'{"dataframe_split": {"columns": ["a"], "data": [' + b"[]," * rows + b"[]]}}"),
        ("application/json", b'{"dataframe_records": [' + b"{}," * rows + b"{}]}"),
        ("application/json", b'{"instances": [' + b"1," * rows + b"1]}"),
        ("application/json", b'{"inputs": {"a": [' + b"1," * rows + b"1]}}"),
        ("text/csv", b"a\n" + b"1\n" * rows),
    ):
        answer = host.ask("numbers", body, kind)
        assert answer.status == 413, answer.body[:200]
        assert b"1000 at a time" in answer.body
    tensor = {"inputs": [{"name": "x", "shape": [10_000_000, 4], "datatype": "FP64", "data": []}]}
    assert host.ask("numbers", tensor, path="/v2/models/numbers/infer").status == 413


def test_json_that_is_nested_without_end_is_refused(host: Host) -> None:
    for body in (b'{"inputs": ' + b"[" * 1_000_000, b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 100_000):
        answer = host.ask("numbers", body)
        assert answer.status == 400
        assert json.loads(answer.body)["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("value", [10**30, -(10**400), "x", "", {"a": 1}, [1, 2], "1e999x"])
def test_values_that_are_no_numbers_are_the_clients_mistake(host: Host, value: Any) -> None:
    answer = host.ask("numbers", {"dataframe_split": {"columns": COLUMNS, "data": [[value, 2, 3, 4]]}})
    assert answer.status == (200 if value == 10**30 else 400), answer.body
    assert answer.status == 200 or json.loads(answer.body)["message"]


def test_gaps_and_infinities_are_told_by_the_model_and_not_by_a_crash(host: Host) -> None:
    for text in (b"NaN", b"Infinity", b"null"):
        body = b'{"dataframe_split": {"columns": ["a", "b", "gr\xc3\xb6\xc3\x9fe \xe2\x98\x83", "d"], "data": [[' + text + b", 2, 3, 4]]}}"
        answer = host.ask("numbers", body)
        assert answer.status == 400
        assert "stack_trace" in json.loads(answer.body)


def test_names_of_columns_may_be_anything(host: Host) -> None:
    hostile = ["__class__", "a'; DROP TABLE x;--", "<script>alert(1)</script>", "\x00", "a" * 10_000, "💥"]
    for name in hostile:
        answer = host.ask("numbers", {"dataframe_records": [{**dict.fromkeys(COLUMNS, 1), name: 1}]})
        assert answer.status == 200  # columns that the model does not know are left out, as MLflow does
        assert host.ask("numbers", {"dataframe_records": [{name: 1}]}).status == 400


def test_the_port_lets_in_who_has_the_token_and_calls_it_by_its_name(host: Host, numbers: EndpointInfo) -> None:
    body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, 3, 4]]}})
    assert by_port(host, numbers, body)[0] == 200
    assert by_port(host, numbers, body, Authorization="")[0] == 401
    assert by_port(host, numbers, body, Authorization="Bearer wrong")[0] == 401
    assert by_port(host, numbers, body, Host="evil.example")[0] == 403
    assert by_port(host, numbers, body, Origin="http://evil.example")[0] == 403
    assert by_port(host, numbers, body, Content_Encoding="gzip")[0] == 415


def test_the_open_inference_protocol_is_spoken(host: Host) -> None:
    about = json.loads(host.ask("numbers", b"", "", "/v2/models/numbers", "GET").body)
    assert about["versions"] == ["1"] and [one["datatype"] for one in about["inputs"]] == ["FP64"] * 4
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/numbers/ready", "/v2/models/numbers/versions/1/ready", "/v2"):
        assert host.ask("numbers", b"", "", path, "GET").status == 200
    one = {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": [1, 1, 1, 1, -1, -1, -1, -1]}
    answer = host.ask("numbers", {"id": "7", "inputs": [one]}, path="/v2/models/numbers/versions/1/infer")
    told = json.loads(answer.body)
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", "numbers", "1")
    assert told["outputs"] == [{"name": "predict", "shape": [2, 1], "datatype": "INT64", "data": [1, 0]}]
    columns = [{"name": name, "shape": [2, 1], "datatype": "FP32", "data": [1, -1]} for name in COLUMNS]
    assert json.loads(host.ask("numbers", {"inputs": columns}, path="/v2/models/numbers/infer").body)["outputs"][0]["data"] == [1, 0]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        {},
        {"inputs": []},
        {"inputs": [{"name": "x"}]},
        {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1]}]},
        {"inputs": [{"name": "x", "shape": [-1], "datatype": "FP64", "data": [1]}]},
        {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}]},
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "WHAT", "data": [1, 2, 3, 4]}]},
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ["a", 2, 3, 4]}]},
        {"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1]}] * 2},
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}], "id": 5},
    ],
)
def test_what_is_no_inference_request_is_refused_in_the_protocols_form(host: Host, body: Any) -> None:
    answer = host.ask("numbers", body, path="/v2/models/numbers/infer")
    assert answer.status == 400, answer.body
    assert set(json.loads(answer.body)) == {"error"}


def test_figures_and_pages_tell_of_the_model(host: Host) -> None:
    host.ask("numbers", {"dataframe_split": {"columns": COLUMNS, "data": [[1, 2, 3, 4]] * 3}})
    host.ask("numbers", b"{")
    text = host.ask("numbers", b"", "", "/metrics", "GET").body.decode()
    labels = 'model="numbers",'
    assert f'mlops_nb_requests_total{{{labels}protocol="invocations",status="200",version="1"}}' in text
    assert f'mlops_nb_errors_total{{code="BAD_REQUEST",{labels}version="1"}}' in text
    for name in ("mlops_nb_request_seconds_bucket", "mlops_nb_batch_rows_sum", "mlops_nb_queue", "mlops_nb_model_info"):
        assert name in text
    document = json.loads(host.ask("numbers", b"", "", "/openapi.json", "GET").body)
    record = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"][
        "dataframe_records"
    ]
    assert list(record["items"]["properties"]) == COLUMNS
    page = host.ask("numbers", b"", "", "/", "GET").body.decode()
    assert "größe ☃" in page and "<script" not in page and "http" not in page.replace("http://www.w3", "")
