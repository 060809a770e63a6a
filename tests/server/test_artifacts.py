"""Artifacts over HTTP: paths that lead out, names that hurt, bytes that could act, files that do not fit into memory."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

SECRET = "outside the artifacts"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"
PLACES = ("/api/v1/runs/{run}/artifacts/files/{path}", PROXY + "/0/{run}/artifacts/{path}")

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
    "%c3%a9" * 126,
    "a%c2%85b",
    "a%7fb",
    "a%252500b",
    ".mlops-partial-1",
    "a/.mlops-partial-0123456789abcdef",
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
        "．．",
        "．．／．．／etc",
        "trailing ",
        "trailing.",
        "CON",
        "%2e%2e name",
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


def up_and_down(server: Any, path: str, megabytes: int) -> int:
    """Send a file of random bytes, fetch it and compare the two; return by how much the server's memory grew at most."""
    block = os.urandom(1 << 20)
    sent, found = hashlib.sha256(), hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for number in range(megabytes):
            piece = number.to_bytes(8, "big") + block[8:]
            sent.update(piece)
            yield piece

    before = peak_memory(server.process.pid)
    assert server.request("PUT", path, data=pieces()).status_code == 200
    with server.request("GET", path, stream=True) as answer:
        assert answer.headers["Content-Length"] == str(megabytes << 20)
        for chunk in answer.iter_content(1 << 20):
            found.update(chunk)
    assert found.digest() == sent.digest()
    assert server.request("DELETE", path).status_code == 200
    return peak_memory(server.process.pid) - before


@pytest.mark.parametrize("place", PLACES)
def test_a_file_larger_than_the_servers_limit_goes_up_and_down_in_constant_memory(jupyter: Any, run_id: str, place: str) -> None:
    # 600 MiB: above Jupyter's limit for bodies in memory.
    assert up_and_down(jupyter, place.format(run=run_id, path="large.bin"), 600) < 64 << 20


@pytest.mark.slow
def test_a_gigabyte_goes_up_and_down_in_constant_memory(jupyter: Any, run_id: str) -> None:
    assert up_and_down(jupyter, PLACES[1].format(run=run_id, path="huge.bin"), 1024) < 64 << 20


@pytest.mark.parametrize("sent", [1000, 3 << 20])
def test_an_upload_that_breaks_off_leaves_nothing(jupyter: Any, run_id: str, sent: int) -> None:
    parts = urlsplit(jupyter.mount)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.putrequest("PUT", f"{parts.path}/api/v1/runs/{run_id}/artifacts/files/d/broken.bin")
    connection.putheader("Authorization", "Bearer the-servers-token")
    connection.putheader("Content-Length", str(10 << 20))
    connection.endheaders(b"x" * sent)
    folder = jupyter.project / ".mlops" / "artifacts" / "0" / run_id / "artifacts" / "d"
    deadline = time.monotonic() + 20
    while sent > 1 << 20 and not (folder.exists() and list(folder.iterdir())):
        assert time.monotonic() < deadline, "The upload does not reach the folder while it comes."
    connection.close()
    while folder.exists() and list(folder.iterdir()):
        assert time.monotonic() < deadline, "A part of the upload stays."
    assert jupyter.request("GET", f"/api/v1/runs/{run_id}/artifacts/files/d/broken.bin").status_code == 404
    assert "Traceback" not in jupyter.log


def test_an_upload_to_nowhere_is_refused_without_being_written(jupyter: Any, run_id: str) -> None:
    before = files_below(jupyter.project)
    for size in (10, 8 << 20):
        assert jupyter.request("PUT", "/api/v1/runs/none/artifacts/files/a", data=b"x" * size).status_code == 404
    assert files_below(jupyter.project) == before


# -- checked and resumed transfers


def digests(data: bytes) -> list[dict[str, str]]:
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return [
        {"Content-MD5": md5},
        {"x-amz-checksum-sha256": sha256},
        {"Digest": f"SHA-256={sha256}"},
        {"Repr-Digest": f"sha-256=:{sha256}:"},
        {"Content-Digest": f"unknown=:AAAA:, sha-256=:{sha256}:"},
    ]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("size", [10, 3 << 20])
