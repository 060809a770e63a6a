"""Whether the GPUs of this machine are in use: a machine whose GPU computes is not idle, whoever started that."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

from mlops_nb.tracking.system import Gpus

IN_USE = 0.05
"""Use of a GPU (0 to 1) from which on it counts as work."""
_QUERY = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
_SECONDS = 10.0


def gpu_use() -> Callable[[], float | None]:
    """Return what measures the use of the busiest GPU, 0 to 1; it returns None where there is none, or it does not say."""
    gpus = Gpus()
    if gpus.handles:
        return lambda: _busiest([value for key, value in gpus.sample().items() if key.endswith("utilization_percentage")])
    gpus.close()
    program = shutil.which("nvidia-smi")
    return (lambda: _asked(program)) if program else (lambda: None)


def _asked(program: str) -> float | None:
    try:
        done = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _busiest([float(word) for word in done.stdout.split() if word.isascii() and word.isdigit()])


def _busiest(percent: list[float]) -> float | None:
    return max(percent) / 100 if percent else None
