"""What kind of file it is, by its first bytes before its name, and what is packed in it; unpacked in memory and bounded."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mlops_nb.models.scan import formats, pickles

MAX_UNPACKED = 1_000_000_000
"""Bytes that the packed parts of one file may come to."""

MAX_RATIO = 400
"""How much larger unpacked may be than packed, from a megabyte on."""

MAX_MEMBERS = 50_000
MAX_DEPTH = 3
_PICKLE_ENDS = (".pkl", ".pickle", ".p", ".joblib", ".jbl", ".dill", ".statsmodels", ".pt", ".pth", ".ckpt", ".cloudpickle")
_SKIPPED = (".json", ".yaml", ".yml", ".txt", ".md", ".safetensors", ".ubj", ".csv", ".parquet", ".lgb", ".cb", ".cbm", ".cfg", ".toml")
_PACKED: dict[bytes, str] = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x5d\x00\x00": "xz"}
_FOREIGN: dict[bytes, str] = {b"7z\xbc\xaf\x27\x1c": "7z", b"\x28\xb5\x2f\xfd": "Zstandard", b"\x04\x22\x4d\x18": "LZ4", b"Rar!": "RAR"}

Told = Iterator[tuple[str, str]]


def look_at(path: Path, name: str, *, is_pickle: bool = False) -> Told:
    """Yield (file, reason) for each thing in a file that could run code.

    Args:
        path: The file.
        name: What to call it.
        is_pickle: Whether a loader takes it for a pickle, whatever it looks like.
    """
    with path.open("rb") as file:
        yield from _look(file, name, 0, is_pickle)


def _look(file: BinaryIO, name: str, depth: int, is_pickle: bool = False) -> Told:
    head = file.read(8)
    file.seek(0)
    low = name.lower()
    if depth > MAX_DEPTH:
        yield name, f"it is packed more than {MAX_DEPTH} times"
    elif head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _zip(file, name, depth)
    elif head.startswith(b"\x93NUMPY"):
        yield from _array(file, name)
    elif head.startswith(b"\x89HDF"):
        yield from ((name, why) for why in formats.hdf5(file))
    elif any(head.startswith(magic) for magic in _FOREIGN):
        packer = next(packer for magic, packer in _FOREIGN.items() if head.startswith(magic))
        yield name, f"it is packed as {packer}, which cannot be looked into"
    elif kind := _packing(head, low, file):
        yield from _unpacked(file, name, kind, depth, is_pickle or low.endswith(_PICKLE_ENDS))
    elif is_pickle or low.endswith(_PICKLE_ENDS) or _seems_pickle(head, low):
        yield from ((name, why) for why in pickles.reasons(file, name, has_ids=depth > 0 and low.endswith("/data.pkl")))
    elif low.endswith(".onnx"):
        yield from ((name, why) for why in formats.onnx(file))
    elif low.endswith(".tar") or _is_tar(file):
        yield from _tar(file, name, depth)
    elif low.endswith((".h5", ".hdf5", ".keras")):
        yield name, "it is not what its name says"


def _packing(head: bytes, low: str, file: BinaryIO) -> str | None:
    for magic, kind in _PACKED.items():
        if head.startswith(magic):
            return kind
    # zlib has two bytes of a checked form only: they count where a loader of that format could come by.
    if low.endswith((".pkl", ".pickle", ".joblib", ".jbl", ".z", ".gz")) and len(head) > 1 and head[0] == 0x78:
        return "zlib" if (head[0] * 256 + head[1]) % 31 == 0 else None
    return None


def _seems_pickle(head: bytes, low: str) -> bool:
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5 and not low.endswith(_SKIPPED)


def _is_tar(file: BinaryIO) -> bool:
    file.seek(257)
    is_one = file.read(5) == b"ustar"
    file.seek(0)
    return is_one


def _unpacked(file: BinaryIO, name: str, kind: str, depth: int, is_pickle: bool) -> Told:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        if kind == "zlib":
            limit = _limit(size)
            engine = zlib.decompressobj()
            content = engine.decompress(file.read(), limit + 1)
        else:
            unpack: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}[kind]
            with unpack(file, "rb") as opened:
                content = opened.read(_limit(size) + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        yield name, f"it cannot be unpacked ({type(error).__name__})"
        return
    if len(content) > _limit(size):
        yield name, f"it unpacks to more than {_limit(size) // 1_000_000} MB from {size // 1_000 or 1} kB"
        return
    yield from _look(io.BytesIO(content), name, depth + 1, is_pickle)


def _limit(packed: int) -> int:
    return min(MAX_UNPACKED, max(1_000_000, packed * MAX_RATIO))


def _zip(file: BinaryIO, name: str, depth: int) -> Told:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            unpacked, packed = sum(one.file_size for one in members), sum(one.compress_size for one in members)
            if len(members) > MAX_MEMBERS or (unpacked > packed and unpacked > _limit(packed)):
                yield name, f"it unpacks to {unpacked // 1_000_000} MB in {len(members)} parts from {packed // 1_000} kB"
                return
            if len({one.filename for one in members}) < len(members):
                yield name, "it has two parts of one name"
                return
            if name.endswith(".skops"):
                file.seek(0)
                yield from ((name, why) for why in formats.skops(file))
                return
            if name.endswith(".keras"):
                yield from ((name, why) for why in formats.keras(archive))
            for one in members:
                yield from _member(archive, one, name, depth)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        yield name, f"it cannot be looked into ({type(error).__name__}: {str(error)[:80]})"


def _member(archive: zipfile.ZipFile, one: zipfile.ZipInfo, name: str, depth: int) -> Told:
    called = f"{name}:{one.filename[:200]}"
    if one.is_dir():
        return
    if one.filename.startswith(("/", "\\")) or ".." in one.filename.replace("\\", "/").split("/"):
        yield called, "its name leads out of the folder"
        return
    with archive.open(one) as part:
        head = part.read(512)
    # The numbers of a model are most of it: what cannot be a pickle or packed again need not be read as a whole.
    if one.file_size > 512 and not _is_worth(head, one.filename.lower()):
        return
    with archive.open(one) as part:
        content = part.read(_limit(one.compress_size) + 1)
    if len(content) > _limit(one.compress_size):
        yield called, "it unpacks to more than it says"
        return
    yield from _look(io.BytesIO(content), called, depth + 1)


def _is_worth(head: bytes, low: str) -> bool:
    known = (b"PK", b"\x93NUMPY", b"\x89HDF", *_PACKED, *_FOREIGN)
    return low.endswith(_PICKLE_ENDS) or head.startswith(known) or _seems_pickle(head, low) or head[257:262] == b"ustar"


def _tar(file: BinaryIO, name: str, depth: int) -> Told:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            total = 0
            for count, one in enumerate(archive):
                called = f"{name}:{one.name[:200]}"
                total += one.size
                if count > MAX_MEMBERS or total > MAX_UNPACKED:
                    yield name, "it holds too much to be looked into"
                    return
                if one.name.startswith("/") or ".." in one.name.split("/") or not (one.isfile() or one.isdir()):
                    yield called, "it is a link, or its name leads out of the folder"
                    continue
                part = archive.extractfile(one)
                if part is not None:
                    yield from _look(io.BytesIO(part.read()), called, depth + 1)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        yield name, f"it cannot be looked into ({type(error).__name__})"


def _array(file: BinaryIO, name: str) -> Told:
    """An array of objects is a pickle after a header."""
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        kind = read(file)[2]
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        yield name, f"it is no array that can be read ({type(error).__name__})"
        return
    if kind.hasobject:
        yield name, "it is an array of objects, which is a pickle"
