"""Which tracking servers run on this machine: one small private file each in Jupyter's runtime folder.

A kernel finds the server that started it there, and any process finds the server that has a store open, so that
there is one writer where there can be one. The token in the file opens nothing but the tracking API, which whoever
can read the file could also reach through the store's own files.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A running server. `url` is the root of the tracking API, `state_dir` the folder of the project it serves."""

    url: str
    token: str
    pid: int
    host: str
    store_uri: str
    state_dir: str


def runtime_dir() -> Path:
    """Return Jupyter's runtime folder."""
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir())


def publish(record: ServerRecord) -> Path:
    """Write the record of this process and return its file."""
    folder = runtime_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"mlops_nb-{record.pid}.json"
    temporary = path.with_suffix(".partial")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(record))
    temporary.replace(path)
    return path


def running() -> list[ServerRecord]:
    """Return the servers of this machine whose process lives, and remove the records of those that do not."""
    found = []
    for path in runtime_dir().glob("mlops_nb-*.json"):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=ServerRecord)
        except (OSError, msgspec.MsgspecError):  # half-written or from another version: not ours to use
            continue
        if record.host != socket.gethostname():
            continue
        if is_alive(record.pid):
            found.append(record)
        else:
            path.unlink(missing_ok=True)
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def starter_of_this_kernel() -> ServerRecord | None:
    """Return the server that started this process as a kernel, or None."""
    parent = os.environ.get("JPY_PARENT_PID", "")
    return next((record for record in running() if parent == str(record.pid)), None) if parent else None


def having_open(store_uri: str) -> ServerRecord | None:
    """Return a server that serves this store, or None."""
    return next((record for record in running() if record.store_uri == store_uri), None)
