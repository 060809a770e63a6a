"""An unmodified MLflow client, in a process of its own, keeps models and prompts in our registry as in MLflow's own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

pytest.importorskip("mlflow", reason="The client whose behaviour is the contract.")

pytestmark = pytest.mark.timeout(600)

# Says what the client sees, without what differs from server to server: ids and times.
WORK = r"""
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

said, names = {}, {}
client = MlflowClient()

def named(text):
    for original, name in names.items():
        text = text.replace(original, name)
    return text

def version(v):
    return {
        "name": v.name, "version": str(v.version), "stage": v.current_stage, "description": v.description or "", "source": named(v.source),
        "run": named(v.run_id or ""), "status": v.status, "message": v.status_message or "", "tags": v.tags, "link": v.run_link or "",
        "aliases": sorted(v.aliases), "dated": v.last_updated_timestamp >= v.creation_timestamp > 1_700_000_000_000,
    }

def model(m):
    latest = sorted((v.current_stage, str(v.version), v.name) for v in m.latest_versions)
    return {
        "name": m.name, "description": m.description or "", "tags": m.tags, "aliases": {a: str(v) for a, v in m.aliases.items()},
        "latest": latest, "dated": m.last_updated_timestamp >= m.creation_timestamp > 1_700_000_000_000,
    }

def refused(call, *args, **kwargs):
    try:
        return ["not refused", repr(call(*args, **kwargs))]
    except MlflowException as error:
        return [error.error_code, named(str(error))]

def keys(found):
    return ["%s/%s" % (v.name, v.version) for v in found]

with mlflow.start_run() as run:
    mlflow.log_text("weights", "model/weights.txt")
run_id, root = run.info.run_id, run.info.artifact_uri
names[run_id] = "RUN"

# registered models
said["created"] = model(client.create_registered_model("churn", tags={"team": "growth"}, description="who leaves"))
said["taken"] = refused(client.create_registered_model, "churn")
said["bad_name"] = refused(client.create_registered_model, "a/b")
said["no_name"] = refused(client.create_registered_model, "")
said["long_tag"] = refused(client.create_registered_model, "other", tags={"k": "v" * 100_001})
said["unknown"] = refused(client.get_registered_model, "nothing")
said["described"] = model(client.update_registered_model("churn", description="who stays"))
client.set_registered_model_tag("churn", "a", "1")
client.set_registered_model_tag("churn", "b", "2")
client.delete_registered_model_tag("churn", "a")
said["tagged"] = model(client.get_registered_model("churn"))

# versions
first = {"tags": {"k": "v"}, "run_link": "https://x/y", "description": "first"}
said["v1"] = version(client.create_model_version("churn", "runs:/%s/model" % run_id, run_id, **first))
said["v2"] = version(client.create_model_version("churn", root + "/model", run_id))
said["v3"] = version(client.create_model_version("churn", "s3://bucket/key"))
said["outside"] = refused(client.create_model_version, "churn", root + "x/model", run_id)[0]
said["up"] = refused(client.create_model_version, "churn", root + "/../../x", run_id)
said["other_run"] = refused(client.create_model_version, "churn", root + "/model", "0" * 32)
said["no_run"] = refused(client.create_model_version, "churn", "mlflow-artifacts:/0/%s/artifacts/model" % run_id)
said["local"] = refused(client.create_model_version, "churn", "/etc/passwd")
said["local_uri"] = refused(client.create_model_version, "churn", "file:///etc/passwd", run_id)[0]
said["host"] = refused(client.create_model_version, "churn", "http://169.254.169.254/x")[0]
said["no_model"] = refused(client.create_model_version, "nothing", "s3://bucket/key")
said["get"] = version(client.get_model_version("churn", "1"))
said["no_version"] = refused(client.get_model_version, "churn", "99")
said["bad_version"] = refused(client.get_model_version, "churn", "x")
said["updated"] = version(client.update_model_version("churn", "2", "second"))
client.set_model_version_tag("churn", "2", "c", "3")
client.set_model_version_tag("churn", "2", "d", "4")
client.delete_model_version_tag("churn", "2", "c")
said["version_tags"] = client.get_model_version("churn", "2").tags
said["uris"] = [named(client.get_model_version_download_uri("churn", str(n))) for n in (1, 2, 3)]
said["downloaded"] = [open(mlflow.artifacts.download_artifacts("models:/churn/%d" % n) + "/weights.txt").read() for n in (1, 2)]
said["stages"] = sorted(client.get_model_version_stages("churn", "1"))

