"""Running uv, pip or conda: their lines are passed on, and where they fail the package that could not be had is named."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import MlopsError

LONGEST_SECONDS = 1800.0
_LOOK_SECONDS = 0.2
_KEPT_LINES = 40
_NOT_TOLD = ("Activate with:", "Using Python")

_MISSING = (
    re.compile(r"Because ([A-Za-z0-9][\w.\-]*) was not found in the package registry"),
    re.compile(r"Because there (?:is|are) no versions? of ([A-Za-z0-9][\w.\-]*(?:\[[\w,]+\])?(?:[=<>!~]=?[\w.*+!]+)?)"),
    re.compile(r"Because ([A-Za-z0-9][\w.\-]*(?:==[\w.*+!]+)?) (?:needs to be downloaded|has no (?:usable )?wheels|has no .*?wheels)"),
    re.compile(r"[Nn]o matching distribution found for ([^\s]+)"),
    re.compile(r"satisfies the requirement ([^\s]+)"),
    re.compile(r"/simple/([A-Za-z0-9][\w.\-]*)/"),
    re.compile(r"Failed to (?:download|fetch|build|prepare distributions for)[: `]+([A-Za-z0-9][\w.\-]*(?:==[\w.*+!]+)?)`"),
    re.compile(r"/packages/[\w/]*/([A-Za-z0-9]\w*-[\d][\w.]*)[\w.\-]*\.(?:whl|tar\.gz)"),
)
_NETWORK = re.compile(
    r"network was disabled|dns error|failed to lookup|Failed to fetch|Connection|connection|timed? ?out|client error|Retrying|unreachable"
    r"|error sending request|Temporary failure",
)


def find_uv() -> str | None:
    """Return uv, if it is beside this Python or among the programs."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


class Installer:
    """Runs the programs that make an environment.

    Args:
        saying: Called with each line that they print.
        over: Set when nobody waits for them any more: they are ended.
        builds: Whether packages that are no wheels may be installed: that runs their code.
    """

    def __init__(self, *, saying: Callable[[str], None], over: threading.Event | None, builds: bool) -> None:
        self.uv = find_uv()
        self._saying = saying
        self._over = over or threading.Event()
        self._wheels = [] if builds else ["--only-binary", ":all:"]
        self._redact = Redactor(os.environ)

    def go_on(self) -> None:
        """Return while somebody waits.

        Raises:
            MlopsError: If nobody does.
        """
        if self._over.is_set():
            raise MlopsError("The environment is no longer wanted.")

    def install(self, target: Path, wanted: Sequence[str], *, into: Path | None = None, with_uv: bool = True) -> None:
        """Install requirements into an environment, or for its Python into a folder."""
        if not wanted:
            return
        python = str(target / "bin" / "python")
        place = ["--target", str(into)] if into else []
        if with_uv and self.uv is not None:
            self.run([self.uv, "pip", "install", "--python", python, *place, *self._wheels, *wanted], wanted)
        else:
            self.run([python, "-m", "pip", "install", *place, *self._wheels, *wanted], wanted)

    def run(self, command: Sequence[str], wanted: Sequence[str] = ()) -> None:
        """Run a program to its end.

        Raises:
            MlopsError: If it fails, takes too long, or nobody waits for it; nothing of it runs then.
        """
        self.go_on()
        kept: deque[str] = deque(maxlen=_KEPT_LINES)
        variables = {**os.environ, "PIP_NO_INPUT": "1", "NO_COLOR": "1"}
        variables.pop("VIRTUAL_ENV", None)
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=variables,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(process, kept), name="mlops-installing", daemon=True)
        reader.start()
        try:
            waited = 0.0
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)
                waited += _LOOK_SECONDS
                self.go_on()
                if waited > LONGEST_SECONDS:
                    raise MlopsError(f"'{_short(command)}' was not done after {LONGEST_SECONDS / 60:.0f} minutes.")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            reader.join(5)
        if process.returncode:
            raise self._failure(command, "\n".join(kept), wanted)

    def _read(self, process: subprocess.Popen[str], kept: deque[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                text = self._redact(line.strip())
                if text and not text.startswith(_NOT_TOLD):
                    kept.append(text)
                    self._saying(text[:300])

    def _failure(self, command: Sequence[str], said: str, wanted: Sequence[str]) -> MlopsError:
        if not wanted:
            return MlopsError(f"'{_short(command)}' failed: {' '.join(said.split())[-600:]}", hint="Nothing is left of it.")
        named = next((match[1] for pattern in _MISSING if (match := pattern.search(said))), "")
        named = named or next((line for line in wanted if re.split(r"[\[=<>~!; ]", line)[0].lower() in said.lower()), wanted[0])
        hint = "Nothing is left of it. update-pip-requirements changes what is asked for, and --env-manager local uses this Python."
        if _NETWORK.search(said):
            hint = "Is the package index reachable? UV_INDEX_URL or PIP_INDEX_URL names another; --env-manager local uses this Python."
        elif "--only-binary" in command and "wheel" in said:
            hint = "There is no wheel of it, and building it runs its code: --allow-unsafe, if you trust it."
        return MlopsError(f"'{named}' could not be had for the model's environment: {' '.join(said.split())[-500:]}", hint=hint)


def _short(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:3], "…"])
