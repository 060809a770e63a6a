"""Self-hosted runners, jobs and the service that agents take them from, at the loopback GitHub.

What agents speak with GitHub is not published. The stand-in agent (`tests/runners/agents/stand_in_github.py`) takes jobs at
`/_agents/ID`, by the key that is in its just-in-time configuration; all else is as GitHub's description has it.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.forges.filling import filled
from tests.forges.github_git import REPO, GitData
from tests.forges.github_state import message, not_found, now, paged
from tests.forges.server import Reply, Request, route

PLACES = (REPO, "/orgs/{org}", "/enterprises/{enterprise}")
PERMISSIONS = {"owner": "administration", "org": "organization_self_hosted_runners", "enterprise": "enterprise_self_hosted_runners"}


@dataclass
class Agent:
    """A registered runner; `place` is `owner/name`, the organisation or the enterprise."""

    id: int
    name: str
    labels: list[str]
    place: str
    key: str
    online: bool = False
    job: int | None = None
    had: int = 0


@dataclass
class Job:
    id: int
    run: int
    name: str
    labels: list[str]
    steps: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    status: str = "queued"
    conclusion: str | None = None
    runner: int | None = None
    runner_name: str | None = None


class Runners(GitData):
    """`agents` are the registered runners, `jobs` those of workflow runs."""

    repository: str
    agents: dict[int, Agent]
    jobs: dict[int, Job]
    runs: dict[int, dict[str, Any]]
    downloads: list[dict[str, Any]]

    def number(self) -> int:
        raise NotImplementedError

    def add_run(self, id: int, status: str = "completed", conclusion: str | None = "failure", attempt: int = 1) -> None:
        raise NotImplementedError

    def add_job(self, name: str, *steps: str, labels: tuple[str, ...] = ("self-hosted", "cml"), run: int = 900, **environment: str) -> Job:
        """Queue a job of a run, which is made if it is not there; its steps are lines of shell."""
        if run not in self.runs:
            self.add_run(run, "queued", None)
        job = Job(5000 + self.number(), run, name, list(labels), list(steps), environment)
        self.jobs[job.id] = job
        return job

    def lose(self, job: Job) -> None:
        """Notice that the runner of a job no longer answers, as GitHub does after some minutes."""
        with self.lock:
            self._ended(job, "failure")
            self.agents.pop(job.runner or 0, None)

    def requeue(self, run: int) -> None:
        """Queue the failed and cancelled jobs of a run for its next attempt."""
        for job in [one for one in self.jobs.values() if one.run == run and one.conclusion not in (None, "success")]:
            del self.jobs[job.id]
            again = Job(5000 + self.number(), run, job.name, job.labels, job.steps, job.environment, job.attempt + 1)
            self.jobs[again.id] = again

    # What the description has

    def _place(self, request: Request) -> str:
        params = request.params
        kind = next(one for one in PERMISSIONS if one in params)
        self.need(request, PERMISSIONS[kind], "read" if request.method == "GET" else "write")
        if kind == "owner":
            return f"{params['owner']}/{params['repo']}".lower()
        if params[kind] != self.repository.split("/")[0]:
            raise not_found()
        return params[kind]

    def _item(self, one: Agent) -> dict[str, Any]:
        labels = [{"id": index, "name": name, "type": "custom"} for index, name in enumerate(one.labels)]
        state = {"status": "online" if one.online else "offline", "busy": one.job is not None, "ephemeral": True}
        return {"id": one.id, "runner_group_id": 1, "name": one.name, "os": "linux", "labels": labels, **state}

    @route("GET", PLACES[0] + "/actions/runners")
    @route("GET", PLACES[1] + "/actions/runners")
    @route("GET", PLACES[2] + "/actions/runners")
    def list_runners(self, request: Request) -> Reply:
        place = self._place(request)
        return paged(request, self.url, [self._item(one) for one in self.agents.values() if one.place == place], "runners")

    @route("GET", PLACES[0] + "/actions/runners/downloads")
    @route("GET", PLACES[1] + "/actions/runners/downloads")
    @route("GET", PLACES[2] + "/actions/runners/downloads")
    def list_downloads(self, request: Request) -> Reply:
        self._place(request)
        return Reply(self.downloads)

    @route("POST", PLACES[0] + "/actions/runners/generate-jitconfig")
    @route("POST", PLACES[1] + "/actions/runners/generate-jitconfig")
    @route("POST", PLACES[2] + "/actions/runners/generate-jitconfig")
    def generate_jitconfig(self, request: Request) -> Reply:
        place, sent = self._place(request), request.json()
        if any(one.name == sent["name"] and one.place == place for one in self.agents.values()):
            return message(f"Already exists - A runner with the name {sent['name']} already exists.", 409)
        one = Agent(7000 + self.number(), sent["name"], sent["labels"], place, secrets.token_hex(16))
        self.agents[one.id] = one
        configuration = {"server": self.origin, "id": one.id, "name": one.name, "key": one.key, "work": sent.get("work_folder", "_work")}
        encoded = base64.b64encode(json.dumps(configuration).encode()).decode()
        return Reply({"runner": self._item(one), "encoded_jit_config": encoded}, 201)

    @route("GET", PLACES[0] + "/actions/runners/{runner_id}")
    @route("GET", PLACES[1] + "/actions/runners/{runner_id}")
    @route("GET", PLACES[2] + "/actions/runners/{runner_id}")
    @route("DELETE", PLACES[0] + "/actions/runners/{runner_id}")
    @route("DELETE", PLACES[1] + "/actions/runners/{runner_id}")
    @route("DELETE", PLACES[2] + "/actions/runners/{runner_id}")
    def one_runner(self, request: Request) -> Reply:
        place = self._place(request)
        one = self.agents.get(int(request.params["runner_id"]))
        if one is None or one.place != place:
            return not_found()
        if request.method == "GET":
            return Reply(self._item(one))
        if one.job is not None:
            return message(f'Bad request - Runner "{one.name}" is still running a job"', 422)
        del self.agents[one.id]
        return Reply(None, 204)

    @route("GET", REPO + "/actions/runs/{run_id}/jobs")
    def list_jobs(self, request: Request) -> Reply:
        self.need(request, "actions", "read")
        run = int(request.params["run_id"])
        if run not in self.runs:
            return not_found()
        return paged(request, self.url, [self._job(one) for one in self.jobs.values() if one.run == run], "jobs")

    @route("GET", REPO + "/actions/runs")
    def list_runs(self, request: Request) -> Reply:
        self.need(request, "actions", "read")
        wanted = request.one("status")
        return paged(request, self.url, [one for one in self.runs.values() if wanted in ("", one["status"])], "workflow_runs")

    def _job(self, one: Job) -> dict[str, Any]:
        state = {"status": one.status, "conclusion": one.conclusion, "run_attempt": one.attempt, "labels": one.labels}
        where = {"runner_id": one.runner, "runner_name": one.runner_name, "html_url": f"{self.origin}/jobs/{one.id}"}
        times = {"completed_at": now() if one.conclusion else None, "started_at": now(), "created_at": now()}
        return filled("github", "job", id=one.id, run_id=one.run, name=one.name, **state, **where, **times)

    # What agents speak

    def other(self, request: Request) -> Reply:
        parts = request.path.strip("/").split("/")
        if parts[0] != "_agents":
            return super().other(request)
        one = self.agents.get(int(parts[1]))
        if one is None or request.headers.get("Authorization") != f"Bearer {one.key}":
            return Reply({"message": "The runner registration has been deleted from the server."}, 401)
        return self.hand_out(one) if parts[2] == "next" else self._done(one, request.json())

    def hand_out(self, one: Agent) -> Reply:
        one.online = True
        if one.had or one.job is not None:
            return Reply(None, 204)
        mine = {label.casefold() for label in one.labels}
        for job in self.jobs.values():
            if job.status == "queued" and {label.casefold() for label in job.labels} <= mine:
                job.status, job.runner, job.runner_name = "in_progress", one.id, one.name
                one.job, one.had = job.id, one.had + 1
                self.runs[job.run].update(status="in_progress", conclusion=None)
                facts = {"run": job.run, "attempt": job.attempt, "repository": self.repository}
                return Reply({"id": job.id, "name": job.name, "steps": job.steps, "environment": job.environment, **facts})
        return Reply(None, 204)

    def _done(self, one: Agent, sent: dict[str, Any]) -> Reply:
        job = self.jobs.get(sent["job"])
        if job is not None and job.runner == one.id and job.status == "in_progress":
            self._ended(job, sent["conclusion"])
        self.agents.pop(one.id, None)  # it was ephemeral
        return Reply({})

    def _ended(self, job: Job, conclusion: str) -> None:
        job.status, job.conclusion = "completed", conclusion
        jobs = [one for one in self.jobs.values() if one.run == job.run]
        if all(one.status == "completed" for one in jobs):
            worst = next((one.conclusion for one in jobs if one.conclusion != "success"), "success")
            self.runs[job.run].update(status="completed", conclusion=worst)
