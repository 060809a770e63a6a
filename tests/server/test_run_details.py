"""What the pages of runs and models ask for: where results come from, environments, models; and files that nobody meant well."""

from __future__ import annotations

import json
from typing import Any

import pytest

MLMODEL = """\
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.2}
  sklearn: {sklearn_version: 1.9.1}
signature:
  inputs: '[{"type": "double", "name": "age", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
utc_time_created: '2026-11-21 10:00:00'
"""
BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMB += "utc_time_created: *i\nflavors: {sklearn: {sklearn_version: *i}}\nsignature: {inputs: [{type: *i, name: *i}]}\n"


@pytest.fixture(scope="module")
def run_id(jupyter: Any) -> str:
    made: str = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]["run_id"]
    cells = [
        ("a", [], ["df"]),
        ("b", [], ["unused"]),
        ("c", ["df"], ["model"]),
        ("d", ["model"], []),
    ]
    events: list[dict[str, Any]] = []
    for index, (cell_id, reads, writes) in enumerate(cells):
        cell = {"index": index, "cell_id": cell_id, "source": cell_id, "source_hash": cell_id, "started": 1000 + index}
        events.append({"t": "c", "ts": 1000, "cell": {**cell, "reads": reads, "writes": writes}})
    events += [{"t": "m", "ts": 1003, "key": "auc", "value": 0.9, "step": 0, "cell": 3}]
    events += [{"t": "p", "ts": 1001, "key": "seed", "value": "7", "cell": 1}]
    for number, event in enumerate(events, 1):
        event["seq"] = number
    assert jupyter.request("POST", f"/api/v1/runs/{made}/events", json={"source": "s", "events": events}).status_code == 200
    return made


def put(jupyter: Any, run_id: str, path: str, text: str) -> None:
    assert jupyter.request("PUT", f"/api/v1/runs/{run_id}/artifacts/files/{path}", data=text.encode()).status_code == 200


def test_the_fewest_cells_explain_a_metric_a_product_and_everything(jupyter: Any, run_id: str) -> None:
    path = f"/api/v1/runs/{run_id}/provenance"
    assert jupyter.request("GET", f"{path}?metric=auc").json() == {"targets": [3], "needed": [0, 2, 3]}
    assert jupyter.request("GET", f"{path}?product=seed").json() == {"targets": [1], "needed": [1]}
    assert jupyter.request("GET", path).json() == {"targets": [1, 3], "needed": [0, 1, 2, 3]}
    missing = jupyter.request("GET", f"{path}?metric=nope")
    assert missing.status_code == 404
    assert "no metric 'nope'" in missing.json()["message"]


def test_the_environment_is_read_from_what_was_kept_and_is_empty_without(jupyter: Any, run_id: str) -> None:
    path = f"/api/v1/runs/{run_id}/environment"
    empty = jupyter.request("GET", path).json()["environment"]
    assert (empty["machine"], empty["packages"], empty["git"]["changes"]) == ({}, {}, None)
    put(jupyter, run_id, "environment/requirements.txt", "numpy==2.4.6\n# a comment\ngit+https://x\n")
    put(jupyter, run_id, "environment/environment.json", json.dumps({"python": "3.11.2", "memory": 8, "gpus": [{"name": "H100"}], "x": []}))
    put(jupyter, run_id, "code/changes.diff", "+1")
    jupyter.request("PATCH", f"/api/v1/runs/{run_id}", json={"tags": {"mlflow.source.git.commit": "abc", "mlops.git.dirty": "true"}})
    found = jupyter.request("GET", path).json()["environment"]
    assert found["machine"] == {"python": "3.11.2", "memory": 8}
    assert found["gpus"] == ["H100"]
    assert found["packages"] == {"numpy": "2.4.6"}
    assert found["git"] == {"commit": "abc", "branch": "", "repository": "", "is_dirty": True, "changes": "code/changes.diff"}
    put(jupyter, run_id, "environment/environment.json", "[" * 100_000)
    assert jupyter.request("GET", path).json()["environment"]["machine"] == {}


