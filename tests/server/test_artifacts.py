"""Artifacts over HTTP: paths that lead out, names that hurt, bytes that could act, files that do not fit into memory."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

SECRET = "outside the artifacts"
PLACES = ("/api/v1/runs/{run}/artifacts/files/{path}", "/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{path}")

UP = ["../" * n + "secret.txt" for n in (1, 3, 5, 8)] + ["a/../../../secret.txt", "a/..", "..", "./x", "a/./b", "a//b"]
ESCAPES = [
    *UP,
    *(quote(path, safe="") for path in UP[:5]),
    *(path.replace(".", "%2e") for path in UP[:5]),
    *(path.replace(".", "%252e").replace("/", "%252f") for path in UP[:5]),
    *(path.replace(".", "%25252e").replace("/", "%25252f") for path in UP[:5]),
    "..%5csecret.txt",
    "..%5c..%5csecret.txt",
    "a%5c..%5c..%5csecret.txt",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "%252fetc%252fpasswd",
    "C:%5cwindows",
    "C:/windows",
    "file:%2f%2f%2fetc%2fpasswd",
    "a%00b",
    "a%2500b",
    "a%0ab",
    "a%0d%0aSet-Cookie:x=1",
    "%c0%ae%c0%ae/secret.txt",
    "%ff",
    "x" * 300,
    "/".join(["x" * 200] * 20),
]


@pytest.fixture(scope="module")
def run_id(jupyter: Any) -> str:
    (jupyter.project / "secret.txt").write_text(SECRET)
    made: str = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]["run_id"]
    return made


def raw(jupyter: Any, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a target as it is: other clients would tidy it up."""
    parts = urlsplit(jupyter.mount)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.putrequest(method, parts.path + target, skip_accept_encoding=True)
        connection.putheader("Authorization", "Bearer the-servers-token")
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "store.db" not in path.name}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_of_the_run(jupyter: Any, run_id: str, place: str, path: str) -> None:
    target = place.format(run=run_id, path=path)
    before = files_below(jupyter.project)
    for method in ("GET", "PUT", "DELETE"):
        status, body = raw(jupyter, method, target, b"planted" if method == "PUT" else None)
        assert 400 <= status < 500, body
        assert SECRET.encode() not in body
        assert b"root:" not in body
    assert files_below(jupyter.project) == before


@pytest.mark.parametrize("path", ["..", "../..", "%2e%2e", "%252e%252e", "/etc", "a/../..", "..%5c..", "%00"])
def test_no_listing_leads_out_of_the_run(jupyter: Any, run_id: str, path: str) -> None:
    for target in (
        f"/api/v1/runs/{run_id}/artifacts?path={path}",
        f"/api/2.0/mlflow/artifacts/list?run_id={run_id}&path={path}",
        f"/api/2.0/mlflow-artifacts/artifacts?path=0/{run_id}/artifacts/{path}",
    ):
        status, body = raw(jupyter, "GET", target)
        assert status == 400, body
        assert b"secret" not in body


