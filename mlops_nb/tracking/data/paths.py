"""Which of the files that a process opens are data. Everything here runs while the user's `open` waits, and is quick."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

_SYSTEM = ("/proc/", "/dev/", "/sys/", "/etc/", "/usr/", "/lib", "/bin/", "/sbin/", "/run/", "/snap/", "/System/", "/Library/")
_PLACES = ("/site-packages/", "/dist-packages/", "/__pycache__/", "/node_modules/", "/_delta_log/", "/tmp/ipykernel_", "/fonts/")
_SUFFIXES = frozenset(
    ".py .pyi .pyc .pyo .pyd .so .dylib .dll .ipynb .ttf .otf .afm .pfb .woff .woff2 .mplstyle .lock .pid .sock .log .partial .crt .key "
    ".dvc .egg-link .whl".split()
)
_NAMES = frozenset({"pyproject.toml", "setup.cfg", "setup.py", "requirements.txt", "matplotlibrc", "dvc.lock", "dvc.yaml", "nul", "core"})


def is_data(path: str) -> bool:
    """Return whether an absolute path may be a data file: not code, not the system's, not hidden, not ours."""
    folder, _, name = path.rpartition("/")
    if not name or name[0] == "." or name in _NAMES or name[name.rfind(".") :].lower() in _SUFFIXES:
        return False
    return _holds_data(folder)


@functools.lru_cache(maxsize=4096)
def _holds_data(folder: str) -> bool:
    inside = folder + "/"
    if inside.startswith((*_SYSTEM, *_interpreters())) or any(place in inside for place in _PLACES):
        return False
    try:
        here = os.getcwd() + "/"  # noqa: PTH109  # called while the user's open() waits
    except OSError:
        here = "/"
    # A project may itself lie below a hidden folder; within it, and elsewhere, hidden means settings or caches.
    shown = inside[len(here) :] if inside.startswith(here) else inside.removeprefix(_shared(inside, here))
    return "/." not in "/" + shown


def _shared(one: str, other: str) -> str:
    """Return the folders that two paths have in common."""
    common = os.path.commonpath([one, other])
    return f"{common.rstrip('/')}/"


@functools.lru_cache(maxsize=1)
def _interpreters() -> tuple[str, ...]:
    own = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(os.__file__).parent)}
    return tuple(f"{folder.rstrip('/')}/" for folder in own if folder.strip("/"))
