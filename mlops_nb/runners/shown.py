"""What machines and clouds say, made fit to be shown: no secrets, no control characters, not endless."""

from __future__ import annotations

import os
import re

from mlops_nb.core.redaction import Redactor

MOST = 65_536

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return the end of a text (at most 64 KiB) without secrets, and without what would move a terminal's cursor."""
    text = text[-MOST:].replace("\r\n", "\n")
    return Redactor(os.environ)(_CONTROL.sub("", _ESCAPE.sub("", text)))
