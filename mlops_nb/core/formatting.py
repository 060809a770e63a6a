"""Numbers and durations as people read them: the same in cards, reports and on the command line."""

from __future__ import annotations

import math

# Outside of these sizes a number is written with a power of ten.
SMALL, LARGE = 1e-4, 1e15


def format_number(value: float | None, *, decimals: int | None = None, signed: bool = False) -> str:
    """Return a number for people, with thousands separated; None gives a dash.

    Args:
        value: The number.
        decimals: Decimal places, usually `MetricRow.decimals`; without, four significant digits.
        signed: Put a plus sign before positive numbers.
    """
    if value is None:
        return "–"
    sign = "\u2212" if value < 0 else "+" if signed and value != 0 else ""
    size = abs(float(value))
    if math.isnan(size):
        return "NaN"
    if math.isinf(size):
        return f"{sign}∞"
    if decimals is None:
        decimals = 0 if size.is_integer() and size < LARGE else 3 - exponent(size)
    if size and not SMALL <= size < LARGE:
        # A float carries at most 15 decimal digits.
        return f"{sign}{size:.{min(14, max(1, decimals + exponent(size)))}e}"
    return f"{sign}{size:,.{max(0, decimals)}f}"


def exponent(value: float) -> int:
    """Return the power of ten of a number's first digit; 0 for zero."""
    return math.floor(math.log10(abs(value))) if value else 0


def format_duration(milliseconds: float | None) -> str:
    """Return a duration for people: 85 ms, 4.2 s, 3 min 41 s, 2 h 05 min."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
