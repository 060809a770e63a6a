"""The form of a model's input, as requests are read by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

Field = dict[str, Any]

_NUMPY = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "binary": "object",
    "datetime": "datetime64[ns]",
}
_FLOATS, _INTEGERS = frozenset({"float", "double"}), frozenset({"integer", "long"})
_EXACT = 1 << 53
_RANGE = {"int32": (-(1 << 31), 1 << 31), "int64": (-(1 << 63), 1 << 63)}


class InputSchema:
    """The fields of a signature's inputs, or none where the signature is unknown.

    Attributes:
        fields: As in MLmodel.
        names: Of the fields that have one, in order.
    """

    def __init__(self, fields: list[Field] | None) -> None:
        self.fields = fields or []
        self.names = [field["name"] for field in self.fields if field.get("name") is not None]
        self.by_name = {field["name"]: field for field in self.fields if field.get("name") is not None}
        self._places = {name: place for place, name in enumerate(self.names)}
        kinds = {str(field["type"]) for field in self.fields}
        named = bool(self.fields) and len(self.names) == len(self.fields) == len(self.by_name)
        self._dtype = _common_type(kinds) if named else None
        # Whole numbers among others travel as floats, which hold them exactly up to here.
        self._whole = [i for i, field in enumerate(self.fields) if field["type"] in _INTEGERS] if len(kinds) > 1 else []

    @property
    def is_tensors(self) -> bool:
        return bool(self.fields) and all(field["type"] == "tensor" for field in self.fields)

    @property
    def has_names(self) -> bool:
        return bool(self.names)

    @property
    def required(self) -> list[str]:
        """Names of the fields that a request must have."""
        return [name for name, field in self.by_name.items() if field.get("required", True)]

    @property
    def kinds(self) -> dict[str, str]:
        """The type of numpy of each named column."""
        return {name: kind for name, field in self.by_name.items() if (kind := numpy_type(field)) is not None}

    @property
    def is_numeric(self) -> bool:
        """Whether each field is a named column of numbers: rows make one array."""
        return self._dtype is not None

    def array_of_split(self, table: Mapping[str, Any]) -> numpy.ndarray | None:
        """Return the rows of a `dataframe_split` as one array in the order of the columns; None: take the long way."""
        columns, rows = table.get("columns"), table.get("data")
        if self._dtype is None or type(columns) is not list or type(rows) is not list or not rows or len(table) > 3:
            return None
        array = self._array(rows)
        if array is None or array.shape[1] != len(columns) or (len(table) == 3 and not _is_index(table.get("index"), len(rows))):
            return None
        if columns == self.names:
            return array
        try:
            order = [self._places[name] for name in columns]
        except (KeyError, TypeError):
            return None
        if len(order) != len(self.names) or len(set(order)) != len(order):
            return None
        ordered = array.copy()
        ordered[:, order] = array
        return ordered

    def array_of_records(self, records: Any) -> numpy.ndarray | None:
        """Return the rows of `dataframe_records` as one array; None: take the long way."""
        if self._dtype is None or type(records) is not list or not records:
            return None
        names, width = self.names, len(self.names)
        try:
            if any(len(record) != width for record in records):
                return None
            return self._array([[record[name] for name in names] for record in records])
        except (KeyError, TypeError):
            return None

    def array_of_columns(self, columns: Mapping[str, Any]) -> numpy.ndarray | None:
        """Return columns by name, each a list or an array of as many values, as one array; None: take the long way."""
        import numpy

        if self._dtype is None or len(columns) != len(self.names):
            return None
        try:
            values = [columns[name] for name in self.names]
            if any(len(one) != len(values[0]) for one in values):
                return None
            return self._array(numpy.asarray(values).T.tolist())
        except (KeyError, TypeError, ValueError):
            return None

    def fits(self, array: numpy.ndarray) -> bool:
        """Return whether an array of numbers has a row for each example and a column for each field."""
        return self._dtype is not None and array.ndim == 2 and array.shape[1] == len(self.names)

    def _array(self, rows: list[Any]) -> numpy.ndarray | None:
        import numpy

        try:
            if self._dtype in ("float32", "float64"):
                array = numpy.array(rows, dtype=self._dtype)
                for i in self._whole:
                    column = array[:, i]
                    if not ((column % 1 == 0) & (abs(column) < _EXACT)).all():
                        return None
            else:  # only whole numbers that fit make an array of whole numbers
                array = numpy.array(rows)
                if array.dtype != numpy.int64:
                    return None
                low, high = _RANGE[str(self._dtype)]
                if array.size and not (array.min() >= low and array.max() < high):
                    return None
                array = array.astype(self._dtype, copy=False)
        except (TypeError, ValueError, OverflowError, IndexError):
            return None
        return array if array.ndim == 2 and array.shape[1] == len(self.names) else None


def _is_index(index: Any, rows: int) -> bool:
    return type(index) is list and len(index) == rows


def _common_type(kinds: set[str]) -> str | None:
    """Return the type of numpy that holds all columns; None if one is no number."""
    if not kinds or not kinds <= _FLOATS | _INTEGERS:
        return None
    return _NUMPY[next(iter(kinds))] if len(kinds) == 1 else "float64"


def numpy_type(field: Field) -> str | None:
    """Return the type that a column or tensor has in numpy; None for a nested one."""
    if field["type"] == "tensor":
        return str(field["tensor-spec"]["dtype"])
    return _NUMPY.get(str(field["type"]))
