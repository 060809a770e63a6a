"""The Python that a job's kernel runs in: the machine's own where it has the lock, else one made of the lock, kept for the next job."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from mlops_nb import config
from mlops_nb.core.records import Record
from mlops_nb.errors import MlopsError
from mlops_nb.models.installing import Installer
from mlops_nb.runners.jobs.bundle import Manifest
from mlops_nb.runners.jobs.lock import unmet

OWN_KERNEL = "python3"
KERNEL = "mlops-nb-job"
_READY = "mlops-nb-ready"
_LOOK_SECONDS = 0.2
# What our side of a kernel needs besides itself, where the machine's own packages do not fit the kernel's Python.
_INSTALLED = ("ipykernel", "cloudpickle")


class JobPython(Record, frozen=True, kw_only=True):
    """The kernel's name, and the variables that make it known."""

    kernel: str = OWN_KERNEL
    variables: dict[str, str] = {}
    told: str = ""


def python_for(
    manifest: Manifest, folder: Path, *, cache: Path | None = None, saying: Callable[[str], None], over: threading.Event
) -> JobPython:
    """Return the Python for a job; it is made where it is not there yet.

    Args:
        manifest: Of the bundle.
        folder: Of the job: the kernel's description goes there.
        cache: Where environments are kept; by default the user's cache folder.
        saying: Called with each line of progress.
        over: Set when nobody waits for it any more.

    Raises:
        MlopsError: If it cannot be made; names the package that could not be had.
    """
    missing = unmet(manifest.lock)
    same_python = _short(manifest.python) == _short(platform.python_version())
    if not same_python:
        missing = [f"Python {_short(manifest.python)}", *missing]
    if manifest.environment == "own" or (manifest.environment == "auto" and not missing):
        warning = f"The machine's own Python differs in {_some(missing)}." if missing else ""
        return JobPython(told=warning)
    saying(f"An environment of {len(manifest.lock)} packages is made" + (f": here differ {_some(missing)}." if missing else "."))
    python = _environment(manifest, same_python, cache, Installer(saying=saying, over=over, builds=True), saying)
    spec = folder / "jupyter" / "kernels" / KERNEL
    spec.mkdir(parents=True, exist_ok=True)
    # At the end of the search path: what the lock has comes first, and only what it lacks is the machine's.
    ours = [str(Path(__file__).parents[3]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")] if same_python else []
    start = f"import sys; sys.path.extend({ours!r}); from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
    argv = [str(python), "-c", start, "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "job", "language": "python"}), encoding="utf-8")
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return JobPython(
        kernel=KERNEL, variables={"JUPYTER_PATH": str(folder / "jupyter"), "VIRTUAL_ENV": str(python.parent.parent), "PATH": path}
    )


def _environment(manifest: Manifest, same_python: bool, cache: Path | None, installer: Installer, saying: Callable[[str], None]) -> Path:
    """Return the interpreter of the environment of a lock."""
    wanted = list(manifest.lock)
    if not same_python:
        wanted += [*_INSTALLED, f"mlops-nb=={metadata.version('mlops-nb')}"]
    key = hashlib.sha256("\n".join([_short(manifest.python), platform.machine(), *sorted(wanted)]).encode()).hexdigest()[:20]
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_nb" / "job-environments"
    target = home / key
    python = target / "bin" / "python"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (home / f"{key}.lock").open("w") as lock:
            _take(lock.fileno(), installer, saying)
            if not (target / _READY).is_file():
                shutil.rmtree(target, ignore_errors=True)
                try:
                    _make(target, _short(manifest.python), installer)
                    installer.install(target, wanted)
                    (target / _READY).write_text("\n".join(wanted) + "\n", encoding="utf-8")
                except BaseException:
                    shutil.rmtree(target, ignore_errors=True)
                    raise
    except OSError as error:
        raise MlopsError(
            f"No environment can be made in {home}: {error.strerror}.", hint="Make room or set XDG_CACHE_HOME; or --env own."
        ) from error
    return python


def _take(lock: int, installer: Installer, saying: Callable[[str], None]) -> None:
    """Wait until no other process makes the same environment."""
    waits = False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waits:
                saying("Another process makes this environment.")
            waits = True
            installer.go_on()
            time.sleep(_LOOK_SECONDS)


def _make(target: Path, python: str, installer: Installer) -> None:
    if installer.uv is not None:
        return installer.run([installer.uv, "venv", "--python", python, str(target)])
    found = sys.executable if python == _short(platform.python_version()) else shutil.which(f"python{python}")
    if found is None:
        raise MlopsError(f"The job wants Python {python}, which the machine has not.", hint="Install uv there; or --env own.")
    installer.run([found, "-m", "venv", str(target)])


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def scratch_folder(runner_id: str) -> Path:
    """Return where a runner in the foreground of this machine keeps its jobs."""
    return config.find_project().state_dir / "runners" / runner_id[:12]
