"""An unmodified MLflow client, in a process of its own, logs data sets, models and traces to our server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="The client whose behaviour is the contract.")
pytest.importorskip("sklearn", reason="The models are of scikit-learn.")

BEGIN = r"""
import json, logging, math, os, sys, time
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
said = {}
client = MlflowClient()
def code(call):
    try:
        call()
    except MlflowException as error:
        return error.error_code
"""
END = r"""
json.dump(said, open(sys.argv[1], "w"), default=str)
"""

DATASETS = r"""
import pandas
mlflow.set_experiment("data")
frame = pandas.DataFrame({"x": [1, 2, 3], "y": [0.5, math.nan, 1.5]})
data = mlflow.data.from_pandas(frame, source="https://example.com/x.csv", name="points", targets="y")
with mlflow.start_run() as run:
    mlflow.log_input(data, context="training", tags={"split": "a"})
    mlflow.log_input(data, context="training")
    mlflow.log_input(mlflow.data.from_numpy(frame.x.to_numpy(), name="other"), context="evaluation")
with mlflow.start_run() as second:
    mlflow.log_input(data, context="evaluation")
read = client.get_run(run.info.run_id).inputs.dataset_inputs
said["read"] = [[i.dataset.name, i.dataset.source_type, {t.key: t.value for t in i.tags}] for i in read]
said["same"] = read[0].dataset.digest == data.digest and json.loads(read[0].dataset.schema) == json.loads(data.to_dict()["schema"])
said["source"] = str(mlflow.data.get_source(read[0]).to_dict())
found = client.search_runs([run.info.experiment_id], "dataset.context = 'evaluation'")
said["found"] = [r.info.run_id in (run.info.run_id, second.info.run_id) for r in found]
said["other"] = [r.info.run_id == run.info.run_id for r in client.search_runs([run.info.experiment_id], "dataset.name = 'other'")]
said["digests"] = [i.dataset.digest == data.digest for i in found[0].inputs.dataset_inputs]
mlflow.end_run()
"""

MODELS = r"""
import numpy, pandas, tempfile
from sklearn.linear_model import LogisticRegression
mlflow.set_experiment("models")
x, y = numpy.array([[0.0], [1.0], [2.0], [3.0]]), numpy.array([0, 0, 1, 1])
fitted = LogisticRegression().fit(x, y)
frame = pandas.DataFrame(x, columns=["x"])
data = mlflow.data.from_pandas(frame, name="test set")
with mlflow.start_run() as run:
    mlflow.log_input(data, context="testing")
    logged = mlflow.sklearn.log_model(fitted, name="m", params={"c": 1.0}, tags={"team": "x"}, input_example=x)
    mlflow.log_metric("acc", 0.9, model_id=logged.model_id, dataset=data)
    mlflow.log_metrics({"f1": 0.8, "loss": math.nan}, model_id=logged.model_id, step=3)
model = mlflow.get_logged_model(logged.model_id)
said["model"] = [model.name, str(model.status), model.source_run_id == run.info.run_id, model.params, model.tags["team"]]
said["location"] = model.artifact_location
said["metrics"] = sorted([m.key, repr(m.value), m.step, m.dataset_name or "", m.run_id == run.info.run_id] for m in model.metrics)
read = client.get_run(run.info.run_id)
said["outputs"] = [o.model_id == logged.model_id for o in read.outputs.model_outputs]
said["run_metrics"] = sorted(read.data.metrics)
said["predicted"] = mlflow.pyfunc.load_model("models:/" + logged.model_id).predict(x).tolist()
said["by_run"] = mlflow.sklearn.load_model("runs:/%s/m" % run.info.run_id).predict(x).tolist()
said["files"] = sorted(f.path for f in client.list_logged_model_artifacts(logged.model_id))
outside = mlflow.sklearn.log_model(fitted, name="outside")
said["outside"] = mlflow.pyfunc.load_model(outside.model_uri).predict(x).tolist()
pending = mlflow.initialize_logged_model(name="later", model_type="agent", params={"a": "1"})
said["pending"] = str(pending.status)
mlflow.log_model_params({"b": "2"}, model_id=pending.model_id)
mlflow.set_logged_model_tags(pending.model_id, {"k": "v", "gone": "1"})
mlflow.delete_logged_model_tag(pending.model_id, "gone")
said["ended"] = str(mlflow.finalize_logged_model(pending.model_id, "FAILED").status)
later = mlflow.get_logged_model(pending.model_id)
said["later"] = [later.params, later.tags.get("k"), "gone" in later.tags]
external = mlflow.create_external_model(name="external")
said["external"] = str(mlflow.get_logged_model(external.model_id).status)
many = {"p%d" % i: "v" * 300 for i in range(150)}
said["many"] = mlflow.get_logged_model(mlflow.initialize_logged_model(name="many", params=many).model_id).params == many
def names(**query):
    return [m.name for m in mlflow.search_logged_models(output_format="list", **query)]
