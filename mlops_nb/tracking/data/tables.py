"""The columns of a library's table or array, as `columns` can hash them. A library that is not loaded is never loaded here.

Columns come in groups: those of one group lie beside each other in memory and are read together, block by block.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from blake3 import blake3

from mlops_nb.tracking.data.columns import Array, Column, FixedColumn, LevelColumn, RaggedColumn, WideColumn, _as_words
from mlops_nb.tracking.data.objects import encoded

Group = list[Column]

MAX_COLUMNS = 2000
_NOT_TEXT = b"\xff"  # in no UTF-8: an encoded object is never taken for a text


def row_count(thing: Any) -> int | None:
    """Return how many rows a table or array has; None for what is neither."""
    if thing is None or isinstance(thing, (str, bytes, set, frozenset)):
        return None
    shape = getattr(thing, "shape", None)
    if shape is not None:
        try:
            return int(shape[0]) if len(shape) else 1
        except (TypeError, ValueError):
            return None
    if isinstance(thing, dict):
        counts = {row_count(value) for value in thing.values()}
        return counts.pop() if len(counts) == 1 else None
    return len(thing) if isinstance(thing, (list, tuple)) else None


def groups_of(thing: Any, *, name: str = "", role: str = "") -> Iterator[Group] | None:
    """Return the columns of anything that has rows, in groups; None for what is unknown.

    Args:
        thing: A table of pandas, polars or pyarrow, one column of those, an array of numpy, scipy or torch, a list, or a
            dict of them.
        name: The name of the only column, where it has none itself.
        role: The role of all of the columns.
    """
    for module, kinds, read in _READERS:
        loaded = sys.modules.get(module)
        for kind in kinds if loaded is not None else ():
            found = functools.reduce(lambda at, part: getattr(at, part, None), kind.split("."), loaded)
            if isinstance(found, type) and isinstance(thing, found):
                return read(thing, name, role)
    if isinstance(thing, dict) and row_count(thing) is not None:
        return _of_dict(thing, role)
    if isinstance(thing, (list, tuple)):
        return _of_list(thing, name, role)
    if hasattr(thing, "__array__") and row_count(thing) is not None:
        return _of_numpy(np.asarray(thing), name, role)
    return None


def _named(column: Column, title: Any) -> Column:
    """Remember that a column's name is no text: the number 0 is another name than the text "0"."""
    if not isinstance(title, str):
        column.name_type = type(title).__name__
    return column


# -- pandas


def _of_pandas(frame: Any, name: str, role: str) -> Iterator[Group]:
    pandas = sys.modules["pandas"]
    if isinstance(frame, pandas.Index):
        frame = pandas.Series(frame, name=frame.name)
    if isinstance(frame, pandas.Series):
        frame = frame.to_frame(name if frame.name is None else frame.name)
    plain: Group = []
    index = frame.index
    if not (isinstance(index, pandas.RangeIndex) and index.start == 0 and index.step == 1):
        for level in range(index.nlevels):
            values = index.get_level_values(level)
            yield [_pandas_column(pandas.Series(values), str(f"index{level or ''}" if values.name is None else values.name), "index")]
    for i, title in enumerate(frame.columns):
        series = frame.iloc[:, i]
        column = _named(_pandas_column(series, str(title), role), title)
        if isinstance(column, FixedColumn):
            plain.append(column)
        else:
            yield from [plain, [column]] if plain else [[column]]
            plain = []
    if plain:
        yield plain


