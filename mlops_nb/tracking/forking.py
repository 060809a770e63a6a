"""What must be at rest before this process is forked: a child has no other threads, but it has the locks that they held."""

from __future__ import annotations

import threading
import time
from importlib import _bootstrap

_LOOK_EVERY = 0.001


def wait_for_imports(timeout: float) -> None:
    """Wait until no other thread is importing: a child that imports the same module would wait for ever. `timeout` in s."""
    deadline = time.monotonic() + timeout
    while _others_import() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)


def _others_import() -> bool:
    locks = [reference() for reference in list(getattr(_bootstrap, "_module_locks", {}).values())]
    return any(getattr(lock, "owner", None) not in (None, threading.get_ident()) for lock in locks)
