"""Readers of well-known libraries that open files past Python, or read from far away: each tells what it was given.

A library is touched when it is imported, and only there: nobody pays for one that is not used. What a reader is told and
what it answers stay as they are.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from mlops_nb.tracking.autolog._hooks import when_imported

NoteRead = Callable[[Any], None]
NoteRemote = Callable[..., None]

# Functions that take a path, a list of paths or a glob first.
_FUNCTIONS = {
    "pyarrow": ("memory_map",),
    "pyarrow.parquet": ("read_table", "read_pandas", "ParquetFile", "ParquetDataset"),
    "pyarrow.dataset": ("dataset",),
    "pyarrow.csv": ("read_csv", "open_csv"),
    "pyarrow.json": ("read_json",),
    "pyarrow.feather": ("read_table", "read_feather"),
    "pyarrow.orc": ("read_table", "ORCFile"),
    "polars": tuple("read_csv read_parquet read_ipc read_ndjson read_avro scan_csv scan_parquet scan_ipc scan_ndjson".split()),
    "duckdb": tuple("read_csv read_parquet read_json from_csv_auto from_parquet sql query execute".split()),
    "h5py": ("File",),
    "tables": ("open_file",),
    "cv2": ("imread",),
    "soundfile": ("read", "SoundFile"),
}
_PANDAS = tuple("read_csv read_table read_json read_parquet read_feather read_excel read_xml read_stata read_pickle".split())
_FAR = ("http://", "https://", "ftp://")
_QUOTED = re.compile(r"'([^'\n]{1,1000})'")
_IN_SQL = ("sql", "query", "execute")
_NEAR = frozenset({"file", "local", "memory", "reference", "dir", "zip", "tar", "archive", "data"})
_OURS = "mlops_nb."


def install(note_read: NoteRead, note_remote: NoteRemote) -> None:
    """Have each library's readers tell what they are given, once it is imported."""
    for name, functions in _FUNCTIONS.items():
        when_imported(name, functools.partial(_tell_paths, functions=functions, note=note_read))
    when_imported("pandas", functools.partial(_tell_addresses, note=note_remote))
    when_imported("fsspec.spec", functools.partial(_tell_opened, note=note_remote))


def _tell_paths(module: ModuleType, *, functions: Sequence[str], note: NoteRead) -> None:
    for name in functions:
        original = getattr(module, name, None)
        if isinstance(original, type):
            _wrap_class(original, note)
        elif callable(original):
            _replace(module, name, _telling(original, functools.partial(_note_all, note, is_sql=name in _IN_SQL)))


def _telling(original: Callable[..., Any], tell: Callable[[Any], None]) -> Callable[..., Any]:
    @functools.wraps(original)
    def reader(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        tell(args[0] if args else next(iter(kwargs.values()), None))
        return result

    return reader


def _wrap_class(kind: type, note: NoteRead) -> None:
    original = kind.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        mode = kwargs.get("mode", args[1] if len(args) > 1 else "r")
        if not (isinstance(mode, str) and mode[:1] in ("w", "x", "a")):
            _note_all(note, args[0] if args else next(iter(kwargs.values()), None))

    try:
        kind.__init__ = __init__  # type: ignore[misc]
    except TypeError:  # a class made in C does not change
        return


def _note_all(note: NoteRead, given: Any, is_sql: bool = False) -> None:
    """Note each local path in what a reader was given; what is not a path is left alone. Never raises."""
    try:
        if is_sql:
            paths = [match for match in _QUOTED.findall(given) if "." in match] if isinstance(given, str) else []
        else:
            paths = list(given) if isinstance(given, (list, tuple)) else [given]
        for path in paths[:1000]:
            if not isinstance(path, (str, bytes, os.PathLike)):
                continue
            text = os.fsdecode(path).removeprefix("file://")
            if "://" not in text:
                for one in glob.glob(text, recursive=True) if any(c in text for c in "*?[") and not os.path.exists(text) else [text]:  # noqa: PTH110, PTH207
                    note(one)
    except Exception:  # noqa: BLE001  # a strange argument is the reader's business
        return


def _tell_addresses(pandas: ModuleType, *, note: NoteRemote) -> None:
    """pandas reads web addresses with Python's own client, and what else is far away with fsspec."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def reader(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            given = args[0] if args else next(iter(kwargs.values()), None)
            if isinstance(given, str) and given.startswith(_FAR):
                note(given, None, result)
            return result

        return reader

    for name in _PANDAS:
        original = getattr(pandas, name, None)
        if original is not None:
            _replace(pandas, name, wrap(original))


def _tell_opened(spec: ModuleType, *, note: NoteRemote) -> None:
    filesystem = spec.AbstractFileSystem
    original = filesystem.open

    @functools.wraps(original)
    def open_far(self: Any, path: Any, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        file = original(self, path, mode, *args, **kwargs)
        protocol = self.protocol if isinstance(self.protocol, str) else self.protocol[0]
        if "r" in mode and protocol not in _NEAR and not str(sys._getframe(1).f_globals.get("__name__", "")).startswith(_OURS):
            _note_opened(note, self, path, file)
        return file

    filesystem.open = open_far


def _note_opened(note: NoteRemote, filesystem: Any, path: Any, file: Any) -> None:
    try:
        # What the place has said when the file was opened; nothing more is asked of it.
        details = getattr(file, "details", None)
        note(filesystem.unstrip_protocol(path), details if isinstance(details, dict) else None)
    except Exception:  # noqa: BLE001  # a filesystem without such details
        return


def _replace(module: ModuleType, name: str, reader: Callable[..., Any]) -> None:
    """Put a function in another's place also where it is at home, so that both names stay one object and can be pickled."""
    original = getattr(module, name)
    setattr(module, name, reader)
    home = sys.modules.get(getattr(original, "__module__", "") or "")
    if home is not None and getattr(home, name, None) is original:
        setattr(home, name, reader)
