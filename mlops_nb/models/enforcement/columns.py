"""Tables against a signature of columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import pandas

from mlops_nb.errors import InvalidInput, did_you_mean
from mlops_nb.models.enforcement.nested import enforce_value
from mlops_nb.models.signature import Field

_log = logging.getLogger(__name__)
_SHOWN = 8
OBJECT = numpy.dtype("object")

NUMPY_TYPES: dict[str, Any] = {
    "boolean": numpy.dtype("bool"),
    "integer": numpy.dtype("int32"),
    "long": numpy.dtype("int64"),
    "float": numpy.dtype("float32"),
    "double": numpy.dtype("float64"),
    "string": numpy.dtype("str"),
    "binary": numpy.dtype("bytes"),
    "datetime": numpy.dtype("datetime64[ns]"),
}
"""By the word of a signature, the type that a column has afterwards; text and bytes stay as they came."""


def enforce_columns(data: Any, fields: Sequence[Field]) -> Any:
    """Return a table that has the columns of the signature, in its order and with its types.

    Raises:
        InvalidInput: If a required column is missing, or one cannot be converted without loss.
    """
    table = as_table(data, fields)
    if all(field.get("name") is not None for field in fields):
        names = [field["name"] for field in fields]
        _check_names(table, names, [field["name"] for field in fields if field.get("required", True)])
        chosen = [(field["name"], field) for field in fields if field["name"] in table]
    else:
        if len(table.columns) < len(fields):
            raise InvalidInput(
                f"The model takes {len(fields)} columns and the data have {len(table.columns)}.",
                hint="Its signature does not name them, so they are known by their order.",
            )
        chosen = list(zip(table.columns[: len(fields)], fields, strict=True))
    if table.columns.has_duplicates and any(isinstance(table[name], pandas.DataFrame) for name, _ in chosen):
        twice = sorted({str(name) for name, _ in chosen if isinstance(table[name], pandas.DataFrame)})
        raise InvalidInput(f"The data have more than one column {_listed(twice)}.", hint="Give each column a name of its own.")
    columns = {name: _column(name, table[name], field) for name, field in chosen}
    return pandas.DataFrame(columns, index=table.index if columns else None)


def as_table(data: Any, fields: Sequence[Field]) -> Any:
    """Return data as a table.

    Raises:
        InvalidInput: If they are none.
    """
    if isinstance(data, pandas.DataFrame):
        return data
    if type(data).__module__.startswith("polars") and hasattr(data, "to_pandas"):
        return as_table(data.to_pandas(), fields)
    try:
        if isinstance(data, pandas.Series):
            return pandas.DataFrame(data)
        if numpy.isscalar(data):
            return pandas.DataFrame([data])
        if isinstance(data, Mapping):
            return _table_of_mapping(data, fields)
        if isinstance(data, list) and len(fields) == 1 and fields[0]["type"] == "array" and fields[0].get("name") is None:
            return pandas.DataFrame({0: pandas.Series(data, dtype=object)})  # a value of the one column is a list
        if isinstance(data, (list, numpy.ndarray)):
            return pandas.DataFrame(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"The data are no table: {error}.", hint="Give a DataFrame with the columns of the signature.") from None
    raise InvalidInput(
        f"The model takes a table, and a {type(data).__name__} came.", hint=f"Give a DataFrame with the columns {_listed(_names(fields))}."
    )


def _table_of_mapping(data: Mapping[Any, Any], fields: Sequence[Field]) -> Any:
    def is_one(value: Any) -> bool:
        return numpy.isscalar(value) or value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))

    nested = any(field["type"] in ("array", "object") for field in fields)
    texts = [isinstance(v, numpy.ndarray) and v.dtype.kind == "U" and v.shape == () for v in data.values()]
    if nested or all(is_one(value) for value in data.values()) or all(texts):
        return pandas.DataFrame([dict(data)])
    plain = {key: value.tolist() if isinstance(value, numpy.ndarray) and value.ndim > 1 else value for key, value in data.items()}
    return pandas.DataFrame(plain)


def _check_names(table: Any, names: Sequence[Any], required: Sequence[Any]) -> None:
    present = set(table.columns)
    missing = [name for name in required if name not in present]
    extra = [name for name in table.columns if name not in set(names)]
    if missing:
        near = did_you_mean(str(missing[0]), [str(name) for name in extra]) if extra else None
        besides = f" Not in the signature: {_listed(extra)}." if extra else ""
        raise InvalidInput(
            f"The data lack {'the column' if len(missing) == 1 else 'the columns'} {_listed(missing)}, which the model needs.{besides}",
            hint=near or f"It takes {_listed(names)}.",
        )
    if extra:
        _log.warning("The model does not know the columns %s; they are ignored.", _listed(extra))


def _column(name: Any, values: Any, field: Field) -> Any:
    kind = field["type"]
    if kind in NUMPY_TYPES:
        return convert(values, kind, name)
    required = field.get("required", True)
    if field.get("name") is None:
        required = True
    converted = [enforce_value(value, field, f"column '{name}'", required=required) for value in values]
    return pandas.Series(converted, index=values.index, name=name)


def convert(values: Any, kind: str, name: Any) -> Any:
    """Return a column as the type that a signature names, if that loses nothing.

    Raises:
        InvalidInput: If it does.
    """
    target = NUMPY_TYPES[kind]
    if isinstance(values.dtype, pandas.CategoricalDtype):
        # A category is no type of a signature: what counts is what the categories are.
        convert(pandas.Series(values.cat.categories, name=name), kind, name)
        return values if kind == "string" else convert(values.astype(values.cat.categories.dtype), kind, name)
    if values.dtype == OBJECT and kind not in ("binary", "string"):
        values = values.infer_objects()
    given = values.dtype
    if kind in ("string", "binary") and (given == OBJECT or isinstance(given, pandas.StringDtype)):
        return values
    if kind == "boolean" and given == OBJECT:
        return values  # with gaps, which would be False else
    if given == target or (kind == "binary" and given.kind == "S"):
        return values
    try:
        if kind == "datetime" and (given.kind == "M" or given == OBJECT):
            return values.astype(target)
        if kind == "double" and given == OBJECT:  # Decimal, and whatever else is a number
            return pandas.to_numeric(values)
        if _is_safe(given, target):
            return values.astype(target)
        if given == numpy.int64 and target.kind == "f" and values.isin((0, 1)).all():
            return values.astype(target)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refusal(name, values, kind, str(error)) from None
    raise _refusal(name, values, kind)


def _is_safe(given: Any, target: Any) -> bool:
    """Return whether every value of a type has its place in another."""
    size = getattr(given, "itemsize", 0)
    if given.kind == target.kind:
        return bool(size <= target.itemsize)
    if given.kind == "u" and target.kind == "i":
        return bool(size < target.itemsize)
    return bool(given.kind in "iu" and target == numpy.float64 and size <= 6)


def _refusal(name: Any, values: Any, kind: str, why: str = "") -> InvalidInput:
    given, target = values.dtype, NUMPY_TYPES[kind]
    hint = f"Convert it: data[{name!r}].astype('{target}'), or save the model with a signature that says '{_word_of(values)}'."
    if target.kind in "iu" and given.kind == "f":
        present = values.dropna()
        if values.isna().any() and bool((present % 1 == 0).all()):
            hint = (
                "Whole numbers with gaps are floats in pandas. Fill the gaps, or save the model with a signature that was found in data "
                "with gaps, or that says 'double'."
            )
    elif kind == "datetime" and getattr(given, "tz", None) is not None:
        hint = f"Take the zone away: data[{name!r}].dt.tz_convert('UTC').dt.tz_localize(None)."
    elif kind == "datetime":
        hint = f"Convert it: pandas.to_datetime(data[{name!r}])."
    example = next(iter(values.dropna()), None)
    shown = repr(example)
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    because = f" ({why[:200]})" if why else ""
    return InvalidInput(f"Column '{name}' is {given}, such as {shown}, and the model takes {kind} ({target}){because}.", hint=hint)


def _word_of(values: Any) -> str:
    from mlops_nb.models.signature import fields_of

    try:
        return str(fields_of(values.dropna())[0]["type"])
    except InvalidInput:
        return "string"


def _names(fields: Sequence[Field]) -> list[str]:
    return [str(field.get("name", i)) for i, field in enumerate(fields)]


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
