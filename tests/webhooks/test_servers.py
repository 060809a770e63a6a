"""Webhooks as MLflow's client, commands and Python see them, on real servers that also die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import mlops_nb
from mlops_nb.errors import MlopsError
from mlops_nb.store.sql.store import SqlStore
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.outgoing.sockets import Answer, Receiver, free_port, receiving
from tests.team import READ_TOKEN, TOKEN, TeamProcess, environment

CREATED = "registered_model.created"


def start(folder: Path) -> TeamProcess:
    variables = {"MLOPS_NB_SERVER_TOKEN": TOKEN, "MLOPS_NB_SERVER_READ_TOKEN": READ_TOKEN, "MLOPS_NB_ALLOWED_HOSTS": "127.0.0.1"}
    return TeamProcess(folder, **variables)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamProcess]:
    server = start(tmp_path_factory.mktemp("team"))
    yield server
    server.stop()


def create_model(server: TeamProcess, name: str) -> None:
    answer = server.request("POST", "/api/2.0/mlflow/registered-models/create", json={"name": name})
    assert answer.status_code == 200, answer.text


def test_mlflows_client_manages_webhooks_and_its_changes_are_told(server: TeamProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="The client whose behaviour is the contract.")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient(tracking_uri=server.mount, registry_uri=server.mount)
    with receiving() as receiver:
        events = [CREATED, "model_version.created", "model_version_alias.created", "prompt.created"]
        hook = client.create_webhook("ci", receiver.url, events, description="d", secret="s")
        assert [str(event) for event in hook.events] == events
        assert (hook.name, hook.url, hook.description, str(hook.status)) == ("ci", receiver.url, "d", "ACTIVE")
        assert hook.secret is None
        result = client.test_webhook(hook.webhook_id)
        assert (result.success, result.response_status, result.response_body) == (True, 200, "ok")
        client.create_registered_model("told")
        client.register_prompt("greeting", "Hello {{name}}")
        bodies = [json.loads(request.body) for request in receiver.wait_for(3)[1:]]
        told = {(f"{one['entity']}.{one['action']}", one["data"]["name"]) for one in bodies}
        assert told == {(CREATED, "told"), ("prompt.created", "greeting")}
        changed = client.update_webhook(hook.webhook_id, name="other", events=["model_version.created"], status="DISABLED")
        assert (changed.name, [str(e) for e in changed.events], str(changed.status)) == ("other", ["model_version.created"], "DISABLED")
        assert client.get_webhook(hook.webhook_id).url == receiver.url
        assert hook.webhook_id in [one.webhook_id for one in client.list_webhooks(max_results=5)]
        client.delete_webhook(hook.webhook_id)
    for call in (lambda: client.get_webhook(hook.webhook_id), lambda: client.delete_webhook("nope")):
        with pytest.raises(MlflowException) as caught:
            call()
        assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="metadata services"):
        client.create_webhook("ci", "http://169.254.169.254/", [CREATED])


def test_whoever_only_reads_sees_no_webhooks(server: TeamProcess) -> None:
    for method, path in (("GET", "/api/2.0/mlflow/webhooks"), ("GET", "/api/v1/webhooks"), ("POST", "/api/2.0/mlflow/webhooks")):
        assert server.request(method, path, token=READ_TOKEN, json={}).status_code == 403
        assert server.request(method, path, token=None, json={}).status_code == 401


def test_an_event_that_mlflow_does_not_know_does_not_break_its_clients(server: TeamProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="The client whose behaviour is the contract.")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    for events in (["MODEL_VERSION_STAGE"], ["MODEL_VERSION_STAGE", "MODEL_VERSION_TAG"]):
        forms = [{"entity": entity, "action": "SET"} for entity in events]
        body = {"name": "stages", "url": "https://receiver.invalid/", "events": forms}
        assert server.request("POST", "/api/2.0/mlflow/webhooks", json=body).status_code == 200
    found = MlflowClient(tracking_uri=server.mount, registry_uri=server.mount).list_webhooks()
    assert [[str(e) for e in one.events] for one in found if one.name == "stages"] == [["model_version_tag.set"]]
    ours = server.request("GET", "/api/v1/webhooks").json()["webhooks"]
    assert sum("model_version_stage.set" in one["events"] for one in ours) == 2


def test_commands_and_python_do_the_same_behind_a_server(server: TeamProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"MLOPS_NB_TRACKING_URI": server.mount, "MLOPS_NB_TRACKING_TOKEN": TOKEN}
    with receiving() as receiver:
        (tmp_path / "secret").write_text("s\n")
        made = json.loads(
            run(tmp_path, "create", "-n", "cli", "-u", receiver.url, "-e", CREATED, "--secret-file", "secret", "--json", **variables)
        )
        assert made["has_secret"] is True
        assert "Taken: the receiver answered 200" in run(tmp_path, "test", made["webhook_id"], **variables)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sessions, "current", Session())
        create_model(server, "by-hand")
        receiver.wait_for(2)
        deadline = time.monotonic() + 10
        while not (log := mlops_nb.webhook_deliveries(made["webhook_id"])) or log[0].end_time is None:
            assert time.monotonic() < deadline, log
            time.sleep(0.05)
        assert mlops_nb.get_webhook(made["webhook_id"]).last_status == 200
        assert mlops_nb.update_webhook(made["webhook_id"], events=["model_version_stage.set"]).events == ["model_version_stage.set"]
        assert mlops_nb.list_webhooks().items[0].webhook_id == made["webhook_id"]
        assert mlops_nb.test_webhook(made["webhook_id"]).success is True
        assert "by itself" in run(tmp_path, "deliver", status=1, **variables)
        mlops_nb.delete_webhook(made["webhook_id"])
        with pytest.raises(MlopsError, match="not found"):
            mlops_nb.get_webhook(made["webhook_id"])


def run(folder: Path, *arguments: str, status: int = 0, **variables: str) -> str:
    command = [sys.executable, "-m", "mlops_nb.cli", "webhooks", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder) | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_without_a_server_changes_wait_until_they_are_delivered(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    port = free_port()
    allowed = {"MLOPS_NB_ALLOWED_HOSTS": "127.0.0.1"}
    made = json.loads(run(tmp_path, "create", "-n", "a", "-u", f"http://127.0.0.1:{port}/", "--json", **allowed))
    assert "private" in run(tmp_path, "create", "-n", "b", "-u", "http://10.1.2.3/", status=1)
    store = SqlStore.in_file(tmp_path / ".mlops" / "store.db")
    store.registry.create_model("offline")
    store.close()
    receiver = Receiver(port=port)
    assert "1 delivered, 0 to be tried again, 0 given up; 0 waiting." in run(tmp_path, "deliver", **allowed)
    receiver.stop()
    assert json.loads(receiver.received[0].body)["data"]["name"] == "offline"
    shown = run(tmp_path, "get", made["webhook_id"])
    assert "delivered" in shown and "registered_model.created" in shown
    assert "Not taken" in run(tmp_path, "test", made["webhook_id"], status=1, **allowed)


def test_a_server_that_is_killed_delivers_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    server = start(tmp_path)
    forms = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    body = {"name": "ci", "url": f"http://127.0.0.1:{port}/", "events": forms, "secret": "s"}
    webhook_id = server.request("POST", "/api/2.0/mlflow/webhooks", json=body).json()["webhook"]["webhook_id"]
    create_model(server, "before-the-kill")
    server.process.kill()
    server.process.wait()
    store = SqlStore.in_file(tmp_path / ".mlops" / "store.db")
    [waiting] = store.webhooks.deliveries(webhook_id)
    store.close()
    assert waiting.state == "pending"
    receiver, killed = Receiver(port=port), time.monotonic()
    server = start(tmp_path)
    try:
        requests_ = receiver.wait_for(1, seconds=90)
    finally:
        receiver.stop()
        server.stop()
    print(f"delivered {time.monotonic() - killed:.1f} s after the kill")
    assert requests_[0].headers["X-MLflow-Delivery-Id"] == waiting.delivery_id
    assert json.loads(requests_[0].body)["data"]["name"] == "before-the-kill"


def test_a_dead_receiver_delays_no_registry_call(server: TeamProcess) -> None:
    def cost(names: list[str]) -> float:
        times: list[float] = []
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {TOKEN}"
            for name in names:
                began = time.perf_counter()
                session.post(server.mount + "/api/2.0/mlflow/registered-models/create", json={"name": name}, timeout=60).raise_for_status()
                times.append(time.perf_counter() - began)
        return sorted(times)[len(times) // 2]

    def hold(_: Any) -> Answer:
        time.sleep(3)
        return Answer(500)

    cost(["warm"])
    before = cost([f"before-{number}" for number in range(30)])
    with receiving(hold) as receiver:
        forms = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
        ids = []
        for number in range(3):
            body = {"name": f"dead{number}", "url": receiver.url, "events": forms}
            ids.append(server.request("POST", "/api/2.0/mlflow/webhooks", json=body).json()["webhook"]["webhook_id"])
        after = cost([f"after-{number}" for number in range(30)])
        receiver.wait_for(1)
        for webhook_id in ids:
            server.request("DELETE", f"/api/2.0/mlflow/webhooks/{webhook_id}")
    print(f"median of a registry call: {before * 1000:.1f} ms without webhooks, {after * 1000:.1f} ms with three that hang")
    assert after < 1.0


def test_the_help_is_quick_and_names_every_verb() -> None:
    env = {**os.environ}
    done = subprocess.run([sys.executable, "-m", "mlops_nb.cli", "webhooks", "--help"], env=env, capture_output=True, text=True, check=True)
    for verb in ("create", "list", "get", "update", "delete", "test", "deliver", "events"):
        assert f"\n  {verb} " in done.stdout
