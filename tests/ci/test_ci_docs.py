"""What docs/ci.md tells people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from mlops_nb.ci.gate_file import gates_from_text
from mlops_nb.cli import commands

TEXT = (Path(__file__).parent.parent.parent / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
TYPED = sorted({found.strip() for _, block in BLOCKS for found in re.findall(r"(?<![\w\"/-])mlops-nb (?!\[)[^\n|&>#]+", block)})
INLINE = sorted(set(re.findall(r"`mlops-nb ([^`]+)`", TEXT)))


def check(line: str) -> list[str]:
    """Return the words of the command's name; fail where it, or an option, does not exist."""
    words = shlex.split(line)
    assert words.pop(0) == "mlops-nb"
    command: click.Command = commands
    name = []
    while isinstance(command, click.Group):
        name.append(words.pop(0))
        found = command.get_command(click.Context(command), name[-1])
        assert found is not None, f"there is no command {' '.join(name)}"
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"{' '.join(name)} has no {word}"
    return name


def test_the_documentation_has_commands() -> None:
    assert len(TYPED) > 12 and {"comment", "check", "pr", "ci", "tensorboard", "asset", "repo", "workflow", "report"} <= {
        check(line)[0] for line in TYPED
    }


@pytest.mark.parametrize("line", TYPED)
def test_every_command_that_is_typed_exists_with_its_options(line: str) -> None:
    check(line)


@pytest.mark.parametrize("line", INLINE)
def test_every_command_in_a_sentence_exists(line: str) -> None:
    check(f"mlops-nb {line.replace('…', '')}")


def test_every_file_in_yaml_is_yaml_and_the_gates_are_gates() -> None:
    blocks = [block for language, block in BLOCKS if language == "yaml"]
    assert all(isinstance(yaml.safe_load(block), dict) for block in blocks)
    (gates,) = (block for block in blocks if block.startswith("gates:"))
    assert [gate.metric for gate in gates_from_text(gates, where="docs")] == ["val_auc", "p95_latency_ms"]


def test_the_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(AssertionError, match="has no --nonsense"):
        check("mlops-nb ci run train.ipynb --nonsense")