said["all"] = sorted(names())
said["good"] = names(filter_string="metrics.acc > 0.5 AND params.c = '1.0'")
said["on_data"] = names(filter_string="metrics.acc > 0.5", datasets=[{"dataset_name": "test set", "dataset_digest": data.digest}])
said["on_other"] = names(filter_string="metrics.acc > 0.5", datasets=[{"dataset_name": "none", "dataset_digest": "x"}])
said["ordered"] = names(order_by=[{"field_name": "name", "ascending": True}])[:2]
on_data = {"dataset_name": "test set", "dataset_digest": data.digest}
said["by_metric"] = names(order_by=[{"field_name": "metrics.acc", "ascending": False, **on_data}])[0]
said["frame"] = sorted(mlflow.search_logged_models(filter_string="name = 'm'")["name"])
with mlflow.start_run():
    from mlflow.entities import LoggedModelInput
    client.log_inputs(mlflow.active_run().info.run_id, models=[LoggedModelInput(logged.model_id)])
    user = client.get_run(mlflow.active_run().info.run_id)
said["inputs"] = [i.model_id == logged.model_id for i in user.inputs.model_inputs]
with mlflow.start_run() as old:
    mlflow.sklearn.log_model(fitted, artifact_path="old way")
said["old_way"] = mlflow.sklearn.load_model("runs:/%s/old way" % old.info.run_id).predict(x).tolist()
client.delete_logged_model(logged.model_id)
said["deleted"] = [code(lambda: mlflow.get_logged_model(logged.model_id)), "m" in names()]
said["unknown"] = code(lambda: mlflow.get_logged_model("m-none"))
said["bad_name"] = code(lambda: mlflow.initialize_logged_model(name="a/b"))
"""

TRACES = r"""
warnings = []
class Kept(logging.Handler):
    def emit(self, record):
        warnings.append(record.getMessage())
logging.getLogger("mlflow").addHandler(Kept(logging.WARNING))
mlflow.set_experiment("traces")
@mlflow.trace
def double(x):
    with mlflow.start_span("inner") as span:
        span.set_inputs({"x": x})
        span.set_outputs({"y": 2 * x})
    return 2 * x
with mlflow.start_run() as run:
    double(1)
    first = mlflow.get_last_active_trace_id()
try:
    with mlflow.start_span("broken"):
        raise ValueError("no")
except ValueError:
    pass
broken = mlflow.get_last_active_trace_id()
double(3)
third = mlflow.get_last_active_trace_id()
mlflow.flush_trace_async_logging()
trace = mlflow.get_trace(first)
said["trace"] = [str(trace.info.state), trace.info.request_preview, trace.info.response_preview, trace.info.tags["mlflow.traceName"]]
said["spans"] = sorted([s.name, s.inputs, s.outputs] for s in trace.data.spans)
said["of_run"] = [t.info.trace_id == first for t in mlflow.search_traces(run_id=run.info.run_id, return_type="list")]
client.link_traces_to_run([third], run.info.run_id)
said["linked"] = len(mlflow.search_traces(run_id=run.info.run_id, return_type="list"))
said["errors"] = [t.info.trace_id == broken for t in mlflow.search_traces(filter_string="status = 'ERROR'", return_type="list")]
said["events"] = [e.name for e in mlflow.get_trace(broken).data.spans[0].events]
said["frame"] = len(mlflow.search_traces(order_by=["timestamp_ms ASC"]))
said["paged"] = []
token = None
while True:
    page = client.search_traces(locations=[run.info.experiment_id], max_results=2, page_token=token)
    said["paged"].append(len(page))
    token = page.token
    if not token:
        break
