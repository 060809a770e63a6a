"""Numbers, durations and texts as people read them: the same in cards, reports and on the command line."""

from __future__ import annotations

import math
import re
import unicodedata

# Outside of these sizes a number is written with a power of ten.
SMALL, LARGE = 1e-4, 1e15


# Directions of writing that a text could turn around for what stands beside it.
_TURNS = "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
_CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))
_HASHES = re.compile(r"##(?=\[|vso\[)", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\\\)|[ -/]{0,8}[0-Z\\\\^-~])")
_PLAIN = str.maketrans(_CONTROLS, " " * len(_CONTROLS), _TURNS)


def one_line(text: str) -> str:
    """Return text without control characters: it stays on its line and gives a terminal no commands."""
    return text.translate(_PLAIN)


def log_line(text: str) -> str:
    """Return text as one line of a CI's log that is no command to the CI, whatever it holds.

    GitHub's and Azure's runners obey `::name::` at the beginning of a line, after blanks too, and `##[name]` anywhere in it.
    """
    line = _HASHES.sub("# #", one_line(text))
    return f"\u200b{line}" if line.lstrip().startswith("::") else line


def log_text(text: str) -> str:
    """Return a piece of a machine's log as it may stand in a terminal and in a CI's log: its lines, without colours and commands."""
    lines = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(log_line(line) for line in lines)


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, columns: int) -> str:
    """Return a text that takes so many columns at most; what was cut off is an ellipsis."""
    if width(text) <= columns:
        return text
    kept, taken = "", 0
    for character in text:
        taken += _columns(character)
        if taken > columns - 1:
            break
        kept += character
    return kept + "…"


def padded(text: str, columns: int) -> str:
    """Return a text with blanks behind it up to so many columns."""
    return text + " " * (columns - width(text))


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


def format_bytes(size: int) -> str:
    """Return a size for people: 85 B, 4.2 KiB, 3.0 MiB."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
