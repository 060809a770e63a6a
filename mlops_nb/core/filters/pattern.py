"""The patterns of LIKE and ILIKE: `%` is any text, `_` any one character; a backslash is a plain character.

ILIKE takes each letter for its other cases too, one character for one: ä is Ä and σ is Σ and ς, but ß is not ss, and
Turkish İ and ı are letters of their own. Letters are equal whose Unicode case folding is the same single character; the
folding of no database or locale enters into it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from enum import Enum

_LAST_CASED = 0x1E943
_ASCII = {letter: letter + letter.swapcase() for letter in "abcdefghijklmnopqrstuvwxyz"} | {"k": "kK\u212a", "s": "sS\u017f"}


class Wild(Enum):
    ANY = "%"
    ONE = "_"


def elements(pattern: str, *, any_case: bool) -> Iterator[Wild | str]:
    """Yield the parts of a pattern: a wildcard, or the characters any one of which may stand there."""
    for c in pattern:
        if c == "%":
            yield Wild.ANY
        elif c == "_":
            yield Wild.ONE
        else:
            yield cases(c) if any_case else c


def cases(c: str) -> str:
    """Return a character and its other cases."""
    if c.isascii():
        return _ASCII.get(c.lower(), c)
    return _cased().get(folded(c), c)


def folded(c: str) -> str:
    """Return the character that stands for all cases of a character."""
    fold = c.casefold()
    if len(fold) == 1:
        return fold
    low = c.lower()
    return low if len(low) == 1 else c


@functools.cache
def _cased() -> dict[str, str]:
    # Only the first pattern with a letter beyond ASCII pays for the 20 ms of this.
    groups: dict[str, list[str]] = {}
    for c in map(chr, range(_LAST_CASED + 1)):
        if c.isalpha() or c.lower() != c or c.upper() != c:
            groups.setdefault(folded(c), []).append(c)
    return {fold: "".join(group) for fold, group in groups.items() if len(group) > 1}


@functools.lru_cache(maxsize=256)
def compiled(pattern: str, *, any_case: bool) -> re.Pattern[str]:
    """Return the expression that a text must match as a whole."""
    parts = []
    for element in elements(pattern, any_case=any_case):
        if isinstance(element, Wild):
            parts.append(".*" if element is Wild.ANY else ".")
        else:
            parts.append(re.escape(element) if len(element) == 1 else f"[{re.escape(element)}]")
    return re.compile("".join(parts), re.DOTALL)
