"""The one line of JSON that each of these tests prints, and where their chance comes from."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path

SEED = "MLOPS_NB_TEST_SEED"
FIGURES = "MLOPS_NB_TEST_FIGURES"


def seed() -> int:
    """Return what a random test starts from: the one given in `MLOPS_NB_TEST_SEED`, else a new one."""
    return int(os.environ.get(SEED) or random.randrange(10**6))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def report(
    test: str,
    n: int,
    *,
    lost: int = 0,
    dup: int = 0,
    altered: int = 0,
    errors: int = 0,
    seconds: Sequence[float] = (),
    rss_mb: float | None = None,
    seed: int | None = None,
    **more: object,
) -> None:
    """Print the figures; with `MLOPS_NB_TEST_FIGURES` they are appended to that file too."""
    figures = {
        "test": test,
        "n": n,
        "lost": lost,
        "dup": dup,
        "altered": altered,
        "errors": errors,
        "p50": round(quantile(seconds, 0.5), 4),
        "p99": round(quantile(seconds, 0.99), 4),
        "max": round(max(seconds, default=0.0), 4),
        "rss_mb": None if rss_mb is None else round(rss_mb),
        "seed": seed,
        **more,
    }
    line = json.dumps(figures)
    print(line)
    if path := os.environ.get(FIGURES):
        with Path(path).open("a") as file:
            file.write(line + "\n")


def rss_mb(pid: int) -> float:
    """Return the largest resident memory that a living process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