def test_an_upload_is_compared_with_the_digest_that_comes_with_it(jupyter: Any, run_id: str, place: str, number: int, size: int) -> None:
    path, data = place.format(run=run_id, path="checked"), b"d" * size
    jupyter.request("PUT", path, data=b"old")
    answer = jupyter.request("PUT", path, data=data, headers=digests(data + b"!")[number])
    assert answer.status_code == 400, answer.text
    assert "nothing was stored" in answer.json()["message"]
    assert jupyter.request("GET", path).content == b"old"
    assert jupyter.request("PUT", path, data=data, headers=digests(data)[number]).status_code == 200
    assert jupyter.request("GET", path).content == data


@pytest.mark.parametrize(
    "header", [{"Content-MD5": "no base64"}, {"Content-MD5": "AAAA"}, {"Repr-Digest": "sha-256"}, {"Digest": "md5=x;"}]
)
def test_a_digest_that_cannot_be_one_is_refused(jupyter: Any, run_id: str, header: dict[str, str]) -> None:
    assert jupyter.request("PUT", PLACES[0].format(run=run_id, path="never"), data=b"x", headers=header).status_code == 400
    assert jupyter.request("GET", PLACES[0].format(run=run_id, path="never")).status_code == 404


def test_an_answer_to_an_upload_tells_what_arrived(jupyter: Any, run_id: str) -> None:
    answer = jupyter.request("PUT", PLACES[0].format(run=run_id, path="told"), data=b"what").json()
    assert answer["sha256"] == hashlib.sha256(b"what").hexdigest()


