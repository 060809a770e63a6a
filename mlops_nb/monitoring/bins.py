"""How the values of columns are distributed, as counts in bins: what drift is measured on. No row is kept.

The bins of a column come from its reference, so that counts of any other data can be held against it: for numbers the
edges are 20 quantiles of the reference, with one bin below and one above all of it; of few texts each has a bin of its
own, with one more for all others. So quantiles, ends and frequent texts of the reference can be read from its bins; of
requests and predictions only counts are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mlops_nb.core.names import clean_text

MAX_LEVELS = 50
MAX_LEVEL_TEXT = 80
MAX_COLUMNS = 200
_QUANTILES = 20
SAMPLED = 100_000


class ColumnBins(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A column of a reference: what the bins are, and how many rows fell into each.

    Attributes:
        name: Of the column.
        edges: Of numbers: bin `i` ends at edge `i`, which belongs to it; the first bin is below all of the reference, and
            one more is above the last edge.
        levels: Of texts and truth values: each has a bin; one more bin is for all others. Neither: it is not watched.
        counts: Rows of the reference in each bin; one more than `edges` or `levels`.
        nulls: Rows without a value.
    """

    name: str
    edges: list[float] = []
    levels: list[str] = []
    counts: list[int] = []
    nulls: int = 0

    @property
    def is_watched(self) -> bool:
        """Whether counts can be held against it."""
        return bool(self.edges or self.levels)

    @property
    def rows(self) -> int:
        """Rows of the reference that were counted."""
        return sum(self.counts) + self.nulls

    def check(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: If they do not.
        """
        size = len(self.edges or self.levels)
        if len(self.edges) > _QUANTILES + 2 or len(self.levels) > MAX_LEVELS or (self.edges and self.levels):
            raise ValueError("it has too many bins")
        if size and len(self.counts) != size + 1:
            raise ValueError("it does not have a count for each bin")
        if min(self.counts, default=0) < 0 or self.nulls < 0:
            raise ValueError("a count is negative")
        if any(not low < high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("its edges do not rise")


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What requests and predictions are held against.

    Attributes:
        source: What it is, in words: `training data of hgb #2, 8,000 rows`.
        inputs: The columns that the model takes.
        outputs: What the model answered for those rows; empty where that is not known.
    """

    source: str
    inputs: list[ColumnBins] = []
    outputs: list[ColumnBins] = []

    def check(self) -> None:
        """Check that it can be counted by.

        Raises:
            ValueError: If it cannot.
        """
        for column in (*self.inputs, *self.outputs):
            column.check()
        if len(self.inputs) > MAX_COLUMNS or len(self.outputs) > MAX_COLUMNS:
            raise ValueError(f"it has more than {MAX_COLUMNS} columns")


def columns_of(data: Any, *, alone: str = "0") -> list[tuple[str, Any]]:
    """Return the columns of a table, an array or a mapping of arrays, at most `MAX_COLUMNS`; none for what has no columns.

    Args:
        data: The rows.
        alone: What the only column of a plain list of values is called.
    """
    import numpy as np

    if hasattr(data, "columns"):
        return [(str(name), data[name]) for name in list(data.columns)[:MAX_COLUMNS]]
    if isinstance(data, Mapping):
        return [(str(name), values) for name, values in list(data.items())[:MAX_COLUMNS] if np.ndim(values) == 1]
    if hasattr(data, "tocsr"):
        data = data.toarray()
    try:
        array = np.asarray(data)
    except (TypeError, ValueError):  # rows of different lengths
        return []
    if array.ndim == 1:
        return [(str(getattr(data, "name", None) or alone), array)]
    return [(str(i), array[:, i]) for i in range(min(MAX_COLUMNS, array.shape[1]))] if array.ndim == 2 else []


def bins_of(data: Any, *, alone: str = "0") -> list[ColumnBins]:
    """Return the columns of a reference; of very many rows every n-th is looked at."""
    return [bins_of_column(name, values) for name, values in columns_of(data, alone=alone)]


def bins_of_column(name: str, values: Any) -> ColumnBins:
    """Return the bins of one column: of numbers by quantiles, of at most 50 texts or truth values by value."""
    import numpy as np

    rows = len(values)
    if rows > SAMPLED:
        step = -(-rows // SAMPLED)
        values = values.iloc[::step] if hasattr(values, "iloc") else values[::step]
    numbers = _numbers(values)
    if numbers is not None:
        present = numbers[~np.isnan(numbers)]
        finite = present[np.isfinite(present)]
        if not finite.size:
            return ColumnBins(name=name)
        quantiles = np.unique(np.quantile(finite, np.linspace(0, 1, _QUANTILES + 1), method="inverted_cdf"))
        edges = [float(edge) for edge in (np.nextafter(quantiles[0], -np.inf), *quantiles) if np.isfinite(edge)]
        empty = ColumnBins(name=name, edges=edges)
    else:
        texts = _texts(values)
        levels = sorted({text for text in texts if text is not None})
        if not levels or len(levels) > MAX_LEVELS:
            return ColumnBins(name=name)
        empty = ColumnBins(name=name, levels=levels)
    *counts, nulls = count(values, empty)
    return msgspec.structs.replace(empty, counts=counts, nulls=nulls)


def count(values: Any, bins: ColumnBins) -> list[int]:
    """Return how many of the values fall into each bin; last how many are missing."""
    import numpy as np

    if bins.edges:
        numbers = _numbers(values)
        if numbers is None:
            numbers = _parsed(values)
        missing = np.isnan(numbers)
        places = np.searchsorted(bins.edges, numbers[~missing], side="left")
        return [*np.bincount(places, minlength=len(bins.edges) + 1).tolist(), int(missing.sum())]
    places_of = {level: place for place, level in enumerate(bins.levels)}
    counts = [0] * (len(bins.levels) + 2)
    for text in _texts(values):
        counts[-1 if text is None else places_of.get(text, len(bins.levels))] += 1
    return counts


def _numbers(values: Any) -> Any:
    """Return numbers as floats, missing ones as NaN; None for what are none: texts, truth values, times."""
    import numpy as np

    kind = getattr(getattr(values, "dtype", None), "kind", None)
    if kind is None and not hasattr(values, "dtype"):
        try:
            values = np.asarray(values)
        except ValueError:  # lists among them
            return None
        kind = values.dtype.kind
    if kind in ("i", "u", "f"):
        if hasattr(values, "to_numpy") and not isinstance(getattr(values, "dtype", None), np.dtype):
            return values.to_numpy(dtype="float64", na_value=float("nan"))
        return np.asarray(values, dtype="float64")
    return None


def _parsed(values: Any) -> Any:
    """Return what a request sent for a column of numbers: what is no number counts as missing."""
    import numpy as np

    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return float("nan")

    return np.array([number(value) for value in values], dtype="float64")


def _texts(values: Iterable[Any]) -> Sequence[str | None]:
    return [None if _is_missing(value) else clean_text(str(value)[:MAX_LEVEL_TEXT]) for value in values]


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
