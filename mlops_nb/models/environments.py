"""Environments of models: made once for the same requirements, kept, and used by predicting and serving.

An environment is a folder of the user's cache, by the hash of the requirements and the version of Python. It appears when
it is whole: it is marked last, one process makes it while others wait, and what fails is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mlops_nb.errors import InvalidInput, MissingDependencyError, MlopsError, UnsafeModel
from mlops_nb.models.installing import Installer
from mlops_nb.models.own_packages import layer
from mlops_nb.models.requirements import Unmet, needed_by, to_install, told, unknown, unmet

__all__ = ["MANAGERS", "Prepared", "choose", "needed_by", "prepare"]

MANAGERS = ("local", "virtualenv", "uv", "conda")
_MARK = "mlops-nb-ready"
_LOOK_SECONDS = 0.2


def _quiet(_: str) -> None:
    return None


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The Python of a model.

    Attributes:
        python: The interpreter.
        variables: What a process in it gets instead of this one's variables of the same names.
        is_own: Whether it is an environment of the model's own.
        unmet: What the model asks for and this Python does not have.
    """

    python: Path
    variables: dict[str, str] = {}
    is_own: bool = False
    unmet: list[Unmet] = []

    @property
    def environment(self) -> dict[str, str]:
        """All variables of a process in it."""
        if not self.is_own:
            return dict(os.environ)
        return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")} | self.variables

    @property
    def warning(self) -> str:
        """What may go wrong because this Python is used although it is another one than the model asks for; or ""."""
        if self.is_own or not self.unmet:
            return ""
        return f"The model runs in an environment that it was not made for: {told(self.unmet)}. --env-manager virtualenv gives it its own."


def choose(
    folder: Path,
    manager: str,
    *,
    allow_unsafe: bool = False,
    cache: Path | None = None,
    saying: Callable[[str], None] = _quiet,
    over: threading.Event | None = None,
) -> Prepared:
    """Return the Python that a model is loaded in: this one where it has what the model asks for, else one of its own.

    What could run code is looked for first: nothing is installed for a model that would be refused.

    Args:
        folder: The model folder.
        manager: One of `MANAGERS`; `local` is this Python in any case.
        allow_unsafe: Somebody trusts the model: packages that are no wheels, which run code to be installed, may be too.
        cache: Where environments are kept; by default the user's cache folder.
        saying: Called with each line of progress.
        over: Set when nobody waits for it any more.

    Raises:
        UnsafeModel: If the folder or a package that it wants could run code, and nobody has allowed that.
        MlopsError: See `prepare`.
    """
    _known(manager)
    here = Path(sys.executable)
    if manager == "local":
        with contextlib.suppress(MlopsError):  # it only warns here
            return Prepared(python=here, unmet=unmet(folder))
        return Prepared(python=here)
    missing = unmet(folder)
    if not missing:
        return Prepared(python=here)
    from mlops_nb.models.metadata import read_metadata
    from mlops_nb.models.scan import check

    verdict = check(folder, read_metadata(folder), allow_unsafe=allow_unsafe)
    if not verdict.is_trusted:
        _check_strangers(folder)
    saying(f"The model gets an environment of its own: {told(missing)}.")
    made = prepare(folder, manager, needs_us=True, cache=cache, saying=saying, over=over, builds=verdict.is_trusted)
    return msgspec.structs.replace(made, unmet=missing)


