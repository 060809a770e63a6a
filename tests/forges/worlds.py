"""A forge of each kind with its loopback server, behind the same few words, so that one test class can ask all of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from mlops_nb.forges.base import Forge, ForgeKind, Target
from mlops_nb.forges.bitbucket import Bitbucket
from mlops_nb.forges.client import PatienceOptions
from mlops_nb.forges.context import Context
from mlops_nb.forges.github import GitHub
from mlops_nb.forges.gitlab import GitLab
from mlops_nb.forges.tokens import Secret, Token
from tests.forges import bitbucket_records, gitlab_records
from tests.forges.bitbucket import LoopbackBitbucket
from tests.forges.git_repository import GitRepository
from tests.forges.github import LoopbackGitHub
from tests.forges.github_state import Account as GitHubAccount
from tests.forges.gitlab import LoopbackGitLab
from tests.forges.server import LoopbackForge

GOOD, WEAK, UNKNOWN = "a-good-token", "a-weak-token", "an-unknown-token"


class Time:
    """Goes on by itself, and leaps where it is slept."""

    def __init__(self) -> None:
        self.slept = 0.0
        self.told: list[str] = []

    def clock(self) -> float:
        return time.time() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class World(ABC):
    """One repository with a first commit on `main`, and a branch `change` with a file more.

    Attributes:
        git: The repository behind the forge.
        first: Hash of the commit on `main`; `head` is that of `change`.
        missing: What the error says that the weak token lacks.
    """

    kind: ForgeKind
    missing: str
    server: LoopbackForge

    def __init__(self, git: GitRepository, first: str | None = None) -> None:
        self.git = git
        self.first = first or git.commit("main", {"a.txt": b"one\n"}, "First")
        self.head = git.commit("change", {"b.txt": b"two\n"}, "Add b", parent=self.first)
        self.time = Time()

    def context(self, **more: Any) -> Context:
        return Context(kind=self.kind, server_url=self.server.origin, api_url=self.server.url, repository=self.repository, **more)

    @property
    def patience(self) -> PatienceOptions:
        return {"clock": self.time.clock, "sleep": self.time.sleep, "tell": self.time.told.append}

    @property
    @abstractmethod
    def repository(self) -> str: ...
    @abstractmethod
    def forge(self, secret: str = GOOD, **context: Any) -> Forge: ...
    @abstractmethod
    def open(self, source: str = "change", target: str = "main") -> int: ...
    @abstractmethod
    def say(self, target: Target, body: str, author: str = "ada") -> None: ...
    @abstractmethod
    def said(self, target: Target) -> list[str]: ...
    @abstractmethod
    def comments_glob(self, target: Target) -> str: ...
    @abstractmethod
    def check_states(self, commit: str) -> dict[str, str]:
        """Return the state of each check by name, in the words of `Conclusion`, or `in_progress`."""

    @abstractmethod
    def stored(self, url: str) -> bytes: ...
    @abstractmethod
    def run(self, status: str = "running") -> str:
        """Make a pipeline of `change` that runs, or is `failed`; return its id."""

    @abstractmethod
    def never_stops(self) -> None:
        """Make that pipeline go on for ever, however it is stopped."""

    @abstractmethod
    def runs_again(self) -> bool:
        """Tell whether that has been started again, and had been stopped before if it ran."""


class GitLabWorld(World):
    kind = "gitlab"
    missing = "scope api"
    server: LoopbackGitLab
    repository = "group/sub/project"

    def __init__(self, folder: Path) -> None:
        super().__init__(GitRepository(folder / "repository.git"))
        self.server = LoopbackGitLab(self.git, path=self.repository, root="/gitlab")
        self.server.accounts = {
            GOOD: gitlab_records.Account("ci-bot"),
            WEAK: gitlab_records.Account("ci-bot", scopes=("read_api",)),
            "job": gitlab_records.Account("ada", job=True),
        }

    def context(self, **more: Any) -> Context:
        return Context(kind="gitlab", server_url=self.server.web, api_url=self.server.url, repository=self.repository, **more)

    def forge(self, secret: str = GOOD, **context: Any) -> GitLab:
        token = Token("gitlab-job" if secret == "job" else "gitlab-access", Secret(secret), source="CI_VARIABLE")
        return GitLab(self.context(**context), token, **self.patience)

    def open(self, source: str = "change", target: str = "main") -> int:
        return self.server.open_merge_request(source, target).iid

    def place(self, target: Target) -> tuple[str, str]:
        return {"pr": "MergeRequest", "issue": "Issue", "commit": "Commit"}[target.kind], target.ref

    def say(self, target: Target, body: str, author: str = "ada") -> None:
        self.server.add_note(*self.place(target), body, author)

    def said(self, target: Target) -> list[str]:
        return [one.body for one in self.server.notes if one.noteable == self.place(target)]

    def comments_glob(self, target: Target) -> str:
        return "*/discussions" if target.kind == "commit" else "*/notes"

    def check_states(self, commit: str) -> dict[str, str]:
        words = {"failed": "failure", "canceled": "cancelled", "running": "in_progress", "pending": "queued"}
        return {one["name"]: words.get(one["status"], one["status"]) for one in self.server.statuses if one["sha"] == commit}

    def stored(self, url: str) -> bytes:
        return self.server.uploads[url]

    def run(self, status: str = "running") -> str:
        self.pipeline = self.server.add_pipeline(self.head, "change", status)
        self.pipeline.polls_until_stopped = 3
        return str(self.pipeline.id)

    def never_stops(self) -> None:
        self.pipeline.polls_until_stopped = 10_000

    def runs_again(self) -> bool:
        return self.pipeline.history in (["cancel while running", "retry while canceled"], ["retry while failed"])


class BitbucketWorld(World):
    kind = "bitbucket"
    missing = "pullrequest:write"
    server: LoopbackBitbucket
    repository = "team/project"

    def __init__(self, folder: Path) -> None:
        super().__init__(GitRepository(folder / "repository.git"))
        self.server = LoopbackBitbucket(self.git, full_name=self.repository)
        reading = tuple(one for one in bitbucket_records.EVERY if not one.endswith(":write"))
        self.server.accounts = {
            GOOD: bitbucket_records.Account("ci-bot"),
            WEAK: bitbucket_records.Account("ci-bot", scopes=reading),
            "another-token": bitbucket_records.Account("another-bot"),
            "personal": bitbucket_records.Account("grace", scopes=bitbucket_records.EVERY_OF_USERS, email="grace@example.org"),
        }

    def forge(self, secret: str = GOOD, **context: Any) -> Bitbucket:
        of_user = secret == "personal"
        user = "grace@example.org" if of_user else None
        token = Token("bitbucket-api" if of_user else "bitbucket-access", Secret(secret), source="CI_VARIABLE", user=user)
        return Bitbucket(self.context(**context), token, **self.patience)

    def open(self, source: str = "change", target: str = "main") -> int:
        return self.server.open_pull_request(source, target).id

    def place(self, target: Target) -> tuple[str, str]:
        return {"pr": "pullrequest", "issue": "issue", "commit": "commit"}[target.kind], target.ref

    def say(self, target: Target, body: str, author: str = "ada") -> None:
        self.server.add_comment(*self.place(target), body, author)

    def said(self, target: Target) -> list[str]:
        return [one.raw for one in self.server.comments if one.place == self.place(target) and not one.deleted]

    def comments_glob(self, target: Target) -> str:
        return "*/comments"

    def check_states(self, commit: str) -> dict[str, str]:
        words = {"SUCCESSFUL": "success", "FAILED": "failure", "STOPPED": "cancelled", "INPROGRESS": "in_progress"}
        return {one["name"]: words[one["state"]] for (sha, _), one in self.server.statuses.items() if sha == commit}

    def stored(self, url: str) -> bytes:
        return self.server.downloads[url.rpartition("/downloads/")[2]]

    def run(self, status: str = "running") -> str:
        target = {
            "type": "pipeline_ref_target",
            "ref_type": "branch",
            "ref_name": "change",
            "commit": {"type": "commit", "hash": self.head},
        }
        self.pipeline = self.server.add_pipeline(target, "COMPLETED" if status == "failed" else "IN_PROGRESS")
        self.pipeline.polls_until_stopped = 3
        return self.pipeline.uuid

    def never_stops(self) -> None:
        self.pipeline.polls_until_stopped = 10_000

    def runs_again(self) -> bool:
        newest = list(self.server.pipelines.values())[-1]
        return newest is not self.pipeline and newest.target == self.pipeline.target and self.pipeline.state == "COMPLETED"


class GitHubWorld(World):
    kind = "github"
    missing = "issues: write"
    server: LoopbackGitHub
    repository = "acme/churn"

    def __init__(self, folder: Path) -> None:
        self.server = LoopbackGitHub(folder, repository=self.repository)
        super().__init__(self.server.git, self.server.first)
        self.server.tokens = {
            GOOD: GitHubAccount("github-actions[bot]"),
            WEAK: GitHubAccount("github-actions[bot]", dict.fromkeys(("issues", "pull_requests", "contents"), "read")),
        }
        self.issue = self.server.number()

    def forge(self, secret: str = GOOD, **context: Any) -> GitHub:
        return GitHub(self.context(**context), Token("github-app", Secret(secret), source="CI_VARIABLE"), **self.patience)

    def open(self, source: str = "change", target: str = "main") -> int:
        return self.server.open_pull(source, target).number

    def say(self, target: Target, body: str, author: str = "ada") -> None:
        self.server.add_comment(int(target.ref), author, body)

    def said(self, target: Target) -> list[str]:
        if target.kind == "commit":
            return [one["body"] for one in self.server.commit_comments.values() if one["commit_id"] == target.ref]
        return [one["body"] for one in self.server.comments_of(int(target.ref))]

    def comments_glob(self, target: Target) -> str:
        return "*/comments"

    def check_states(self, commit: str) -> dict[str, str]:
        return {one["name"]: one["conclusion"] or one["status"] for one in self.server.checks.values() if one["head_sha"] == commit}

    def stored(self, url: str) -> bytes:
        commit, _, path = url.partition("/raw/")[2].partition("/")
        return self.git.read(commit, path) or b""

    def run(self, status: str = "running") -> str:
        self.server.polls_until_cancelled = 3
        running = ("in_progress", None) if status == "running" else ("completed", "failure")
        self.server.add_run(77, *running)
        return "77"

    def never_stops(self) -> None:
        self.server.polls_until_cancelled = 10_000

    def runs_again(self) -> bool:
        run = self.server.runs[77]
        return (run["status"], run["run_attempt"]) == ("queued", 2)


WORLDS: dict[str, type[World]] = {"github": GitHubWorld, "gitlab": GitLabWorld, "bitbucket": BitbucketWorld}
