"""A server whose artifacts are in S3: through it, past it, and with MLflow's own client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.object_stores import BUCKET, S3Server, s3  # noqa: F401 - a fixture
from tests.server.test_artifacts import up_and_down

PROXY = "/api/2.0/mlflow-artifacts"
ROOT = f"s3://{BUCKET}/team"

CLIENT = r"""
import hashlib, json, os, sys
import mlflow
from mlflow import MlflowClient

folder = sys.argv[1]
client = MlflowClient()
run = client.create_run("0")
data = os.urandom(1 << 20) * 12
name = os.path.join(folder, "large ü.bin")
with open(name, "wb") as file:
    file.write(data)
client.log_artifact(run.info.run_id, name, "d")
got = client.download_artifacts(run.info.run_id, "d/large ü.bin", folder + "/down")
with open(got, "rb") as file:
    same = file.read() == data
files = [[f.path, f.file_size] for f in client.list_artifacts(run.info.run_id, "d")]
print(json.dumps({"run_id": run.info.run_id, "same": same, "files": files}))
"""


@pytest.fixture(scope="module")
def server(start_jupyter: Callable[..., Any], s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:  # noqa: F811
    project = tmp_path_factory.mktemp("project")
    (project / "pyproject.toml").write_text(f'[tool.mlops_nb]\nartifact_root = "{ROOT}"\n')
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        yield start_jupyter(project)


@pytest.fixture(scope="module")
def run_id(server: Any) -> str:
    return str(server.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]["run_id"])


def test_files_are_in_the_bucket_and_nowhere_else(server: Any, run_id: str, s3: S3Server) -> None:  # noqa: F811
    path = f"/api/v1/runs/{run_id}/artifacts/files/d/a.txt"
    assert server.request("PUT", path, data=b"in the bucket").status_code == 200
    assert s3.keys(f"team/0/{run_id}") == [f"team/0/{run_id}/artifacts/d/a.txt"]
    assert not (server.project / ".mlops" / "artifacts").exists()
    answer = server.request("GET", path, headers={"Range": "bytes=3-5"})
    assert (answer.status_code, answer.content) == (206, b"the")
    assert server.request("GET", path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert server.request("HEAD", path).headers["Content-Length"] == "13"
    assert server.request("DELETE", path).status_code == 200
    assert s3.keys(f"team/0/{run_id}") == []


def test_a_large_file_goes_up_and_down_in_constant_memory(server: Any, run_id: str) -> None:
    path = f"{PROXY}/artifacts/0/{run_id}/artifacts/large.bin"
    up_and_down(server, path, 4)  # loads the client library
    assert up_and_down(server, path, 64) < 100 << 20


@pytest.mark.slow
def test_a_gigabyte_goes_up_and_down_in_constant_memory(server: Any, run_id: str) -> None:
    assert up_and_down(server, f"{PROXY}/artifacts/0/{run_id}/artifacts/huge.bin", 1024) < 100 << 20


def test_an_upload_of_a_wrong_digest_leaves_no_file_and_no_parts(server: Any, run_id: str, s3: S3Server) -> None:  # noqa: F811
    path = f"{PROXY}/artifacts/0/{run_id}/artifacts/wrong.bin"
    for size in (10, 40 << 20):
        answer = server.request("PUT", path, data=b"x" * size, headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
        assert answer.status_code == 400, answer.text
    assert server.request("GET", path).status_code == 404
    assert s3.uploads() == []


@pytest.mark.parametrize("past", [True, False])
def test_mlflows_client_sends_and_fetches_in_parts_past_the_server(
    server: Any,
    s3: S3Server,  # noqa: F811
    tmp_path: Path,
    past: bool,
) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_NB_", "AWS_"))},
        "MLFLOW_TRACKING_URI": server.mount,
        "MLFLOW_TRACKING_TOKEN": "the-servers-token",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": str(past).lower(),
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": str(past).lower(),
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "5242880",
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "5242880",
        "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE": "5242880",
        "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": "5242880",
    }
    (tmp_path / "down").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["same"] is True
    assert said["files"] == [["d/large ü.bin", 12 << 20]]
    tag = s3.client.head_object(Bucket=BUCKET, Key=f"team/0/{said['run_id']}/artifacts/d/large ü.bin")["ETag"]
    assert tag.endswith('-3"') == past, tag  # 3 parts of 5 MiB were joined
    assert s3.uploads() == []
    assert "Traceback" not in server.log


def test_the_server_says_that_it_can(server: Any, run_id: str) -> None:
    server.request("GET", f"/api/v1/runs/{run_id}")
    info = server.request("GET", "/api/3.0/mlflow/server-info").json()
    assert info["multipart_uploads_enabled"] is info["multipart_downloads_enabled"] is True
    assert info["presigned_upload_run_id_supported"] is info["presigned_upload_model_id_supported"] is True


def test_an_upload_in_parts_is_begun_completed_and_aborted(server: Any, run_id: str, s3: S3Server) -> None:  # noqa: F811
    def post(what: str, **body: Any) -> Any:
        return server.request("POST", f"{PROXY}/mpu/{what}/0/{run_id}/artifacts/parts", json={"path": "/home/me/../a.bin", **body})

    revision = server.request("GET", "/api/v1/status").json()["revision"]
    begun = post("create", num_parts=2).json()
    tags = [
        requests.put(c["url"], data=data, timeout=30).headers["ETag"]
        for c, data in zip(begun["credentials"], (b"x" * (5 << 20), b"y"), strict=True)
    ]
    parts = [{"part_number": n, "etag": tag, "url": ""} for n, tag in enumerate(tags, 1)]
    assert post("complete", upload_id=begun["upload_id"], parts=parts).json() == {}
    assert server.request("GET", "/api/v1/status").json()["revision"] > revision
    assert s3.keys(f"team/0/{run_id}/artifacts/parts") == [f"team/0/{run_id}/artifacts/parts/a.bin"]
    begun = post("create", num_parts=1).json()
    assert post("abort", upload_id=begun["upload_id"]).json() == {}
    assert s3.uploads() == []
    for wrong in ({"path": ".."}, {"path": "a\\..\\.."}, {"path": "%2e%2e"}, {"path": ""}, {"num_parts": 20_000}):
        assert post("create", **wrong).status_code == 400, wrong
    assert server.request("POST", f"{PROXY}/mpu/create/0/none/artifacts", json={"path": "a"}).status_code == 404


def test_signed_urls_are_for_one_file_of_the_run(server: Any, run_id: str) -> None:
    def sign(what: str, **body: Any) -> Any:
        return server.request("POST", f"/api/2.0/mlflow/artifacts/presigned-{what}-url", json=body)

    put = sign("upload", run_id=run_id, path="signed/a ü.bin").json()
    assert requests.put(put["presigned_url"], data=b"signed", headers=put.get("headers", {}), timeout=30).ok
    got = sign("download", run_id=run_id, path="signed/a ü.bin", expiration=60).json()
    answer = requests.get(got["presigned_url"], timeout=30)
    assert (answer.content, got["file_size"]) == (b"signed", 6)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    proxied = server.request("GET", f"{PROXY}/presigned/0/{run_id}/artifacts/signed/a ü.bin").json()
    assert requests.get(proxied["url"], headers={"Range": "bytes=0-1"}, timeout=30).content == b"si"
    assert proxied["file_size"] == 6
    assert sign("download", run_id=run_id, path="none").status_code == 404
    for wrong in ({"path": "../a"}, {"path": "a", "expiration": 0}, {"path": "a", "expiration": 604_801}, {"path": ""}):
        assert sign("download", run_id=run_id, **wrong).status_code == 400, wrong
    assert sign("upload", run_id=run_id, model_id="m-x", path="a").status_code == 400
    assert sign("upload", path="a").status_code == 400
    assert sign("upload", model_id="m-none", path="a").status_code == 404


def test_an_experiment_below_the_root_is_served_and_one_beside_it_is_not(server: Any, s3: S3Server) -> None:  # noqa: F811
    for location, status in ((f"{ROOT}/named", 200), (f"s3://{BUCKET}/team-twin", 400), (f"s3://{BUCKET}", 400), (f"{ROOT}/../x", 400)):
        made = server.request("POST", "/api/2.0/mlflow/experiments/create", json={"name": location, "artifact_location": location})
        if made.status_code == 400 and status == 400:
            continue
        body = {"experiment_id": made.json()["experiment_id"]}
        run = server.request("POST", "/api/2.0/mlflow/runs/create", json=body).json()["run"]["info"]
        assert server.request("PUT", f"/api/v1/runs/{run['run_id']}/artifacts/files/a", data=b"x").status_code == status, location
        assert s3.keys(f"{location.removeprefix(f's3://{BUCKET}/')}/{run['run_id']}") == (
            [f"team/named/{run['run_id']}/artifacts/a"] if status == 200 else []
        )


def test_a_store_that_is_away_is_a_503_with_a_hint(
    start_jupyter: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    s3: S3Server,  # noqa: F811
) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "pyproject.toml").write_text('[tool.mlops_nb]\nartifact_root = "s3://nobodys-bucket/x"\n')
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        server = start_jupyter(project)
    run = server.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]["run_id"]
    answer = server.request("PUT", f"/api/v1/runs/{run}/artifacts/files/a", data=b"x")
    assert answer.status_code == 503
    assert "bucket" in answer.json()["message"]
    assert server.request("GET", f"/api/v1/runs/{run}").status_code == 200
