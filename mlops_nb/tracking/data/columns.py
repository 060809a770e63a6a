"""Columns of any library as blocks of rows that can be hashed, each row and each block, with what is worth knowing of them.

The fingerprint of a column is a BLAKE3 hash over the hashes of its blocks of 16,384 rows; whoever wants to tell how many
rows changed also takes a short hash of every row. The same values give the same hashes on every machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from blake3 import blake3

from mlops_nb.core.data_profile import MAX_LEVEL_TEXT, MAX_LEVELS, ColumnProfile, Scalar
from mlops_nb.core.names import clean_text
from mlops_nb.monitoring.bins import SAMPLED, bins_of_column

Array = np.ndarray[Any, Any]

_MANY_LEVELS = 1000
_MAX_DTYPE = 120
_TILE_BYTES = 1 << 20
_BITMAP = 1 << 16
_C1, _C2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x7F4A7C159E3779B9)
_S27, _S30, _S31, _S48 = (np.uint64(n) for n in (27, 30, 31, 48))


def mix(x: Array) -> Array:
    """Scramble 64-bit numbers in place so that each bit depends on all (the end of SplitMix64)."""
    x ^= x >> _S30
    x *= _C1
    x ^= x >> _S27
    x *= _C2
    x ^= x >> _S31
    return x


def hash_runs(items: Array, lengths: Array) -> Array:
    """Return a 64-bit hash of each run of 64-bit items that follow each other; order and length count."""
    ends = np.cumsum(lengths)
    hashes = lengths.astype(np.uint64) * _STEP
    if items.size:
        starts = ends - lengths
        places = np.arange(items.size, dtype=np.uint64) - np.repeat(starts, lengths).astype(np.uint64)
        places += np.uint64(1)
        places *= _STEP
        filled = lengths > 0
        hashes[filled] += np.add.reduceat(mix(items + places), starts[filled])
    return mix(hashes)


class Column(ABC):
    """A column whose rows are fed block by block, in order.

    Attributes:
        name: As the data set has it.
        dtype: The library's name for what is in it.
        role: "", "index" or "target".
        name_type: The type of the name, if it is no text.
    """

    def __init__(self, name: str, dtype: str, role: str = "") -> None:
        self.name, self.dtype, self.role = clean_text(name), _short(clean_text(dtype)), role
        self.name_type = ""
        self.blocks: list[bytes] = []
        self._nulls = 0
        self._first: Array | None = None
        self._seen: Array | None = None

    def feed(self, first: int, last: int, *, by_row: bool) -> Array | None:
        """Take in the rows from `first` up to `last`; return their hashes (64 bits each) if they are asked for."""
        digest = blake3()
        rows = self._take(first, last, digest.update, by_row)
        self.blocks.append(digest.digest(16))
        if rows is not None:
            places = (rows >> _S48).astype(np.uint16)
            if self._first is None:  # of a short column these places take less than the map of all of them
                self._first = places
            else:
                if self._seen is None:
                    self._seen = _map_of(self._first)
                self._seen[places] = True
        return rows

    @abstractmethod
    def _take(self, first: int, last: int, update: Callable[[Any], Any], by_row: bool) -> Array | None: ...

    def _ends(self) -> tuple[Scalar, Scalar]:
        return None, None

    def _levels(self) -> dict[str, int] | None:
        return None

    def _histogram(self) -> tuple[list[float], list[int]]:
        """Return quantiles of numbers, and how many rows lie up to each; nothing for what are no numbers."""
        return [], []

    def profile(self) -> ColumnProfile:
        """Return what is known after all rows have been taken in."""
        levels = self._levels()
        low, high = self._ends()
        edges, counts = self._histogram()
        return ColumnProfile(
            name=self.name,
            dtype=self.dtype,
            name_type=self.name_type,
            role=self.role,
            fingerprint=blake3(b"".join(self.blocks)).hexdigest(16),
            nulls=self._nulls,
            low=low,
            high=high,
            distinct=self._distinct() if levels is None else len(levels),
            levels=levels if levels is None or len(levels) <= MAX_LEVELS else None,
            edges=edges,
            counts=counts,
        )

    def _distinct(self) -> int | None:
        """Estimate how many values there are from how many of the places they fall on stay empty (linear counting)."""
        if self._first is None:
            return None
        empty = _BITMAP - int(np.count_nonzero(_map_of(self._first) if self._seen is None else self._seen))
        return round(_BITMAP * float(np.log(_BITMAP / empty))) if empty > _BITMAP // 1000 else None


class FixedColumn(Column):
    """Numbers, truth values and times: values of one size, with a mask where some are missing.

    Args:
        values: One dimension, any byte order and stride.
        mask: True where a value is missing.
        show: Turns a number into what people read, for times.
    """

    def __init__(
        self,
        name: str,
        values: Array,
        *,
        dtype: str | None = None,
        mask: Array | None = None,
        show: Callable[[Any], Scalar] | None = None,
        role: str = "",
    ) -> None:
        super().__init__(name, dtype or values.dtype.newbyteorder("=").name, role)
        self._is_time = values.dtype.kind in "mM"
        if self._is_time:
            unit = values.dtype.newbyteorder("=")
            self._show: Callable[[Any], Scalar] = show or (lambda number: str(np.int64(number).view(unit)))
            values = values.view(values.dtype.str.replace("M8", "i8").replace("m8", "i8").partition("[")[0])
        else:
            self._show = show or _plain
        self._values, self._mask = values, mask
        self._low: Any = None
        self._high: Any = None
        self._is_counted = values.dtype.kind in "biu" and not self._is_time
        self._tally: Array | None = None
        self._base = 0

    def _take(self, first: int, last: int, update: Callable[[Any], Any], by_row: bool) -> Array | None:
        x = self._values[first:last]
        if x.dtype.byteorder not in "=|":
            x = x.astype(x.dtype.newbyteorder("="))
        x = np.ascontiguousarray(x)
        missing = None if self._mask is None else np.ascontiguousarray(self._mask[first:last])
        if missing is not None:
            update(missing.view(np.uint8).data)
            if missing.any():
                self._nulls += int(np.count_nonzero(missing))
                x = np.where(missing, np.zeros(1, x.dtype), x)
            else:
                missing = None
        x, empty = self._without_odd_nans(x)
        rest = x if missing is None and empty is None else x[~_either(missing, empty)]
        if rest.size and x.dtype.kind in "biuf":
            low, high = rest.min(), rest.max()
            self._low = low if self._low is None or low < self._low else self._low
            self._high = high if self._high is None or high > self._high else self._high
            if self._is_counted:
                self._tally_block(rest, int(low), int(high))
        if x.dtype.itemsize > 16 or (x.dtype.kind == "f" and x.dtype.itemsize == 16):
            x = _pairs(x)
        data = x.view(np.uint8)
        update(data.data)
        if not by_row:
            return None
        rows = mix(_as_words(x))
        if missing is not None:
            rows[missing] = _NULL
        return rows

    def _without_odd_nans(self, x: Array) -> tuple[Array, Array | None]:
        """Return the values with one NaN for all kinds of it, and where it is; count them as missing."""
        if x.dtype.kind in "fc":
            empty = np.isnan(x)
            if not empty.any():
                return x, None
            x = x.copy() if x.base is not None else x
            x[empty] = np.nan
        elif self._is_time:
            empty = x == np.iinfo(np.int64).min
            if not empty.any():
                return x, None
        else:
            return x, None
        self._nulls += int(np.count_nonzero(empty))
        return x, empty

    def _ends(self) -> tuple[Scalar, Scalar]:
        return (None, None) if self._low is None else (self._show(self._low), self._show(self._high))

    def _histogram(self) -> tuple[list[float], list[int]]:
        if self._is_time or self._values.dtype.kind not in "iuf" or self.role == "index":
            return [], []
        step = -(-len(self._values) // SAMPLED) or 1
        with np.errstate(over="ignore", invalid="ignore"):
            values = self._values[::step].astype(np.float64)
        if self._mask is not None:
            values[self._mask[::step]] = np.nan
        bins = bins_of_column(self.name, values)
        return bins.edges, bins.counts

    def _tally_block(self, rest: Array, low: int, high: int) -> None:
        """Count how often each whole number occurs, as long as they lie close together."""
        if self._tally is None:
            self._tally, self._base = np.zeros(0, dtype=np.int64), low
        base = min(self._base, low)
        end = max(self._base + len(self._tally), high + 1)
        if end - base > _MANY_LEVELS:
            self._is_counted, self._tally = False, None
            return
        if end - base > len(self._tally):
            wider = np.zeros(end - base, dtype=np.int64)
            wider[self._base - base : self._base - base + len(self._tally)] = self._tally
            self._tally, self._base = wider, base
        counts = np.bincount(rest.astype(np.int64) - low)
        self._tally[low - base : low - base + len(counts)] += counts

    def _levels(self) -> dict[str, int] | None:
        if self._tally is None:
            return None
        return {str(self._show(self._values.dtype.type(self._base + int(i)))): int(self._tally[i]) for i in np.flatnonzero(self._tally)}


class WideColumn(Column):
    """Rows that are arrays themselves: images, sequences, tables of very many columns."""

    def __init__(self, name: str, values: Array, role: str = "") -> None:
        shape = "x".join(map(str, values.shape[1:]))
        super().__init__(name, f"{values.dtype.newbyteorder('=').name}[{shape}]", role)
        self._values = values

    def _take(self, first: int, last: int, update: Callable[[Any], Any], by_row: bool) -> Array | None:
        per_row = max(1, self._values[:1].nbytes)
        tile = max(1, _TILE_BYTES // per_row)
        rows = np.empty(last - first, dtype=np.uint64) if by_row else None
        for start in range(first, last, tile):
            end = min(last, start + tile)
            part = np.ascontiguousarray(self._values[start:end])
            part = np.ascontiguousarray(part.astype(part.dtype.newbyteorder("="), copy=False))
            if part.dtype.kind in "fc" and (empty := np.isnan(part)).any():
                part = np.where(empty, np.array(np.nan, part.dtype), part)
                self._nulls += int(np.count_nonzero(empty))
            if part.dtype.kind == "f" and part.dtype.itemsize == 16:
                part = _pairs(part)
            data = part.reshape(end - start, -1).view(np.uint8)
            update(data.reshape(-1).data)
            if rows is not None:
                pad = -data.shape[1] % 8
                words = np.ascontiguousarray(np.pad(data, ((0, 0), (0, pad))) if pad else data).view(np.uint64)
                places = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _STEP
                rows[start - first : end - first] = mix(mix(words + places).sum(axis=1, dtype=np.uint64))
        return rows


class RaggedColumn(Column):
    """Texts, and rows of any other length.

    Args:
        slices: Gives, for rows from and up to, the items of all of them (8 or 64 bits each), how many each row has, and a
            mask of the missing ones.
        count: Gives the values of such rows with how often each occurs, to tell the levels.
    """

    def __init__(
        self,
        name: str,
        dtype: str,
        slices: Callable[[int, int], tuple[Array, Array, Array | None]],
        *,
        count: Callable[[int, int], dict[str, int]] | None = None,
        role: str = "",
    ) -> None:
        super().__init__(name, dtype, role)
        self._slices, self._count = slices, count
        self._counts: Counter[str] = Counter()

    def _take(self, first: int, last: int, update: Callable[[Any], Any], by_row: bool) -> Array | None:
        items, lengths, missing = self._slices(first, last)
        update(lengths.view(np.uint8).data)
        if missing is not None and missing.any():
            self._nulls += int(np.count_nonzero(missing))
            update(missing.view(np.uint8).data)
        update(items.view(np.uint8).data)
        if self._count is not None:
            self._counts.update(self._count(first, last))
            if len(self._counts) > _MANY_LEVELS:
                self._count = None
        if not by_row:
            return None
        rows = hash_runs(items.astype(np.uint64), lengths)
        if missing is not None:
            rows[missing] = _NULL
        return rows

    def _levels(self) -> dict[str, int] | None:
        if self._count is None:
            return None
        levels: Counter[str] = Counter()
        for value, count in self._counts.items():
            levels[clean_text(value[:MAX_LEVEL_TEXT])] += count
        return dict(sorted(levels.items()))


class LevelColumn(Column):
    """Values out of a short list: the numbers of levels, -1 where a value is missing.

    Two columns of the same values are the same however their levels are numbered, unless the order has a meaning.
    """

    def __init__(self, name: str, dtype: str, codes: Array, levels: Sequence[str], *, role: str = "") -> None:
        super().__init__(name, dtype, role)
        self._codes, self._names = codes, levels
        hashes = [int.from_bytes(blake3(level.encode("utf-8", "surrogatepass")).digest(8), "little") for level in levels]
        self._hashes = np.array([*hashes, int(_NULL)], dtype=np.uint64)
        self._found = np.zeros(len(levels) + 1, dtype=np.int64)

    def _take(self, first: int, last: int, update: Callable[[Any], Any], by_row: bool) -> Array | None:
        codes = self._codes[first:last].astype(np.int64)
        self._found += np.bincount(codes + 1, minlength=len(self._found))
        self._nulls = int(self._found[0])
        rows = self._hashes[codes]
        update(rows.view(np.uint8).data)
        return rows if by_row else None

    def _levels(self) -> dict[str, int]:
        levels: Counter[str] = Counter()
        for i in map(int, np.flatnonzero(self._found[1:])):
            levels[clean_text(self._names[i][:MAX_LEVEL_TEXT])] += int(self._found[i + 1])
        return dict(sorted(levels.items()))


def _map_of(places: Array) -> Array:
    """Return a map in which these places are True."""
    seen = np.zeros(_BITMAP, dtype=bool)
    seen[places] = True
    return seen


def _short(dtype: str) -> str:
    """Return a type that may be very long (records in records) in a form that is not."""
    return dtype if len(dtype) <= _MAX_DTYPE else f"{dtype[:_MAX_DTYPE]}… {blake3(dtype.encode()).hexdigest(4)}"


def _plain(value: Any) -> Scalar:
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool) or (isinstance(number, int) and abs(number) < 2**53):
        return number
    if isinstance(number, float) and np.isfinite(number):
        return number
    return str(number)


def _either(first: Array | None, second: Array | None) -> Array:
    if first is None or second is None:
        found = second if first is None else first
        assert found is not None
        return found
    return np.asarray(first | second)


def _as_words(x: Array) -> Array:
    """Return a copy as one 64-bit number a value."""
    size = x.dtype.itemsize
    if size == 16:
        words = x.view(np.uint64).reshape(-1, 2)
        return np.asarray(mix(words[:, 0].copy()) + words[:, 1])
    return x.view(f"u{size}").astype(np.uint64)


def _pairs(x: Array) -> Array:
    """Return long doubles as two doubles each: their own bytes have gaps that hold anything."""
    high = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        low = (x - high).astype(np.float64)
    low[~np.isfinite(low)] = 0.0
    return np.stack([high, low], axis=-1).reshape(*x.shape[:-1], -1).view(np.complex128)
