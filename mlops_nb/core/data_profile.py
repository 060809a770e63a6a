"""What a data set is like: its columns with their fingerprints, and how that is written into MLflow's profile.

A fingerprint says whether a column is the same, bit by bit and row by row. The rest (missing values, ends, levels) says
how two columns differ. A sketch holds a short hash of every row of every column, or of blocks of rows, so that it can be
told later how many rows changed.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec

from mlops_nb.core.records import Record
from mlops_nb.errors import InvalidInput

BLOCK_ROWS = 16_384
"""Rows of one block; the fingerprint of a column is made of the hashes of its blocks."""

MAX_LEVELS = 50
MAX_LEVEL_TEXT = 80
MAX_PROFILE = 1_000_000
"""How long the profile may get (characters) before levels and ends are left out."""

_MAGIC = b"mlops_nb sketch 1\n"
_KEY = "mlops"

Scalar = int | float | str | bool | None


class ColumnProfile(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A column: the fingerprint is 128 bits in hex, over all rows.

    `name_type` is the type of the name, if that is no text. `role` is "index" or "target" where it is not a plain column.
    `levels` are the values with how often each occurs, where there are few. `distinct` is how many different values
    there are, estimated above 50 (within about 1 %). `edges` are quantiles of numbers and `counts` says how many rows fell
    up to each, the last how many are above: what other data can be held against.
    """

    name: str
    dtype: str
    fingerprint: str
    name_type: str = ""
    role: str = ""
    nulls: int = 0
    low: Scalar = None
    high: Scalar = None
    distinct: int | None = None
    levels: dict[str, int] | None = None
    edges: list[float] = []
    counts: list[int] = []


class DataProfile(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a data set.

    Attributes:
        kind: table, array, file, folder, or remote.
        rows: How many; None where nobody has counted.
        columns: In their order; empty for files.
        size: Bytes of the files.
        files: How many files a folder has.
        content: The whole hash, `blake3:...`; None if the content could not be read in time.
        sketch: The artifact that holds the sketch.
        versions: What other tools call this version: `{"dvc": "md5 ...", "git-lfs": "sha256:..."}`.
    """

    kind: str
    rows: int | None = None
    columns: list[ColumnProfile] = []
    size: int | None = None
    files: int | None = None
    content: str | None = None
    sketch: str | None = None
    versions: dict[str, str] = {}


def to_json(profile: DataProfile) -> str:
    """Return the text for a data set's `profile`: MLflow's own keys, and ours under one."""
    text = _json(profile)
    if len(text) > MAX_PROFILE:
        short = [msgspec.structs.replace(c, levels=None, low=None, high=None, edges=[], counts=[]) for c in profile.columns]
        text = _json(msgspec.structs.replace(profile, columns=short))
    return text


def _json(profile: DataProfile) -> str:
    shown: dict[str, Any] = {}
    if profile.rows is not None:
        columns = [c for c in profile.columns if not c.role]
        shown = {"num_rows": profile.rows, "num_elements": profile.rows * max(1, len(columns))}
    return msgspec.json.encode({**shown, _KEY: profile}).decode()


def from_json(text: str | None) -> DataProfile | None:
    """Return what `to_json` wrote; None for the profile of another program."""
    try:
        value = msgspec.json.decode(text or "null")
        return msgspec.convert(value[_KEY], DataProfile) if isinstance(value, dict) and _KEY in value else None
    except msgspec.MsgspecError:
        return None


def keys_of(columns: Sequence[ColumnProfile]) -> list[str]:
    """Return a key for each column by which columns of two data sets are matched; equal names are counted."""
    seen: dict[str, int] = {}
    keys = []
    for column in columns:
        base = f"{column.role}:{column.name}" if column.role else column.name
        seen[base] = seen.get(base, 0) + 1
        keys.append(base if seen[base] == 1 else f"{base} ({seen[base]})")
    return keys


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """Short hashes of rows (`block` is 1) or of blocks of rows.

    `of_column` holds, per column in the profile's order, 16 bits a row or 64 bits a block; `of_rows` 32 bits a row, over
    all columns, and is empty for blocks.
    """

    rows: int
    block: int
    of_column: list[array[int]]
    of_rows: array[int]


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    block: int
    columns: int


def sketch_to_bytes(sketch: Sketch) -> bytes:
    """Return the content of a sketch file; numbers are little-endian."""
    header = msgspec.json.encode(_Header(rows=sketch.rows, block=sketch.block, columns=len(sketch.of_column)))
    return b"".join([_MAGIC, header, b"\n", *(_little(a) for a in (*sketch.of_column, sketch.of_rows))])


def sketch_from_bytes(content: bytes) -> Sketch:
    """Return what `sketch_to_bytes` wrote.

    Raises:
        InvalidInput: If it is not a sketch, or not a whole one.
    """
    head, _, rest = content[len(_MAGIC) :].partition(b"\n")
    try:
        if not content.startswith(_MAGIC):
            raise ValueError("not a sketch")
        header = msgspec.json.decode(head, type=_Header)
        by_rows = header.block == 1
        code, count = ("H", header.rows) if by_rows else ("Q", -(-header.rows // header.block))
        size = array(code).itemsize * count
        if len(rest) != header.columns * size + (4 * header.rows if by_rows else 0):
            raise ValueError("not the whole of it")
        columns = [_from_little(code, rest[i * size : (i + 1) * size]) for i in range(header.columns)]
        return Sketch(rows=header.rows, block=header.block, of_column=columns, of_rows=_from_little("I", rest[header.columns * size :]))
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"This file is no sketch of a data set: {error}.") from None


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_little(code: str, content: bytes) -> array[int]:
    numbers: array[int] = array(code)
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
