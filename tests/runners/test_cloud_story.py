"""From the command line to a cloud and back, as in CI: a machine for GitHub's jobs on AWS, without a server of ours."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.clouds.aws_world import AwsWorld, open_world
from tests.forges.runner_worlds import GOOD, GitHubRunnersWorld
from tests.runners.agents.conftest import until

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"


class Job:
    """A job in CI with the cloud's keys and the forge's token."""

    def __init__(self, folder: Path, aws: AwsWorld) -> None:
        self.folder = folder
        self.aws = aws
        self.forge = GitHubRunnersWorld(folder / "forge")
        (folder / "project").mkdir()
        (folder / "project" / "pyproject.toml").touch()
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        self.environment = {
            **kept,
            **aws.environment,
            **{"HOME": str(folder), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "server_ext")])},
            **{"REPO_TOKEN": GOOD, "MLOPS_NB_FORGE_API_URL": self.forge.server.url, "MLOPS_NB_RUNNER_PACKAGE": "mlops-nb==1.0"},
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "mlops_nb.cli", "runner", *words]

    def run(self, *words: str, check: bool = True, where: str = "project") -> subprocess.CompletedProcess[str]:
        given = {"cwd": self.folder / where, "env": self.environment, "capture_output": True, "text": True, "timeout": 90}
        done: subprocess.CompletedProcess[str] = subprocess.run(self.command(*words), check=False, **given)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def launch(self, *words: str) -> tuple[str, ...]:
        place = ("--repo", self.forge.place().url, "--driver", "github")
        return ("launch", "--cloud", "aws", "--cloud-region", REGION, "--cloud-type", "m", "--labels", "gpu,cml", *place, *words)


@pytest.fixture
def aws() -> Iterator[AwsWorld]:
    with open_world() as world:
        yield world


@pytest.fixture
def job(tmp_path: Path, aws: AwsWorld) -> Iterator[Job]:
    made = Job(tmp_path, aws)
    yield made
    made.forge.server.close()


def test_a_machine_is_priced_launched_listed_and_ended_and_nothing_is_left(job: Job) -> None:
    foreign = job.aws.add_foreign(5)
    told = job.run(*job.launch("--dry-run", "--max-cost", "1")).stdout
    assert "$" in told and "Nothing has been rented." in told and job.aws.machines() == []
    made = json.loads(job.run(*job.launch("--name", "gpu-1", "--single", "--max-hours", "2", "--no-wait", "--json")).stdout)
    assert made["request"]["name"] == "gpu-1" and made["state"] in ("creating", "booting")
    (machine,) = job.aws.machines()
    assert set(job.forge.registered().values()) == {"gpu-1"}
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    ec2 = boto3.client("ec2", endpoint_url=job.aws.url, region_name=REGION, **keys)
    data = base64.b64decode(ec2.describe_instance_attribute(InstanceId=machine.id, Attribute="userData")["UserData"]["Value"])
    text = gzip.decompress(data).decode() if data[:2] == b"\x1f\x8b" else data.decode()
    assert GOOD not in text and "testing" not in text and "AKIATESTING" not in text
    assert "gpu-1" in job.run("list").stdout
    assert "AlreadyExists" in (again := job.run(*job.launch("--name", "gpu-1"), check=False)).stderr or "already" in again.stderr
    assert "is there and has the labels" in job.run(*job.launch("--name", "gpu-1", "--reuse")).stdout
    assert "■ gpu-1 is gone." in job.run("down", "gpu-1").stdout
    assert job.aws.left() == [] and job.forge.registered() == {}
    assert set(foreign) <= set(job.aws.snapshot())


def test_a_launch_that_is_cancelled_while_the_machine_boots_leaves_nothing(job: Job) -> None:
    where = job.folder / "project"
    process = subprocess.Popen(
        job.command(*job.launch("--name", "gpu-2")), cwd=where, env=job.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        until(job.aws.machines, 60)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode not in (0, None), told
    assert job.aws.left() == [] and job.forge.registered() == {}


def test_what_a_killed_job_left_is_ended_by_the_last_step_of_the_workflow_by_its_name(job: Job) -> None:
    # Each job of a CI has another store: what belongs together is known by the repository.
    job.environment |= {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/churn", "GITHUB_SERVER_URL": "https://git.example.org"}
    where = job.folder / "project"
    process = subprocess.Popen(job.command(*job.launch("--name", "gpu-3")), cwd=where, env=job.environment, stderr=subprocess.DEVNULL)
    try:
        until(job.aws.machines, 60)
    finally:
        process.kill()
        process.wait()
    assert len(job.aws.machines()) == 1
    elsewhere = job.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pyproject.toml").touch()
    words = ("reap", "--cloud", "aws", "--region", REGION, "--repo", job.forge.place().url)
    job.environment["CML_DRIVER"] = "github"
    done = [job.run(*words, "--name", name, check=False, where="elsewhere") for name in ("", "gpu-3")]
    assert "Removed 0 leftovers" in done[0].stdout, done[0].stdout + done[0].stderr
    assert job.aws.left() == [] and job.forge.registered() == {}, done[1].stdout + done[1].stderr
