"""A project without a store, with a broken one, and with one that was mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_reading_a_project_without_a_store_answers_empty_and_makes_no_file(start_jupyter: Any) -> None:
    server = start_jupyter()
    status = server.request("GET", "/api/v1/status").json()
    assert status["problem"] is None
    assert status["project"] == {"name": server.project.name, "root": str(server.project)}
    assert status["run_count"] == 0
    assert server.request("POST", "/api/v1/runs/search", json={}).json() == {"runs": [], "next_page_token": None, "revision": 0}
    assert [e["name"] for e in server.request("GET", "/api/v1/experiments").json()["experiments"]] == ["Default"]
    assert server.request("POST", "/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"]}).json() == {}
    assert server.request("GET", "/api/v1/changes?since=0").json() == {"revision": 0, "runs": [], "more": False}
    for path in ("/api/v1/runs/x", "/api/v1/runs/x/artifacts", "/api/v1/runs/x/series"):
        assert server.request("GET", path).json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert not (server.project / ".mlops").exists()

    assert server.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).status_code == 200
    assert (server.project / ".mlops" / "store.db").exists()
    assert server.request("GET", "/api/v1/status").json()["run_count"] == 1


def test_a_broken_store_is_told_by_status_and_by_every_other_operation(start_jupyter: Any, tmp_path: Path) -> None:
    state = tmp_path / ".mlops"
    state.mkdir()
    (state / "store.db").write_bytes(b"this is no database " * 500)
    server = start_jupyter(tmp_path)
    status = server.request("GET", "/api/v1/status")
    assert status.status_code == 200
    assert "store.db" in status.json()["problem"]
    assert "\n" not in status.json()["problem"]
    refused = server.request("POST", "/api/v1/runs/search", json={})
    assert refused.status_code == 500
    assert refused.json()["error_code"] == "DATA_LOSS"
    assert "Traceback" not in refused.text

    (state / "store.db").unlink()
    assert server.request("GET", "/api/v1/status").json()["problem"] is None
    assert server.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).status_code == 200
