"""What other tools call the version of a file: DVC, Git LFS, lakeFS, Delta Lake. Only what lies on the disk is read."""

from __future__ import annotations

import fnmatch
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

MAX_POINTER = 1024
_LFS_HEAD = b"version https://git-lfs.github.com/spec/v1\n"
_MAX_YAML = 5_000_000
_GIT_SECONDS = 5.0


class Version(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version by another tool's name.

    Attributes:
        tool: dvc, git-lfs, lakefs or delta.
        name: `md5:...`, `sha256:...`, `repository@ref`, or a table's number.
        pointer: The file that says so, or what else it is known from.
        algorithm: The hash by which the content can be held against `name`; None where that is impossible.
        matches: Whether the content is that version; None where nobody has looked.
        is_absent: Whether the file is only the pointer, and the content has not been fetched.
    """

    tool: str
    name: str
    pointer: str
    algorithm: str | None = None
    matches: bool | None = None
    is_absent: bool = False


def version_of(path: Path) -> Version | None:
    """Return the version of a file or folder, by the first tool that knows it."""
    return _dvc(path) or _lfs(path)


# -- DVC: `data.csv.dvc` beside the file or a folder above it, or `dvc.lock` of a pipeline


def _dvc(path: Path) -> Version | None:
    for inner in (path, *_inside_repository(path)):
        pointer = inner.parent / f"{inner.name}.dvc"
        if inner.name and pointer.is_file():
            for out in _outs(_yaml(pointer)):
                if out.get("path", inner.name) == inner.name and (found := _dvc_version(out, pointer, inner == path)):
                    return found
    for folder in _inside_repository(path):
        lock = folder / "dvc.lock"
        if lock.is_file():
            content = _yaml(lock)
            stages = content.get("stages", content)
            for stage in stages.values() if isinstance(stages, dict) else ():
                for out in _outs(stage):
                    place = Path(os.path.normpath(folder / str(out.get("path", ""))))
                    if (place == path or place in path.parents) and (found := _dvc_version(out, lock, place == path)):
                        return found
    return None


def _outs(content: Any) -> list[dict[str, Any]]:
    outs = content.get("outs") if isinstance(content, dict) else None
    return [out for out in outs if isinstance(out, dict)] if isinstance(outs, list) else []


def _dvc_version(out: dict[str, Any], pointer: Path, is_itself: bool) -> Version | None:
    md5 = out.get("md5")
    if not isinstance(md5, str):
        return None
    # DVC 2 hashed texts as if they had Unix line ends, and did not say `hash: md5`; a folder's hash is of a list of files.
    is_plain = is_itself and not md5.endswith(".dir") and out.get("hash") == "md5"
    return Version(tool="dvc", name=f"md5:{md5}", pointer=pointer.name, algorithm="md5" if is_plain else None)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml

        if path.stat().st_size > _MAX_YAML:
            return {}
        content = yaml.safe_load(path.read_bytes())
    except Exception:  # noqa: BLE001  # whatever is wrong with another tool's file, it then says nothing
        return {}
    return content if isinstance(content, dict) else {}


# -- Git LFS: the file is a pointer still, or its pointer is what git has under that path


def _lfs(path: Path) -> Version | None:
    try:
        if path.stat().st_size <= MAX_POINTER and (oid := _oid(path.read_bytes())):
            return Version(tool="git-lfs", name=oid, pointer=path.name, is_absent=True)
    except OSError:
        return None
    root = next((folder for folder in path.parents if (folder / ".git").exists()), None)
    if root is None or not _is_lfs(path, root):
        return None
    name = f":{path.relative_to(root).as_posix()}"
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(root), "cat-file", "blob", name]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_GIT_SECONDS, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    oid = _oid(answer.stdout[: MAX_POINTER + 1]) if answer.returncode == 0 else None
    return Version(tool="git-lfs", name=oid, pointer="git index", algorithm="sha256") if oid else None


def _oid(content: bytes) -> str | None:
    if not content.startswith(_LFS_HEAD) or len(content) > MAX_POINTER:
        return None
    line = next((line for line in content.decode("ascii", "replace").splitlines() if line.startswith("oid sha256:")), "")
    return line.removeprefix("oid ") or None


def _is_lfs(path: Path, root: Path) -> bool:
    """Return whether git's attributes give a file to LFS; the last line that fits decides, as in git."""
    decided = False
    folders = [root, *reversed([folder for folder in path.parents if root in folder.parents])]
    for folder in folders:
        try:
            lines = (folder / ".gitattributes").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        relative = path.relative_to(folder).as_posix()
        for line in lines:
            pattern, *attributes = line.split() or [""]
            if pattern and not pattern.startswith("#") and _fits(relative, pattern):
                for attribute in attributes:
                    if attribute.lstrip("-!").partition("=")[0] == "filter":
                        decided = attribute == "filter=lfs"
    return decided


def _fits(relative: str, pattern: str) -> bool:
    if "/" not in pattern.strip("/"):
        return fnmatch.fnmatchcase(relative.rpartition("/")[2], pattern.lstrip("/"))
    pattern = pattern.lstrip("/")
    return fnmatch.fnmatchcase(relative, pattern) or (pattern.startswith("**/") and fnmatch.fnmatchcase(relative, pattern[3:]))


# -- Delta Lake and lakeFS


def delta_root(path: Path) -> Path | None:
    """Return the table that a file belongs to: the nearest folder with a `_delta_log`."""
    return next((folder for folder in (path, *list(path.parents)[:8]) if (folder / "_delta_log").is_dir()), None)


def delta_version(table: Path) -> tuple[int, bytes] | None:
    """Return the number of a Delta table's newest commit and its content; None if it has none."""
    numbered = [entry for entry in (table / "_delta_log").glob("*.json") if entry.stem.isdigit()]
    if not numbered:
        return None
    newest = max(numbered, key=lambda entry: int(entry.stem))
    return int(newest.stem), newest.read_bytes()


def lakefs_version(uri: str) -> Version | None:
    """Return what a `lakefs://repository/ref/path` says of itself."""
    parts = urlsplit(uri)
    ref = parts.path.strip("/").partition("/")[0]
    return Version(tool="lakefs", name=f"{parts.netloc}@{ref}", pointer="uri") if parts.scheme == "lakefs" and ref else None


def _inside_repository(path: Path) -> list[Path]:
    """Return the folders above a file, up to the root of its repository; outside of one only its own."""
    folders = list(path.parents)
    for number, folder in enumerate(folders, start=1):
        if (folder / ".git").exists() or (folder / ".dvc").is_dir():
            return folders[:number]
    return folders[:1]
