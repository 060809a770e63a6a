"""Python objects as bytes that are the same in every process, so that columns of anything can be told apart.

What has no stable form (an object that shows its address) counts by its type alone.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

_DEPTH = 6


def encoded(value: Any, depth: int = 0) -> bytes:
    """Return bytes for a value: equal values of one type give the same, whatever the process. Never raises."""
    try:
        return _encoded(value, depth)
    except Exception:  # noqa: BLE001  # the object's own code ran (repr, iteration), and may do anything
        return b"?" + str(type(value)).encode("utf-8", "replace")


def _encoded(value: Any, depth: int) -> bytes:
    kind = type(value)
    if kind is str:
        return b"s" + str(value).encode("utf-8", "surrogatepass")
    if value is None:
        return b"n"
    if kind is bool or kind is int:
        return (b"b" if kind is bool else b"i") + str(int(value)).encode()
    if kind is float:
        return b"f" + (b"nan" if math.isnan(value) else struct.pack("<d", value))
    if kind in (bytes, bytearray):
        return b"y" + bytes(value)
    if depth < _DEPTH:
        if kind in (list, tuple):
            return (b"l" if kind is list else b"t") + _joined(encoded(item, depth + 1) for item in value)
        if kind in (set, frozenset):
            return b"S" + _joined(sorted(encoded(item, depth + 1) for item in value))
        if kind is dict:
            return b"d" + _joined(part for item in value.items() for part in (encoded(item[0], depth + 1), encoded(item[1], depth + 1)))
        if hasattr(value, "dtype") and hasattr(value, "tobytes"):
            head = f"{kind.__name__}:{value.dtype}:{getattr(value, 'shape', ())}:".encode()
            items = _joined(encoded(item, depth + 1) for item in value.ravel()) if value.dtype == object else bytes(value.tobytes())
            return b"a" + head + items
    text: str = repr(value)
    name = f"{kind.__module__}.{kind.__qualname__}:"
    return b"o" + (name + ("" if " at 0x" in text else text)).encode("utf-8", "surrogatepass")


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)
