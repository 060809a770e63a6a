"""Self-hosted runners of GitHub, of a repository, an organisation or an enterprise, by just-in-time configurations.

A just-in-time configuration registers an ephemeral runner: it takes one job, and GitHub removes it afterwards. It is the only
secret that a machine gets, and opens nothing else. GitHub removes by itself what was registered so and never came.

Source: "Self-hosted runners" and "Workflow runs" in docs.github.com/rest/actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Unpack
from urllib.parse import urlsplit

from mlops_nb.core.runners import TAG_INSTALLATION, TAG_RUNNER
from mlops_nb.forges.base import ForgeConflict, ForgeNotFound, PermissionMissing, RequestRefused
from mlops_nb.forges.client import PER_PAGE, ForgeClient, PatienceOptions, part
from mlops_nb.forges.github_auth import GitHubAuth
from mlops_nb.forges.lost import once
from mlops_nb.forges.runners import ForgeAgent, ForgeJob, Place, Registration, Rerun, marks, registered, tags_in, word_of
from mlops_nb.forges.tokens import AppKey, Secret, Token

LABEL_CHARACTERS: Final = 256
NAME_CHARACTERS: Final = 64
DEFAULT_GROUP: Final = 1
MOST_RUNS_LOOKED_AT: Final = 30


class GitHubRunners:
    """The runners of one place on GitHub. See `runners.RunnerForge` for the contract."""

    def __init__(self, place: Place, token: Token | AppKey, **patience: Unpack[PatienceOptions]) -> None:
        self.place = place
        auth = GitHubAuth(token, place.path)
        self.client = ForgeClient("github", place.api_url, auth.headers, source=token.source, **patience)
        auth.attach(self.client)
        kinds = {"repository": "repos", "organization": "orgs", "enterprise": "enterprises"}
        self._base = f"/{kinds[place.level]}/" + "/".join(part(one) for one in place.path.split("/"))
        self._runners = f"{self._base}/actions/runners"

    def agents(self, *, installation: str = "", labels: Sequence[str] = (), name: str = "") -> list[ForgeAgent]:
        """Return the runners of the place that carry an installation's mark, all these labels and this name."""
        wanted = {one.casefold() for one in labels}
        with self._explained():
            params = {"per_page": PER_PAGE}
            items = list(self.client.pages(self._runners, what=f"list the runners of {self.place.path}", params=params, items="runners"))
        found = [_agent(item) for item in items]
        return [
            one
            for one in found
            if (not installation or one.tags.get(TAG_INSTALLATION) == word_of(installation))
            and wanted <= {label.casefold() for label in one.labels}
            and name in ("", one.name)
        ]

    def agent(self, id: str) -> ForgeAgent | None:
        """Return one runner, or None if it is gone."""
        try:
            return _agent(self.client.get(f"{self._runners}/{part(id)}", what=f"show the runner {id}"))
        except ForgeNotFound:
            return None

    def register(self, name: str, labels: Sequence[str], tags: Mapping[str, str], *, single: bool = False) -> Registration:
        """Get a just-in-time configuration, which is good for one job whether `single` or not."""
        all_labels = list(dict.fromkeys([*labels, *marks(tags)]))
        if len(name) > NAME_CHARACTERS:
            raise RequestRefused(f"GitHub takes {NAME_CHARACTERS} characters for the name of a runner: {name[:80]!r}.", hint="Shorten it.")
        for label in labels:
            if not label.strip() or "," in label or len(label) > LABEL_CHARACTERS or not label.isprintable():
                raise RequestRefused(f"{label[:80]!r} can be no label of a runner on GitHub.", hint="Use words without commas.")
        sent = {"name": name, "runner_group_id": DEFAULT_GROUP, "labels": all_labels, "work_folder": "_work"}

        def make() -> Registration:
            what = f"register the runner {name} at {self.place.path}"
            try:
                with self._explained():
                    made = self.client.post(f"{self._runners}/generate-jitconfig", sent, what=what)
            except ForgeConflict as error:
                error.hint = f"A runner of {self.place.path} has this name: choose another by --name, or take that one by --reuse."
                raise
            return Registration(str(made["runner"]["id"]), name, Secret(made["encoded_jit_config"]), reusable=False)

        return registered(make, name, self, tags.get(TAG_RUNNER, ""))

    def remove(self, id: str, *, force: bool = False) -> bool:
        """Remove a runner; False while it has a job: GitHub refuses that in any case."""
        try:
            self.client.delete(f"{self._runners}/{part(id)}", what=f"remove the runner {id}")
        except ForgeNotFound:
            return True
        except RequestRefused as refusal:
            if refusal.status in (409, 422) and "job" in refusal.message:
                return False
            raise
        return True

    def binary(self, architecture: str) -> tuple[str, str, str] | None:
        """Return file name, URL and SHA-256 of the agent that this server wants on Linux; None where it names none with a checksum.

        GitHub's cloud takes any current agent. A server of one's own has a version that fits it.
        """
        host = urlsplit(self.place.server_url).hostname or ""
        if host == "github.com" or host.endswith(".ghe.com"):
            return None
        for one in self.client.get(f"{self._runners}/downloads", what="list the agents that fit") or []:
            if one.get("os") == "linux" and one.get("architecture") == architecture and one.get("sha256_checksum"):
                return one["filename"], one["download_url"], one["sha256_checksum"]
        return None

    # Jobs

    def job_of(self, agent: ForgeAgent, hint: ForgeJob | None) -> ForgeJob | None:
        """Return the job of a runner: that of the run which the machine names, else of the newest runs of the repository."""
        if hint is not None and hint.run.isdigit() and self._is_here(hint.repository):
            found = self._job_in(hint.repository, hint.run, agent)
            if found is not None:
                return found
        if self.place.level != "repository":
            return None
        path, params = f"{self._base}/actions/runs", {"per_page": MOST_RUNS_LOOKED_AT}
        newest = (self.client.get(path, what="list the newest runs", params=params) or {}).get("workflow_runs", [])
        for run in newest:
            if run["status"] != "completed" or run.get("conclusion") in ("cancelled", "failure"):
                found = self._job_in(self.place.path, str(run["id"]), agent)
                if found is not None:
                    return found
        return None

    def _is_here(self, repository: str) -> bool:
        owner, _, name = repository.partition("/")
        if not owner or not name or "/" in name:
            return False
        if self.place.level == "repository":
            return repository.casefold() == self.place.path.casefold()
        return self.place.level == "enterprise" or owner.casefold() == self.place.path.casefold()

    def _job_in(self, repository: str, run: str, agent: ForgeAgent) -> ForgeJob | None:
        """Return the job of a run that this runner has, by the forge's own word."""
        path = f"{_repository(repository)}/actions/runs/{part(run)}/jobs"
        try:
            params = {"filter": "latest", "per_page": PER_PAGE}
            listed = list(self.client.pages(path, what=f"list the jobs of run {run}", params=params, items="jobs"))
        except (ForgeNotFound, PermissionMissing):
            return None
        for job in listed:
            if str(job.get("runner_id") or "") == agent.id or (job.get("runner_name") and job["runner_name"] == agent.name):
                more = {
                    "name": job["name"],
                    "repository": repository,
                    "attempt": job.get("run_attempt") or 1,
                    "url": job.get("html_url") or "",
                }
                return ForgeJob(id=str(job["id"]), run=run, **more)
        return None

    def again(self, job: ForgeJob) -> Rerun:
        """Run the failed jobs of the job's run again, once, as soon as none of its jobs runs any more."""
        path = f"{_repository(job.repository)}/actions/runs/{part(job.run)}"
        run: dict[str, Any] = self.client.get(path, what=f"show the workflow run {job.run}")
        attempt = int(run.get("run_attempt") or 1)
        if attempt > job.attempt:
            return Rerun(state="refused", url=run["html_url"], reason=f"Attempt {attempt} of the run is under way already.")
        if attempt > 1:
            return Rerun(state="refused", url=run["html_url"], reason=f"This was attempt {attempt}: a run is repeated once.")
        if run["status"] != "completed":
            return Rerun(state="waiting", url=run["html_url"], reason=f"The run is still {str(run['status']).replace('_', ' ')}.")
        if run.get("conclusion") == "success":
            return Rerun(state="refused", url=run["html_url"], reason="The run has succeeded: nothing was cut off.")

        def begun() -> bool | None:
            now = self.client.get(path, what=f"show the workflow run {job.run}")
            return True if int(now.get("run_attempt") or 1) > attempt else None

        once(lambda: self.client.post(f"{path}/rerun-failed-jobs", what=f"run the failed jobs of run {job.run} again"), begun)
        return Rerun(state="started", url=run["html_url"])

    def _explained(self) -> _Explained:
        return _Explained(self.place)


class _Explained:
    """Says which permission the runners of a place need: GitHub says 'not found' to a token without it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PermissionMissing | ForgeNotFound):
            needs = {
                "repository": "a fine-grained token or App with 'Administration: write', or a classic one with the scope 'repo'",
                "organization": "a fine-grained token or App with 'Self-hosted runners: write', or a classic one with 'admin:org'",
                "enterprise": "a classic token with the scope 'manage_runners:enterprise'",
            }[self._place.level]
            error.hint = f"Runners of {self._place.url} need {needs}; the GITHUB_TOKEN of a workflow has none of it."


def _agent(item: Mapping[str, Any]) -> ForgeAgent:
    labels = [one["name"] for one in item["labels"]]
    more = {"online": item["status"] == "online", "busy": bool(item["busy"]), "tags": tags_in(labels)}
    return ForgeAgent(id=str(item["id"]), name=item["name"], labels=labels, **more)


def _repository(path: str) -> str:
    return "/repos/" + "/".join(part(one) for one in path.split("/"))