mlflow.set_trace_tag(first, "k", "v")
said["tag"] = mlflow.get_trace(first).info.tags["k"]
mlflow.delete_trace_tag(first, "k")
said["no_tag"] = "k" in mlflow.get_trace(first).info.tags
feedback = mlflow.log_feedback(trace_id=first, name="good", value=True, rationale="because", metadata={"a": "1"})
mlflow.log_expectation(trace_id=first, name="expected", value={"x": [1, 2]})
mlflow.log_feedback(trace_id=first, name="failed", error=ValueError("no judge"))
mlflow.update_assessment(first, feedback.assessment_id, mlflow.entities.Feedback(name="good", value=0.5, metadata={"b": "2"}))
updated = mlflow.get_assessment(first, feedback.assessment_id)
said["feedback"] = [updated.value, updated.rationale, updated.metadata]
better = mlflow.override_feedback(trace_id=first, assessment_id=feedback.assessment_id, value=False)
said["valid"] = [mlflow.get_assessment(first, a).valid for a in (feedback.assessment_id, better.assessment_id)]
said["judged"] = sorted(a.name for a in mlflow.get_trace(first).info.assessments)
said["expected"] = [a.value for a in mlflow.get_trace(first).info.assessments if a.name == "expected"]
mlflow.delete_assessment(first, better.assessment_id)
said["no_assessment"] = code(lambda: mlflow.get_assessment(first, better.assessment_id))
live = client.start_trace("by hand", inputs={"a": 1}, tags={"q": "w"})
client.end_trace(live.trace_id, outputs={"b": 2})
mlflow.flush_trace_async_logging()
said["by_hand"] = client.get_trace(live.trace_id).info.tags["q"]
said["warnings"] = list(warnings)
said["deleted"] = client.delete_traces(experiment_id=run.info.experiment_id, trace_ids=[first])
said["gone"] = code(lambda: client.get_trace(first))
said["rest"] = client.delete_traces(experiment_id=run.info.experiment_id, max_timestamp_millis=int(time.time() * 1000) + 1000)
said["first"] = first
said["experiment"] = run.info.experiment_id
"""


def work(jupyter: Any, folder: Path, program: str) -> dict[str, Any]:
    """Run a program of a client and return what it said."""
    out = folder / "said.json"
    environment = jupyter.environment() | {"MLFLOW_TRACKING_URI": jupyter.mount, "MLFLOW_TRACKING_TOKEN": "the-servers-token"}
    environment |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", BEGIN + program + END, str(out)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, Any] = json.loads(out.read_text())
    return said


@pytest.fixture(scope="module")
def models(jupyter: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client saw of logged models."""
    return work(jupyter, tmp_path_factory.mktemp("models"), MODELS)


