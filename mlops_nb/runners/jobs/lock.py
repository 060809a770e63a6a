"""The lock of a job: the packages that its code imports, and what these need, in the versions of this Python."""

from __future__ import annotations

import ast
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from mlops_nb.core.records import Record
from mlops_nb.execution.sources import Sources

OWN = "mlops-nb"


class Imports(Record, frozen=True, kw_only=True):
    """What code imports: modules that travel (files), those that do not, and top names of installed packages."""

    travelling: Sequence[str] = ()
    staying: Mapping[str, str] = {}
    installed: Sequence[str] = ()
    missing: Sequence[str] = ()


class Lock(Record, frozen=True, kw_only=True):
    """Requirements, the version of Python, and distributions that no index has, with where they are from."""

    lines: Sequence[str]
    python: str
    staying: Mapping[str, str] = {}


def imported_names(code: str) -> set[str]:
    """Return the top names of the modules that code imports anywhere in it; none if it is no Python."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def plain(source: str) -> str:
    """Return a cell as plain Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return str(TransformerManager().transform_cell(source))  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001  # no Python at all: it imports nothing that we could know
        return ""


def imports_of(codes: Iterable[str], root: Path, folder: Path, files: Sequence[str]) -> Imports:
    """Return what code imports, and what the modules of the tree that it imports import in turn.

    Args:
        codes: Plain Python.
        root: Of the tree that travels.
        folder: Where the notebook is.
        files: What of the tree travels.
    """
    shipped = set(files)
    bases = [folder, *(Path(entry) for entry in sys.path if entry and Path(entry).is_relative_to(root))]
    bases = [base for base in dict.fromkeys(path.resolve() for path in bases) if "site-packages" not in base.parts]
    known = metadata.packages_distributions()
    todo = [name for code in codes for name in imported_names(code)]
    seen: set[str] = set()
    travelling, staying, installed, missing = set(), {}, set(), set()
    while todo:
        name = todo.pop()
        if name in seen or name in sys.stdlib_module_names or name in ("__main__", "mlops_nb"):
            continue
        seen.add(name)
        local = _local(name, bases)
        if local is not None:
            relative = [path.relative_to(root).as_posix() for path in local if path.is_relative_to(root)]
            gone = [path for path in relative if path not in shipped]
            travelling |= set(relative) - set(gone)
            if gone:
                staying[name] = f"{gone[0]} does not travel"
            todo += [found for path in local for found in imported_names(path.read_text(encoding="utf-8", errors="replace"))]
        elif name in known:
            installed |= set(known[name])
        elif (place := _elsewhere(name)) is not None:
            staying[name] = f"it is in {place}"
        else:
            missing.add(name)
    return Imports(travelling=sorted(travelling), staying=staying, installed=sorted(installed), missing=sorted(missing))


def _local(name: str, bases: Sequence[Path]) -> list[Path] | None:
    """Return the files of a module that lies in the tree."""
    for base in bases:
        if (base / f"{name}.py").is_file():
            return [base / f"{name}.py"]
        if (base / name / "__init__.py").is_file():
            return [path for path in sorted((base / name).rglob("*.py")) if "__pycache__" not in path.parts]
    return None


def _elsewhere(name: str) -> str | None:
    """Return the folder of a module that is importable here and belongs to no distribution."""
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    place = spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    return str(Path(place).parent) if place and place not in ("built-in", "frozen") else None


def lock_of(distributions: Iterable[str]) -> Lock:
    """Return the requirements of distributions and of all that they need, as they are in this Python."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    todo = list(distributions)
    lines: dict[str, str] = {}
    staying: dict[str, str] = {}
    seen: set[str] = set()
    while todo:
        name = str(canonicalize_name(todo.pop()))
        if name in seen or name == OWN:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # an optional one that is not there
            continue
        place = _not_from_an_index(found)
        if place:
            staying[name] = place
        else:
            lines[name] = f"{name}=={found.version.partition('+')[0]}"
        for text in found.requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                todo.append(wanted.name)
    return Lock(lines=[lines[name] for name in sorted(lines)], python=platform.python_version(), staying=staying)


def _not_from_an_index(found: metadata.Distribution) -> str:
    """Return where a distribution is from if no index has it: a folder, a file or a repository; "" else."""
    try:
        said = json.loads(found.read_text("direct_url.json") or "{}")
        url = str(said.get("url", ""))
    except (ValueError, AttributeError):
        return ""
    if not url:
        return ""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def unmet(lines: Sequence[str]) -> list[str]:
    """Return the requirements `name==version` that this Python does not have, version for version."""
    missing = []
    for line in lines:
        name, _, version = line.partition("==")
        try:
            here = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            here = ""
        if here != version:
            missing.append(line)
    return missing


def names_read(sources: Sequence[str]) -> set[str]:
    """Return the names that cells read before they have given them: what they need from elsewhere."""
    import builtins

    names_of = Sources()
    needed: set[str] = set()
    bound: set[str] = set()
    for source in sources:
        names = names_of(source)
        needed |= (names.reads | names.words & set()) - bound
        bound |= names.binds
    return {name for name in needed if not hasattr(builtins, name) and name not in ("get_ipython", "display", "__name__", "_")}
