"""What a worker has started: found, measured and ended, also where it has left the worker's session or was left by its parent.

A worker adopts its orphans (`PR_SET_CHILD_SUBREAPER`), so while it lives they are below it. When it has died, they are known by
a variable that they have inherited. It names the supervisor too: what a killed one could not end, the next one does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "MLOPS_NB_SERVED_BY"
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 50
_PAUSE = 0.01
_MOST = 10_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def new_mark() -> str:
    """Return the value of `VARIABLE` for one worker of this process."""
    return f"{os.getpid()}:{_began(os.getpid())}:{secrets.token_hex(8)}"


def usage(pid: int) -> tuple[int, int]:
    """Return the resident memory (bytes) of a process with its descendants, and how many of those run."""
    sizes = [_memory(one) for one in below(pid)]
    return _memory(pid) + sum(sizes), sum(size > 0 for size in sizes)  # what has ended and waits to be noticed has no memory


def below(pid: int) -> list[int]:
    """Return all descendants of a process."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        import psutil

        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found: list[int] = []
    todo = [pid]
    while todo and len(found) < _MOST:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{(one := todo.pop())}/task"):  # noqa: PTH208 - names are enough
                children = [int(word) for word in Path(f"/proc/{one}/task/{task}/children").read_text().split()]
                found += children
                todo += children
    return found


def end(pid: int) -> None:
    """End a process, its group and all below it, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGSTOP)  # it starts nothing more while one looks
    end_below(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_below(pid: int) -> None:
    """End all descendants of a process."""
    for one in below(pid):
        _kill(one)


def end_marked(mark: str) -> int:
    """End what has this mark, until nothing has; return how many processes that were."""
    count = 0
    for _ in range(_ROUNDS):
        found = [pid for pid, value in _marks() if value == mark]
        if not found:
            break
        for pid in found:
            count += _kill_marked(pid, mark)
        time.sleep(_PAUSE)
    return count


def end_abandoned() -> int:
    """End what the workers of supervisors have started that are no more; return how many processes that were."""
    abandoned = {value for _, value in _marks() if not _is_supervised(value)}
    return sum(end_marked(value) for value in abandoned)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _kill_marked(pid: int, mark: str) -> bool:
    """End a process if it still has the mark, for its number may have become another's; return whether it did."""
    import psutil

    descriptor = -1
    try:
        if hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(pid)  # stands for this process alone from here on
        if psutil.Process(pid).environ().get(VARIABLE) != mark:
            return False
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except (psutil.Error, OSError):  # it has ended, or is none of ours
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def _marks() -> Iterator[tuple[int, str]]:
    """Yield this user's processes that run and have a mark, with it; in this namespace of numbers."""
    import psutil

    here = _namespace(os.getpid())
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.uids().real != os.getuid():
                continue
            value = process.environ().get(VARIABLE)
            if value and _namespace(process.pid) == here and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid, value


def _namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid") if sys.platform == "linux" else ""  # noqa: PTH115 - what it names is no path


def _is_supervised(mark: str) -> bool:
    pid, _, rest = mark.partition(":")
    began = rest.partition(":")[0]
    try:
        now = _began(int(pid))
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True  # whose it is cannot be told
    return now == began or not began.startswith("t")  # what another version of this program has written


def _began(pid: int) -> str:
    """Return when a process began, `t` and ticks since the machine was started: that stays when somebody sets the clock.

    Raises:
        ProcessLookupError: If there is none.
        OSError: If it cannot be told.
    """
    if sys.platform == "linux":
        try:
            return "t" + Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        except (FileNotFoundError, IndexError):
            raise ProcessLookupError(pid) from None
    import psutil

    try:
        return f"t{psutil.Process(pid).create_time() * 100:.0f}"  # of other systems the kernel keeps it as it was
    except psutil.NoSuchProcess:
        raise ProcessLookupError(pid) from None
    except psutil.Error as error:
        raise OSError(str(error)) from error


def _memory(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        import psutil

        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
