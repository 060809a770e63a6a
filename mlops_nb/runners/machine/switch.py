"""The agent's side of the dead-man's switch: two files that say how long the machine may live.

What reads them is a shell script that was there before us (`runners/startup`, or the keeper of machines on other hosts). Both files
hold one whole number, seconds of the machine's uptime; a switch goes by the earlier one.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

ENV_LEASE = "MLOPS_NB_LEASE"
ENV_HARD_STOP = "MLOPS_NB_HARD_STOP"
_UPTIME = Path("/proc/uptime")


def uptime() -> float:
    """Return the seconds since this machine started; where it does not say that, another clock that the script reads, too."""
    try:
        return float(_UPTIME.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return time.time() - _boot_time()


def _boot_time() -> float:
    import psutil

    return float(psutil.boot_time())


class Switch(Protocol):
    """The dead-man's switch of the machine, which ends it if nobody says otherwise. It may be called by several threads."""

    def renew(self, seconds: float) -> None:
        """Let the machine live for so many seconds from now without another word."""

    def hard_stop(self, seconds: float) -> None:
        """End the machine in so many seconds at the latest, whatever is renewed."""


class SwitchFiles:
    """A switch that reads two files.

    Args:
        lease, hard_stop: Their paths; the folder is there.

    Raises (from its methods):
        OSError: If they cannot be written. The machine then ends when the lease that they hold has passed.
    """

    def __init__(self, lease: Path, hard_stop: Path) -> None:
        self._lease = lease
        self._hard_stop = hard_stop
        self._lock = threading.Lock()

    @classmethod
    def of(cls, environment: Mapping[str, str], folder: str) -> SwitchFiles | None:
        """Return the switch that the environment names, else the one in the folder; None: there is none."""
        lease, hard_stop = environment.get(ENV_LEASE), environment.get(ENV_HARD_STOP)
        if lease and hard_stop:
            return cls(Path(lease), Path(hard_stop))
        return cls(Path(folder) / "lease", Path(folder) / "hard_stop") if folder and Path(folder).is_dir() else None

    def renew(self, seconds: float) -> None:
        self._write(self._lease, uptime() + seconds)

    def hard_stop(self, seconds: float) -> None:
        self._write(self._hard_stop, uptime() + seconds)

    def _write(self, path: Path, value: float) -> None:
        with self._lock:
            new = path.with_name(f"{path.name}.new")
            new.write_text(f"{max(1, math.ceil(value))}\n", encoding="ascii")
            os.replace(new, path)  # noqa: PTH105  # atomic: the switch never reads half a number
