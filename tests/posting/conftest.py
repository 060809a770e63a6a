"""A workflow's step at a GitHub of one's own: a checked-out repository, the environment, and the command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_nb.cli import commands
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.session import Session
from tests.forges.git_repository import IDENTITY
from tests.forges.github import LoopbackGitHub

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder as Ada and return what it prints."""
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", "-C", str(folder), *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.rstrip("\n")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No CI and no settings of whoever runs the tests."""
    prefixes = ("CML_", "GITHUB_", "CI_", "BITBUCKET_", "RUNNER_", "MLOPS_NB_", "MLFLOW_", "GIT_", "GITLAB_")
    for name in [name for name in os.environ if name.startswith(prefixes) or name in ("CI", "REPO_TOKEN", "repo_token", "TB_CREDENTIALS")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(sessions, "current", Session())
    yield
    sessions.current.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackGitHub]:
    folder = tmp_path / "hub"
    folder.mkdir()
    forge = LoopbackGitHub(folder)
    yield forge
    forge.close()


@pytest.fixture
def work(tmp_path: Path, hub: LoopbackGitHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checked-out repository, in which the commands run."""
    folder = tmp_path / "work"
    subprocess.run(["git", "clone", "--quiet", f"file://{hub.git.path}", str(folder)], check=True, capture_output=True)
    monkeypatch.chdir(folder)
    return folder


class Step:
    """A step of a workflow: `step("comment", "create", "report.md")` runs a command in its environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: object, **variables: str) -> Result:
        with_workspace = {**self.environment, **variables}
        return CliRunner().invoke(commands, [str(argument) for argument in arguments], env=with_workspace)

    def url(self, *arguments: object, **variables: str) -> str:
        """Run a command that must work, and return the line that it prints."""
        result = self(*arguments, **variables)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout.strip()


StepAt = Callable[..., Step]


@pytest.fixture
def step_at(tmp_path: Path, hub: LoopbackGitHub, work: Path) -> StepAt:
    def make(event: str = "push", pull: int | None = None, **variables: str) -> Step:
        return Step({**hub.actions(tmp_path, event, pull), "GITHUB_WORKSPACE": str(work), **variables})

    return make