# stages
said["staged"] = version(client.transition_model_version_stage("churn", "1", "production"))
said["archived"] = version(client.transition_model_version_stage("churn", "2", "Production", archive_existing_versions=True))
said["replaced"] = client.get_model_version("churn", "1").current_stage
said["bad_stage"] = refused(client.transition_model_version_stage, "churn", "1", "nowhere")
said["latest"] = sorted(keys(client.get_latest_versions("churn")))
said["latest_in"] = keys(client.get_latest_versions("churn", ["Production"]))
said["latest_bad"] = refused(client.get_latest_versions, "churn", ["nowhere"])
said["model"] = model(client.get_registered_model("churn"))

# aliases
client.set_registered_model_alias("churn", "champion", "1")
client.set_registered_model_alias("churn", "champion", "2")
client.set_registered_model_alias("churn", "challenger", "3")
said["by_alias"] = version(client.get_model_version_by_alias("churn", "champion"))
said["latest_alias"] = client.get_model_version_by_alias("churn", "latest").version
said["no_alias"] = refused(client.get_model_version_by_alias, "churn", "nobody")
said["bad_aliases"] = [refused(client.set_registered_model_alias, "churn", alias, "1") for alias in ("latest", "v1", "a b", "", "x" * 256)]
said["alias_of_nothing"] = refused(client.set_registered_model_alias, "churn", "x", "99")
client.delete_registered_model_alias("churn", "challenger")
client.delete_registered_model_alias("churn", "challenger")
said["aliases"] = client.get_registered_model("churn").aliases
said["by_uri"] = [mlflow.artifacts.download_artifacts("models:/churn" + by) is not None for by in ("@champion", "/Production", "/2")]

# copies
said["copy"] = version(client.copy_model_version("models:/churn@champion", "churn-prod"))
said["copy_uri"] = named(client.get_model_version_download_uri("churn-prod", "1"))
said["copy_of_copy"] = version(client.copy_model_version("models:/churn-prod/1", "churn-prod"))
said["copy_of_nothing"] = refused(client.copy_model_version, "models:/churn/99", "churn-prod")

# searches
client.create_registered_model("Fraud", tags={"team": "risk"})
for number in range(3):
    client.create_model_version("Fraud", "s3://bucket/fraud/%d" % number, tags={"n": str(number)})
for name, filter, order in (
    ("all", None, None), ("exact", "name = 'churn'", None), ("like", "name LIKE 'churn%'", ["name DESC"]),
    ("ilike", "name ILIKE 'FRAUD'", None),
    ("tag", "tags.team = 'risk'", None), ("both", "tags.team = 'growth' AND name LIKE 'c%'", None), ("none", "name = 'x'", None),
    ("changed", None, ["last_updated_timestamp DESC"]),
):
    said["models " + name] = [m.name for m in client.search_registered_models(filter, order_by=order)]
for name, filter, order in (
    ("all", None, ["name", "version_number ASC"]), ("of one", "name = 'churn'", ["version_number DESC"]),
    ("of a run", "run_id = '%s'" % run_id, ["name"]), ("of runs", "run_id IN ('%s', 'x')" % run_id, ["name"]),
    ("path", "source_path LIKE 's3://bucket/fraud/%'", ["version_number"]), ("number", "version_number > 1 and name = 'Fraud'", None),
    ("tag", "tags.n = '1'", None), ("none", "name = 'x'", None), ("changed", None, None),
):
    said["versions " + name] = keys(client.search_model_versions(filter, order_by=order))
said["bad_filter"] = refused(client.search_registered_models, "foo = 'x'")[0]
said["bad_version_filter"] = refused(client.search_model_versions, "foo = 'x'")[0]
said["bad_order"] = refused(client.search_registered_models, order_by=["foo"])[0]
searches = ((client.search_registered_models, 1001), (client.search_model_versions, 200_001))
said["too_many"] = [refused(search, max_results=number)[0] for search, number in searches]
pages, token = [], None
while True:
    page = client.search_model_versions("name = 'Fraud'", max_results=2, page_token=token)
    pages.append(keys(page))
    token = page.token
    if not token:
        break
said["pages"] = pages
first = client.search_registered_models(max_results=1)
said["model_pages"] = [[m.name for m in first], [m.name for m in client.search_registered_models(max_results=1, page_token=first.token)]]

