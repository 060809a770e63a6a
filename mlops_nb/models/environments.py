"""Environments of models: made once for the same requirements, kept, and used by predicting and serving.

An environment is a folder of the user's cache, by the hash of the requirements and the version of Python. It appears when
it is whole: it is marked last, one process makes it while others wait, and what fails is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, NotFound
from mlops_nb.models.environment import PYTHON_FILE, REQUIREMENTS_FILE
from mlops_nb.models.metadata import read_yaml

MANAGERS = ("local", "virtualenv", "uv", "conda")
_MARK = "mlops-nb-ready"
_OURS = ("mlops-nb",)
# What a line of a stranger's requirements may be: a name, extras, versions, a marker. No options, addresses or paths.
_PLAIN = re.compile(r"[A-Za-z0-9][\w.\-]*\s*(\[[\w.\-,\s]*\])?\s*((===|==|>=|<=|~=|!=|<|>)\s*[\w.*+!\-]+\s*,?\s*)*(;[^@#]*)?$")


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An environment: its Python, and the variables that a process in it gets."""

    python: Path
    environment: dict[str, str]


def needed_by(folder: Path) -> tuple[str, list[str]]:
    """Return the version of Python and the requirements of a model.

    Raises:
        NotFound: If the folder does not say.
        InvalidInput: If a requirement is an option, an address or a path: installing it would run what is there.
    """
    path = folder / REQUIREMENTS_FILE
    if not path.is_file():
        raise NotFound(f"'{folder}' has no {REQUIREMENTS_FILE}.", hint="--env-manager local uses this Python.")
    lines = [line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    odd = [line for line in wanted if not _PLAIN.fullmatch(line)]
    if odd:
        raise InvalidInput(
            f"The requirement '{odd[0][:120]}' is no name and version.", hint="Edit requirements.txt, if you trust its maker."
        )
    python = platform.python_version()
    if (folder / PYTHON_FILE).is_file():
        python = str(read_yaml(folder / PYTHON_FILE).get("python") or python)
    if not re.fullmatch(r"3\.\d+(\.\d+)?", python):
        raise InvalidInput(f"The model wants Python '{python[:40]}', which is no version.")
    return python, wanted


def prepare(folder: Path, manager: str, *, needs_us: bool = False, cache: Path | None = None) -> Prepared:
    """Return the environment of a model; it is made where it is not there yet.

    Args:
        folder: The model folder.
        manager: One of `MANAGERS`; `virtualenv` uses uv where it is there, for it is many times as fast.
        needs_us: Whether mlops-nb has to be importable in it.
        cache: Where environments are kept; by default the user's cache folder.

    Raises:
        InvalidInput, NotFound: If the folder's requirements cannot be used.
        MissingDependencyError: If the program that makes environments is not there.
        MlopsError: If making it fails; says what the program said.
    """
    if manager == "local":
        return Prepared(python=Path(sys.executable), environment=dict(os.environ))
    if manager not in MANAGERS:
        raise InvalidInput(f"There is no environment manager '{manager}'.", hint=f"There are: {', '.join(MANAGERS)}.")
    python, wanted = needed_by(folder)
    kind = "conda" if manager == "conda" else "venv"
    short = ".".join(python.split(".")[:2])
    key = hashlib.sha256("\n".join([kind, short, platform.machine(), *sorted(wanted)]).encode()).hexdigest()[:20]
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_nb" / "environments"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = home / key
    with _alone(home / f"{key}.lock"):
        if not (target / _MARK).is_file():
            shutil.rmtree(target, ignore_errors=True)
            try:
                _make(target, manager, short, wanted)
                (target / _MARK).write_text("\n".join(wanted) + "\n", encoding="utf-8")
            except BaseException:
                shutil.rmtree(target, ignore_errors=True)
                raise
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    variables["VIRTUAL_ENV"] = str(target)
    variables["PATH"] = f"{target / 'bin'}{os.pathsep}{variables.get('PATH', '')}"
    if needs_us:
        variables["PYTHONPATH"] = str(_own_packages(target))
    return Prepared(python=target / "bin" / "python", environment=variables)


def _own_packages(target: Path) -> Path:
    """Return a folder with links to this package and what it needs to load a model: nothing else of this Python is seen."""
    import importlib.util

    folder = target / "mlops-nb"
    folder.mkdir(exist_ok=True)
    for name in ("mlops_nb", "msgspec", "yaml", "_yaml", "rich", "markdown_it", "mdurl", "pygments", "picklescan"):
        found = importlib.util.find_spec(name)
        link = folder / name
        if found is not None and found.submodule_search_locations and not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(next(iter(found.submodule_search_locations)), target_is_directory=True)
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process in at a time; a process that dies lets the next one in."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(target: Path, manager: str, python: str, wanted: list[str]) -> None:
    if manager == "conda":
        conda = shutil.which("conda") or shutil.which("mamba") or shutil.which("micromamba")
        if conda is None:
            raise MissingDependencyError("conda", extra="models", purpose="--env-manager conda")
        _run([conda, "create", "--yes", "--prefix", str(target), f"python={python}", "pip"])
        _run([str(target / "bin" / "python"), "-m", "pip", "install", *wanted])
        return
    uv = _uv()
    if uv is not None:
        _run([uv, "venv", "--python", python, str(target)])
        if wanted:
            _run([uv, "pip", "install", "--python", str(target / "bin" / "python"), *wanted])
        return
    if manager == "uv":
        raise MissingDependencyError("uv", extra="models", purpose="--env-manager uv")
    here = ".".join(platform.python_version_tuple()[:2])
    found = sys.executable if python == here else shutil.which(f"python{python}")
    if found is None:
        raise MlopsError(f"The model wants Python {python}, which is not here.", hint="Install uv, which fetches it: pip install uv")
    _run([found, "-m", "venv", str(target)])
    if wanted:
        _run([str(target / "bin" / "python"), "-m", "pip", "install", *wanted])


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str]) -> None:
    """Run a program; what it says goes to the terminal, and its last lines into the error."""
    shown = sys.stderr.isatty()
    done = subprocess.run(command, stdout=None if shown else subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        said = " ".join((done.stderr or "").split())[-600:]
        raise MlopsError(
            f"'{' '.join(command[:3])} …' failed: {said}", hint="Nothing is left of it. update-pip-requirements changes what is asked for."
        )
