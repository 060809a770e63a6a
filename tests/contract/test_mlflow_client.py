"""An unmodified MLflow client, in a process of its own, does its daily work against our server."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="The client whose behaviour is the contract.")

WORK = r"""
import json, math, os, sys, tempfile
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

said = {}
client = MlflowClient()
mlflow.set_experiment("contract of clients")
experiment = client.get_experiment_by_name("contract of clients")
with mlflow.start_run(run_name="parent", description="a note") as parent:
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({"depth": 3, "name": "ünï"})
    for step, value in enumerate([1.0, 0.5, 0.25]):
        mlflow.log_metric("loss", value, step=step)
    mlflow.log_metric("nan", math.nan)
    mlflow.log_metric("up", math.inf)
    mlflow.log_metric("down", -math.inf)
    mlflow.log_metrics({"acc": 0.9, "f1": 0.8}, step=7)
    mlflow.set_tag("stage", "dev")
    mlflow.set_tags({"a": "1", "b": "2"})
    mlflow.delete_tag("b")
    client.log_batch(
        parent.info.run_id,
        metrics=[Metric("batch", float(i), 1000 + i, i) for i in range(1000)],
    )
    client.log_batch(parent.info.run_id, params=[Param("p%d" % i, str(i)) for i in range(100)], tags=[RunTag("t", "v")])
    with mlflow.start_run(run_name="child", nested=True) as child:
        mlflow.log_metric("acc", 0.95)
    mlflow.log_text("hello", "texts/a b ü.txt")
    mlflow.log_dict({"x": [1, 2]}, "d.json")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty.bin", "one.txt"):
            with open(os.path.join(folder, name), "w") as file:
                file.write("" if name == "empty.bin" else "one")
        mlflow.log_artifacts(folder, "folder")
    try:
        mlflow.log_param("lr", 0.2)
    except MlflowException as error:
        said["clash"] = error.error_code
run_id = parent.info.run_id
said["active"] = client.get_run(child.info.run_id).info.status
run = client.get_run(run_id)
said["status"] = run.info.status
said["run_id"] = run_id
said["metrics"] = {k: repr(v) for k, v in run.data.metrics.items()}
said["params"] = run.data.params
said["tags"] = run.data.tags
said["history"] = [[m.step, m.value] for m in client.get_metric_history(run_id, "loss")]
said["batch"] = len(client.get_metric_history(run_id, "batch"))
said["found"] = [r.info.run_name for r in client.search_runs(
    [experiment.experiment_id], "metrics.acc > 0.5 and attributes.status = 'FINISHED'", order_by=["metrics.acc DESC"])]
said["by_tag"] = [r.info.run_name for r in client.search_runs([experiment.experiment_id], "tags.stage LIKE 'de%' and params.lr = '0.1'")]
said["children"] = [r.info.run_name for r in client.search_runs([experiment.experiment_id], "tags.`mlflow.parentRunId` = '%s'" % run_id)]
said["pages"] = []
token = None
while True:
    page = client.search_runs([experiment.experiment_id], max_results=1, page_token=token)
    said["pages"] += [r.info.run_name for r in page]
    token = page.token
    if not token:
        break
said["listed"] = sorted((a.path, a.is_dir, a.file_size) for a in client.list_artifacts(run_id))
said["in_folder"] = sorted(a.path for a in client.list_artifacts(run_id, "folder"))
with tempfile.TemporaryDirectory() as target:
    mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="", dst_path=target)
    said["downloaded"] = sorted(
        os.path.relpath(os.path.join(where, name), target) for where, _, names in os.walk(target) for name in names)
said["text"] = mlflow.artifacts.load_text(run.info.artifact_uri + "/texts/a b ü.txt")
said["dict"] = mlflow.artifacts.load_dict("runs:/%s/d.json" % run_id)
client.delete_run(child.info.run_id)
said["deleted"] = client.get_run(child.info.run_id).info.lifecycle_stage
said["only_deleted"] = len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY))
try:
    client.log_metric(child.info.run_id, "late", 1)
except MlflowException as error:
    said["to_deleted"] = error.error_code
client.restore_run(child.info.run_id)
said["restored"] = client.get_run(child.info.run_id).info.lifecycle_stage
with mlflow.start_run(run_id=run_id):
    said["resumed"] = client.get_run(run_id).info.status
mlflow.end_run()
client.set_terminated(run_id, "FAILED")
said["failed"] = client.get_run(run_id).info.status
client.update_run(run_id, name="renamed")
said["renamed"] = client.get_run(run_id).info.run_name
try:
    client.get_run("0" * 32)
except MlflowException as error:
    said["missing"] = error.error_code
try:
    client.create_experiment("contract of clients")
except MlflowException as error:
    said["taken"] = error.error_code