# renaming and deleting
client.rename_registered_model("churn", "churn2")
said["renamed"] = model(client.get_registered_model("churn2"))
said["rename_taken"] = refused(client.rename_registered_model, "churn2", "Fraud")[0]
said["old_name"] = refused(client.get_registered_model, "churn")
said["moved_alias"] = version(client.get_model_version_by_alias("churn2", "champion"))
client.delete_model_version("churn2", "3")
said["deleted"] = refused(client.get_model_version, "churn2", "3")
said["deleted_twice"] = refused(client.delete_model_version, "churn2", "3")
said["next"] = client.create_model_version("churn2", "s3://bucket/key").version
client.delete_registered_model("churn2")
said["gone"] = [refused(client.get_registered_model, "churn2"), keys(client.search_model_versions("name = 'churn2'"))]
said["gone_twice"] = refused(client.delete_registered_model, "churn2")

# prompts
prompt = mlflow.genai.register_prompt("hello", "Hi {{name}}", commit_message="first", tags={"tone": "warm"})
mlflow.genai.register_prompt("hello", "Hello {{name}}", commit_message="second")
said["prompt"] = [prompt.name, prompt.version, prompt.template, prompt.commit_message, prompt.tags]
said["loaded"] = [mlflow.genai.load_prompt("hello").template, mlflow.genai.load_prompt("prompts:/hello/1").template]
mlflow.genai.set_prompt_alias("hello", "live", 1)
said["live"] = mlflow.genai.load_prompt("prompts:/hello@live").format(name="you")
mlflow.genai.delete_prompt_alias("hello", "live")
said["dead"] = refused(mlflow.genai.load_prompt, "prompts:/hello@live")[0]
said["missing_prompt"] = mlflow.genai.load_prompt("nothing", allow_missing=True)
said["prompts"] = [p.name for p in mlflow.genai.search_prompts()]
said["prompts_found"] = [[p.name for p in mlflow.genai.search_prompts("name = '%s'" % name)] for name in ("hello", "Fraud")]
said["prompt_versions"] = sorted(str(v.version) for v in client.search_prompt_versions("hello"))
client.set_prompt_tag("hello", "k", "v")
said["prompt_tags"] = client.get_prompt("hello").tags
client.delete_prompt_tag("hello", "k")
client.set_prompt_version_tag("hello", "1", "k", "v")
said["prompt_version_tags"] = {k: v for k, v in client.get_prompt_version("hello", "1").tags.items() if not k.startswith("_")}
client.delete_prompt_version_tag("hello", "1", "k")
said["hidden"] = [[m.name for m in client.search_registered_models()], sorted(set(v.name for v in client.search_model_versions()))]
said["model_as_prompt"] = refused(mlflow.genai.register_prompt, "Fraud", "x")[0]
said["prompt_as_model"] = refused(client.create_registered_model, "hello")
client.delete_prompt_version("hello", "2")
said["left"] = [m.version for m in client.search_model_versions("name = 'hello' AND tags.`mlflow.prompt.is_prompt` = 'true'")]
client.delete_prompt_version("hello", "1")
client.delete_prompt("hello")
said["no_prompts"] = len(mlflow.genai.search_prompts())

# models that a run logs
class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [2 * value for value in model_input["x"]]

import pandas
data = pandas.DataFrame({"x": [1, 2]})
with mlflow.start_run() as training:
    info = mlflow.pyfunc.log_model(name="model", python_model=Doubled(), registered_model_name="doubled", pip_requirements=["mlflow"])
names.update({training.info.run_id: "TRAINING", info.model_id: "MODEL"})
said["logged"] = version(client.get_model_version("doubled", "1"))
said["logged_uri"] = named(client.get_model_version_download_uri("doubled", "1"))
said["listed"] = client.get_logged_model(info.model_id).tags.get("mlflow.modelVersions")
said["registered"] = version(mlflow.register_model(info.model_uri, "doubled", tags={"again": "1"}))
client.transition_model_version_stage("doubled", "1", "Production")
client.set_registered_model_alias("doubled", "live", 2)
uris = ["models:/doubled" + by for by in ("/1", "/2", "/latest", "/Production", "@live")]
said["predicted"] = [mlflow.pyfunc.load_model(uri).predict(data) for uri in uris]
said["copied"] = version(client.copy_model_version("models:/doubled@live", "copied"))
said["copied_predicts"] = mlflow.pyfunc.load_model("models:/copied/1").predict(data)
said["wrong_model"] = refused(client.create_model_version, "doubled", "models:/" + info.model_id, model_id="m-" + "0" * 32)[1][:60]
said["of_training"] = keys(client.search_model_versions("run_id = '%s'" % training.info.run_id, order_by=["name", "version_number"]))
json.dump(said, open(sys.argv[1], "w"))
"""


def work(folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the client saw."""
    out = folder / "said.json"
    settings = {**environment, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"}
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(out)], env=settings, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(out.read_text())
    return answer


