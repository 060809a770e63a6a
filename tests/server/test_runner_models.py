"""What the machine of a runner may do with models: with those of its own runs what a training does, with others nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mlops_nb.core.datasets import ModelOutput
from mlops_nb.core.records import Metric
from mlops_nb.core.runner_jobs import JobState
from mlops_nb.errors import NotFound, PermissionDenied
from mlops_nb.store.rest import RestStore
from tests.server.test_runner_agents import Machine, machine, server, user

__all__ = ["machine", "server", "user"]
Asked = tuple[str, str, Mapping[str, Any]]


def ask(store: RestStore, method: str, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return store.ask_mlflow(method, path, **({"query": fields} if method == "GET" else {"body": fields}))


def new_model(store: RestStore, run_id: str) -> str:
    run = store.get_run(run_id)
    fields = {"experiment_id": run.experiment_id, "name": "m", "source_run_id": run_id}
    return str(ask(store, "POST", "/logged-models", fields)["model"]["info"]["model_id"])


def denied(call: Callable[[], object]) -> bool:
    try:
        call()
    except PermissionDenied:
        return True
    return False


def test_an_agent_does_with_the_models_of_its_runs_what_a_training_does(machine: Machine) -> None:
    run, store = machine.job().run_id, machine.store
    model = new_model(store, run)
    place = f"/logged-models/{model}"
    store.write_model_file(model, "MLmodel", io.BytesIO(b"flavors: {}"))
    assert machine.server.request(
        "PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/models/{model}/artifacts/data/w", token=machine.token, data=b"w"
    ).ok  # fmt: skip
    ask(store, "POST", f"{place}/params", {"params": [{"key": "depth", "value": "3"}]})
    ask(store, "PATCH", f"{place}/tags", {"tags": [{"key": "by", "value": "me"}]})
    ask(store, "PATCH", place, {"status": "LOGGED_MODEL_READY"})
    store.log_batch(run, metrics=[Metric(key="rmse", value=0.1, timestamp=1, step=0, model_id=model)])
    ask(store, "POST", "/runs/outputs", {"run_id": run, "models": [{"model_id": model, "step": 0}]})
    ask(store, "POST", "/registered-models/create", {"name": "churn"})
    sources = (f"models:/{model}", f"mlflow-artifacts:/0/models/{model}/artifacts")
    for source in sources:
        made = ask(store, "POST", "/model-versions/create", {"name": "churn", "source": source, "run_id": run, "model_id": model})
    store.write_artifact(run, "old/MLmodel", io.BytesIO(b"x"))
    made = ask(store, "POST", "/model-versions/create", {"name": "churn", "source": f"runs:/{run}/old", "run_id": run})
    assert made["model_version"]["version"] == "3"
    assert ask(store, "GET", "/model-versions/get", {"name": "churn", "version": "1"})["model_version"]["model_id"] == model
    seen = ask(machine.user, "GET", place, {})["model"]
    assert seen["info"]["status"] == "LOGGED_MODEL_READY" and seen["data"]["metrics"][0]["key"] == "rmse"
    assert b"".join(machine.user.read_model_file(model, "data/w")) == b"w"


def test_an_agent_changes_reads_and_registers_no_model_of_others_and_deletes_none(machine: Machine) -> None:
    run, store = machine.job().run_id, machine.store
    theirs = machine.user.create_run("0").run_id
    foreign, own = new_model(machine.user, theirs), new_model(store, run)
    machine.user.write_model_file(foreign, "MLmodel", io.BytesIO(b"theirs"))
    ask(machine.user, "POST", "/registered-models/create", {"name": "served"})
    ask(machine.user, "POST", "/model-versions/create", {"name": "served", "source": f"models:/{foreign}", "model_id": foreign})
    ask(store, "POST", "/model-versions/create", {"name": "served", "source": f"models:/{own}", "model_id": own})
    proxy = f"/api/2.0/mlflow-artifacts/artifacts/0/models/{foreign}/artifacts/MLmodel"
    asked: list[Asked] = [
        ("GET", f"/logged-models/{foreign}", {}),
        ("PATCH", f"/logged-models/{foreign}", {"status": "LOGGED_MODEL_UPLOAD_FAILED"}),
        ("POST", f"/logged-models/{foreign}/params", {"params": [{"key": "a", "value": "b"}]}),
        ("PATCH", f"/logged-models/{foreign}/tags", {"tags": [{"key": "a", "value": "b"}]}),
        ("GET", f"/logged-models/{foreign}/artifacts/directories", {}),
        ("DELETE", f"/logged-models/{own}", {}),
        ("DELETE", f"/logged-models/{own}/tags/a", {}),
        ("POST", "/logged-models", {"experiment_id": "0", "name": "m", "source_run_id": theirs}),
        ("POST", "/logged-models", {"experiment_id": "0", "name": "m"}),
        ("POST", "/logged-models", {"experiment_id": "1", "name": "m", "source_run_id": run}),
        ("POST", "/logged-models/search", {"experiment_ids": ["0"]}),
        ("POST", "/runs/outputs", {"run_id": run, "models": [{"model_id": foreign, "step": 0}]}),
        ("POST", "/runs/log-metric", {"run_id": run, "key": "k", "value": 1, "timestamp": 1, "model_id": foreign}),
        ("POST", "/runs/log-metric", {"run_uuid": theirs, "key": "k", "value": 1, "timestamp": 1}),
        ("POST", "/runs/log-batch", {"run_id": run, "metrics": [{"key": "k", "value": 1, "timestamp": 1, "modelId": foreign}]}),
        ("GET", "/artifacts/list", {"run_id": theirs}),
        ("POST", "/model-versions/create", {"name": "served", "source": f"models:/{foreign}", "model_id": foreign}),
        ("POST", "/model-versions/create", {"name": "served", "source": f"models:/{own}", "model_id": own, "run_id": theirs}),
        ("POST", "/model-versions/create", {"name": "served", "source": f"models:/{foreign}", "model_id": own}),
        ("POST", "/model-versions/create", {"name": "served", "source": f"mlflow-artifacts:/0/models/{foreign}/artifacts"}),
        ("POST", "/model-versions/create", {"name": "served", "source": f"runs:/{theirs}/m", "run_id": theirs}),
        ("POST", "/model-versions/create", {"name": "served", "source": "models:/served/1"}),
        ("POST", "/model-versions/create", {"name": "served", "source": "s3://bucket/key"}),
        ("POST", "/registered-models/create", {"name": "p", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}),
        ("GET", "/model-versions/get", {"name": "served", "version": "1"}),
        ("GET", "/registered-models/get", {"name": "served"}),
        ("GET", "/registered-models/search", {}),
        ("POST", "/registered-models/alias", {"name": "served", "alias": "champion", "version": "2"}),
        ("POST", "/registered-models/set-tag", {"name": "served", "key": "a", "value": "b"}),
        ("POST", "/registered-models/rename", {"name": "served", "new_name": "x"}),
        ("DELETE", "/registered-models/delete", {"name": "served"}),
        ("POST", "/model-versions/transition-stage", {"name": "served", "version": "2", "stage": "Production"}),
        ("POST", "/model-versions/set-tag", {"name": "served", "version": "1", "key": "a", "value": "b"}),
        ("PATCH", "/model-versions/update", {"name": "served", "version": "1", "description": "x"}),
        ("DELETE", "/model-versions/delete", {"name": "served", "version": "2"}),
    ]
    opened = [one for one in asked if not denied(lambda one=one: ask(store, *one))]  # type: ignore[misc]
    assert opened == []
    for method in ("GET", "PUT", "DELETE"):
        assert machine.server.request(method, proxy, token=machine.token, data=b"x" if method == "PUT" else None).status_code == 403
    assert machine.server.request("GET", "/api/2.0/mlflow-artifacts/artifacts?path=0", token=machine.token).status_code in (400, 403)
    for refused in (
        lambda: store.write_model_file(foreign, "MLmodel", io.BytesIO(b"x")),
        lambda: store.log_batch(run, metrics=[Metric(key="k", value=1.0, timestamp=1, step=0, model_id=foreign)]),
        lambda: store.log_outputs(run, [ModelOutput(model_id=foreign, step=0)]),
    ):
        with pytest.raises(PermissionDenied):
            refused()
    assert b"".join(machine.user.read_model_file(foreign, "MLmodel")) == b"theirs"


def test_a_run_that_an_agent_begins_by_mlflows_client_is_its_own(machine: Machine) -> None:
    made = ask(machine.store, "POST", "/runs/create", {"experiment_id": "0", "run_name": "x"})["run"]["info"]["run_id"]
    ask(machine.store, "POST", "/runs/log-parameter", {"run_id": made, "key": "a", "value": "1"})
    assert machine.user.get_run(made).params == {"a": "1"}
    with pytest.raises(PermissionDenied):
        ask(machine.store, "POST", "/runs/delete", {"run_id": made})


def test_an_agent_tells_how_far_its_job_is_and_changes_nothing_of_what_is_executed(machine: Machine) -> None:
    """The next machine, or a person, would execute what a machine that was taken over has put there; or pay for it again and again."""
    from msgspec.structs import replace

    job = machine.job()
    taken = machine.store.runners.claim_job(machine.runner.id)
    assert taken is not None
    for changes in (
        {"notebook": "other.ipynb"}, {"parameters": {"x": "evil"}}, {"name": "other"}, {"attempts": 0}, {"cells": (1, 1)},
        {"returns": ["get_ipython"]}, {"user": "root"}, {"cancel": True}, {"kind": "cell"}, {"before": "f" * 32}, {"created": 1.0},
    ):  # fmt: skip
        with pytest.raises(PermissionDenied):
            machine.store.runners.save_job(replace(taken, **changes))
    told = machine.store.runners.save_job(replace(taken, cell=2, cells_total=3, digests={"a": "b"}, checkpoint_cell=1))
    gone = replace(told, state=JobState.INTERRUPTED, runner_id="", before=machine.runner.id, reason="spot")
    assert machine.store.runners.save_job(gone).attempts == 1
    assert machine.user.runners.job(job.id).cell == 2


def test_an_agent_notes_no_run_that_cannot_be_one(machine: Machine) -> None:
    from mlops_nb.core.events import RunStarted

    odd = "-" * 70
    with pytest.raises(PermissionDenied):
        machine.store.ingest(odd, "j", [RunStarted(seq=1, ts=1, experiment="Default", name="n")])
    with pytest.raises(NotFound):
        machine.user.get_run(odd)
    assert not machine.user.runners.may_write(machine.runner.id, odd)
