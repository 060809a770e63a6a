"""What our worker needs in an environment that a model's requirements made: linked from this Python, not installed from an index.

Only what the environment lacks is linked, so the model keeps its own versions; of these packages nothing else of this
Python is seen. Compiled packages fit one minor version of Python: for another one they are installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

from mlops_nb.errors import MissingDependencyError, NotSupported

LOADING = ("msgspec>=0.19,<1", "pyyaml>=6,<7", "packaging>=23", "numpy", "pandas")
"""To load and ask a model: a table comes in for most of them."""
SERVING = ("uvicorn>=0.30", "prometheus-client>=0.20", "psutil>=5.9", "h11", "click>=7")
PREDICTING = ("rich>=13,<16",)
OPTIONAL = ("picklescan", "modelaudit-picklescan", "httptools", "uvloop")
"""Faster, or only asked for by some models: linked where this Python has them."""
OURS = (*LOADING, *SERVING, *PREDICTING)

_OLDEST = (3, 11)


def layer(target: Path, install: Callable[[list[str], Path], None]) -> Path:
    """Return a folder for PYTHONPATH with this package and those of `OURS` that an environment lacks.

    Args:
        target: The environment.
        install: Installs requirements into a folder, for the environment's Python; called where links do not fit.

    Raises:
        NotSupported: If the environment's Python is too old for this package.
        MissingDependencyError: If one of them is not in this Python either.
    """
    packages = next(iter(sorted(target.glob("lib/python3.*/site-packages"))), target / "lib")
    version = tuple(int(part) for part in packages.parent.name.removeprefix("python").split("."))
    if version < _OLDEST:
        raise NotSupported(
            f"The model wants Python {'.'.join(map(str, version))}, and what serves it needs 3.11 or newer.",
            hint="--env-manager local uses this Python; or make the model anew with a newer one.",
        )
    there = {_key(one.metadata["Name"]): one for one in metadata.distributions(path=[str(packages)]) if one.metadata["Name"]}
    fits = version == sys.version_info[:2]
    lacking = list(_lacking(there))
    stamp = hashlib.sha256(repr([sys.version_info[:2], _root(), *sorted(_named(lacking))]).encode()).hexdigest()[:12]
    folder = target / f"mlops-nb-{stamp}"
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(prefix=".mlops-nb-", dir=target))
        try:
            if fits:
                _link(lacking, made)
            else:
                _install(lacking, made, install)
            made.chmod(0o755)
            (made / "mlops_nb").symlink_to(_root(), target_is_directory=True)
            made.rename(folder)
        except BaseException as error:
            shutil.rmtree(made, ignore_errors=True)
            if not (isinstance(error, OSError) and folder.is_dir()):  # else another process was faster
                raise
    return folder


def _lacking(there: dict[str, metadata.Distribution]) -> Iterator[metadata.Distribution]:
    """Yield our distribution, and those that it needs and the environment has not, or has in a version that does not do."""
    from packaging.requirements import Requirement

    todo: list[tuple[Requirement, bool]] = [(Requirement(line), False) for line in OURS]
    todo += [(Requirement(line), True) for line in OPTIONAL]
    seen: set[str] = set()
    own = _found("mlops-nb")
    if own is not None:
        yield own
    while todo:
        wanted, is_optional = todo.pop(0)
        key = _key(wanted.name)
        if key in seen or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(key)
        if key in there and wanted.specifier.contains(there[key].version, prereleases=True):
            continue
        found = _found(wanted.name)
        if found is None:
            if is_optional:
                continue
            raise MissingDependencyError(wanted.name, extra="serve", purpose="Serving models")
        yield found
        todo += [(Requirement(line), is_optional) for line in found.requires or () if "extra ==" not in line]


def _link(distributions: Iterable[metadata.Distribution], folder: Path) -> None:
    for one in distributions:
        for name in _tops(one):
            if not (folder / name).is_symlink() and name != "mlops_nb":
                (folder / name).symlink_to(Path(str(one.locate_file(name))).absolute())


def _tops(distribution: metadata.Distribution) -> Iterator[str]:
    """Yield the names of the files and folders that a distribution has among the installed ones."""
    tops = {str(file).partition("/")[0] for file in distribution.files or ()}
    for name in sorted(tops):
        if name not in ("..", "__pycache__", "") and not name.endswith(".pth"):
            yield name


def _install(distributions: Iterable[metadata.Distribution], folder: Path, install: Callable[[list[str], Path], None]) -> None:
    kept = [one for one in distributions if _key(one.metadata["Name"]) != "mlops-nb"]
    install([f"{one.metadata['Name']}=={one.version.split('+')[0]}" for one in kept], folder)
    own = _found("mlops-nb")
    if own is not None:
        _link([own], folder)


def _named(distributions: Iterable[metadata.Distribution]) -> list[str]:
    return [f"{one.metadata['Name']} {one.version} {one.locate_file('')}" for one in distributions]


def _found(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def _key(name: str) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def _root() -> str:
    return os.fspath(Path(__file__).parent.parent.absolute())