def prepare(
    folder: Path,
    manager: str,
    *,
    needs_us: bool = False,
    cache: Path | None = None,
    saying: Callable[[str], None] = _quiet,
    over: threading.Event | None = None,
    builds: bool = True,
) -> Prepared:
    """Return the environment of a model; it is made where it is not there yet.

    Args:
        folder: The model folder.
        manager: One of `MANAGERS`; `virtualenv` uses uv where it is there, for it is many times as fast.
        needs_us: Whether mlops-nb has to be importable in it.
        cache: Where environments are kept; by default the user's cache folder.
        saying: Called with each line of progress.
        over: Set when nobody waits for it any more.
        builds: Whether packages that are no wheels may be installed: that runs their code.

    Raises:
        InvalidInput, NotFound: If the folder's requirements cannot be used.
        MissingDependencyError: If the program that makes environments is not there.
        MlopsError: If making it fails; names the package that could not be had, or says what the program said.
    """
    _known(manager)
    if manager == "local":
        return Prepared(python=Path(sys.executable))
    python, lines = needed_by(folder)
    wanted = to_install(folder, lines)
    kind = "conda" if manager == "conda" else "venv"
    short = ".".join(python.split(".")[:2])
    key = hashlib.sha256("\n".join([kind, short, platform.machine(), *sorted(wanted)]).encode()).hexdigest()[:20]
    home = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_nb" / "environments"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = home / key
        installer = Installer(saying=saying, over=over, builds=builds)
        with _alone(home / f"{key}.lock", installer, saying):
            if not (target / _MARK).is_file():
                shutil.rmtree(target, ignore_errors=True)
                try:
                    _make(target, manager, short, wanted, installer)
                    (target / _MARK).write_text("\n".join(wanted) + "\n", encoding="utf-8")
                except BaseException:
                    shutil.rmtree(target, ignore_errors=True)
                    raise
            own = layer(target, lambda names, folder: installer.install(target, names, into=folder)) if needs_us else None
    except OSError as error:
        raise MlopsError(
            f"No environment can be made in {home}: {error.strerror}.", hint="Make room or set XDG_CACHE_HOME; or --env-manager local."
        ) from error
    path = f"{target / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    variables = {"VIRTUAL_ENV": str(target), "PATH": path, **({"PYTHONPATH": str(own)} if own else {})}
    return Prepared(python=target / "bin" / "python", variables=variables, is_own=True)


def _check_strangers(folder: Path) -> None:
    """Refuse packages that only the maker of a model may know: installed, they run their code, whatever the scan has found."""
    names = unknown(to_install(folder, needed_by(folder)[1]))
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise UnsafeModel(
            f"The model in '{folder}' could run code: it wants {', '.join(names[:3])}{more} installed, which is no framework of models.",
            hint="Look at requirements.txt. --allow-unsafe installs it, if you trust its maker; --env-manager local installs nothing.",
        )


def _known(manager: str) -> None:
    if manager not in MANAGERS:
        raise InvalidInput(f"There is no environment manager '{manager}'.", hint=f"There are: {', '.join(MANAGERS)}.")


@contextmanager
def _alone(lock: Path, installer: Installer, saying: Callable[[str], None]) -> Iterator[None]:
    """Let one process in at a time; a process that dies lets the next one in."""
    with lock.open("w") as file:
        waits = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    saying("Another process makes this environment.")
                waits = True
                installer.go_on()
                time.sleep(_LOOK_SECONDS)
        yield


def _make(target: Path, manager: str, python: str, wanted: list[str], installer: Installer) -> None:
    if manager == "conda":
        conda = shutil.which("conda") or shutil.which("mamba") or shutil.which("micromamba")
        if conda is None:
            raise MissingDependencyError("conda", extra="models", purpose="--env-manager conda")
        installer.run([conda, "create", "--yes", "--prefix", str(target), f"python={python}", "pip"])
        installer.install(target, wanted, with_uv=False)
        return
    if installer.uv is not None:
        try:
            installer.run([installer.uv, "venv", "--python", python, str(target)])
        except MlopsError as error:
            if python == ".".join(platform.python_version_tuple()[:2]) or "venv" not in error.message:
                raise
            raise MlopsError(
                f"The model wants Python {python}, which is not here and could not be fetched: {error.message[-300:]}",
                hint="Install it, or use --env-manager local.",
            ) from None
        installer.install(target, wanted)
        return
    if manager == "uv":
        raise MissingDependencyError("uv", extra="models", purpose="--env-manager uv")
    here = ".".join(platform.python_version_tuple()[:2])
    found = sys.executable if python == here else shutil.which(f"python{python}")
    if found is None:
        raise MlopsError(f"The model wants Python {python}, which is not here.", hint="Install uv, which fetches it: pip install uv")
    installer.run([found, "-m", "venv", str(target)])
    installer.install(target, wanted)