@pytest.mark.parametrize("place", PLACES)
def test_a_download_can_be_asked_for_in_parts_and_be_resumed(jupyter: Any, run_id: str, place: str) -> None:
    path, data = place.format(run=run_id, path="ranges.txt"), bytes(range(100))
    jupyter.request("PUT", path, data=data)
    whole = jupyter.request("GET", path)
    tag = whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert tag.startswith('"') and tag.endswith('"')

    def get(**headers: str) -> Any:
        return jupyter.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    for asked, start, end in (
        ("0-0", 0, 1),
        ("10-19", 10, 20),
        ("90-", 90, 100),
        ("-10", 90, 100),
        ("50-1000", 50, 100),
        ("-1000", 0, 100),
    ):
        answer = get(Range=f"bytes={asked}")
        assert (answer.status_code, answer.content) == (206, data[start:end]), asked
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/100"
        assert answer.headers["Content-Length"] == str(end - start)
        assert answer.headers["ETag"] == tag
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    for asked in ("100-", "1000-2000", "-0"):
        answer = get(Range=f"bytes={asked}")
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */100"), asked
    for asked in ("bytes=5-2", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=" + "9" * 30 + "-"):
        assert get(Range=asked).status_code == 200, asked
    assert get(Range="bytes=10-", If_Range=tag).status_code == 206
    assert get(Range="bytes=10-", If_Range='"another"').content == data
    for known in (tag, f'"x", W/{tag}', "*"):
        answer = get(If_None_Match=known)
        assert (answer.status_code, answer.content) == (304, b"")
    assert get(If_None_Match='"another"').status_code == 200
    jupyter.request("PUT", path, data=data[::-1])
    assert get(Range="bytes=10-", If_Range=tag).content == data[::-1]
    assert get(If_None_Match=tag).status_code == 200


@pytest.mark.parametrize("place", PLACES)
def test_the_head_of_a_file_tells_its_length_and_tag_without_its_bytes(jupyter: Any, run_id: str, place: str) -> None:
    path = place.format(run=run_id, path="head.txt")
    jupyter.request("PUT", path, data=b"x" * 5000)
    got, head = jupyter.request("GET", path), jupyter.request("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Content-Disposition", "Content-Security-Policy"):
        assert head.headers[name] == got.headers[name], name
    assert jupyter.request("HEAD", place.format(run=run_id, path="none")).status_code == 404
    assert jupyter.request("HEAD", path, token=None).status_code == 403
    assert jupyter.request("HEAD", "/api/v1/status").status_code == 405


def test_a_file_is_not_compressed_on_its_way(jupyter: Any, run_id: str) -> None:
    path = PLACES[0].format(run=run_id, path="zeros.txt")
    jupyter.request("PUT", path, data=b"0" * 100_000)
    answer = jupyter.request("GET", path, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-49999"})
    assert (answer.status_code, len(answer.content)) == (206, 50_000)
    assert "Content-Encoding" not in answer.headers


# -- owners and places


def create(jupyter: Any, path: str, **body: Any) -> Any:
    answer = jupyter.request("POST", f"/api/2.0/mlflow/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_files_of_logged_models_and_traces_go_through_the_proxy(jupyter: Any, run_id: str) -> None:
    model_id = create(jupyter, "logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    trace = {"trace_id": "tr-1", "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}}
    made = jupyter.request(
        "POST",
        "/api/3.0/mlflow/traces",
        json={"trace": {"trace_info": {**trace, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}}},
    )
    assert made.status_code == 200, made.text
    for owner in (f"models/{model_id}", "traces/tr-1"):
        place = f"{PROXY}/0/{owner}/artifacts"
        assert jupyter.request("PUT", f"{place}/d/a.txt", data=b"mine").status_code == 200
        assert jupyter.request("GET", f"{place}/d/a.txt").content == b"mine"
        if owner.startswith("models/"):
            by_id = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
            part = jupyter.request("GET", by_id, params={"artifact_file_path": "d/a.txt"}, headers={"Range": "bytes=1-2"})
            assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"in", "bytes 1-2/4")
        listed = jupyter.request("GET", PROXY, params={"path": f"0/{owner}/artifacts"}).json()
        assert listed == {"files": [{"path": "d", "is_dir": True}]}
        assert (jupyter.project / ".mlops" / "artifacts" / "0" / owner / "artifacts" / "d" / "a.txt").read_bytes() == b"mine"
        assert jupyter.request("PUT", f"{PROXY}/7/{owner}/artifacts/a", data=b"x").status_code == 404
        assert jupyter.request("DELETE", f"{place}/d").status_code == 200
        assert jupyter.request("GET", f"{place}/d/a.txt").status_code == 404
    for nobody in ("models/m-none", "traces/tr-none", "others/x", f"models/{run_id}"):
        assert jupyter.request("PUT", f"{PROXY}/0/{nobody}/artifacts/a", data=b"x").status_code == 404


def test_the_root_of_an_owner_can_be_emptied(jupyter: Any) -> None:
    run = create(jupyter, "runs/create", experiment_id="0")["run"]["info"]["run_id"]
    place = f"{PROXY}/0/{run}/artifacts"
    for name in ("a", "d/b"):
        jupyter.request("PUT", f"{place}/{name}", data=b"x")
    assert jupyter.request("DELETE", f"{place}/").status_code == 200
    assert jupyter.request("GET", f"/api/v1/runs/{run}/artifacts").json() == {"artifacts": []}


@pytest.mark.parametrize("location", ["mlflow-artifacts:/team/x", "mlflow-artifacts://host:8080/team/y", "mlflow-artifacts:/0/models"])
def test_files_follow_the_location_of_their_experiment_in_name_and_their_ids_in_place(jupyter: Any, location: str) -> None:
    experiment = create(jupyter, "experiments/create", name=location, artifact_location=location)["experiment_id"]
    info = create(jupyter, "runs/create", experiment_id=experiment)["run"]["info"]
    assert info["artifact_uri"] == f"{location}/{info['run_id']}/artifacts"
    path = urlsplit(info["artifact_uri"]).path
    assert jupyter.request("PUT", f"{PROXY}{path}/a.txt", data=b"here").status_code == 200
    assert jupyter.request("GET", f"{PROXY}{path}/a.txt").content == b"here"
    place = jupyter.project / ".mlops" / "artifacts" / experiment / info["run_id"] / "artifacts" / "a.txt"
    assert place.read_bytes() == b"here"
    assert jupyter.request("GET", f"{PROXY}/{experiment}/{info['run_id']}/artifacts/a.txt").status_code == 404


@pytest.mark.parametrize(
    "location",
    ["s3://somebodys/bucket", "file:///etc", "{root}-twin/x", "{root}/../..", "http://127.0.0.1:1/x", "mlflow-artifacts:/../../x"],
)
def test_a_location_that_is_not_the_servers_own_is_handed_out_and_never_followed(jupyter: Any, location: str) -> None:
    root = (jupyter.project / ".mlops" / "artifacts").as_uri()
    location = location.format(root=root)
    before = files_below(jupyter.project.parent)
    made = jupyter.request("POST", "/api/2.0/mlflow/experiments/create", json={"name": location, "artifact_location": location})
    if made.status_code == 400:
        return
    experiment = made.json()["experiment_id"]
    info = create(jupyter, "runs/create", experiment_id=experiment)["run"]["info"]
    assert info["artifact_uri"].startswith(location)
    run = info["run_id"]
    if not location.startswith("mlflow-artifacts:"):
        for method, path in (
            ("GET", f"/api/v1/runs/{run}/artifacts"),
            ("GET", f"/api/v1/runs/{run}/artifacts/files/passwd"),
            ("PUT", f"/api/v1/runs/{run}/artifacts/files/planted"),
            ("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}"),
            ("GET", f"/get-artifact?run_id={run}&path=passwd"),
        ):
            answer = jupyter.request(method, path, data=b"x" if method == "PUT" else None)
            assert answer.status_code == 400, answer.text
            assert "does not serve" in answer.json()["message"] or "Invalid path" in answer.json()["message"]
    assert jupyter.request("PUT", f"{PROXY}/{experiment}/{run}/artifacts/planted", data=b"x").status_code in (400, 404)
    assert files_below(jupyter.project.parent) == before


def test_a_location_below_the_servers_own_root_is_served(jupyter: Any) -> None:
    root = (jupyter.project / ".mlops" / "artifacts").as_uri()
    experiment = create(jupyter, "experiments/create", name="below", artifact_location=f"{root}/by-name")["experiment_id"]
    run = create(jupyter, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    assert jupyter.request("PUT", f"/api/v1/runs/{run}/artifacts/files/a", data=b"x").status_code == 200
    assert (jupyter.project / ".mlops" / "artifacts" / "by-name" / run / "artifacts" / "a").read_bytes() == b"x"


@pytest.mark.parametrize("run", ["models", "traces"])
def test_a_run_cannot_take_the_folder_of_all_models_or_traces(jupyter: Any, run: str) -> None:
    body = {"source": run, "events": [{"t": "run", "seq": 1, "ts": 1, "experiment": "Default", "name": "x"}]}
    assert jupyter.request("POST", f"/api/v1/runs/{run}/events", json=body).status_code == 200
    assert jupyter.request("PUT", f"/api/v1/runs/{run}/artifacts/files/a", data=b"x").status_code == 400
    assert not (jupyter.project / ".mlops" / "artifacts" / "0" / run / "artifacts").exists()


@pytest.mark.parametrize("experiment", ["..", "%2e%2e", ".", "%252e%252e", "0%2f..", "0%00", "-1", "0x0", "'; drop"])
def test_a_hostile_experiment_id_leads_nowhere(jupyter: Any, run_id: str, experiment: str) -> None:
    for run in (run_id, "../x", "..%2fx", "%252e%252e%252fx"):
        status, _ = raw(jupyter, "PUT", f"{PROXY}/{quote(experiment, safe='%')}/{run}/artifacts/x", b"x")
        assert status in (400, 404)


def test_links_in_a_runs_folder_lead_nobody_out(jupyter: Any, run_id: str) -> None:
    jupyter.request("PUT", PLACES[0].format(run=run_id, path="real/a"), data=b"x")
    folder = jupyter.project / ".mlops" / "artifacts" / "0" / run_id / "artifacts"
    (folder / "link.txt").symlink_to(jupyter.project / "secret.txt")
    (folder / "links").symlink_to(jupyter.project)
    for place in PLACES:
        for path in ("link.txt", "links/secret.txt"):
            assert jupyter.request("GET", place.format(run=run_id, path=path)).status_code == 404
        assert jupyter.request("PUT", place.format(run=run_id, path="links/planted"), data=b"x").status_code == 400
    assert not (jupyter.project / "planted").exists()
    assert "link" not in jupyter.request("GET", f"/api/v1/runs/{run_id}/artifacts").text
    for path in ("link.txt", "links"):
        jupyter.request("DELETE", PLACES[0].format(run=run_id, path=path))
    assert (jupyter.project / "secret.txt").read_text() == SECRET


# -- the page's own calls


def test_a_file_is_read_and_written_by_run_id_and_path(jupyter: Any, run_id: str) -> None:
    target = {"run_uuid": run_id, "path": "page/a b.html"}
    sent = jupyter.request("POST", "/ajax-api/2.0/mlflow/upload-artifact", params=target, data=b"<b>")
    assert (sent.status_code, sent.json()) == (200, {})
    answer = jupyter.request("GET", "/get-artifact", params=target)
    assert answer.content == b"<b>"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    for path in ("../secret.txt", "", "/etc/passwd", "%2e%2e/x"):
        assert jupyter.request("GET", "/get-artifact", params={"run_id": run_id, "path": path}).status_code == 400
        assert jupyter.request("POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_id": run_id, "path": path}).status_code == 400
    assert jupyter.request("GET", "/get-artifact", params={"path": "a"}).status_code == 400


def test_a_file_of_a_model_version_is_read_by_its_name(jupyter: Any, run_id: str) -> None:
    jupyter.request("PUT", PLACES[0].format(run=run_id, path="model/MLmodel"), data=b"flavors: {}")
    create(jupyter, "registered-models/create", name="churn")
    version = create(jupyter, "model-versions/create", name="churn", source=f"runs:/{run_id}/model", run_id=run_id)["model_version"][
        "version"
    ]
    target = {"name": "churn", "version": version, "path": "MLmodel"}
    assert jupyter.request("GET", "/model-versions/get-artifact", params=target).content == b"flavors: {}"
    for wrong in ({"path": "../secret.txt"}, {"version": "one"}, {"path": ""}):
        assert jupyter.request("GET", "/model-versions/get-artifact", params={**target, **wrong}).status_code == 400
    for missing in ({"path": "none"}, {"version": "99"}, {"name": "none"}):
        assert jupyter.request("GET", "/model-versions/get-artifact", params={**target, **missing}).status_code == 404


def test_a_folder_cannot_be_had_past_the_server(jupyter: Any, run_id: str) -> None:
    base = "/api/2.0/mlflow-artifacts"
    for method, path, body in (
        ("POST", f"{base}/mpu/create/0/{run_id}/artifacts", {"path": "a.bin", "num_parts": 2}),
        ("POST", f"{base}/mpu/complete/0/{run_id}/artifacts", {"path": "a.bin", "upload_id": "x", "parts": []}),
        ("POST", f"{base}/mpu/abort/0/{run_id}/artifacts", {"path": "a.bin", "upload_id": "x"}),
        ("GET", f"{base}/presigned/0/{run_id}/artifacts/a.bin", None),
        ("POST", "/api/2.0/mlflow/artifacts/presigned-download-url", {"run_id": run_id, "path": "a.bin"}),
        ("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url", {"run_id": run_id, "path": "a.bin"}),
    ):
        answer = jupyter.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED"), path
    info = jupyter.request("GET", "/api/3.0/mlflow/server-info").json()
    assert {name: value for name, value in info.items() if "multipart" in name or "presigned" in name} == dict.fromkeys(
        (
            "multipart_uploads_enabled",
            "multipart_downloads_enabled",
            "presigned_upload_run_id_supported",
            "presigned_upload_model_id_supported",
        ),
        False,
    )
