"""What `mlops-nb ci init` writes, run for real: GitHub's steps by `act`, GitLab's jobs by `gitlab-ci-local`."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_nb.ci.workflows import FOLDER
from tests.ci.stories import GitHubStory, GitLabStory, ipynb, train
from tests.forges.worlds import GOOD

BIN = Path(sys.executable).parent


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with `mlops-nb` as it is after installation, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "mlops-nb"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlops_nb.cli "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return folder


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubStory]:
    story = GitHubStory(tmp_path)
    yield story
    story.world.server.close()


def init(folder: Path, environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "mlops_nb.cli", "ci", "init", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)


# What needs the network, and what does the same here.
STAND_INS = {
    "actions/checkout": 'cp -a "$CHECKED_OUT/." .',
    "actions/setup-python": "python --version",
    "actions/upload-artifact": f'cp -r {FOLDER} "$KEPT"',
    "actions/download-artifact": f'cp -r "$KEPT/{FOLDER}" .',
}


def without_network(path: Path) -> None:
    """Replace the actions of a workflow, which would have to be fetched, and take away what installs. Nothing else is touched."""
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    for job in document["jobs"].values():
        job["steps"] = [step for step in job["steps"] if step["name"] != "Install"]
        for step in job["steps"]:
            if "uses" in step:
                step["run"] = STAND_INS[step.pop("uses").partition("@")[0]]
                step.pop("with", None)
    document["on"] = document.pop(True)  # YAML reads the key `on` as true
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def act(story: GitHubStory, stage: int, workflow: Path, folder: Path, tools: Path, *secrets: str) -> subprocess.CompletedProcess[str]:
    """Run a workflow's job on this machine, as the runner of the loopback forge would."""
    variables = story.environment(folder, stage)
    home, kept = story.folder / "act", story.folder / "kept"
    home.mkdir(exist_ok=True)
    kept.mkdir(exist_ok=True)
    given = {"PATH": f"{tools}:{BIN}:{os.environ['PATH']}", "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    job = {name: variables[name] for name in ("PYTHONPATH", "JUPYTER_RUNTIME_DIR", "HOME")}
    # act speaks of github.com by itself.
    job |= {name: variables[name] for name in ("GITHUB_API_URL", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")}
    job |= {"PATH": given["PATH"], "CHECKED_OUT": str(folder), "KEPT": str(kept)}
    event = {1: "pull_request", 2: "workflow_run"}[stage]
    command = [str(BIN / "act"), event, "-W", str(workflow), "-P", "ubuntu-latest=-self-hosted", "--pull=false"]
    command += ["--eventpath", variables["GITHUB_EVENT_PATH"], *(f"--env={name}={value}" for name, value in job.items())]
    command += [f"--secret={secret}" for secret in secrets]
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_both_stages_of_githubs_workflow_run_under_act(github: GitHubStory, tools: Path) -> None:
    story = github
    init(story.clone, story.environment_of_people(), "--github", "train.ipynb")
    better = story.push("change", {"train.ipynb": ipynb(train(0.93, plot=False))}, "Better, with a workflow")
    workspace = story.fresh("workspace")
    story.check_out(workspace)
    workflows = story.folder / "workflows"
    shutil.copytree(workspace / ".github" / "workflows", workflows)
    for path in workflows.iterdir():
        without_network(path)
    done = act(story, 1, workflows / "notebooks.yml", workspace, tools)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert "train.ipynb · improves" in done.stdout
    assert {"report.md", "report.json", "report.html"} <= {path.name for path in (story.folder / "kept" / FOLDER).iterdir()}

    # Stage two has what stage one kept, and nothing of the repository.
    trusted = story.fresh("trusted")
    subprocess.run(["git", "init", "--quiet"], cwd=trusted, check=True)
    done = act(story, 2, workflows / "notebook-report.yml", trusted, tools, f"GITHUB_TOKEN={GOOD}")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert GOOD not in done.stdout + done.stderr
    assert "Improves on main" in story.first_line() and story.check(better) == "success"


def gitlab_ci_local() -> list[str]:
    """Return the command of gitlab-ci-local, or skip and say why."""
    if shutil.which("rsync") is None:
        pytest.skip("gitlab-ci-local copies artifacts with rsync, which is not installed")
    if found := shutil.which("gitlab-ci-local"):
        return [found]
    command = ["npx", "--yes", "gitlab-ci-local@4.56.2"]
    try:
        asked = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npx does not give gitlab-ci-local: {error}")
    if asked.returncode:
        pytest.skip(f"npx does not give gitlab-ci-local: {asked.stderr[-300:]}")
    return command


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_both_jobs_of_gitlabs_file_run_under_gitlab_ci_local(tmp_path: Path, tools: Path) -> None:
    command = gitlab_ci_local()
    story = GitLabStory(tmp_path)
    try:
        init(story.clone, story.environment_of_people(), "--gitlab", "train.ipynb")
        include = "include:\n  - local: .gitlab/notebooks.yml\n"
        better = story.push("change", {"train.ipynb": ipynb(train(0.93, plot=False)), ".gitlab-ci.yml": include}, "Better")
        workspace = story.fresh("workspace")
        story.check_out(workspace)
        file = workspace / ".gitlab" / "notebooks.yml"
        document = yaml.safe_load(file.read_text())
        for job in document.values():
            # No network and no containers: what installs is left out, and the image; nothing else.
            del job["image"]
            job["script"] = [line for line in job["script"] if "pip install" not in line]
            assert len(job["script"]) == 1
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        environment = {"PATH": f"{tools}:{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
        given = story.environment(workspace, 1)
        people = story.environment_of_people()
        given = {name: value for name, value in given.items() if name.startswith(("CI_", "GITLAB_CI", "JUPYTER_", "PYTHONPATH"))}
        given.pop("CI_PROJECT_DIR")
        given |= {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1", "CI_PROJECT_ID": "1"}
        variables = [f"--variable={name}={value}" for name, value in given.items() if name not in people or name == "PYTHONPATH"]
        variables += [f"--variable=JUPYTER_RUNTIME_DIR={people['JUPYTER_RUNTIME_DIR']}", f"--variable=MLOPS_NB_FORGE_TOKEN={GOOD}"]
        done = subprocess.run(
            [*command, "--color=false", *variables],
            cwd=workspace,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
        assert "train.ipynb · improves" in done.stdout + done.stderr
        assert "Improves on main" in story.first_line() and story.check(better) == "success"
    finally:
        story.world.server.close()
