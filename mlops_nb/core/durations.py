"""Durations as people write them: `30m`, `2h`, `1 day 2 hours`, `5 minutes`, or a number of seconds."""

from __future__ import annotations

import re

from mlops_nb.errors import InvalidInput

_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*,?", re.ASCII)
_UNITS = {
    1.0: ("", "s", "sec", "secs", "second", "seconds"),
    60.0: ("m", "min", "mins", "minute", "minutes"),
    3600.0: ("h", "hr", "hrs", "hour", "hours"),
    86_400.0: ("d", "day", "days"),
    604_800.0: ("w", "week", "weeks"),
}
_SECONDS = {word: size for size, words in _UNITS.items() for word in words}


def seconds_of(text: str) -> float:
    """Return the seconds of a duration.

    Raises:
        InvalidInput: If the text is none.
    """
    words, total, at = text.strip().lower(), 0.0, 0
    while at < len(words):
        match = _PART.match(words, at)
        # A bare number is seconds, but not beside a part with a unit: "2h 30" leaves open which.
        if match is None or match[2] not in _SECONDS or (not match[2] and len(match[0]) != len(words)):
            break
        total += float(match[1]) * _SECONDS[match[2]]
        at = match.end()
    if not words or at < len(words):
        raise InvalidInput(f"'{text[:80]}' is no duration.", hint="Write 90s, 30m, 2h, 7d or 1h 30m; a number alone is seconds.")
    return total
