"""Smoothing, and the mean of runs that repeat each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlops_nb.errors import InvalidInput

# How many units the x-axis counts as, whatever it measures: the look does not depend on the number of steps.
_UNITS = 1000
_MOST = 0.999
_GRID = 400
CONFIDENCE = 0.95


def checked(smoothing: float) -> float:
    """Return a strength of smoothing.

    Raises:
        InvalidInput: If it is not between 0 and 1.
    """
    if not 0 <= smoothing <= 1:
        raise InvalidInput(f"smoothing={smoothing} is not between 0 and 1.", hint="0 draws the values as they are; try 0.6.")
    return min(float(smoothing), _MOST)


def smoothed(xs: Sequence[float], ys: Sequence[float], strength: float) -> list[float]:
    """Return the exponential moving average over what x measures; NaN stays NaN and is passed over.

    The weight of what came before is `sqrt(strength)` to the power of the distance in thousandths of the x-axis, so
    that thinned series, and ones with gaps, are smoothed alike. This is the "time-weighted" average of W&B's charts.
    """
    weight = strength**0.5
    span = (xs[-1] - xs[0]) or 1.0
    total = norm = 0.0
    before = xs[0]
    found = []
    for x, value in zip(xs, ys, strict=True):
        kept = weight ** ((x - before) / span * _UNITS)
        total, norm, before = total * kept, norm * kept, x
        if math.isfinite(value):
            total, norm = total + value, norm + 1
        found.append(total / norm if norm and not math.isnan(value) else math.nan)
    return found


def mean_band(courses: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return x, mean, and the ends of the interval of the mean at 95 % (Student's t over runs).

    Between its points a run is a straight line; before its first and after its last one it does not count. Where fewer
    than two runs count there is no interval (NaN).
    """
    import numpy as np
    from scipy.stats import t

    finite = []
    for xs, ys in courses:
        x, y = np.asarray(xs, dtype=float), np.asarray(ys, dtype=float)
        keep = np.isfinite(x) & np.isfinite(y)
        if keep.any():
            finite.append((x[keep], y[keep]))
    if not finite:
        return [], [], [], []
    grid = np.unique(np.concatenate([x for x, _ in finite]))
    if len(grid) > _GRID:
        grid = grid[np.unique(np.linspace(0, len(grid) - 1, _GRID).round().astype(int))]
    values = np.array([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in finite])
    count = np.sum(np.isfinite(values), axis=0)
    mean = np.nansum(values, axis=0) / np.maximum(count, 1)
    spread: Any = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / np.maximum(count - 1, 1))
    half = np.where(count > 1, t.ppf((1 + CONFIDENCE) / 2, np.maximum(count - 1, 1)) * spread / np.sqrt(np.maximum(count, 1)), np.nan)
    kept = count > 0
    mean, half, grid = mean[kept], half[kept], grid[kept]
    return grid.tolist(), mean.tolist(), (mean - half).tolist(), (mean + half).tolist()
