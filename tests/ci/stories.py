"""A pull request from push to comment, as a forge's CI does it: checkout, variables, stage one without a token, stage two with one.

story = GitHubStory(tmp_path)
story.push("change", {"train.ipynb": [...]}, "Better")
stage_one = story.run()
posted = story.post()
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from mlops_nb.ci.workflows import FOLDER
from mlops_nb.forges.base import Target
from tests.forges.git_repository import IDENTITY
from tests.forges.worlds import GOOD, BitbucketWorld, GitHubWorld, GitLabWorld, World

ROOT = Path(__file__).parent.parent.parent
RUN = ("train.ipynb", "check.ipynb", "--baseline", "rerun", "--report", f"{FOLDER}/report.md", "--html")
GATES = "gates:\n  - {metric: val_auc, direction: maximize, tolerance: 0.01, notebook: train.ipynb}\n"
PLOT = "import matplotlib.pyplot as plt\n_ = plt.figure(figsize=(3, 2)).subplots().plot([1, 2, {score}])"
CHECK = ("import mlops_nb\nwith mlops_nb.start_run('checked') as run:\n    run.log(rows=1000)",)

Done = subprocess.CompletedProcess[str]


def train(score: float, *, plot: bool = True) -> tuple[str, ...]:
    """Return the cells of a notebook that trains."""
    record = f"import mlops_nb\nwith mlops_nb.start_run('trained') as run:\n    run.log(val_auc={score}, loss={round(1 - score, 4)})"
    return ("import math", record, *([PLOT.format(score=score)] if plot else []))


def ipynb(sources: Sequence[str]) -> str:
    document = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    document.cells = [nbformat.v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    return str(nbformat.writes(document)) + "\n"


class Story(ABC):
    """One repository on a forge of one's own, with two notebooks and a gate on `main`, and a pull request of `change`.

    Attributes:
        world: The forge.
        number: Of the pull request.
        report: What stage one left, as the CI hands it to stage two.
    """

    first_score = 0.9

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        (folder / "home").mkdir()
        self.clone = folder / "clone"
        self.report = folder / "artifact"
        self.number, self.run_number = 0, 100
        self.git(folder, "clone", "--quiet", self.remote, str(self.clone))
        self.on_main({"train.ipynb": ipynb(train(self.first_score)), "check.ipynb": ipynb(CHECK), ".mlops/gates.yml": GATES})

    @property
    def remote(self) -> str:
        return f"file://{self.world.git.path}"

    def git(self, folder: Path, *arguments: str) -> str:
        environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    def on_main(self, files: Mapping[str, str | None]) -> None:
        """Push files to `main`, and let `change` begin there; None takes a file away."""
        self.git(self.clone, "checkout", "--quiet", "main")
        self.push("main", files)
        self.git(self.clone, "checkout", "--quiet", "-B", "change")

    def push(self, branch: str, files: Mapping[str, str | None], message: str = "A change") -> str:
        """Commit files in the author's clone and push them; return the commit. None takes a file away."""
        for name, text in files.items():
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                (self.clone / name).unlink()
            else:
                (self.clone / name).write_text(text, encoding="utf-8")
        self.git(self.clone, "add", "--all")
        self.git(self.clone, "commit", "--quiet", "--message", message)
        self.git(self.clone, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        self.run_number += 1
        if branch != "main" and not self.number:
            self.number = self.world.open(branch)
        return self.git(self.clone, "rev-parse", "HEAD")

    # What the CI gives

    @abstractmethod
    def check_out(self, workspace: Path) -> None:
        """Check out the pull request into an empty folder, as this CI does."""

    @abstractmethod
    def variables(self, workspace: Path, stage: int) -> dict[str, str]:
        """Return what the CI says in a job of a stage."""

    def environment(self, workspace: Path, stage: int) -> dict[str, str]:
        """Return the whole environment of a job, before its secrets."""
        return self.environment_of_people() | {"CI": "true"} | self.variables(workspace, stage)

    def environment_of_people(self) -> dict[str, str]:
        """Return the environment of somebody at a machine of their own."""
        plain = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        path = os.pathsep.join([str(ROOT), str(ROOT / "server_ext")])
        places = {"HOME": str(self.folder / "home"), "PYTHONPATH": path, "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime")}
        return plain | places

    # The two stages

    def run(self, *, expect: int = 0, arguments: Sequence[str] = RUN) -> Done:
        """Do stage one in a fresh checkout, and keep what it leaves."""
        workspace = self.fresh("workspace")
        self.check_out(workspace)
        done = self._command(workspace, self.environment(workspace, 1), "ci", "run", *arguments)
        assert done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        shutil.rmtree(self.report, ignore_errors=True)
        shutil.copytree(workspace / FOLDER, self.report)
        return done

    def post(self, *, token: str = GOOD, expect: int = 0, arguments: Sequence[str] = (), **variables: str) -> Done:
        """Do stage two in an empty folder, with what stage one left and the token."""
        workspace = self.fresh("trusted")
        if self.report.exists():
            shutil.copytree(self.report, workspace / FOLDER, symlinks=True)
        environment = self.environment(workspace, 2) | {"MLOPS_NB_FORGE_TOKEN": token} | variables
        done = self._command(workspace, environment, "ci", "post", FOLDER, *arguments)
        assert done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert token not in done.stdout + done.stderr
        return done

    def fresh(self, name: str) -> Path:
        """Return an empty folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _command(self, folder: Path, environment: Mapping[str, str], *arguments: str) -> Done:
        command = [sys.executable, "-m", "mlops_nb.cli", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)

    # What the forge has

    @property
    def comments(self) -> list[str]:
        return self.world.said(Target("pr", str(self.number)))

    @property
    def comment(self) -> str:
        (only,) = self.comments
        return only

    def first_line(self) -> str:
        """Return the first line that a reader of the comment sees."""
        lines = [line for line in self.comment.splitlines() if line and not line.startswith(("<!--", "[//]:"))]
        return lines[0]

    def image_addresses(self) -> list[str]:
        """Return where the pictures are that the comment shows."""
        return re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", self.comment)

    def images(self) -> list[bytes]:
        """Return the pictures that the comment shows, from where it says that they are."""
        return [self.world.stored(address) for address in self.image_addresses()]

    def check(self, commit: str) -> str:
        """Return how the check of a commit ended."""
        return self.world.check_states(commit)["Notebooks"]

    @abstractmethod
    def annotations(self, commit: str) -> list[dict[str, Any]]: ...

    @abstractmethod
    def check_title(self, commit: str) -> str: ...

    @abstractmethod
    def check_summary(self, commit: str) -> str: ...


class GitHubStory(Story):
    world: GitHubWorld

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, GitHubWorld(folder))

    def check_out(self, workspace: Path) -> None:
        # As actions/checkout with fetch-depth 0: all branches, and the merge of the pull request into its base, detached.
        merge = self._merge()
        self.world.git.git("update-ref", f"refs/pull/{self.number}/merge", merge)
        self.git(workspace, "init", "--quiet", "--initial-branch=main")
        self.git(workspace, "remote", "add", "origin", self.remote)
        refs = ("+refs/heads/*:refs/remotes/origin/*", f"+refs/pull/{self.number}/merge:refs/remotes/pull/{self.number}/merge")
        self.git(workspace, "fetch", "--quiet", "origin", *refs)
        self.git(workspace, "checkout", "--quiet", "--detach", f"refs/remotes/pull/{self.number}/merge")

    def _merge(self) -> str:
        pull, main = self.world.server.pulls[self.number], self.world.git.resolve("refs/heads/main") or ""
        head = self.head()
        return self.world.git.git("commit-tree", f"{head}^{{tree}}", "-p", main, "-p", head, "-m", f"Merge {pull.source}")

    def head(self) -> str:
        pull = self.world.server.pulls[self.number]
        is_fork = pull.head_repository != self.world.repository
        return pull.head if is_fork else self.world.git.resolve(f"refs/heads/{pull.source}") or ""

    def variables(self, workspace: Path, stage: int) -> dict[str, str]:
        server, pull = self.world.server, self.world.server.pulls[self.number]
        listed = server.pull_item(pull, "pull-request")
        repository = {"full_name": self.world.repository, "default_branch": "main"}
        event: dict[str, Any]
        if stage == 1:
            event = {"action": "synchronize", "number": pull.number, "pull_request": listed, "repository": repository}
            merge = self.git(workspace, "rev-parse", "HEAD")
            about = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": f"refs/pull/{pull.number}/merge", "GITHUB_SHA": merge}
            about |= {"GITHUB_HEAD_REF": pull.source, "GITHUB_BASE_REF": pull.target, "GITHUB_RUN_ID": str(self.run_number)}
            about |= {"GITHUB_WORKFLOW": "Notebooks", "GITHUB_JOB": "run"}
        else:
            is_fork = pull.head_repository != self.world.repository
            short = {
                "number": pull.number,
                "head": {"ref": pull.source, "sha": self.head(), "repo": {"name": "churn"}},
                "base": {"ref": pull.target, "sha": listed["base"]["sha"], "repo": {"name": "churn"}},
            }
            run = {
                "id": self.run_number,
                "event": "pull_request",
                "head_sha": self.head(),
                "head_branch": pull.source,
                "head_repository": {"full_name": pull.head_repository},
                "pull_requests": [] if is_fork else [short],
            }
            event = {"action": "completed", "workflow_run": run, "repository": repository}
            main = self.world.git.resolve("refs/heads/main") or ""
            about = {"GITHUB_EVENT_NAME": "workflow_run", "GITHUB_REF": "refs/heads/main", "GITHUB_SHA": main}
            about |= {"GITHUB_WORKFLOW": "Notebook report", "GITHUB_JOB": "post", "GITHUB_RUN_ID": str(self.run_number + 1000)}
        path = self.folder / f"event-{stage}.json"
        path.write_text(json.dumps(event), encoding="utf-8")
        return about | {
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "ada",
            "GITHUB_API_URL": server.url,
            "GITHUB_EVENT_PATH": str(path),
            "GITHUB_OUTPUT": str(self.folder / f"output-{stage}"),
            "GITHUB_REPOSITORY": self.world.repository,
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_SERVER_URL": server.origin,
            "GITHUB_STEP_SUMMARY": str(self.folder / f"summary-{stage}.md"),
            "GITHUB_WORKSPACE": str(workspace),
        }

    def _check(self, commit: str) -> dict[str, Any]:
        return next(one for one in self.world.server.checks.values() if one["head_sha"] == commit)

    def annotations(self, commit: str) -> list[dict[str, Any]]:
        return self.world.server.annotations[self._check(commit)["id"]]

    def check_title(self, commit: str) -> str:
        return str(self._check(commit)["output"]["title"])

    def check_summary(self, commit: str) -> str:
        return str(self._check(commit)["output"]["summary"])


class GitLabStory(Story):
    world: GitLabWorld

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, GitLabWorld(folder))

    def push(self, branch: str, files: Mapping[str, str | None], message: str = "A change") -> str:
        commit = super().push(branch, files, message)
        if self.number:
            self.pipeline = self.world.server.add_pipeline(commit, f"refs/merge-requests/{self.number}/head")
        return commit

    def check_out(self, workspace: Path) -> None:
        # As the runner with GIT_DEPTH 0: all branches, and the commit of the pipeline, detached.
        self.git(workspace, "init", "--quiet")
        self.git(workspace, "remote", "add", "origin", self.remote)
        self.git(workspace, "fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*")
        self.git(workspace, "checkout", "--quiet", "--detach", self.pipeline.sha)

    def variables(self, workspace: Path, stage: int) -> dict[str, str]:
        server = self.world.server
        page = f"{server.web}/{self.world.repository}"
        return {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": server.url,
            "CI_COMMIT_SHA": self.pipeline.sha,
            "CI_COMMIT_REF_NAME": "change",
            "CI_DEFAULT_BRANCH": "main",
            "CI_JOB_ID": str(9000 + stage),
            "CI_JOB_NAME": {1: "run-notebooks", 2: "post-notebook-report"}[stage],
            "CI_JOB_URL": f"{page}/-/jobs/{9000 + stage}",
            "CI_MERGE_REQUEST_IID": str(self.number),
            "CI_MERGE_REQUEST_PROJECT_PATH": self.world.repository,
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "change",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": self.world.repository,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_PIPELINE_ID": str(self.pipeline.id),
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_PROJECT_DIR": str(workspace),
            "CI_PROJECT_PATH": self.world.repository,
            "CI_PROJECT_URL": page,
            "CI_SERVER_URL": server.web,
        }

    def annotations(self, commit: str) -> list[dict[str, Any]]:
        return []  # a commit status has none

    def check_title(self, commit: str) -> str:
        return self.check_summary(commit)

    def check_summary(self, commit: str) -> str:
        return next(one["description"] or "" for one in self.world.server.statuses[::-1] if one["sha"] == commit)


class BitbucketStory(Story):
    world: BitbucketWorld

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, BitbucketWorld(folder))

    def check_out(self, workspace: Path) -> None:
        # As Pipelines with depth full: the source branch, into which the destination is merged.
        self.git(workspace, "clone", "--quiet", "--branch", "change", self.remote, ".")
        self.git(workspace, "merge", "--quiet", "origin/main")

    def variables(self, workspace: Path, stage: int) -> dict[str, str]:
        return {
            "BITBUCKET_BRANCH": "change",
            "BITBUCKET_BUILD_NUMBER": str(self.run_number),
            "BITBUCKET_CLONE_DIR": str(workspace),
            "BITBUCKET_COMMIT": (self.world.git.resolve("refs/heads/change") or "")[:12],
            "BITBUCKET_PIPELINE_UUID": f"{{pipeline-{self.run_number}}}",
            "BITBUCKET_PR_DESTINATION_BRANCH": "main",
            "BITBUCKET_PR_ID": str(self.number),
            "BITBUCKET_REPO_FULL_NAME": self.world.repository,
            "BITBUCKET_STEP_UUID": f"{{step-{stage}}}",
            # What a test can change about the one address of Bitbucket Cloud.
            "MLOPS_NB_FORGE_API_URL": self.world.server.url,
        }

    def annotations(self, commit: str) -> list[dict[str, Any]]:
        return [each for (sha, _), some in self.world.server.annotations.items() if sha == commit for each in some.values()]

    def check_title(self, commit: str) -> str:
        return next(str(one["title"]) for (sha, _), one in self.world.server.reports.items() if sha == commit)

    def check_summary(self, commit: str) -> str:
        return next(str(one["details"]) for (sha, _), one in self.world.server.reports.items() if sha == commit)


STORIES: dict[str, type[GitHubStory | GitLabStory | BitbucketStory]] = {
    "github": GitHubStory,
    "gitlab": GitLabStory,
    "bitbucket": BitbucketStory,
}