@pytest.mark.parametrize("path", ["", "0", "0/run", "0/run/other/x", "x", "0//artifacts/x", "/0/run/artifacts/x"])
def test_a_proxy_path_that_is_not_below_a_run_is_refused(jupyter: Any, path: str) -> None:
    status, _ = raw(jupyter, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", b"x")
    assert 400 <= status < 500


def test_a_run_is_reached_through_its_own_experiment_only(jupyter: Any, run_id: str) -> None:
    status, _ = raw(jupyter, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/99/{run_id}/artifacts/x.txt", b"x")
    assert status == 404


@pytest.mark.parametrize("run", ["..", "%2e%2e", "%252e%252e", "a%2fb", ".", "x%00", "'; drop table runs; --"])
def test_a_hostile_run_id_is_just_not_there(jupyter: Any, run: str) -> None:
    for rest in ("", "/artifacts", "/artifacts/files/x", "/series", "/cells"):
        status, body = raw(jupyter, "GET", f"/api/v1/runs/{quote(run, safe='%')}{rest}")
        assert status in (400, 404), body


@pytest.mark.parametrize(
    "name",
    [
        "a b#c?d.txt",
        "100%.txt",
        "üñí ☃.txt",
        "-rf",
        "'; drop table.txt",
        "<img src=x onerror=alert(1)>.txt",
        'quo"te;.txt',
        "a:b.txt",
        "..a",
        "a..",
        "...x",
    ],
)
def test_odd_names_come_back_as_they_went(jupyter: Any, run_id: str, name: str) -> None:
    path = f"/api/v1/runs/{run_id}/artifacts/files/odd/{quote(name, safe='')}"
    assert jupyter.request("PUT", path, data=name.encode()).status_code == 200
    listed = jupyter.request("GET", f"/api/v1/runs/{run_id}/artifacts?path=odd").json()["artifacts"]
    assert f"odd/{name}" in [artifact["path"] for artifact in listed]
    answer = jupyter.request("GET", path)
    assert answer.content == name.encode()
    assert "\n" not in answer.headers["Content-Disposition"]
    assert jupyter.request("DELETE", path).status_code == 200
    assert jupyter.request("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("name", "media_type", "disposition"),
    [
        ("a.png", "image/png", "inline"),
        ("a.jpg", "image/jpeg", "inline"),
        ("a.csv", "text/csv; charset=utf-8", "inline"),
        ("a.json", "application/json", "inline"),
        ("a.txt", "text/plain; charset=utf-8", "inline"),
        ("a.html", "application/octet-stream", "attachment"),
        ("a.svg", "application/octet-stream", "attachment"),
        ("a.xhtml", "application/octet-stream", "attachment"),
        ("a.xml", "application/octet-stream", "attachment"),
        ("a.js", "application/octet-stream", "attachment"),
        ("a.pdf", "application/octet-stream", "attachment"),
        ("a.ipynb", "application/octet-stream", "attachment"),
        ("a.txt.html", "application/octet-stream", "attachment"),
        ("noextension", "application/octet-stream", "attachment"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_bytes_of_users_cannot_act_on_the_servers_origin(
    jupyter: Any, run_id: str, place: str, name: str, media_type: str, disposition: str
) -> None:
    path = place.format(run=run_id, path=name)
    assert jupyter.request("PUT", path, data=b"<script>alert(1)</script>").status_code == 200
    headers = jupyter.request("GET", path).headers
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    assert "allow-" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == media_type
    assert headers["Content-Disposition"].startswith(disposition + ";")


def test_an_empty_file_comes_in_pieces_without_a_length(jupyter: Any, run_id: str) -> None:
    for place in PLACES:
        path = place.format(run=run_id, path="empty.bin")
        assert jupyter.request("PUT", path, data=iter(())).status_code == 200
        answer = jupyter.request("GET", path)
        assert (answer.status_code, answer.content) == (200, b"")


def peak_memory(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


@pytest.mark.parametrize("place", PLACES)
def test_a_file_larger_than_the_servers_limit_goes_up_and_down_in_constant_memory(jupyter: Any, run_id: str, place: str) -> None:
    piece, count = bytes(range(256)) * 4096, 600  # 600 MiB: above Jupyter's limit for bodies in memory

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield piece

    before = peak_memory(jupyter.process.pid)
    path = place.format(run=run_id, path="large.bin")
    assert jupyter.request("PUT", path, data=pieces()).status_code == 200
    size = 0
    with jupyter.request("GET", path, stream=True) as answer:
        for chunk in answer.iter_content(1 << 20):
            size += len(chunk)
    assert size == count << 20
    assert peak_memory(jupyter.process.pid) - before < 64 << 20
    assert jupyter.request("DELETE", path).status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(jupyter: Any, run_id: str) -> None:
    parts = urlsplit(jupyter.mount)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("PUT", f"{parts.path}/api/v1/runs/{run_id}/artifacts/files/broken.bin")
    connection.putheader("Authorization", "Bearer the-servers-token")
    connection.putheader("Content-Length", str(1 << 20))
    connection.endheaders(b"x" * 1000)
    connection.close()
    assert jupyter.request("GET", f"/api/v1/runs/{run_id}/artifacts/files/broken.bin").status_code == 404
    assert "Traceback" not in jupyter.log
