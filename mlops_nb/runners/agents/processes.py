"""An agent's process and all that comes of it: started with a clean environment, listened to, and ended to the last child."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlops_nb.core.harmless import SETUP
from mlops_nb.errors import NotFound

MARK = "MLOPS_NB_AGENT_MARK"
"""A variable by which what an agent has left behind is known, wherever it has gone."""
_PASSED = (*SETUP, "TERM", "XDG_RUNTIME_DIR", "DOCKER_HOST", "NODE_EXTRA_CA_CERTS")
_PASSED_BEGINNINGS = ("LC_", "NVIDIA_", "CUDA_")
_LINES = 40
_ROUNDS = 50
_MOST = 10_000


def clean_environment(environment: Mapping[str, str], user: str = "") -> dict[str, str]:
    """Return what an agent and its jobs get of an environment: where programs and certificates are, and whose home it is.

    What else is there, such as keys of clouds and tokens of forges, is not theirs: CI gives jobs their own.
    """
    passed = {name: value for name, value in environment.items() if name in _PASSED or name.startswith(_PASSED_BEGINNINGS)}
    account = account_of(user) if user else pwd.getpwuid(os.geteuid())
    passed.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {**passed, "HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}


def account_of(user: str) -> pwd.struct_passwd:
    """Return a user of this machine.

    Raises:
        NotFound: If there is none of this name.
    """
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise NotFound(f"This machine has no user {user!r} to run jobs as.", hint="The start-up script makes it.") from None


def give(path: Path, user: str) -> None:
    """Make a folder with all that is in it a user's own; nothing happens without a user."""
    if not user:
        return
    account = account_of(user)
    for folder, _, names in os.walk(path):
        for one in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118 - many files
            os.chown(one, account.pw_uid, account.pw_gid, follow_symlinks=False)


class AgentProcess:
    """A running agent.

    Args:
        command: Never with a secret in it.
        environment: All that it gets.
        user: Whose account it runs by; "": ours.
        output: Takes each line that it prints; `hidden` is taken out of them.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, user: str, output: Callable[[str], None], hidden: str
    ) -> None:
        self._mark = secrets.token_hex(16)
        self._output, self._hidden = output, hidden
        self.last: deque[str] = deque(maxlen=_LINES)
        identity: dict[str, object] = {}
        if user:
            account = account_of(user)
            groups = os.getgrouplist(user, account.pw_gid)
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}
        self._process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**environment, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity,  # type: ignore[call-overload]
        )
        self._reader = threading.Thread(target=self._read, name="agent-output", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for raw in iter(lambda: stdout.readline(8192), b""):
            line = raw.decode("utf-8", "replace").rstrip()
            if self._hidden:
                line = line.replace(self._hidden, "***")
            if line:
                self.last.append(line)
                self._output(line)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return how it ended, or None if it has not within so many seconds."""
        try:
            return int(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def send(self, number: int) -> None:
        """Send a signal to the agent itself, which hands on what its jobs shall get."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def end(self, timeout: float, number: int = signal.SIGINT) -> None:
        """Ask it to end, and after so many seconds end it and all that came of it."""
        if self.is_alive:
            self.send(number)
            self.wait(timeout)
        self.sweep()

    def sweep(self) -> None:
        """End all processes of the agent, at once, also those that have left its session."""
        for _ in range(_ROUNDS):
            found = [pid for pid in [*below(self.pid), *_marked(self._mark)] if pid != os.getpid()]
            if self.is_alive:
                found.append(self.pid)
            if not found:
                break
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.wait(0.05)
            time.sleep(0.02)
        self._process.wait()
        self._reader.join(1)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()


def below(pid: int) -> list[int]:
    """Return all descendants of a process (Linux), as far as they have not been left by their parents."""
    found: list[int] = []
    todo = [pid]
    while todo and len(found) < _MOST:
        one = todo.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):  # noqa: PTH208 - names are enough
                children = [int(word) for word in Path(f"/proc/{one}/task/{task}/children").read_text(encoding="ascii").split()]
                found += children
                todo += children
    return found


def name_of(pid: int) -> str:
    """Return the name of a process's program, at most 15 characters of it as the kernel has it; "" if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return ""


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; {} if it is gone or not ours to see."""
    with contextlib.suppress(OSError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return dict(pair.decode("utf-8", "replace").partition("=")[::2] for pair in pairs if pair)
    return {}


def _marked(mark: str) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    return [pid for pid in pids if environment_of(pid).get(MARK) == mark and _runs(pid)]


def _runs(pid: int) -> bool:
    """Tell whether a process is more than the entry that its parent has not read yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
    return False
