"""Which files travel with a notebook: the repository as it is now, with what is not committed; never what holds secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from mlops_nb.core.formatting import format_bytes
from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.forges.git import git
from mlops_nb.tracking import capture

LARGEST_FILE = 50 << 20
LARGEST_NEW_FILE = 10 << 20
LARGEST_SOURCE = 1 << 20
MOST_BYTES = 1 << 30
MOST_FILES = 50_000

_SECRET_FILE = re.compile(
    r"(^|/)(\.env(\..+)?|\.netrc|_netrc|\.pypirc|\.pgpass|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx|jks|kdbx)|"
    r"credentials(\.json|\.ini)?|.*service[-_]account.*\.json|\.git-credentials|\.npmrc|\.htpasswd)$",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r"\.(example|sample|template|dist)$", re.IGNORECASE)
_SOURCES = frozenset(".py .pyi .ipynb .sql .json .yaml .yml .toml .cfg .ini .txt .md .csv .tsv .r .jl .sh".split())
_NOT_OURS = frozenset({"node_modules", "__pycache__", "venv", "env", "site-packages", "mlruns", "wandb", "build", "dist"})


class Shipment(Record, frozen=True, kw_only=True):
    """The files that travel.

    Attributes:
        root: Absolute folder that their paths begin at.
        files: Paths below it, POSIX.
        size: Their bytes.
        left: Files that stay, with why.
        commit, branch, repository: Of git; "" outside of a repository.
        changed: Those of them that are not as in the commit.
    """

    root: str
    files: Sequence[str]
    size: int
    left: dict[str, str] = {}
    commit: str = ""
    branch: str = ""
    repository: str = ""
    changed: Sequence[str] = ()


def shipment_of(notebook: Path, include: Sequence[str | Path] = ()) -> Shipment:
    """Return what travels with a notebook: in a repository what git knows or does not ignore, else the sources beside it.

    Args:
        notebook: The notebook's file.
        include: More files and folders, below the root, that travel whatever git says: data, mostly.

    Raises:
        NotFound: If one of `include` is not there.
        InvalidInput: If it lies outside, holds a secret by its name, or all of it is more than 1 GiB.
    """
    notebook = notebook.resolve()
    top = git(notebook.parent, "rev-parse", "--show-toplevel")
    root = Path(top).resolve() if top else notebook.parent
    left: dict[str, str] = {}
    chosen: dict[str, int] = {}
    for name, limit in _of_git(root) if top else _of_folder(root):
        _consider(root, name, limit, chosen, left)
    for given in include:
        _include(root, Path(given), chosen, left)
    own = notebook.relative_to(root).as_posix()
    if notebook.is_file():  # a cell has none of its own
        chosen.setdefault(own, notebook.stat().st_size)
    size = sum(chosen.values())
    if size > MOST_BYTES or len(chosen) > MOST_FILES:
        raise InvalidInput(
            f"{len(chosen):,} files of {format_bytes(size)} would travel from {root}.",
            hint="At most 1 GiB and 50,000 files do: let git ignore what the notebook does not read, or read data from a bucket.",
        )
    found = Shipment(root=str(root), files=sorted(chosen), size=size, left=left)
    return _with_state(found, root) if top else found


def _with_state(found: Shipment, root: Path) -> Shipment:
    changed = git(root, "status", "--porcelain", "--untracked-files=all", "--no-renames") or ""
    branch = git(root, "symbolic-ref", "--short", "-q", "HEAD") or ""
    return msgspec.structs.replace(
        found,
        commit=git(root, "rev-parse", "--verify", "--quiet", "HEAD") or "",
        branch=branch,
        repository=capture.repository(root) or "",
        changed=sorted({line[2:].strip().strip('"') for line in changed.splitlines()} & set(found.files)),
    )


def _of_git(root: Path) -> Iterator[tuple[str, int]]:
    for options, limit in ((("--cached",), LARGEST_FILE), (("--others", "--exclude-standard"), LARGEST_NEW_FILE)):
        for name in (git(root, "ls-files", "-z", *options) or "").split("\0"):
            if name:
                yield name, limit


def _of_folder(root: Path) -> Iterator[tuple[str, int]]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_OURS)
        folders[:] = [name for name in folders if not (Path(folder) / name / "pyvenv.cfg").exists()]
        for name in sorted(files):
            path = Path(folder) / name
            if path.suffix.lower() in _SOURCES and not name.startswith("."):
                yield path.relative_to(root).as_posix(), LARGEST_SOURCE


def _consider(root: Path, name: str, limit: int, chosen: dict[str, int], left: dict[str, str]) -> None:
    path = root / name
    if name.split("/")[0] in (".mlops", ".git") or (path.is_dir() and not path.is_symlink()):  # a submodule is a folder
        return
    if path.is_symlink():
        left[name] = "it is a link"
    elif _SECRET_FILE.search(name) and not _EXAMPLE.search(name):
        left[name] = "by its name it holds a secret"
    elif path.is_file():  # what git knows may have been deleted
        size = path.stat().st_size
        if size > limit:
            left[name] = f"it has {format_bytes(size)}; {format_bytes(limit)} travel by themselves"
        else:
            chosen[name] = size


def _include(root: Path, given: Path, chosen: dict[str, int], left: dict[str, str]) -> None:
    path = (given if given.is_absolute() else Path.cwd() / given).resolve()
    if not path.exists():
        raise NotFound(f"There is no '{given}' to include.", hint="Paths count from the working directory.")
    if not path.is_relative_to(root):
        raise InvalidInput(f"'{given}' lies outside of {root}, which alone travels.", hint="Copy it there, or read it from a bucket.")
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()):
        name = file.relative_to(root).as_posix()
        if _SECRET_FILE.search(name) and not _EXAMPLE.search(name):
            raise InvalidInput(f"'{name}' holds a secret by its name, and secrets do not travel.", hint="Give the machine a role.")
        chosen[name] = file.stat().st_size
        left.pop(name, None)