def _pandas_column(series: Any, name: str, role: str) -> Column:
    pandas = sys.modules["pandas"]
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if isinstance(dtype, np.dtype) and kind in "biufcmM":
        return FixedColumn(name, series.to_numpy(), dtype=str(dtype), role=role)
    if isinstance(dtype, pandas.CategoricalDtype):
        levels = [str(level) for level in dtype.categories]
        if len(set(levels)) < len(levels):  # such as the number 1 and the text "1"
            levels = [f"{level!r}" for level in dtype.categories]
        order = f" ordered {blake3(repr(levels).encode('utf-8', 'replace')).hexdigest(4)}" if dtype.ordered else ""
        return LevelColumn(name, f"category[{dtype.categories.dtype}]{order}", series.cat.codes.to_numpy(), levels, role=role)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return FixedColumn(name, series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), dtype=str(dtype), role=role)
    if "pyarrow" in sys.modules and (isinstance(dtype, pandas.ArrowDtype) or getattr(dtype, "storage", "") == "pyarrow"):
        return _arrow_column(sys.modules["pyarrow"].chunked_array(_chunks(series)), name, str(dtype), role)
    if isinstance(dtype, pandas.api.extensions.ExtensionDtype) and kind in "biuf" and hasattr(dtype, "numpy_dtype"):
        values = series.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return FixedColumn(name, values, dtype=str(dtype), mask=series.isna().to_numpy(), role=role)
    return object_column(series.astype(object).to_numpy(), name, str(dtype), role)


def _chunks(series: Any) -> list[Any]:
    found = series.array.__arrow_array__()
    return list(found.chunks) if hasattr(found, "chunks") else [found]


# -- pyarrow and polars


def _of_arrow(table: Any, name: str, role: str) -> Iterator[Group]:
    pyarrow = sys.modules["pyarrow"]
    if isinstance(table, pyarrow.Array):
        table = pyarrow.chunked_array([table])
    if isinstance(table, pyarrow.ChunkedArray):
        yield [_arrow_column(table, name or "values", str(table.type), role)]
        return
    if isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([table])
    for field, column in zip(table.schema, table.columns, strict=True):
        yield [_arrow_column(column, field.name, str(field.type), role)]


def _arrow_column(column: Any, name: str, dtype: str, role: str) -> Column:
    pyarrow = sys.modules["pyarrow"]
    types, kind = pyarrow.types, column.type
    if types.is_dictionary(kind):
        whole = column.unify_dictionaries().combine_chunks()
        whole = whole.chunk(0) if hasattr(whole, "chunks") and whole.num_chunks else whole
        codes = whole.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False) if len(whole) else np.empty(0, np.int64)
        return LevelColumn(name, dtype, codes, [str(v) for v in whole.dictionary.to_pylist()] if len(whole) else [], role=role)
    is_time = types.is_temporal(kind) and not types.is_interval(kind)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or is_time:
        mask = column.is_null().to_numpy() if column.null_count else None
        if is_time:
            wide = kind.bit_width == 64
            show = functools.partial(_time_text, pyarrow, kind)
            column = column.cast(pyarrow.int64() if wide else pyarrow.int32())
        else:
            show = None
        if mask is not None:
            column = column.fill_null(False if types.is_boolean(kind) else 0)
        values = column.chunk(0).to_numpy(zero_copy_only=False) if column.num_chunks == 1 else column.to_numpy()
        return FixedColumn(name, values, dtype=dtype, mask=mask, show=show, role=role)
    is_text = types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"
    if is_text or types.is_binary(kind) or types.is_large_binary(kind):
        wide = column.cast(pyarrow.large_string() if is_text else pyarrow.large_binary())
        count = functools.partial(_arrow_counts, wide) if is_text else None
        return RaggedColumn(name, dtype, functools.partial(_arrow_slices, wide), count=count, role=role)
    return RaggedColumn(name, dtype, lambda a, b: _object_slices(column.slice(a, b - a).to_pylist()), role=role)


def _time_text(pyarrow: Any, kind: Any, number: Any) -> str:
    storage = pyarrow.int64() if kind.bit_width == 64 else pyarrow.int32()
    return str(pyarrow.scalar(int(number), storage).cast(kind))


