"""A report without secrets: by known value, by the names of params, by shape."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from mlops_nb.core.redaction import Redactor
from mlops_nb.reports.pull_request.data import PullRequestReport

_WORDS = frozenset({"verdict", "status", "outcome", "kind", "side", "direction", "digest", "path", "run_id", "currency", "interval"})
"""Fields whose values are no text of people."""
_NUMBERS = ("NaN", "Infinity", "-Infinity")
_SHORTEST = 6
_ALLOWED = 400


def redacted(report: PullRequestReport, redact: Redactor | None = None) -> PullRequestReport:
    """Return a report without the secrets in its texts; links whose addresses hold one are left out.

    Args:
        report: The data.
        redact: Knows the secrets; else those of this process's environment.
    """
    return msgspec.convert(_walk(msgspec.to_builtins(report), redact or Redactor(os.environ)), PullRequestReport)


def _walk(value: Any, redact: Redactor) -> Any:
    if isinstance(value, str):
        # A mask may be longer than what it stands for, and the data's texts have limits.
        return redact(value)[: max(len(value), _ALLOWED)] if len(value) >= _SHORTEST else value
    if isinstance(value, list):
        kept = (each for each in value if not (isinstance(each, dict) and "url" in each and redact(each["url"]) != each["url"]))
        return [_walk(each, redact) for each in kept]
    if not isinstance(value, dict):
        return value
    fields = {}
    for name, each in value.items():
        if name in _WORDS:
            fields[name] = each
        elif name in ("url", "full_report"):
            fields[name] = each if each is None or redact(each) == each else None
        elif name in ("base", "this") and isinstance(each, str) and each not in _NUMBERS:
            fields[name] = redact.value(str(value.get("key", "")), each)[: max(len(each), _ALLOWED)]
        else:
            fields[name] = _walk(each, redact)
    return fields
