"""What a relative path of a client may be, and what its name tells."""

from __future__ import annotations

import mimetypes

from mlops_nb.errors import InvalidInput

Parts = tuple[str, ...]
"""A path taken apart: names of folders and, at the end, of a file or folder."""

PARTIAL = ".mlops-partial-"
"""How the names of files begin that are being written; no client may name one."""

_MAX_PATH = 2000
_MAX_PART = 250


def check_artifact_path(path: str, *, allow_root: bool = False) -> Parts:
    """Return the parts of a relative POSIX path.

    Raises:
        InvalidInput: If it is no text, is absolute, leads out (`..`), is over-long, or holds what no file name should.
    """
    if not isinstance(path, str):
        raise InvalidInput(f"An artifact path is a text, not {path!r:.80}.")
    if path in ("", ".", "/") and allow_root:
        return ()
    parts = tuple(path.split("/"))
    bad = (
        not path
        or len(path) > _MAX_PATH
        or "\\" in path
        or any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in path)
        or any(part in ("", ".", "..") or len(part.encode()) > _MAX_PART or part.startswith(PARTIAL) for part in parts)
        or (len(parts[0]) == 2 and parts[0][1] == ":")
    )
    if bad:
        shown = path if len(path) <= 80 else path[:80] + "…"
        raise InvalidInput(f"Invalid path: {shown!r}.", hint="An artifact path is relative, with '/' between names, without '..'.")
    return parts


def is_artifact_path(path: str) -> bool:
    """Return whether a client could name this path; what others put into the store may have other names."""
    try:
        check_artifact_path(path)
    except InvalidInput:
        return False
    return True


def media_type_of(path: str) -> str | None:
    """Return the media type that a file's name suggests, or None."""
    if path.endswith(".ipynb"):
        return "application/x-ipynb+json"
    return mimetypes.guess_type(path)[0]