def test_models_of_a_run_tell_flavors_and_signature_and_say_why_they_cannot(jupyter: Any, run_id: str) -> None:
    model = {"t": "model", "seq": 50, "ts": 1004, "model_id": "m-" + "1" * 32, "name": "churn", "status": "PENDING", "step": 3}
    assert jupyter.request("POST", f"/api/v1/runs/{run_id}/events", json={"source": "s", "events": [model]}).status_code == 200
    [pending] = jupyter.request("GET", f"/api/v1/runs/{run_id}/models").json()["models"]
    assert pending["name"] == "churn"
    assert "MLmodel" in pending["problem"]
    file = f"/api/v1/models/{model['model_id']}/artifacts/files/MLmodel"
    assert jupyter.request("PUT", file, data=MLMODEL.encode()).status_code == 200
    [ready] = jupyter.request("GET", f"/api/v1/runs/{run_id}/models").json()["models"]
    assert ready["problem"] == ""
    assert ready["flavors"] == [{"name": "python_function", "version": ""}, {"name": "sklearn", "version": "1.9.1"}]
    assert ready["inputs"] == [{"name": "age", "type": "double", "required": True}]
    assert ready["outputs"] == [{"name": "", "type": "float32 [-1, 2]", "required": True}]


@pytest.mark.parametrize("text", [BOMB, "a: [", "- 1", "!!python/object/apply:os.system ['id']", "signature: 3\nflavors: 4", "\x00"])
def test_a_hostile_mlmodel_does_no_harm(jupyter: Any, run_id: str, text: str) -> None:
    jupyter.request("PATCH", f"/api/v1/runs/{run_id}", json={"tags": {"mlflow.log-model.history": '[{"artifact_path": "old"}]'}})
    put(jupyter, run_id, "old/MLmodel", text)
    answer = jupyter.request("GET", f"/api/v1/runs/{run_id}/models")
    assert answer.status_code == 200
    assert len(answer.content) < 10_000
    assert answer.json()["models"][-1]["uri"] == f"runs:/{run_id}/old"


def test_a_version_is_described_by_the_files_it_was_made_from(jupyter: Any, run_id: str) -> None:
    put(jupyter, run_id, "kept/MLmodel", MLMODEL)
    root = "/api/2.0/mlflow"
    assert jupyter.request("POST", f"{root}/registered-models/create", json={"name": "churn model"}).status_code == 200
    source = {"name": "churn model", "source": f"runs:/{run_id}/kept", "run_id": run_id}
    assert jupyter.request("POST", f"{root}/model-versions/create", json=source).status_code == 200
    path = "/api/v1/registered-models/churn%20model/versions/{}/description"
    model = jupyter.request("GET", path.format(1)).json()["model"]
    assert model["uri"] == "models:/churn model/1"
    assert [flavor["name"] for flavor in model["flavors"]] == ["python_function", "sklearn"]
    assert jupyter.request("GET", path.format(2)).status_code == 404
    assert jupyter.request("GET", path.format("x")).status_code == 400


def test_one_metric_of_many_runs_comes_in_one_answer_without_those_that_lack_it(jupyter: Any, run_id: str) -> None:
    other: str = jupyter.request("POST", "/api/v1/runs", json={"experiment_id": "0"}).json()["run"]["run_id"]
    points = [{"key": "auc", "value": value, "timestamp": 5, "step": step} for step, value in enumerate([0.1, "NaN", 0.9, 0.3])]
    assert jupyter.request("POST", f"/api/v1/runs/{other}/batch", json={"metrics": points}).status_code == 200
    asked = {"run_ids": [other, "0" * 32, run_id, other], "key": "auc"}
    series = jupyter.request("POST", "/api/v1/series/search", json=asked).json()["series"]
    assert [one["run_id"] for one in series] == [other, run_id]
    assert series[0]["points"] == [[0, 5, 0.1], [1, 5, "NaN"], [2, 5, 0.9], [3, 5, 0.3]]
    part = jupyter.request("POST", "/api/v1/series/search", json={**asked, "start_step": 2, "end_step": 3}).json()["series"]
    assert part[0] == {"run_id": other, "total": 4, "points": [[2, 5, 0.9], [3, 5, 0.3]]}
    assert jupyter.request("POST", "/api/v1/series/search", json={"run_ids": ["x"] * 101, "key": "auc"}).status_code == 400
