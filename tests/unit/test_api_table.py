"""The table of operations: nothing without a permission, nothing beside the description."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re

import msgspec
import pytest

import mlops_nb.api.mlflow
import mlops_nb.api.v1
from mlops_nb.api import openapi
from mlops_nb.api.operation import AgentScope, Context, Nothing, Operation, Permission, operation
from mlops_nb.api.router import MethodNotAllowed, Router
from mlops_nb.api.table import OPERATIONS
from mlops_nb.errors import InvalidInput


def test_an_operation_without_a_permission_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="permission"):
        operation("x", "GET", "/x")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="anything"):

        @operation("x", "GET", "/x", permission="anything")  # type: ignore[arg-type]
        def function(context: Context, request: Nothing) -> str:
            return ""


def test_every_operation_of_every_module_is_in_the_table_with_a_permission_and_a_summary() -> None:
    found: list[Operation] = []
    for package in (mlops_nb.api.mlflow, mlops_nb.api.v1):
        for module in pkgutil.iter_modules(package.__path__):
            names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            found += [value for value in names.values() if isinstance(value, Operation)]
    assert {one.name for one in found} == {one.name for one in OPERATIONS}
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)
    for one in OPERATIONS:
        assert isinstance(one.permission, Permission)
        assert one.summary and not one.summary.endswith(".")


def test_whatever_changes_something_needs_the_permission_to_write() -> None:
    # What is asked for in a body, since it may be long, and changes nothing.
    questions = {
        "mlflow.artifacts.signDownload",
        "mlflow.experiments.searchDatasets",
        "mlflow.registeredModels.getLatestVersions",
        "mlflow.traces.batchGetInfos",
        "runs.compare",
    }
    # Where a webhook leads to is a secret of those who may change it: the URLs of chats let everybody write who knows them.
    secrets = {"mlflow.webhooks.get", "mlflow.webhooks.list", "webhooks.deliveries", "webhooks.get", "webhooks.list"}
    for one in OPERATIONS:
        if one.permission is Permission.TICKET:
            continue
        asks = set(one.methods) <= {"GET", "HEAD"} or one.name.endswith(".search") or one.name in questions
        reads = asks and one.name not in secrets
        assert (one.permission is Permission.READ) == reads, one.name


def test_only_the_exchange_of_a_ticket_needs_no_token() -> None:
    assert [one.name for one in OPERATIONS if one.permission is Permission.TICKET] == ["machines.redeem"]


def test_what_the_agents_of_runners_may_do_is_on_this_list_and_has_the_ids_that_are_looked_at() -> None:
    scopes: dict[AgentScope, set[str]] = {scope: set() for scope in AgentScope}
    for one in OPERATIONS:
        if one.agent is not None:
            scopes[one.agent].add(one.name)
            fields = {field.name for field in msgspec.structs.fields(one.request)}
            assert fields >= {AgentScope.RUNNER: {"runner_id"}, AgentScope.RUN: {"run_id"}, AgentScope.RUNS: {"run_ids"}}.get(
                one.agent, set()
            )
    machine = ("heartbeat", "appendLog", "claimJob", "registration", "unregister", "interrupted")
    assert scopes[AgentScope.RUNNER] == {f"machines.{name}" for name in machine}
    assert scopes[AgentScope.JOB] == {"runnerJobs.get", "runnerJobs.save"}
    assert scopes[AgentScope.ANY] == {"machines.agent", "status", "mlflow.serverInfo", "mlflow.version"}
    assert scopes[AgentScope.EXECUTION] == {"runs.search"}
    assert scopes[AgentScope.RUNS] == {"runs.heartbeat"}
    runs = ("get", "update", "logBatch", "logInputs", "logOutputs", "ingest", "series", "metricHistory", "cells")
    files = ("list", "read", "write", "delete")
    mlflows = ("get", "logBatch", "logInputs", "logMetric", "logModel", "logOutputs", "logParameter", "setTag", "update")
    assert scopes[AgentScope.RUN] == {
        *(f"runs.{name}" for name in runs),
        *(f"artifacts.{name}" for name in files),
        *(f"mlflow.runs.{name}" for name in mlflows),
        *("mlflow.artifacts.get", "mlflow.artifacts.list", "mlflow.metrics.getHistory"),
    }
    models = ("finalize", "get", "listArtifacts", "logParams", "readArtifact", "setTags")
    assert scopes[AgentScope.MODEL] == {*(f"mlflow.loggedModels.{name}" for name in models), "models.writeArtifact"}
    moved = ("abortUpload", "beginUpload", "completeUpload", "download", "presigned", "proxyList", "signDownload", "signUpload", "upload")
    assert scopes[AgentScope.FILE] == {f"mlflow.artifacts.{name}" for name in moved}
    assert scopes[AgentScope.NEW_RUN] == {"mlflow.runs.create"} and scopes[AgentScope.NEW_MODEL] == {"mlflow.loggedModels.create"}
    assert scopes[AgentScope.NEW_NAME] == {"mlflow.registeredModels.create"}
    assert scopes[AgentScope.NEW_VERSION] == {"mlflow.modelVersions.create"}
    assert scopes[AgentScope.VERSION] == {"mlflow.modelVersions.get", "mlflow.modelVersions.getDownloadUri"}


def test_every_part_of_a_path_is_a_field_of_the_request() -> None:
    for one in OPERATIONS:
        fields = {field.encode_name for field in msgspec.structs.fields(one.request)}
        for path in one.paths:
            assert set(re.findall(r"\{(\w+)", path)) <= fields, one.name


def test_the_router_finds_every_route_and_only_those() -> None:
    router = Router(OPERATIONS)
    for one in OPERATIONS:
        for method, path in one.routes:
            route = router.resolve(method, re.sub(r"\{\w+(\.\.\.)?\}", "x%20y", path))
            assert route is not None
            assert route.operation.name == one.name
            assert set(route.arguments.values()) <= {"x y"}
    assert router.resolve("GET", "/api/v1/runs/a/b/c/d") is None
    assert router.resolve("GET", "/api/v1/runs/") is None
    with pytest.raises(MethodNotAllowed):
        router.resolve("PUT", "/api/v1/runs/a")
    with pytest.raises(InvalidInput, match="UTF-8"):
        router.resolve("GET", "/api/v1/runs/%ff")


def test_two_operations_cannot_claim_one_route() -> None:
    one = OPERATIONS[0]
    with pytest.raises(ValueError, match="claimed by"):
        Router([one, msgspec.structs.replace(one, name="another")])


def test_an_encoded_slash_does_not_make_a_new_part() -> None:
    route = Router(OPERATIONS).resolve("GET", "/api/v1/runs/a%2Fcells")
    assert route is not None
    assert (route.operation.name, route.arguments) == ("runs.get", {"run_id": "a/cells"})


def test_the_description_is_the_committed_file() -> None:
    committed = openapi.FILE.read_text(encoding="utf-8")
    assert committed == openapi.text(), "run: python -m mlops_nb.api.openapi --write"


def test_the_description_has_every_route_with_its_permission_and_resolves() -> None:
    document = json.loads(openapi.text())
    described = {(method.upper(), path): entry for path, methods in document["paths"].items() for method, entry in methods.items()}
    routes = {(method, path.replace("...", "")): one for one in OPERATIONS for method, path in one.routes}
    assert described.keys() == routes.keys()
    for key, one in routes.items():
        assert described[key]["x-permission"] == one.permission.value
    assert len({entry["operationId"] for entry in described.values()}) == len(described)
    referenced = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert referenced == set(document["components"]["schemas"])
