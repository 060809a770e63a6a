"""Genuine stores of MLflow's, and what its client says of any store: an unmodified client, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_FILL = r"""
import math, os, sys
import mlflow, mlflow.data
from mlflow import MlflowClient
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelOutput, Metric

client = MlflowClient()
mlflow.set_experiment("genuine")
with mlflow.start_run(run_name="first", description="a note") as run:
    run_id = run.info.run_id
    mlflow.log_params({"lr": 0.1, "long": "x" * 6000, "name": "ünï", "nested/key": "1"})
    client.log_batch(run_id, metrics=[Metric("loss", 1 / (i + 1), 1000 + i, i) for i in range(500)])
    client.log_batch(run_id, metrics=[Metric("same", float(i), 5, 7) for i in (3, 1, 2)])
    client.log_batch(run_id, metrics=[Metric("val/acc", 0.1 + 0.2, 1, -5), Metric("val/acc", 5e-324, 2, 2**53)])
    mlflow.log_metric("nan", math.nan)
    mlflow.log_metric("up", math.inf)
    mlflow.log_metric("down", -math.inf)
    mlflow.set_tags({"a": "b", "empty": ""})
    mlflow.log_text("hello", "texts/a b ü.txt")
    mlflow.log_text("", "empty.txt")
    data = MetaDataset(HTTPDatasetSource("http://host/y.csv"), name="data", digest="d1")
    mlflow.log_input(data, context="training", tags={"k": "v"})
    model = mlflow.initialize_logged_model(name="net", source_run_id=run_id, params={"p": "1"}, tags={"t": "2"}, model_type="agent")
    with open("weights.bin", "w") as file:
        file.write("weights")
    client.log_model_artifact(model.model_id, "weights.bin")
    client.finalize_logged_model(model.model_id, "READY")
    mlflow.log_metric("acc", 0.5, step=3, model_id=model.model_id, dataset=data)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=7)])
with mlflow.start_run(run_name="gone") as gone:
    mlflow.log_metric("m", 1)
client.delete_run(gone.info.run_id)
open_run = client.create_run(client.get_experiment_by_name("genuine").experiment_id, run_name="still open")
client.set_experiment_tag("0", "team", "x")
client.delete_experiment(client.create_experiment("old"))
client.create_registered_model("reg", tags={"x": "y"}, description="about it")
client.create_model_version("reg", run.info.artifact_uri + "/texts", run_id, tags={"vt": "1"}, description="d")
client.create_model_version("reg", "models:/" + model.model_id, run_id, model_id=model.model_id)
client.set_registered_model_alias("reg", "champion", 1)
client.create_registered_model("empty")
"""

_SAY = r"""
import json, os, sys, tempfile
import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

client = MlflowClient()
said = {"runs": {}, "experiments": {}, "models": {}, "registered": {}}


def listed(run_id, path=None):
    for one in client.list_artifacts(run_id, path):
        if one.is_dir:
            yield from listed(run_id, one.path)
        else:
            yield [one.path, one.file_size]


for experiment in client.search_experiments(view_type=ViewType.ALL):
    said["experiments"][experiment.name] = [experiment.lifecycle_stage, experiment.tags]
    for run in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL):
        info = run.info
        said["runs"][info.run_id] = {
            "info": [experiment.name, info.run_name, info.status, info.start_time, info.end_time, info.lifecycle_stage, info.user_id],
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
            "history": {
                key: sorted([m.step, m.timestamp, repr(m.value)] for m in client.get_metric_history(info.run_id, key))
                for key in run.data.metrics
            },
            "inputs": [[i.dataset.to_dictionary(), sorted((t.key, t.value) for t in i.tags)] for i in run.inputs.dataset_inputs],
            "outputs": [[o.model_id, o.step] for o in run.outputs.model_outputs] if run.outputs else [],
            "files": sorted(listed(info.run_id)),
        }
    for model in client.search_logged_models([experiment.experiment_id]) if experiment.lifecycle_stage == "active" else []:
        said["models"][model.model_id] = {
            "info": [model.name, str(model.status), model.model_type, model.source_run_id, model.creation_timestamp],
            "params": model.params,
            "tags": model.tags,
            "metrics": sorted([m.key, repr(m.value), m.step, m.timestamp, m.dataset_name, m.run_id] for m in model.metrics or []),
            "files": sorted(one.path for one in client.list_logged_model_artifacts(model.model_id)),
        }
for model in client.search_registered_models():
    versions = client.search_model_versions("name = '%s'" % model.name)
    said["registered"][model.name] = {
        "info": [model.description or "", model.tags, model.creation_timestamp, model.last_updated_timestamp],
        "aliases": {alias: int(version) for alias, version in model.aliases.items()},
        "versions": sorted(
            [int(v.version), v.description or "", v.run_id, v.status, v.current_stage, v.tags, v.creation_timestamp]
            for v in versions
        ),
    }
first = next(run_id for run_id, run in said["runs"].items() if run["info"][1] == "first")
with tempfile.TemporaryDirectory() as folder:
    said["text"] = open(mlflow.artifacts.download_artifacts(run_id=first, artifact_path="texts/a b ü.txt", dst_path=folder)).read()
    version = mlflow.artifacts.download_artifacts("models:/reg/1", dst_path=folder) if "--versions" in sys.argv else None
    said["version"] = sorted(os.listdir(version)) if version else None
json.dump(said, open(sys.argv[1], "w"), sort_keys=True)
"""


def fill(uri: str, folder: Path) -> None:
    """Let MLflow's client fill an empty store."""
    _run(_FILL, uri, folder, {})


def says(uri: str, folder: Path, *arguments: str, **environment: str) -> dict[str, Any]:
    """Return what MLflow's client reads from a store, without ids of experiments and places."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "said.json"
    _run(_SAY, uri, folder, environment, str(out), *arguments)
    said: dict[str, Any] = json.loads(out.read_text())
    return said


def _run(program: str, uri: str, folder: Path, more: dict[str, str], *arguments: str) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MLOPS_NB_"))}
    # MLflow 3 keeps its folder store only for those who insist.
    environment = {**kept, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true", **more}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