def _arrow_slices(column: Any, first: int, last: int) -> tuple[Array, Array, Array | None]:
    pyarrow = sys.modules["pyarrow"]
    part = column.slice(first, last - first)
    missing = part.is_null().to_numpy() if part.null_count else None
    if missing is not None:
        part = part.fill_null("" if pyarrow.types.is_large_string(part.type) else b"")
    items, lengths = [], []
    for chunk in part.chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            ends = np.frombuffer(offsets, np.int64, len(chunk) + 1, chunk.offset * 8)
            content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
            items.append(content[ends[0] : ends[-1]])
            lengths.append(np.diff(ends))
    if len(items) == 1:
        return items[0], lengths[0], missing
    return np.concatenate([*items, np.empty(0, np.uint8)]), np.concatenate([*lengths, np.empty(0, np.int64)]), missing


def _arrow_counts(column: Any, first: int, last: int) -> dict[str, int]:
    counts = column.slice(first, last - first).value_counts()
    values, numbers = counts.field("values"), counts.field("counts")
    if len(values) > 1000:
        values, numbers = values[:1001], numbers[:1001]
    return {v: n for v, n in zip(values.to_pylist(), numbers.to_pylist(), strict=True) if v is not None}


def _of_polars(frame: Any, name: str, role: str) -> Iterator[Group]:
    polars = sys.modules["polars"]
    if isinstance(frame, polars.Series):
        frame = frame.to_frame(frame.name or name)
    for title, dtype in zip(frame.columns, frame.dtypes, strict=True):
        series = frame.get_column(title)
        if "pyarrow" in sys.modules:
            array = series.to_arrow()
            chunked = sys.modules["pyarrow"].chunked_array(array.chunks if hasattr(array, "chunks") else [array])
            yield [_arrow_column(chunked, title, str(dtype), role)]
        else:
            yield [RaggedColumn(title, str(dtype), functools.partial(_series_slices, series), role=role)]


def _series_slices(series: Any, first: int, last: int) -> tuple[Array, Array, Array | None]:
    return _object_slices(series[first:last].to_list())


# -- numpy, scipy, torch, lists


def _of_numpy(array: Any, name: str, role: str) -> Iterator[Group]:
    mask = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else None
    array = np.asarray(array)
    if array.ndim == 0:
        array = array.reshape(1)
    name = name or ("values" if array.ndim != 2 else "")
    if array.dtype.names:
        for field in array.dtype.names:
            yield from _of_numpy(array[field], field, role)
    elif array.ndim > 2 or (array.ndim == 2 and array.shape[1] > MAX_COLUMNS):
        if array.dtype.kind in "biufcmM":
            yield [WideColumn(name or "values", array.view("i8") if array.dtype.kind in "mM" else array, role)]
        else:
            yield [object_column(_as_objects(list(array)), name or "values", array.dtype.name, role)]
    elif array.ndim == 2:
        prefix = f"{name}." if name else ""
        titles = [f"{prefix}{i}" for i in range(array.shape[1])]
        masks = [None if mask is None else mask[:, i] for i in range(array.shape[1])]
        yield [_numpy_column(array[:, i], title, role, masks[i]) for i, title in enumerate(titles)]
    else:
        yield [_numpy_column(array, name, role, mask)]


def _numpy_column(values: Array, name: str, role: str, mask: Array | None) -> Column:
    if values.dtype.kind in "biufcmM":
        return FixedColumn(name, values, dtype=str(values.dtype.newbyteorder("=")), mask=mask, role=role)
    return object_column(values, name, values.dtype.name, role)


