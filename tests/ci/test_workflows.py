"""`mlops-nb ci init`: workflows that the forges accept, that give untrusted code nothing, and that hostile names cannot change."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_nb.ci.workflows import BASELINES, Plan, workflow_files, write_files
from mlops_nb.errors import AlreadyExists, InvalidInput

BIN = Path(sys.executable).parent
SCHEMAS = {
    "github": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    "bitbucket": ["--builtin-schema", "vendor.bitbucket-pipelines"],
}
HOSTILE = [
    "it's.ipynb",
    "a: b #c.ipynb",
    "$(touch pwned).ipynb",
    "`id`.ipynb",
    "x && y.ipynb",
    "ünï 数.ipynb",
    '"]}.ipynb',
    "%0a::set-env.ipynb",
]


def written(forge: str, root: Path, **plan: Any) -> list[Path]:
    return write_files(root, workflow_files(forge, Plan(**{"notebooks": ["train.ipynb"], **plan})))


def run_command(forge: str, **plan: Any) -> str:
    files = workflow_files(forge, Plan(**{"notebooks": ["train.ipynb"], **plan}))
    document = yaml.safe_load(next(iter(files.values())))
    if forge == "github":
        return next(step["run"] for step in document["jobs"]["run"]["steps"] if step["name"] == "Run, compare and judge")
    lines = document["run-notebooks"]["script"] if forge == "gitlab" else document["definitions"]["steps"][0]["step"]["script"]
    return str(lines[-1])


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("forge", SCHEMAS)
def test_each_forge_accepts_its_workflow(forge: str, baseline: str, tmp_path: Path) -> None:
    paths = written(forge, tmp_path, baseline=baseline, requirements="requirements.txt", notebooks=["train.ipynb", *HOSTILE])
    checked = subprocess.run(
        [BIN / "check-jsonschema", *SCHEMAS[forge], *map(str, paths)], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("images", [True, False])
def test_the_workflows_of_github_hold_to_the_rules_of_a_security_audit(images: bool, tmp_path: Path) -> None:
    written("github", tmp_path, images=images)
    audited = subprocess.run(
        [BIN / "zizmor", "--offline", "--no-progress", "--persona", "pedantic", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert audited.returncode == 0, audited.stdout + audited.stderr
    # the audit sees what it ought to see: it complains of a fork's code with the rights of the repository
    path = tmp_path / ".github/workflows/notebooks.yml"
    path.write_text(path.read_text().replace("pull_request:", "pull_request_target:"))
    worse = subprocess.run(
        [BIN / "zizmor", "--offline", "--no-progress", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert worse.returncode != 0


def test_code_of_a_fork_gets_no_secret_and_the_writing_token_no_code() -> None:
    files = {path.name: yaml.safe_load(text) for path, text in workflow_files("github", Plan(notebooks=["train.ipynb"])).items()}
    run, post = files["notebooks.yml"], files["notebook-report.yml"]
    assert run["permissions"] == post["permissions"] == {}
    assert run["jobs"]["run"]["permissions"] == {"contents": "read"}
    assert "secrets" not in str(run) and "github.token" not in str(run)
    assert set(run[True]) == {"pull_request"}  # YAML reads the key `on` as true
    assert set(post[True]) == {"workflow_run"}
    assert not any("checkout" in step.get("uses", "") for step in post["jobs"]["post"]["steps"])
    without = yaml.safe_load(list(workflow_files("github", Plan(notebooks=["train.ipynb"], images=False)).values())[1])
    assert without["jobs"]["post"]["permissions"]["contents"] == "read"


@pytest.mark.parametrize("forge", ["gitlab", "bitbucket"])
def test_the_step_that_posts_has_an_environment_of_its_own_and_no_code(forge: str) -> None:
    document = yaml.safe_load(next(iter(workflow_files(forge, Plan(notebooks=["train.ipynb"])).values())))
    if forge == "gitlab":
        run, post = document["run-notebooks"], document["post-notebook-report"]
        assert post["environment"]["name"] == "mlops-report" and "environment" not in run
        assert post["variables"] == {"GIT_STRATEGY": "none"}
    else:
        run, post = (step["step"] for step in document["definitions"]["steps"])
        assert post["deployment"] == "mlops-report" and "deployment" not in run
        assert post["clone"] == {"enabled": False}


@pytest.mark.parametrize("forge", SCHEMAS)
def test_a_hostile_name_stays_one_word_of_the_command(forge: str) -> None:
    command = run_command(forge, notebooks=HOSTILE)
    assert shlex.split(command.partition(" || ")[0])[3 : 3 + len(HOSTILE)] == HOSTILE


@pytest.mark.parametrize("name", ["a\nb.ipynb", "${{ secrets.X }}.ipynb", "--help", "/etc/x.ipynb", "../x.ipynb", "a\x1b.ipynb"])
def test_a_name_that_a_workflow_could_take_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        workflow_files("github", Plan(notebooks=[name]))


def test_a_file_of_the_users_is_not_replaced_unasked(tmp_path: Path) -> None:
    files = workflow_files("bitbucket", Plan(notebooks=["train.ipynb"]))
    own = tmp_path / "bitbucket-pipelines.yml"
    own.write_text("mine\n")
    with pytest.raises(AlreadyExists, match="--force"):
        write_files(tmp_path, files)
    assert own.read_text() == "mine\n"
    assert write_files(tmp_path, files, replace=True) == [own]
    assert write_files(tmp_path, files) == [], "writing the same again changes nothing"


def test_an_unknown_forge_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="github, gitlab, bitbucket"):
        workflow_files("gitea", Plan(notebooks=["train.ipynb"]))


def test_nothing_is_written_when_one_of_two_files_cannot_be(tmp_path: Path) -> None:
    files = workflow_files("github", Plan(notebooks=["train.ipynb"]))
    second = tmp_path / list(files)[1]
    second.parent.mkdir(parents=True)
    second.write_text("mine\n")
    with pytest.raises(AlreadyExists):
        write_files(tmp_path, files)
    assert [path.name for path in second.parent.iterdir()] == [second.name]
