"""Runners of GitLab by the new way of creating them: an authentication token of the runner's own (`glrt-`), no registration token.

Source: "Create a runner linked to a user" in docs.gitlab.com/api/users and docs.gitlab.com/api/runners. Lists of runners leave
the tags out, so that they are asked for one by one; but they can be filtered by tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack

import msgspec

from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER
from mlops_nb.forges.base import ForgeNotFound, NotAuthenticated, PermissionMissing, RequestRefused
from mlops_nb.forges.client import PER_PAGE, ForgeClient, PatienceOptions, part
from mlops_nb.forges.gitlab import headers
from mlops_nb.forges.lost import once
from mlops_nb.forges.runners import ForgeAgent, ForgeJob, Place, Registration, Rerun, marks, registered, tags_in, word_of
from mlops_nb.forges.tokens import Secret, Token

NAME_CHARACTERS: Final = 1024
TAG_CHARACTERS: Final = 255
_RUNNING: Final = ("created", "pending", "waiting_for_resource", "preparing", "running", "canceling", "waiting_for_callback")


class GitLabRunners:
    """The runners of one project or group on GitLab. See `runners.RunnerForge` for the contract."""

    def __init__(self, place: Place, token: Token, **patience: Unpack[PatienceOptions]) -> None:
        self.place = place
        self.client = ForgeClient("gitlab", place.api_url, headers(token), source=token.source, **patience)
        self._token = token
        self._id: int | None = None

    def _there(self) -> tuple[str, int]:
        """Return the path of the project or group in the API, and its number; only GitLab knows which of both the path is."""
        if self._id is None:
            if self._token.kind == "gitlab-job":
                raise PermissionMissing(
                    "A job token (CI_JOB_TOKEN) may not create runners on GitLab.",
                    hint="Put a token with the scope 'api' (or 'create_runner') and the role Maintainer into GITLAB_TOKEN.",
                )
            self._id = self._asked()
        return f"{'projects' if self.place.level == 'repository' else 'groups'}/{self._id}", self._id

    def _asked(self) -> int:
        path = part(self.place.path)
        if self.place.level == "repository":
            try:
                return int(self.client.get(f"projects/{path}", what=f"show the project {self.place.path}")["id"])
            except ForgeNotFound:
                found = self.client.get(f"groups/{path}", what=f"show the project or group {self.place.path}")
                self.place = msgspec.structs.replace(self.place, level="group")
                return int(found["id"])
        return int(self.client.get(f"groups/{path}", what=f"show the group {self.place.path}")["id"])

    def agents(self, *, installation: str = "", labels: Sequence[str] = (), name: str = "") -> list[ForgeAgent]:
        """Return the runners of the project or group itself that carry an installation's mark, all these tags and this name."""
        path, _ = self._there()
        tags = [*labels, *(marks({TAG_INSTALLATION: installation}) if installation else ())]
        params = {"type": f"{'project' if self.place.level == 'repository' else 'group'}_type", "per_page": PER_PAGE}
        if tags:
            params["tag_list"] = ",".join(tags)
        listed = list(self.client.pages(f"{path}/runners", what=f"list the runners of {self.place.path}", params=params))
        chosen = [item for item in listed if name in ("", item.get("description"))]
        found = [one for item in chosen if (one := self.agent(str(item["id"]))) is not None]
        return [one for one in found if not installation or one.tags.get(TAG_INSTALLATION) == word_of(installation)]

    def agent(self, id: str) -> ForgeAgent | None:
        """Return one runner with its tags and whether it has a job, or None if it is gone."""
        try:
            item = self.client.get(f"runners/{part(id)}", what=f"show the runner {id}")
            running = self.client.get(f"runners/{part(id)}/jobs", what=f"list the jobs of runner {id}", params={"status": "running"})
        except ForgeNotFound:
            return None
        labels = list(item.get("tag_list") or ())
        more = {"online": item.get("status") == "online", "busy": bool(running), "tags": tags_in(labels)}
        return ForgeAgent(id=str(item["id"]), name=str(item.get("description") or ""), labels=labels, **more)

    def register(self, name: str, labels: Sequence[str], tags: Mapping[str, str], *, single: bool = False) -> Registration:
        """Create a runner and return it with its authentication token. GitLab shows that once."""
        for label in labels:
            if not label.strip() or "," in label or len(label) > TAG_CHARACTERS or not label.isprintable():
                raise RequestRefused(f"{label[:80]!r} can be no tag of a runner on GitLab.", hint="Use words without commas.")
        _, number = self._there()
        kind = "project" if self.place.level == "repository" else "group"
        sent = {
            "runner_type": f"{kind}_type",
            f"{kind}_id": number,
            "description": name[:NAME_CHARACTERS],
            "tag_list": list(dict.fromkeys([*labels, *marks(tags)])),
            "run_untagged": False,
            "locked": True,
        }

        def make() -> Registration:
            try:
                made = self.client.post("user/runners", sent, what=f"create the runner {name} of {self.place.path}")
            except (NotAuthenticated, PermissionMissing) as error:
                error.hint = "It needs a token with the scope 'create_runner' and 'api', and the role Maintainer (of a group: Owner)."
                raise
            return Registration(str(made["id"]), name, Secret(made["token"]), reusable=True)

        return registered(make, name, self, tags.get(TAG_RUNNER, ""))

    def remove(self, id: str, *, force: bool = False) -> bool:
        """Remove a runner; False while it has a job, unless forced. GitLab itself would not mind."""
        try:
            running = self.client.get(f"runners/{part(id)}/jobs", what=f"list the jobs of runner {id}", params={"status": "running"})
            if running and not force:
                return False
            self.client.delete(f"runners/{part(id)}", what=f"remove the runner {id}")
        except ForgeNotFound:
            return True
        return True

    def job_of(self, agent: ForgeAgent, hint: ForgeJob | None) -> ForgeJob | None:
        """Return the job that a runner is at, or its last one where that was cut off in the last minutes. GitLab needs no hint."""
        params = {"order_by": "id", "sort": "desc", "per_page": 1}
        try:
            listed = self.client.get(f"runners/{part(agent.id)}/jobs", what=f"list the jobs of runner {agent.id}", params=params)
        except ForgeNotFound:  # a runner that is gone takes the memory of its jobs with it
            return None
        for job in listed or []:
            if job["status"] == "success":
                return None
            more = {"name": job["name"], "repository": job["project"]["path_with_namespace"], "url": job.get("web_url") or ""}
            return ForgeJob(id=str(job["id"]), run=str(job["pipeline"]["id"]), **more)
        return None

    def again(self, job: ForgeJob) -> Rerun:
        """Retry one job, once, when GitLab has noticed that it ended."""
        project = f"projects/{part(job.repository)}"
        found: dict[str, Any] = self.client.get(f"{project}/jobs/{part(job.id)}", what=f"show the job {job.id}")
        if found["status"] in _RUNNING:
            return Rerun(state="waiting", url=found["web_url"], reason=f"The job is still {found['status']}.")
        if found["status"] not in ("failed", "canceled"):
            return Rerun(state="refused", url=found["web_url"], reason=f"The job is {found['status']}: nothing was cut off.")

        def tries() -> list[dict[str, Any]]:
            path, params = f"{project}/pipelines/{part(job.run)}/jobs", {"include_retried": "true", "per_page": PER_PAGE}
            listed = self.client.pages(path, what=f"list the jobs of pipeline {job.run}", params=params)
            return [one for one in listed if one["name"] == found["name"]]

        before = tries()
        if len(before) > 1:
            return Rerun(state="refused", url=found["web_url"], reason="The job was run again already: it is repeated once.")

        def begun() -> dict[str, Any] | None:
            return next((one for one in tries() if str(one["id"]) != job.id), None)

        made = once(lambda: self.client.post(f"{project}/jobs/{part(job.id)}/retry", what=f"run the job {job.id} again"), begun)
        return Rerun(state="started", url=made["web_url"])
