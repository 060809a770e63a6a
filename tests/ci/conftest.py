"""A git repository of its own for each test, and the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent.parent
_SETTINGS = ("MLOPS_NB_", "MLFLOW_", "JPY_", "GITHUB_", "GITLAB_", "CI", "BITBUCKET_", "GIT_", "AWS_", "RUNNER_")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository on the branch main, which is the working directory; nothing of the user's settings reaches the test."""
    for variable in [v for v in os.environ if v.startswith(_SETTINGS)]:
        monkeypatch.delenv(variable)
    for name, value in {"AUTHOR": "somebody", "COMMITTER": "somebody"}.items():
        monkeypatch.setenv(f"GIT_{name}_NAME", value)
        monkeypatch.setenv(f"GIT_{name}_EMAIL", f"{value}@example.org")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, message: str = "change") -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def notebook(folder: Path, *sources: str, name: str = "train.ipynb") -> Path:
    """Write a notebook; a source that begins with `# parameters` is its parameters cell."""
    document = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    for number, source in enumerate(sources):
        tags = {"tags": ["parameters"]} if source.startswith("# parameters") else {}
        document.cells.append(nbformat.v4.new_code_cell(source, id=f"cell-{number}", metadata=tags))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(document, path)
    return path


def command(*arguments: str) -> Sequence[str]:
    return (sys.executable, "-m", "mlops_nb.cli", "ci", *arguments)


@pytest.fixture
def ci(repository: Path) -> Cli:
    """A function that runs `mlops-nb ci ...` in the repository and returns what came of it."""

    def run(*arguments: str, expect: int | None = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **(env or {})}
        done = subprocess.run(
            command(*arguments), cwd=repository, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        assert expect is None or done.returncode == expect, f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    return run
