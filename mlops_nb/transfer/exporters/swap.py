"""Exports appear when they are complete: written beside their place, under a name that the next one removes, and moved in."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def unfinished(place: Path) -> Iterator[Path]:
    """Give where an export to a place is written, after what a killed one left there is gone. An error leaves nothing there."""
    place.absolute().parent.mkdir(parents=True, exist_ok=True)
    part = place.absolute().parent / f".{place.name}.part"
    _remove(part)
    try:
        yield part
    finally:
        _remove(part)


def move_in(part: Path, place: Path) -> None:
    """Put what was written at its place, instead of what is there. Of a folder nothing, or the old one beside, is left for an instant."""
    sync(part)
    if part.is_dir() and place.exists():
        old = place.absolute().parent / f".{place.name}.old"
        _remove(old)
        place.rename(old)
        part.rename(place)
        _remove(old)
    else:
        part.replace(place)
    _sync_one(place.absolute().parent)


def sync(path: Path) -> None:
    """Let everything below a path be on the disk."""
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        _sync_one(each)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
