"""Floats as the 64-bit integers of their IEEE 754 bits, which every database keeps exactly."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

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


def all_to_bits(values: Sequence[float]) -> tuple[int, ...]:
    """Return the bits of many floats."""
    return struct.unpack(f"<{len(values)}q", struct.pack(f"<{len(values)}d", *values))


def all_from_bits(bits: Sequence[int]) -> tuple[float, ...]:
    """Return the floats of many bits."""
    return struct.unpack(f"<{len(bits)}d", struct.pack(f"<{len(bits)}q", *bits))
