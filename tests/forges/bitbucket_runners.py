"""Runners of a repository or its workspace at the loopback Bitbucket, and steps that the stand-in runner takes.

What runners speak with Bitbucket is not published: the stand-in takes steps at `/_runners/UUID`, signed in by its OAuth client.
"""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.forges.bitbucket_records import Pipeline, refused
from tests.forges.server import LoopbackForge, Reply, Request, route

WORKSPACE_UUID = "{" + str(uuid.uuid5(uuid.NAMESPACE_URL, "workspace")) + "}"


@dataclass
class Agent:
    uuid: str
    name: str
    labels: list[str]
    place: str
    client: str
    secret: str
    status: str = "UNREGISTERED"
    created: float = field(default_factory=time.time)


@dataclass
class Step:
    pipeline: Pipeline
    labels: list[str]
    script: list[str]
    uuid: str = field(default_factory=lambda: "{" + str(uuid.uuid4()) + "}")
    runner: str | None = None


class BitbucketRunners(LoopbackForge):
    """`agents` are the registered runners; `steps` wait for one or have one."""

    full_name: str

    @property
    def agents(self) -> dict[str, Agent]:
        return self.__dict__.setdefault("_agents", {})

    @property
    def steps(self) -> list[Step]:
        return self.__dict__.setdefault("_steps", [])

    def add_step(self, pipeline: Pipeline, *script: str, labels: tuple[str, ...] = ("self.hosted", "cml")) -> Step:
        """Queue a step of a pipeline."""
        self.steps.append(Step(pipeline, list(labels), list(script)))
        return self.steps[-1]

    def _shown_agent(self, one: Agent) -> dict[str, Any]:
        state = {"status": one.status, "updated_on": datetime.now(UTC).isoformat(), "cordoned": False}
        created = datetime.fromtimestamp(one.created, UTC).isoformat()
        return {"type": "pipeline_runner", "uuid": one.uuid, "name": one.name, "labels": one.labels, "state": state, "created_on": created}

    def _place(self, request: Request) -> str:
        return "/".join(request.params[name] for name in ("workspace", "repo") if name in request.params)

    @route("GET", "/workspaces/{workspace}")
    def workspace(self, request: Request) -> Reply:
        return Reply({"type": "workspace", "uuid": WORKSPACE_UUID, "slug": request.params["workspace"]})

    @route("GET", "/repositories/{workspace}/{repo}/pipelines-config/runners")
    @route("GET", "/workspaces/{workspace}/pipelines-config/runners")
    def list_runners(self, request: Request) -> Reply:
        place = self._place(request)
        return self.paged(request, [self._shown_agent(one) for one in self.agents.values() if one.place == place])

    def paged(self, request: Request, items: Any, *, most: int = 100, usual: int = 10) -> Reply:
        raise NotImplementedError

    @route("POST", "/repositories/{workspace}/{repo}/pipelines-config/runners")
    @route("POST", "/workspaces/{workspace}/pipelines-config/runners")
    def create_runner(self, request: Request) -> Reply:
        sent = request.json()
        if "self.hosted" not in sent["labels"]:
            return refused("The label self.hosted is required.", 400)
        id = "{" + str(uuid.uuid4()) + "}"
        one = Agent(id, sent["name"], sent["labels"], self._place(request), secrets.token_hex(8), secrets.token_urlsafe(32))
        self.agents[one.uuid] = one
        endpoint = {"token_endpoint": f"{self.origin}/oauth/token", "audience": "api.atlassian.com"}
        client = {"type": "pipeline_runner_oauth_client", "id": one.client, "secret": one.secret, **endpoint}
        return Reply({**self._shown_agent(one), "oauth_client": client}, 201)

    @route("GET", "/repositories/{workspace}/{repo}/pipelines-config/runners/{runner_uuid}")
    @route("GET", "/workspaces/{workspace}/pipelines-config/runners/{runner_uuid}")
    @route("DELETE", "/repositories/{workspace}/{repo}/pipelines-config/runners/{runner_uuid}")
    @route("DELETE", "/workspaces/{workspace}/pipelines-config/runners/{runner_uuid}")
    def one_runner(self, request: Request) -> Reply:
        one = self.agents.get(request.params["runner_uuid"])
        if one is None or one.place != self._place(request):
            return refused("Runner not found", 404)
        if request.method == "DELETE":
            del self.agents[one.uuid]
            return Reply(status=204)
        return Reply(self._shown_agent(one))

    # What runners speak

    def take_step(self, request: Request) -> Reply | None:
        """Answer the stand-in runner; None for all else."""
        parts = request.path.strip("/").split("/")
        if parts[0] != "_runners":
            return None
        sent = request.json()
        one = next((agent for agent in self.agents.values() if agent.client == sent.get("client")), None)
        if one is None or one.secret != sent.get("secret"):
            return refused("invalid_client", 401)
        one.status = "ONLINE"
        if parts[1] == "done":
            step = next(each for each in self.steps if each.uuid == sent["step"])
            step.pipeline.state, step.pipeline.result = "COMPLETED", sent["result"]
            return Reply({})
        for step in self.steps:
            if step.runner is None and set(step.labels) <= set(one.labels):
                step.runner = one.uuid
                facts = {"BITBUCKET_PIPELINE_UUID": step.pipeline.uuid, "BITBUCKET_BUILD_NUMBER": str(step.pipeline.number)}
                facts |= {"BITBUCKET_REPO_FULL_NAME": self.full_name, "BITBUCKET_STEP_UUID": step.uuid}
                return Reply({"step": step.uuid, "script": step.script, "environment": facts})
        return Reply(None, 204)