@pytest.fixture(scope="module")
def traces(jupyter: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client saw of traces."""
    return work(jupyter, tmp_path_factory.mktemp("traces"), TRACES)


def test_data_sets_make_the_round_trip(jupyter: Any, tmp_path: Path) -> None:
    said = work(jupyter, tmp_path, DATASETS)
    assert said["read"][0][0] == "points" and said["read"][0][2] == {"mlflow.data.context": "training", "split": "a"}
    assert said["read"][1][0] == "other" and len(said["read"]) == 2
    assert said["same"] is True and "example.com/x.csv" in said["source"]
    assert (said["found"], said["other"], said["digests"]) == ([True, True], [True], [True])


def test_a_model_logged_in_a_run_is_ready_and_knows_its_run(models: dict[str, Any]) -> None:
    assert models["model"] == ["m", "READY", True, {"c": "1.0"}, "x"]
    assert models["location"].startswith("mlflow-artifacts:/") and "/models/m-" in models["location"]
    assert models["outputs"] == [True]


def test_metrics_of_a_model_say_run_step_and_data_set(models: dict[str, Any]) -> None:
    assert models["metrics"] == [["acc", "0.9", 0, "test set", True], ["f1", "0.8", 3, "", True], ["loss", "nan", 3, "", True]]
    assert models["run_metrics"] == ["acc", "f1", "loss"]


def test_models_are_loaded_by_every_address(models: dict[str, Any]) -> None:
    assert models["predicted"] == models["by_run"] == models["outside"] == models["old_way"] == [0, 0, 1, 1]
    assert {"MLmodel", "conda.yaml", "requirements.txt"} <= set(models["files"])


def test_a_model_is_begun_and_ended_by_hand(models: dict[str, Any]) -> None:
    assert (models["pending"], models["ended"], models["external"]) == ("PENDING", "FAILED", "READY")
    assert models["later"] == [{"a": "1", "b": "2"}, "v", False]
    assert models["many"] is True
    assert models["inputs"] == [True]


def test_models_are_searched_by_metrics_on_data_sets_and_ordered(models: dict[str, Any]) -> None:
    assert models["all"] == ["external", "later", "m", "many", "outside"]
    assert models["good"] == models["on_data"] == models["frame"] == ["m"]
    assert models["on_other"] == []
    assert models["ordered"] == ["external", "later"]
    assert models["by_metric"] == "m"


def test_errors_of_models_arrive_with_their_codes(models: dict[str, Any]) -> None:
    assert models["deleted"] == ["RESOURCE_DOES_NOT_EXIST", False]
    assert models["unknown"] == "RESOURCE_DOES_NOT_EXIST"
    assert models["bad_name"] == "INVALID_PARAMETER_VALUE"


def test_traces_and_their_spans_come_back_without_a_warning(traces: dict[str, Any]) -> None:
    assert traces["trace"] == ["OK", '{"x": 1}', "2", "double"]
    assert traces["spans"] == [["double", {"x": 1}, 2], ["inner", {"x": 1}, {"y": 2}]]
    assert traces["events"] == ["exception"]
    assert traces["by_hand"] == "w"
    assert traces["warnings"] == []


def test_traces_are_searched_by_run_and_state_and_paged(traces: dict[str, Any]) -> None:
    assert (traces["of_run"], traces["linked"], traces["errors"]) == ([True], 2, [True])
    assert (traces["frame"], traces["paged"]) == (3, [2, 1])


def test_tags_and_assessments_of_traces_are_kept(traces: dict[str, Any]) -> None:
    assert (traces["tag"], traces["no_tag"]) == ("v", False)
    assert traces["feedback"] == [0.5, "because", {"a": "1", "b": "2"}]
    assert traces["valid"] == [False, True]
    assert traces["judged"] == ["expected", "failed", "good", "good"]
    assert traces["expected"] == [{"x": [1, 2]}]
    assert traces["no_assessment"] == "RESOURCE_DOES_NOT_EXIST"


def test_deleted_traces_are_gone_with_their_files(traces: dict[str, Any], jupyter: Any) -> None:
    assert (traces["deleted"], traces["rest"]) == (1, 3)
    assert traces["gone"] in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
    folder = jupyter.project / ".mlops" / "artifacts" / traces["experiment"] / "traces"
    assert not any(folder.rglob("traces.json"))


def new_run(jupyter: Any) -> str:
    answer = jupyter.request("POST", "/api/2.0/mlflow/runs/create", json={"experiment_id": "0"})
    return str(answer.json()["run"]["info"]["run_id"])


def test_models_of_clients_of_mlflow_2_are_kept_in_their_tag(jupyter: Any) -> None:
    run_id, path = new_run(jupyter), "/api/2.0/mlflow/runs/log-model"
    model = {"run_id": run_id, "artifact_path": "m", "utc_time_created": "now", "flavors": {"sklearn": {}}}
    for name in ("m", "n"):
        body = {"run_id": run_id, "model_json": json.dumps({**model, "artifact_path": name})}
        assert jupyter.request("POST", path, json=body).json() == {}
    tags = {tag["key"]: tag["value"] for tag in get_run(jupyter, run_id)["data"]["tags"]}
    assert [entry["artifact_path"] for entry in json.loads(tags["mlflow.log-model.history"])] == ["m", "n"]
    for text, words in (("{bad", "not a valid JSON"), ("{}", "missing mandatory fields"), ("[]", "not a JSON object")):
        answer = jupyter.request("POST", path, json={"run_id": run_id, "model_json": text})
        assert answer.status_code == 400 and words in answer.json()["message"]


def get_run(jupyter: Any, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = jupyter.request("GET", "/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]
    return run


def test_a_run_shows_its_inputs_and_outputs_in_both_apis(jupyter: Any) -> None:
    run_id = new_run(jupyter)
    assert (get_run(jupyter, run_id)["inputs"], get_run(jupyter, run_id)["outputs"]) == ({}, {})
    model = jupyter.request("POST", "/api/2.0/mlflow/logged-models", json={"experiment_id": "0"}).json()["model"]["info"]["model_id"]
    data = {"tags": [{"key": "k", "value": "v"}], "dataset": {"name": "d", "digest": "g", "source_type": "s", "source": "{}"}}
    inputs = {"run_id": run_id, "datasets": [data], "models": [{"model_id": model}]}
    assert jupyter.request("POST", "/api/2.0/mlflow/runs/log-inputs", json=inputs).json() == {}
    outputs = {"run_id": run_id, "models": [{"model_id": model, "step": "0"}]}
    assert jupyter.request("POST", "/api/2.0/mlflow/runs/outputs", json=outputs).json() == {}
    shown = get_run(jupyter, run_id)
    assert shown["inputs"] == {"dataset_inputs": [data], "model_inputs": [{"model_id": model}]}
    assert shown["outputs"] == {"model_outputs": [{"model_id": model, "step": 0}]}
    ours = jupyter.request("GET", f"/api/v1/runs/{run_id}").json()["run"]
    assert [one["dataset"]["name"] for one in ours["inputs"]["datasets"]] == ["d"] and ours["inputs"]["models"] == [model]
    assert ours["outputs"] == [{"model_id": model, "step": 0}]
    listed = jupyter.request("POST", "/ajax-api/2.0/mlflow/experiments/search-datasets", json={"experiment_ids": ["0"]}).json()
    assert listed == {"dataset_summaries": [{"experiment_id": "0", "name": "d", "digest": "g"}]}


def test_files_of_a_model_are_listed_and_read(jupyter: Any) -> None:
    info = jupyter.request("POST", "/api/2.0/mlflow/logged-models", json={"experiment_id": "0"}).json()["model"]["info"]
    root = info["artifact_uri"].removeprefix("mlflow-artifacts:")
    put = jupyter.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts{root}/folder/a.txt", data=b"hello")
    assert put.status_code == 200
    path = f"/api/2.0/mlflow/logged-models/{info['model_id']}/artifacts/directories"
    assert jupyter.request("GET", path).json()["files"] == [{"path": "folder", "is_dir": True}]
    inside = jupyter.request("GET", path, params={"artifact_directory_path": "folder"}).json()
    assert inside == {"root_uri": info["artifact_uri"], "files": [{"path": "folder/a.txt", "is_dir": False, "file_size": 5}]}
    file = f"/ajax-api/2.0/mlflow/logged-models/{info['model_id']}/artifacts/files"
    assert jupyter.request("GET", file, params={"artifact_file_path": "folder/a.txt"}).content == b"hello"
    assert jupyter.request("GET", path, params={"artifact_directory_path": "../x"}).status_code == 400
    assert jupyter.request("GET", file, params={"artifact_file_path": "none"}).status_code == 404
    assert jupyter.request("GET", file).status_code == 400


def test_spans_that_come_alone_are_refused_in_words_that_clients_know(jupyter: Any) -> None:
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
    answer = jupyter.request("POST", "/v1/traces", data=b"\n\x00", headers=headers)
    assert answer.status_code == 501
    assert "REST OTLP span logging is not supported" in answer.json()["message"]
