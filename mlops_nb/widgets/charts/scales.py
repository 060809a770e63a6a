"""Axes: where the ticks are, what is written there, and which place a number gets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from mlops_nb.widgets.charts.chart import Ticks

# Beyond this, differences of two values overflow.
_LARGEST = 1e300
_STEPS = (1, 2, 2.5, 5, 10)
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def drawable(value: float | None, *, log: bool = False) -> bool:
    """Return whether a number has a place on an axis."""
    return value is not None and abs(value) <= _LARGEST and (not log or value > 0)


class Scale(msgspec.Struct, frozen=True):
    """An axis from `low` to `high`, drawn from `start` to `end` (pixels)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, at = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def fitted(values: Iterable[float | None], start: float, end: float, *, log: bool = False, margin: float = 0.04) -> Scale:
    """Return an axis that has room for values; from 0 to 1 without any."""
    known = [value for value in values if value is not None and drawable(value, log=log)]
    low, high = (min(known), max(known)) if known else (0.1 if log else 0.0, 1.0)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - (abs(low) / 10 or 1.0), high + (abs(high) / 10 or 1.0))
    elif log:
        gap = (math.log10(high) - math.log10(low)) * margin
        low, high = low / 10**gap, high * 10**gap
    else:
        gap = (high - low) * margin
        low, high = low - gap, high + gap
    return Scale(low, high, start, end, log)


def ticks(scale: Scale, count: int = 5) -> Ticks:
    """Return round places on an axis, with numbers."""
    if scale.log and scale.high / scale.low > 6:
        return _log_ticks(scale, count)
    raw = (scale.high - scale.low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in _STEPS if each * power >= raw * 0.999)
    places = [k * step for k in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1)]
    return Ticks(places, [number(place, step) for place in places])


def _log_ticks(scale: Scale, count: int) -> Ticks:
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    places = [10.0**k for k in range(max(-300, first), min(300, last) + 1)]
    if last - first <= 2:
        places = [base * part for base in places for part in (1, 2, 5)]
    inside = [place for place in places if scale.low <= place <= scale.high]
    kept = inside[:: max(1, -(-len(inside) // (count + 2)))]
    return Ticks(kept, [number(place, place) for place in kept])


def date_ticks(scale: Scale, count: int = 5) -> Ticks:
    """Return round times on an axis of milliseconds."""
    span = (scale.high - scale.low) / 1000
    step = next((each for each in _SECONDS if each * count >= span), math.ceil(span / count / 86400) * 86400)
    places = [k * step * 1000.0 for k in range(math.ceil(scale.low / 1000 / step), math.floor(scale.high / 1000 / step) + 1)]
    form = "%Y-%m-%d" if step >= 86400 else "%m-%d %H:%M" if span > 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    return Ticks(places, [datetime.fromtimestamp(place / 1000, UTC).strftime(form) for place in places])


def number(value: float, step: float) -> str:
    """Return a number for a tick, with the decimals that tell it from its neighbours."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        digits = max(0, math.floor(math.log10(abs(value))) - math.floor(math.log10(abs(step)) + 1e-9))
        mantissa, _, power = f"{value:.{min(digits, 6)}e}".partition("e")
        return f"{mantissa}e{int(power)}".replace("-", "\u2212")
    decimals = max(0, -math.floor(math.log10(abs(step)) + 1e-9))
    text = f"{value:,.{decimals + 1}f}"
    text = text[:-1] if text.endswith("0") else text
    return (text[:-1] if text.endswith(".") else text).replace("-", "\u2212")
