"""What one model server may use, and what one request may ask of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlops_nb.errors import InvalidInput

MIN_MEMORY = 64 << 20
_SHARE_OF_MEMORY = 0.6


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one worker process. Every limit has a default; it can be larger, never off.

    Attributes:
        max_body: Bytes of one request.
        max_rows: Rows of one request.
        timeout: Seconds that a request may take, waiting included; a model that computes longer is ended and started anew.
        queue: Requests that may wait for the model; more are told to come later.
        memory: Bytes of resident memory, with the processes that the model starts; 0 is a share of the machine's.
        processes: Processes that the model may have started at a time.
        start_timeout: Seconds that loading may take.
    """

    max_body: int = 32 << 20
    max_rows: int = 100_000
    timeout: float = 60.0
    queue: int = 256
    memory: int = 0
    processes: int = 64
    start_timeout: float = 180.0

    def check(self) -> None:
        """Check that each is a limit.

        Raises:
            InvalidInput: If one is none.
        """
        for name in ("max_body", "max_rows", "queue", "processes"):
            if not 1 <= getattr(self, name) <= 1 << 40:
                raise InvalidInput(f"{name} is {getattr(self, name)}.", hint="Give a whole number of at least 1.")
        for name in ("timeout", "start_timeout"):
            if not 0.05 <= getattr(self, name) <= 86_400:
                raise InvalidInput(f"{name} is {getattr(self, name)}.", hint="Give seconds, from 0.05 to 86400.")
        if self.memory and self.memory < MIN_MEMORY:
            raise InvalidInput(f"No model server runs in {self.memory} bytes.", hint="Give at least 64 MiB, or 0 for the default.")

    @property
    def memory_limit(self) -> int:
        """The limit of memory in bytes."""
        return self.memory or max(1 << 30, int(_machine_memory() * _SHARE_OF_MEMORY))


def _machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the container that this process is in."""
    import psutil

    total = int(psutil.virtual_memory().total)
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdigit() else total