def _of_sparse(matrix: Any, name: str, role: str) -> Iterator[Group]:
    if matrix.ndim == 1:
        matrix = matrix.tocoo().reshape((matrix.shape[0], 1))
    csr = matrix.tocsr()
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()

    def slices(first: int, last: int) -> tuple[Array, Array, None]:
        ends = csr.indptr[first : last + 1].astype(np.int64)
        part = csr.data[ends[0] : ends[-1]]
        places = csr.indices[ends[0] : ends[-1]]
        items = np.empty((len(part), 2), dtype=np.uint64)
        items[:, 0] = places
        items[:, 1] = _as_words(np.where(np.isnan(part), np.array(np.nan, part.dtype), part) if part.dtype.kind in "fc" else part)
        return items.reshape(-1), np.diff(ends) * 2, None

    yield [RaggedColumn(name or "values", f"{csr.dtype.name} sparse[{csr.shape[1]}]", slices, role=role)]


def _of_torch(tensor: Any, name: str, role: str) -> Iterator[Group]:
    torch = sys.modules["torch"]
    plain = tensor.detach().cpu()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    dtype = str(plain.dtype).removeprefix("torch.")
    if plain.dtype == torch.bfloat16:
        plain = plain.to(torch.float32)  # which numpy has, and which holds each of its values
    for group in _of_numpy(plain.resolve_conj().resolve_neg().numpy(), name, role):
        for column in group:
            column.dtype = dtype if not isinstance(column, WideColumn) else dtype + column.dtype[column.dtype.index("[") :]
        yield group


def _of_dict(columns: dict[Any, Any], role: str) -> Iterator[Group]:
    for key, values in columns.items():
        yield from groups_of(values, name=str(key), role=role) or iter(())


def _of_list(values: Sequence[Any], name: str, role: str) -> Iterator[Group]:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError):  # lists of different lengths in it
        array = None
    kinds = set(map(type, values)) - {list, tuple}
    if array is not None and array.dtype.kind in "biufc" and len(kinds) <= 1:
        return _of_numpy(array, name, role)
    return iter([[object_column(_as_objects(values), name or "values", "object", role)]])


def _as_objects(values: Sequence[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def object_column(values: Array, name: str, dtype: str, role: str) -> Column:
    """Return a column of texts or of any objects."""
    return RaggedColumn(name, dtype, lambda a, b: _object_slices(values[a:b].tolist()), count=lambda a, b: _counts(values[a:b]), role=role)


def _object_slices(values: list[Any]) -> tuple[Array, Array, Array | None]:
    kinds = set(map(type, values))
    missing = None
    if kinds <= {str}:
        parts = [value.encode("utf-8", "surrogatepass") for value in values]
    else:
        pandas = sys.modules.get("pandas")
        blanks = () if pandas is None else (pandas.NA, pandas.NaT)
        parts = [_part(value) for value in values]
        missing = np.fromiter(
            (v is None or any(v is blank for blank in blanks) or (isinstance(v, float) and v != v) for v in values), bool, len(values)
        )
    lengths = np.fromiter(map(len, parts), np.int64, len(parts))
    return np.frombuffer(b"".join(parts), np.uint8), lengths, missing


def _part(value: Any) -> bytes:
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass")
    return b"" if value is None else _NOT_TEXT + encoded(value)


def _counts(values: Array) -> dict[str, int]:
    kinds = set(map(type, values.tolist()))
    if kinds <= {str, type(None)}:
        counted = Counter(values.tolist())
    elif kinds <= {str, type(None), bool, int, float}:
        counted = Counter(None if v is None or v != v else str(v) for v in values.tolist())
    else:
        return {str(i): 1 for i in range(1001)}  # not to be counted
    counted.pop(None, None)
    return dict(counted)


_Reader = Callable[[Any, str, str], Iterator[Group]]
_READERS: list[tuple[str, tuple[str, ...], _Reader]] = [
    ("pandas", ("DataFrame", "Series", "Index"), _of_pandas),
    ("polars", ("DataFrame", "Series"), _of_polars),
    ("pyarrow", ("Table", "RecordBatch", "ChunkedArray", "Array"), _of_arrow),
    ("scipy.sparse", ("spmatrix", "sparray"), _of_sparse),
    ("torch", ("Tensor",), _of_torch),
    ("numpy", ("ndarray",), _of_numpy),
]
