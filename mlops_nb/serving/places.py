"""Folders for sockets and logs of servers: of this process, and removed by the next one where this one was killed.

Paths of Unix sockets are short, so these folders are among the system's temporary ones, which others use too.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

from mlops_nb.serving.descendants import end_abandoned

log = logging.getLogger("mlops_nb.serving")

_PREFIX = "mlops-nb-"
_OWNER = "owner"


class Place:
    """A new folder, this process's until it is released or the process ends: the lock of a file in it says so."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.path / f"{_OWNER}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / f"{_OWNER}.new").rename(self.path / _OWNER)  # nobody sees it without its lock

    def release(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def clean_up() -> None:
    """Remove the folders, and end the processes, that servers of this user have left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
    ended = end_abandoned()
    if ended:
        log.warning("Ended %d processes that models of servers had started which were killed.", ended)


def _is_abandoned(folder: Path) -> bool:
    """Return whether a folder is one of ours that nobody holds any more."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        return False
    lock = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(lock).st_uid == os.getuid()
    finally:
        os.close(lock)
