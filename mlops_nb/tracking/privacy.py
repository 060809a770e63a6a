"""What tracking takes of the notebook, where it goes, and how to take less."""

from __future__ import annotations

import os
from collections import Counter

from mlops_nb.core import redaction
from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.tracking.target import resolve

ENV_CAPTURE = "MLOPS_NB_CAPTURE"
ENV_SYSTEM = "MLOPS_NB_SYSTEM_METRICS"
LEVELS = {
    "source": "source of cells and what they show (text, tables, figures; secrets taken out), names read and written, time, memory, end",
    "hash": "the hash of each cell's source instead of the source, names read and written, time, memory, outcome; nothing that they show",
    "off": "nothing of the cells",
}

_ENVIRONMENTS = {
    "source": "Python, packages, hardware, git commit, branch and uncommitted changes; no environment variables",
    "hash": "Python, packages, hardware, git commit and branch, the hash of uncommitted changes; no environment variables",
    "off": "git commit and branch",
}


class Privacy(Record, frozen=True, kw_only=True):
    """What is captured now.

    Attributes:
        level: A key of `LEVELS`.
        captured: What is taken, in words, by subject.
        places: Where it goes, by subject.
        redactions: How many secrets were taken out of texts in this process so far, by name.
    """

    level: str
    captured: dict[str, str]
    places: dict[str, str]
    redactions: dict[str, int]

    def __str__(self) -> str:
        lines = [f"capture: {self.level}"]
        lines += [f"  {subject}: {what}" for subject, what in self.captured.items()]
        lines += ["kept in", *(f"  {subject}: {where}" for subject, where in self.places.items())]
        count = sum(self.redactions.values())
        named = ", ".join(f"{name} ({number})" for name, number in sorted(self.redactions.items()))
        lines.append(f"secrets taken out so far: {count}" + (f": {named}" if named else ""))
        lines += ["switch", *(f"  {how}" for how in _SWITCHES)]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self)}


_SWITCHES = (
    "%track privacy --level source|hash|off   this kernel, from the next cell on",
    f"{ENV_CAPTURE}=hash                     every kernel that starts with it",
    f"{ENV_SYSTEM}=false              no samples of the machine",
    "cell tag skip-track, or a line # mlops: skip   this cell is not captured",
    "%track off                               no autolog, no ledger",
)


def privacy(level: str | None = None) -> Privacy:
    """Return what is captured now, after switching to a level if one is given, for this process and those that it starts.

    Raises:
        InvalidInput: If there is no such level.
    """
    if level is not None:
        if level not in LEVELS:
            raise InvalidInput(f"There is no level '{level}'.", hint=did_you_mean(level, LEVELS) or f"Use {', '.join(LEVELS)}.")
        os.environ[ENV_CAPTURE] = level
    now = os.environ.get(ENV_CAPTURE, "source")
    target = resolve()
    here = target.store_uri.startswith("sqlite:")
    sampled = os.environ.get(ENV_SYSTEM, "").lower() not in ("0", "false", "off", "no")
    return Privacy(
        level=now if now in LEVELS else "source",
        captured={
            "cells": LEVELS.get(now, LEVELS["source"]),
            "files read": "path, size and hash of the content; never the content" if now != "off" else "nothing",
            "tables": "row count, column names and types, a fingerprint and a sketch of each column (quantiles, frequent values)"
            + (" and, with a model, some rows as its input example" if now == "source" else ""),
            "predictions": "of scikit-learn's scores that you log: target and prediction of each row, up to 100,000; a hash of the row"
            if now == "source"
            else "nothing, unless you call log_predictions",
            "environment": _ENVIRONMENTS.get(now, _ENVIRONMENTS["source"]),
            "the machine": "use of CPU, memory, disk, network and GPU, a sample every some seconds" if sampled else "nothing",
            "what you log": "as you log it, secrets of known shape taken out of cells and reasons",
        },
        places={
            "store": f"{target.store_uri} ({'on this machine' if here else 'on that server'})",
            "before it is delivered": f"{target.journal_dir} (on this machine, for you alone)",
        },
        redactions=dict(_counts()),
    )


def _counts() -> Counter[str]:
    return redaction.counts.copy()


__all__ = ["ENV_CAPTURE", "LEVELS", "Privacy", "privacy"]
