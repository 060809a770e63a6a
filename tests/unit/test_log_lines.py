"""What others wrote is told in a CI's log without becoming a command to its runner."""

from __future__ import annotations

import logging
import re

import pytest

from mlops_nb.cli.telling import tell_on_stderr
from mlops_nb.core.formatting import log_line

# How actions/runner and Azure's agent find commands.
_FIRST = re.compile(r"\s*::[\w-]")
_ANYWHERE = re.compile(r"##(\[|vso\[)", re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    [
        "::error::x",
        "  ::set-output name=a::b",
        "a\n::stop-commands::x",
        "see ##[set-output name=a]b",
        "##VSO[task.setvariable]x",
        "\x1b##[x",
    ],
)
def test_no_line_is_a_command(text: str) -> None:
    line = log_line(text)
    assert "\n" not in line and not _FIRST.match(line) and not _ANYWHERE.search(line)


def test_other_text_stays() -> None:
    assert log_line("The image 'a::b' ## is [not] there") == "The image 'a::b' ## is [not] there"


def test_what_is_told_while_posting_is_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    tell_on_stderr("debug")
    logging.getLogger("mlops_nb.posting").warning("There is no image '%s'.", "##[set-output name=deploy]yes")
    logging.getLogger("mlops_nb.posting").debug("%s", "::add-path::/tmp")
    said = capsys.readouterr().err
    assert "deploy" in said and not any(_FIRST.match(line) or _ANYWHERE.search(line) for line in said.splitlines())