@pytest.fixture(scope="module")
def said(jupyter: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = jupyter.environment() | {"MLFLOW_TRACKING_URI": jupyter.mount, "MLFLOW_TRACKING_TOKEN": "the-servers-token"}
    return work(tmp_path_factory.mktemp("client"), environment)


def test_a_model_is_created_described_and_tagged(said: dict[str, Any]) -> None:
    created = {"name": "churn", "description": "who leaves", "tags": {"team": "growth"}, "aliases": {}, "latest": [], "dated": True}
    assert said["created"] == created
    assert said["described"] == {**created, "description": "who stays"}
    assert said["tagged"]["tags"] == {"team": "growth", "b": "2"}


def test_a_version_is_ready_at_once_and_says_where_it_is_from(said: dict[str, Any]) -> None:
    assert said["v1"] == said["get"]
    assert said["v1"] == {
        "name": "churn",
        "version": "1",
        "stage": "None",
        "description": "first",
        "source": "runs:/RUN/model",
        "run": "RUN",
        "status": "READY",
        "message": "",
        "tags": {"k": "v"},
        "link": "https://x/y",
        "aliases": [],
        "dated": True,
    }
    assert [said[v]["version"] for v in ("v1", "v2", "v3")] == ["1", "2", "3"]
    assert said["updated"] == {**said["v2"], "description": "second"}
    assert said["version_tags"] == {"d": "4"}
    assert said["uris"] == ["runs:/RUN/model", "mlflow-artifacts:/0/RUN/artifacts/model", "s3://bucket/key"]
    assert said["downloaded"] == ["weights", "weights"]


def test_sources_outside_the_run_are_refused(said: dict[str, Any]) -> None:
    for name in ("up", "other_run", "no_run", "local"):
        code, message = said[name]
        assert code == "INVALID_PARAMETER_VALUE"
        assert "Invalid model version source: " in message
    assert [said[name] for name in ("outside", "local_uri", "host")] == ["INVALID_PARAMETER_VALUE"] * 3
    assert said["wrong_model"].startswith("INVALID_PARAMETER_VALUE: Invalid model version source: ")


def test_errors_arrive_with_their_codes(said: dict[str, Any]) -> None:
    assert said["taken"] == ["RESOURCE_ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS: Registered Model (name=churn) already exists."]
    for name in ("unknown", "no_version", "no_model", "alias_of_nothing", "old_name", "deleted", "deleted_twice", "gone_twice"):
        assert said[name][0] == "RESOURCE_DOES_NOT_EXIST", name
    for name in ("bad_name", "no_name", "long_tag", "bad_version", "bad_stage", "latest_bad", "no_alias"):
        assert said[name][0] == "INVALID_PARAMETER_VALUE", name
    assert [error[0] for error in said["bad_aliases"]] == ["INVALID_PARAMETER_VALUE"] * 5
    assert [said[name] for name in ("bad_filter", "bad_version_filter", "bad_order")] == ["INVALID_PARAMETER_VALUE"] * 3
    assert said["too_many"] == ["INVALID_PARAMETER_VALUE"] * 2
    assert said["rename_taken"] == "RESOURCE_ALREADY_EXISTS"


def test_stages_and_aliases_lead_to_versions(said: dict[str, Any]) -> None:
    assert (said["staged"]["stage"], said["archived"]["stage"], said["replaced"]) == ("Production", "Production", "Archived")
    assert said["latest"] == ["churn/1", "churn/2", "churn/3"]
    assert said["latest_in"] == ["churn/2"]
    assert said["model"]["latest"] == [["Archived", "1", "churn"], ["None", "3", "churn"], ["Production", "2", "churn"]]
    assert (said["by_alias"]["version"], said["by_alias"]["aliases"], said["latest_alias"]) == ("2", ["champion"], "3")
    assert said["aliases"] == {"champion": "2"}
    assert said["by_uri"] == [True, True, True]


def test_a_copy_has_the_files_of_what_it_copies(said: dict[str, Any]) -> None:
    assert (said["copy"]["source"], said["copy"]["run"], said["copy"]["version"]) == ("models:/churn/2", "RUN", "1")
    assert (said["copy_of_copy"]["source"], said["copy_of_copy"]["version"]) == ("models:/churn-prod/1", "2")
    assert said["copy_uri"] == "mlflow-artifacts:/0/RUN/artifacts/model"
    assert "not found" in said["copy_of_nothing"][1]


def test_searches_filter_order_and_page(said: dict[str, Any]) -> None:
    assert said["models all"] == ["Fraud", "churn", "churn-prod"]
    assert said["models like"] == ["churn-prod", "churn"]
    assert said["models ilike"] == said["models tag"] == ["Fraud"]
    assert said["models exact"] == said["models both"] == ["churn"]
    assert said["models none"] == said["versions none"] == []
    assert said["versions of one"] == ["churn/3", "churn/2", "churn/1"]
    assert said["versions of a run"] == said["versions of runs"] == ["churn/2", "churn/1", "churn-prod/2", "churn-prod/1"]
    assert said["versions path"] == ["Fraud/1", "Fraud/2", "Fraud/3"]
    assert said["versions number"] == ["Fraud/3", "Fraud/2"]
    assert said["versions tag"] == ["Fraud/2"]
    assert said["versions changed"][:3] == ["Fraud/3", "Fraud/2", "Fraud/1"]
    assert said["pages"] == [["Fraud/3", "Fraud/2"], ["Fraud/1"]]
    assert said["model_pages"] == [["Fraud"], ["churn"]]


def test_a_renamed_model_keeps_its_versions_and_a_deleted_number_is_not_given_again(said: dict[str, Any]) -> None:
    assert said["renamed"]["latest"] == [["Archived", "1", "churn2"], ["None", "3", "churn2"], ["Production", "2", "churn2"]]
    assert said["moved_alias"]["name"] == "churn2"
    assert said["next"] == "4"
    assert said["gone"][1] == []


def test_prompts_live_in_the_registry_and_hide_from_models(said: dict[str, Any]) -> None:
    assert said["prompt"] == ["hello", 1, "Hi {{name}}", "first", {"tone": "warm"}]
    assert said["loaded"] == ["Hello {{name}}", "Hi {{name}}"]
    assert (said["live"], said["dead"], said["missing_prompt"]) == ("Hi you", "INVALID_PARAMETER_VALUE", None)
    assert (said["prompts"], said["prompts_found"]) == (["hello"], [["hello"], []])
    assert said["prompt_versions"] == ["1", "2"]
    assert said["prompt_tags"]["k"] == said["prompt_version_tags"]["k"] == "v"
    assert said["hidden"] == [["Fraud", "churn-prod"], ["Fraud", "churn-prod"]]
    assert said["model_as_prompt"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS")
    assert said["prompt_as_model"][0] == "RESOURCE_ALREADY_EXISTS"
    assert (said["left"], said["no_prompts"]) == (["1"], 0)


def test_a_logged_model_is_registered_and_loads_by_every_name(said: dict[str, Any]) -> None:
    assert (said["logged"]["source"], said["logged"]["run"], said["logged"]["status"]) == ("models:/MODEL", "TRAINING", "READY")
    assert said["logged_uri"] == "mlflow-artifacts:/0/models/MODEL/artifacts"
    assert {"name": "doubled", "version": 1} in json.loads(said["listed"])
    assert (said["registered"]["version"], said["registered"]["tags"]) == ("2", {"again": "1"})
    assert said["predicted"] == [[2, 4]] * 5
    assert (said["copied"]["source"], said["copied_predicts"]) == ("models:/doubled/2", [2, 4])
    assert said["of_training"] == ["copied/1", "doubled/1", "doubled/2"]


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of MLflow's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "files")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"MLflow's own server does not start here: {(tmp_path / 'log').read_text()[-300:]}")
            time.sleep(0.1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has workers, which are of its group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False


@pytest.mark.slow
def test_mlflows_own_server_says_the_same(said: dict[str, Any], mlflow_server: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    theirs = work(tmp_path, {**environment, "HOME": str(tmp_path), "MLFLOW_TRACKING_URI": mlflow_server})
    assert said == theirs