other = client.create_experiment("other", tags={"team": "x"})
client.set_experiment_tag(other, "k", "v")
said["experiment_tags"] = client.get_experiment(other).tags
client.rename_experiment(other, "another")
said["experiments"] = [e.name for e in client.search_experiments(filter_string="tags.team = 'x' and name ILIKE 'ANO%'")]
client.delete_experiment(other)
said["experiments_left"] = sorted(e.name for e in client.search_experiments())
client.restore_experiment(other)
said["experiments_back"] = [e.name for e in client.search_experiments(order_by=["name ASC"])]
json.dump(said, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def said(jupyter: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client saw."""
    out = tmp_path_factory.mktemp("client") / "said.json"
    environment = jupyter.environment() | {"MLFLOW_TRACKING_URI": jupyter.mount, "MLFLOW_TRACKING_TOKEN": "the-servers-token"}
    environment |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(out)], env=environment, cwd=out.parent, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(out.read_text())
    return answer


def test_metrics_are_what_was_logged_bit_for_bit(said: dict[str, Any]) -> None:
    values = {key: float(text) for key, text in said["metrics"].items()}
    assert values["loss"] == 0.25
    assert math.isnan(values["nan"])
    assert (values["up"], values["down"]) == (math.inf, -math.inf)
    assert (values["acc"], values["f1"], values["batch"]) == (0.9, 0.8, 999.0)
    assert said["history"] == [[0, 1.0], [1, 0.5], [2, 0.25]]
    assert said["batch"] == 1000


def test_params_and_tags_are_what_was_logged(said: dict[str, Any]) -> None:
    assert said["params"].items() >= {"lr": "0.1", "depth": "3", "name": "ünï", "p99": "99"}.items()
    assert said["tags"].items() >= {"stage": "dev", "a": "1", "t": "v", "mlflow.runName": "parent", "mlflow.note.content": "a note"}.items()
    assert "b" not in said["tags"]


def test_errors_arrive_with_their_codes(said: dict[str, Any]) -> None:
    assert said["clash"] == "INVALID_PARAMETER_VALUE"
    assert said["to_deleted"] == "INVALID_PARAMETER_VALUE"
    assert said["missing"] == "RESOURCE_DOES_NOT_EXIST"
    assert said["taken"] == "RESOURCE_ALREADY_EXISTS"


def test_searches_filter_order_and_page(said: dict[str, Any]) -> None:
    assert said["found"] == ["child", "parent"]
    assert said["by_tag"] == ["parent"]
    assert said["children"] == ["child"]
    assert said["pages"] == ["child", "parent"]


def test_the_life_of_a_run(said: dict[str, Any], jupyter: Any) -> None:
    assert (said["status"], said["resumed"], said["failed"]) == ("FINISHED", "RUNNING", "FAILED")
    assert (said["deleted"], said["only_deleted"], said["restored"]) == ("deleted", 1, "active")
    assert said["renamed"] == "renamed"
    run = jupyter.request("GET", f"/api/v1/runs/{said['run_id']}").json()["run"]
    assert (run["name"], run["status"]) == ("renamed", "FAILED")


def test_artifacts_go_up_and_come_back(said: dict[str, Any], jupyter: Any) -> None:
    assert said["listed"] == [["d.json", False, 29], ["folder", True, None], ["texts", True, None]]
    assert said["in_folder"] == ["folder/empty.bin", "folder/one.txt"]
    assert said["downloaded"] == ["d.json", "folder/empty.bin", "folder/one.txt", "texts/a b ü.txt"]
    assert said["text"] == "hello"
    assert said["dict"] == {"x": [1, 2]}
    kept = jupyter.request("GET", f"/api/v1/runs/{said['run_id']}/artifacts").json()["artifacts"]
    assert [artifact["path"] for artifact in kept] == said["downloaded"]


def test_experiments_are_tagged_renamed_deleted_and_restored(said: dict[str, Any]) -> None:
    assert said["experiment_tags"] == {"team": "x", "k": "v"}
    assert said["experiments"] == ["another"]
    assert said["experiments_left"] == ["Default", "contract of clients"]
    assert said["experiments_back"] == ["Default", "another", "contract of clients"]


def test_a_lost_run_shows_as_running_to_mlflow(jupyter: Any) -> None:
    body = {"source": "s1", "events": [{"t": "run", "seq": 1, "ts": 1, "experiment": "Default", "name": "gone"}]}
    run_id = "ab" * 16
    assert jupyter.request("POST", f"/api/v1/runs/{run_id}/events", json=body).json() == {"applied": 1}
    expired: list[str] = []
    deadline = time.monotonic() + 10
    while not expired and time.monotonic() < deadline:  # a lease of this very millisecond is not over yet
        expired = jupyter.request("POST", "/api/v1/leases/expire", json={"older_than_seconds": 0}).json()["run_ids"]
    assert expired == [run_id]
    assert jupyter.request("GET", f"/api/v1/runs/{run_id}").json()["run"]["status"] == "LOST"
    info = jupyter.request("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}&run_uuid={run_id}").json()["run"]["info"]
    assert (info["status"], info["run_id"], info["run_uuid"]) == ("RUNNING", run_id, run_id)
    assert None not in info.values()
