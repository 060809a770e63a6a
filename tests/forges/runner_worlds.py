"""The runners of a forge of each kind with its loopback server, behind the same few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.forges.runners import Place, RunnerForge, connect_runners
from mlops_nb.forges.tokens import AppKey, Secret, Token
from tests.forges import bitbucket_records, gitlab_records
from tests.forges.github_state import ALL_PERMISSIONS
from tests.forges.github_state import Account as GitHubAccount
from tests.forges.worlds import GOOD, WEAK, BitbucketWorld, GitHubWorld, GitLabWorld

MAY = {"administration": "write", "organization_self_hosted_runners": "write", "enterprise_self_hosted_runners": "write"}


class GitHubRunnersWorld(GitHubWorld):
    labels = ("self-hosted", "linux", "cml")
    token_kind: Any = "github-fine-grained"
    fail_path = "*/actions/runners/generate-jitconfig"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server.tokens[GOOD] = GitHubAccount("ada", {**ALL_PERMISSIONS, **MAY})

    def place(self, level: Any = "repository") -> Place:
        path = self.repository if level == "repository" else self.repository.split("/")[0]
        return Place(kind="github", server_url=self.server.origin, api_url=self.server.url, path=path, level=level)

    def runners(self, secret: str = GOOD, level: Any = "repository") -> RunnerForge:
        return connect_runners(self.place(level), Token(self.token_kind, Secret(secret), source="CI_VARIABLE"), **self.patience)

    def by_app(self, app: AppKey, level: Any) -> RunnerForge:
        return connect_runners(self.place(level), app, **self.patience)

    def take_job(self, name: str, agent: str) -> str:
        """Give a job to a runner that is there; return the job's id."""
        job = self.server.add_job(name, labels=("cml",))
        self.server._next(self.server.agents[int(agent)])
        return str(job.id)

    def lose_job(self, id: str) -> None:
        self.server.lose(self.server.jobs[int(id)])

    def times_begun(self, name: str) -> int:
        return max(job.attempt for job in self.server.jobs.values() if job.name == name)

    def registered(self) -> dict[str, str]:
        return {str(one.id): one.name for one in self.server.agents.values()}


class GitLabRunnersWorld(GitLabWorld):
    labels = ("cml",)
    fail_path = "/user/runners"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server.accounts[WEAK] = gitlab_records.Account("ci-bot", role="developer")

    def place(self, level: Any = "repository") -> Place:  # type: ignore[override]
        path = self.repository if level == "repository" else "group/sub"
        return Place(kind="gitlab", server_url=self.server.web, api_url=self.server.url, path=path, level="repository")

    def runners(self, secret: str = GOOD, level: Any = "repository") -> RunnerForge:
        token = Token("gitlab-job" if secret == "job" else "gitlab-access", Secret(secret), source="CI_VARIABLE")
        return connect_runners(self.place(level), token, **self.patience)

    def take_job(self, name: str, agent: str) -> str:
        job = self.server.add_job(name)
        self.server._next(self.server.agents[int(agent)])
        return str(job.id)

    def lose_job(self, id: str) -> None:
        self.server.lose(self.server.jobs[int(id)])

    def times_begun(self, name: str) -> int:
        return sum(job.name == name for job in self.server.jobs.values())

    def registered(self) -> dict[str, str]:
        return {str(one.id): one.description for one in self.server.agents.values()}


class BitbucketRunnersWorld(BitbucketWorld):
    labels = ("linux", "cml")
    fail_path = "*/pipelines-config/runners"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        few = tuple(one for one in bitbucket_records.EVERY if one != "runner:write")
        self.server.accounts[WEAK] = bitbucket_records.Account("ci-bot", scopes=few)

    def place(self, level: Any = "repository") -> Place:  # type: ignore[override]
        path, level = (self.repository, "repository") if level == "repository" else (self.repository.split("/")[0], "workspace")
        return Place(kind="bitbucket", server_url=self.server.origin, api_url=self.server.url, path=path, level=level)

    def runners(self, secret: str = GOOD, level: Any = "repository") -> RunnerForge:
        return connect_runners(self.place(level), Token("bitbucket-access", Secret(secret), source="CI_VARIABLE"), **self.patience)

    def take_job(self, name: str, agent: str) -> str:
        target = {
            "type": "pipeline_ref_target",
            "ref_type": "branch",
            "ref_name": "change",
            "commit": {"type": "commit", "hash": self.head},
        }
        pipeline = self.server.add_pipeline(target)
        self.server.add_step(pipeline).runner = agent
        return pipeline.uuid

    def lose_job(self, id: str) -> None:
        pipeline = self.server.pipelines[id]
        pipeline.state, pipeline.result = "COMPLETED", "FAILED"

    def times_begun(self, name: str) -> int:
        return len(self.server.pipelines)

    def registered(self) -> dict[str, str]:
        return {one.uuid: one.name for one in self.server.agents.values()}


RunnersWorld = GitHubRunnersWorld | GitLabRunnersWorld | BitbucketRunnersWorld
RUNNERS_WORLDS: dict[str, type[RunnersWorld]] = {
    "github": GitHubRunnersWorld,
    "gitlab": GitLabRunnersWorld,
    "bitbucket": BitbucketRunnersWorld,
}


def elsewhere(place: Place) -> Place:
    """Return another place on the same server."""
    return msgspec.structs.replace(place, path=place.path + "-else")
