"""Floats as the 64-bit integers of their IEEE 754 bits, which every database keeps exactly."""

from __future__ import annotations

import math
import struct

_FLOAT = struct.Struct("<d")
_INTEGER = struct.Struct("<q")


def to_bits(value: float) -> int:
    """Return the bits of a float as a signed integer."""
    return int(_INTEGER.unpack(_FLOAT.pack(value))[0])


def from_bits(bits: int) -> float:
    """Return the float of these bits."""
    return float(_FLOAT.unpack(_INTEGER.pack(bits))[0])


def comparable(value: float) -> float | None:
    """Return the value for a column that is compared and sorted: NaN, which compares with nothing, is NULL."""
    return None if math.isnan(value) else value
