"""Runners of a project or its group, their jobs, and the part of GitLab that runners speak with, at the loopback GitLab.

The stand-in runner takes jobs by `POST /jobs/request` and reports by `PUT /jobs/ID`, as gitlab-runner does; of the job's payload
there is only what the stand-in reads.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.forges.gitlab_project import GitLabProject
from tests.forges.gitlab_records import PROJECT_ID, ROLES
from tests.forges.server import Reply, Request, route

GROUP_ID = 815


@dataclass
class Agent:
    id: int
    description: str
    tags: list[str]
    type: str
    token: str
    online: bool = False
    paused: bool = False
    run_untagged: bool = True


@dataclass
class Job:
    id: int
    pipeline: int
    name: str
    tags: list[str]
    script: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    status: str = "pending"
    runner: int | None = None


class GitLabRunners(GitLabProject):
    """`agents` are the registered runners; `jobs` all jobs, in order."""

    @property
    def agents(self) -> dict[int, Agent]:
        return self.__dict__.setdefault("_agents", {})

    @property
    def jobs(self) -> dict[int, Job]:
        return self.__dict__.setdefault("_jobs", {})

    def add_job(self, name: str, *script: str, tags: tuple[str, ...] = ("cml",), pipeline: int | None = None, **variables: str) -> Job:
        """Queue a job of a pipeline, which is made if none is given."""
        if pipeline is None:
            pipeline = self.add_pipeline(self.git.resolve("refs/heads/main") or "", "main").id
        job = Job(self.number(), pipeline, name, list(tags), list(script), variables)
        self.jobs[job.id] = job
        return job

    def lose(self, job: Job) -> None:
        """Notice that the runner of a job no longer answers."""
        with self.lock:
            job.status = "failed"

    def _jobs_of(self, agent: Agent, status: str = "") -> list[Job]:
        return [one for one in self.jobs.values() if one.runner == agent.id and status in ("", one.status)]

    def _shown_agent(self, one: Agent) -> dict[str, Any]:
        state = {"online": one.online, "status": "online" if one.online else "never_contacted", "active": not one.paused}
        return {"id": one.id, "description": one.description, "runner_type": one.type, "is_shared": False, "paused": one.paused, **state}

    def shown_job(self, one: Job) -> dict[str, Any]:
        return {
            "id": one.id,
            "name": one.name,
            "status": one.status,
            "ref": "main",
            "web_url": f"{self.web}/{self.path}/-/jobs/{one.id}",
            "pipeline": {"id": one.pipeline, "project_id": PROJECT_ID, "ref": "main", "sha": "0" * 40, "status": "running"},
        }

    @route("GET", "/groups/{group}")
    def group(self, request: Request) -> Reply:
        if request.params["group"] != self.path.rpartition("/")[0]:
            return Reply({"message": "404 Group Not Found"}, 404)
        return Reply({"id": GROUP_ID, "full_path": request.params["group"], "web_url": f"{self.web}/groups/{request.params['group']}"})

    @route("POST", "/user/runners")
    def create_runner(self, request: Request) -> Reply:
        sent = request.json()
        if ROLES.index(self.me.role) < ROLES.index("maintainer"):
            return Reply({"message": "403 Forbidden"}, 403)
        wanted = {"project_type": ("project_id", PROJECT_ID), "group_type": ("group_id", GROUP_ID)}[sent["runner_type"]]
        if sent.get(wanted[0]) != wanted[1]:
            return Reply({"message": "404 Not Found"}, 404)
        token = f"glrt-{secrets.token_urlsafe(20)}"
        tags, untagged = sent.get("tag_list", []), sent.get("run_untagged", True)
        if not tags and not untagged:
            return Reply({"message": {"tags_list": ["can not be empty when runner is not allowed to pick untagged jobs"]}}, 400)
        made = Agent(self.number(), sent.get("description", ""), tags, sent["runner_type"], token, run_untagged=untagged)
        self.agents[made.id] = made
        return Reply({"id": made.id, "token": token, "token_expires_at": None}, 201)

    @route("GET", "/projects/{id}/runners")
    @route("GET", "/groups/{number}/runners")
    def list_runners(self, request: Request) -> Reply:
        kind = "project_type" if "id" in request.params else "group_type"
        wanted = {one for one in request.one("tag_list").split(",") if one}
        chosen = [one for one in self.agents.values() if one.type == kind and wanted <= set(one.tags)]
        return self.paged(request, [self._shown_agent(one) for one in chosen])

    def _agent(self, request: Request) -> Agent:
        found = self.agents.get(int(request.params["runner_id"]))
        if found is None:
            raise Reply({"message": "404 Not found"}, 404)
        return found

    @route("GET", "/runners/{runner_id}")
    @route("DELETE", "/runners/{runner_id}")
    def one_runner(self, request: Request) -> Reply:
        one = self._agent(request)
        if request.method == "DELETE":
            del self.agents[one.id]
            return Reply(status=204)
        return Reply({**self._shown_agent(one), "tag_list": one.tags, "run_untagged": one.run_untagged, "locked": True})

    @route("GET", "/runners/{runner_id}/jobs")
    def jobs_of_runner(self, request: Request) -> Reply:
        found = self._jobs_of(self._agent(request), request.one("status"))
        project = {"id": PROJECT_ID, "path_with_namespace": self.path}
        return self.paged(request, [{**self.shown_job(one), "project": project} for one in reversed(found)])

    @route("GET", "/projects/{id}/jobs/{job_id}")
    @route("POST", "/projects/{id}/jobs/{job_id}/retry")
    def one_job(self, request: Request) -> Reply:
        one = self.jobs.get(int(request.params["job_id"]))
        if one is None:
            return Reply({"message": "404 Not found"}, 404)
        if request.method == "GET":
            return Reply(self.shown_job(one))
        if one.status not in ("failed", "canceled", "success"):
            return Reply({"message": "403 Forbidden - Job is not retryable"}, 403)
        return Reply(self.shown_job(self.add_job(one.name, *one.script, tags=tuple(one.tags), pipeline=one.pipeline, **one.variables)), 201)

    @route("GET", "/projects/{id}/pipelines/{pipeline_id}/jobs")
    def jobs_of_pipeline(self, request: Request) -> Reply:
        found = [one for one in self.jobs.values() if str(one.pipeline) == request.params["pipeline_id"]]
        if request.one("include_retried") != "true":
            found = list({one.name: one for one in found}.values())
        return self.paged(request, [self.shown_job(one) for one in reversed(found)])

    # What runners speak

    def other(self, request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        if parts[0] != "jobs" or request.method not in ("POST", "PUT"):
            return super().other(request)
        sent = request.json()
        one = next((agent for agent in self.agents.values() if agent.token == sent.get("token")), None)
        if parts[1] == "request":
            return Reply({"message": "403 Forbidden"}, 403) if one is None else self.hand_out(one)
        job = self.jobs.get(int(parts[1]))
        if one is None or job is None or job.runner != one.id or job.status != "running":
            return Reply({"message": "403 Forbidden"}, 403)
        job.status = sent["state"]
        return Reply({})

    def hand_out(self, one: Agent) -> Reply:
        one.online = True
        for job in self.jobs.values():
            if job.status == "pending" and set(job.tags) <= set(one.tags) and (job.tags or one.run_untagged) and not one.paused:
                job.status, job.runner = "running", one.id
                url = f"{self.web}/{self.path}/-/jobs/{job.id}"
                return Reply({"id": job.id, "name": job.name, "script": job.script, "variables": job.variables, "url": url}, 201)
        return Reply(None, 204)
