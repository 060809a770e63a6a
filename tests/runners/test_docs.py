"""What docs/runners.md tells people to type exists, and its workflows are workflows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlops_nb.cli import commands
from mlops_nb.cli.runner import launch
from tests.ci.test_ci_docs import check

TEXT = (Path(__file__).parent.parent.parent / "docs" / "runners.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
TYPED = sorted({found.strip() for _, block in BLOCKS for found in re.findall(r"(?<![\w\"/-])mlops-nb (?!\[)[^\n|&>#]+", block)})
INLINE = sorted(set(re.findall(r"`mlops-nb ([^`]+)`", TEXT)))
# CML.md's table of `cml runner launch`, with what is hidden there.
CMLS = (
    "labels name idle-timeout no-retry single reuse reuse-idle docker-volumes cloud cloud-region cloud-type cloud-gpu cloud-hdd-size "
    "cloud-permission-set cloud-metadata cloud-spot cloud-spot-price cloud-startup-script cloud-ssh-private cloud-aws-security-group "
    "cloud-aws-subnet cloud-aws-subnet-id cloud-kubernetes-node-selector cloud-image workdir path tpi-version cml-version tf-resource "
    "destroy-delay log driver repo token driver-token"
).split()


@pytest.mark.parametrize("line", TYPED)
def test_every_command_that_is_typed_exists_with_its_options(line: str) -> None:
    assert check(line)[0] in ("runner", "ci")


@pytest.mark.parametrize("line", INLINE)
def test_every_command_in_a_sentence_exists(line: str) -> None:
    check(f"mlops-nb {line.replace('…', '')}")


def test_the_workflow_is_one_by_its_published_schema(tmp_path: Path) -> None:
    (workflow,) = [block for language, block in BLOCKS if language == "yaml" and "self-hosted" in block]
    path = tmp_path / "train.yml"
    path.write_text(workflow, encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(isinstance(yaml.safe_load(block), dict) for language, block in BLOCKS if language == "yaml")


@pytest.mark.parametrize("option", CMLS)
def test_every_option_of_cml_is_known_and_comes_from_its_variables(option: str) -> None:
    (found,) = [parameter for parameter in launch.params if f"--{option}" in (*parameter.opts, *parameter.secondary_opts)]
    variables = [found.envvar] if isinstance(found.envvar, str) else list(found.envvar or [])
    assert f"CML_RUNNER_{option.upper().replace('-', '_')}" in variables


def test_cml_s_runner_without_launch_is_known() -> None:
    with commands.make_context("mlops-nb", ["runner", "--labels", "gpu", "--dry-run"]) as ctx:
        group = commands.get_command(ctx, "runner")
        assert group is not None
        with group.make_context("runner", ["--labels", "gpu", "--dry-run"], parent=ctx) as inner:
            assert inner._protected_args == ["launch"] or inner.args[:1] == ["launch"]
