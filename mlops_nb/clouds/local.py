"""This machine as a cloud: a runner is a process in the background that outlives the kernel, and ends in time by itself."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mlops_nb.clouds.base import CloudError, CloudUnreachable, Finding, WishRefused
from mlops_nb.clouds.hosts import Abilities, HostCloud
from mlops_nb.core.harmless import SETUP
from mlops_nb.core.runners import CloudName

# A runner's jobs get no key of a cloud and no token of a forge: of the environment only what programs need to be found and to run.
_KEPT = frozenset({
    *SETUP,
    *("HOME", "USER", "LOGNAME", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "DYLD_LIBRARY_PATH", "JAVA_HOME", "OMP_NUM_THREADS"),
    *("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR"),
})  # fmt: skip
_KEPT_BEGINNINGS = ("LC_", "CUDA_", "NVIDIA_")


class LocalCloud(HostCloud):
    """Processes on this machine, by the user's rights.

    Args:
        folder: Where the machines' folders are; None: the user's state folder.
        environment: Variables of the start-up script; None: those of this process, without keys, tokens and what is not needed.
        grace, first_lease, turn: See `HostCloud`.
    """

    name: CloudName = "local"

    def __init__(
        self,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        grace: int = 5,
        first_lease: float = 600.0,
        turn: float = 1,
    ) -> None:
        super().__init__(grace=grace, first_lease=first_lease, turn=turn)
        self._folder = folder or machines_folder()
        self._environment = dict(environment) if environment is not None else clean_environment()

    def check(self) -> Sequence[Finding]:
        """Look whether machines can be kept here: a shell, and a folder that can be written."""
        have = self._abilities("")
        able = f"{have.cpus:g} processors, {have.memory_gb:.1f} GiB" + (f", {', '.join(have.gpus)}" if have.gpus else ", no NVIDIA GPU")
        findings = [Finding(what="this machine", ok=True, text=able)]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                findings.append(Finding(what="folder of machines", ok=True, text=str(self._folder)))
        except OSError as error:
            text = f"{self._folder} cannot be written: {error.strerror or error}."
            findings.append(Finding(what="folder of machines", ok=False, text=text, hint="Set XDG_STATE_HOME to a folder that can be."))
        return findings

    def _shell(self, host: str, program: str, *, seconds: float = 60.0) -> str:
        try:
            done = subprocess.run(
                ["sh", "-s"],
                input=program,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                env=self._environment,
                check=False,
            )
        except OSError as error:
            raise WishRefused(
                f"The shell of this machine cannot be run: {error.strerror or error}.", hint="Is there `sh` on PATH?"
            ) from None
        except subprocess.TimeoutExpired:
            raise CloudUnreachable(f"This machine did not answer within {seconds:g} s.", hint="Is it overloaded? Try again.") from None
        if done.returncode == 73:
            reason = done.stderr.strip()[-300:]
            raise CloudError(f"{self._folder} cannot be written: {reason}", hint="Set XDG_STATE_HOME to a folder that can be.")
        if done.returncode:
            raise CloudError(f"The shell of this machine failed with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def _base(self, host: str) -> str:
        return shlex.quote(str(self._folder))

    def _hosts(self, wanted: Collection[str]) -> Sequence[str]:
        return [""]

    def _abilities(self, host: str) -> Abilities:
        import psutil

        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Abilities(cpus=cpus, memory_gb=psutil.virtual_memory().total / 2**30, gpus=_gpus())


def machines_folder() -> Path:
    """Return where the folders of this user's machines are on this machine."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mlops_nb" / "machines"


def clean_environment() -> dict[str, str]:
    """Return the variables that a runner on this machine gets: no keys, no tokens."""
    return {key: value for key, value in os.environ.items() if key in _KEPT or key.startswith(_KEPT_BEGINNINGS)}


def _gpus() -> Sequence[str]:
    if not shutil.which("nvidia-smi"):
        return ()
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else ()
