"""The types of values in the words of MLflow's signatures, found as `mlflow.models.infer_signature` finds them.

A list is an array, a dictionary an object with properties; what is missing or empty is `any`, until another value tells more.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from mlops_nb.errors import InvalidInput

Kind = dict[str, Any]
"""A type as it stands in MLmodel: `type`, and `items` or `properties`."""

ANY: Kind = {"type": "any"}
_DEEPEST = 50


def of_value(value: Any, depth: int = 0) -> Kind | None:
    """Return the type of a value; None for an array without elements, which tells nothing.

    Raises:
        InvalidInput: If there is no word for it.
    """
    import numpy

    if depth > _DEEPEST:
        raise InvalidInput(f"The values are nested more than {_DEEPEST} deep.")
    if is_nothing(value) or (isinstance(value, (list, dict)) and not value):
        return ANY
    if isinstance(value, dict):
        properties = {}
        for name, inner in value.items():
            if not isinstance(name, str):
                raise InvalidInput(f"The key {name!r} is a {type(name).__name__}.", hint="Keys of objects are texts.")
            kind = of_value(inner, depth + 1)
            if kind is None:
                raise InvalidInput(f"'{name}' is an empty array, whose type cannot be told.")
            properties[name] = {**kind, "required": kind["type"] != "any"}
        return _object(properties)
    if isinstance(value, (list, numpy.ndarray)):
        inner_kind = of_values(value, depth + 1)
        return None if inner_kind is None else {"type": "array", "items": inner_kind}
    return _of_scalar(value)


def of_values(values: Iterable[Any], depth: int = 0) -> Kind | None:
    """Return the type that all values have; None where none tells one.

    Raises:
        InvalidInput: If they differ.
    """
    try:
        found: Kind | None = None
        for value in values:
            kind = of_value(value, depth)
            if kind is not None:
                found = kind if found is None else _merged(found, kind)
        return found
    except TypeError:  # an array without dimensions
        raise InvalidInput(f"A {type(values).__name__} is no list of values.") from None


def is_nothing(value: Any) -> bool:
    """Return whether a value stands for a missing one."""
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def of_dtype(dtype: Any) -> str:
    """Return the word for a type of numpy or pandas.

    Raises:
        InvalidInput: If there is none.
    """
    kind, size = dtype.kind, getattr(dtype, "itemsize", 0)
    if kind in "iu" and size:
        if size < 4 or (kind == "i" and size == 4):
            return "integer"
        if size < 8 or (kind == "i" and size == 8):
            return "long"
    if kind == "f" and 0 < size <= 8:
        return "float" if size <= 4 else "double"
    word = {"b": "boolean", "U": "string", "S": "binary", "M": "datetime"}.get(kind)
    if word is None:
        raise InvalidInput(f"MLflow's signatures have no type for '{dtype}'.", hint="Convert it, for example to int64, float64 or str.")
    return word


def _of_scalar(value: Any) -> Kind:
    import numpy

    words: dict[type, str] = {
        **{bool: "boolean", numpy.bool_: "boolean", int: "long", numpy.int64: "long", numpy.int32: "integer"},
        **{float: "double", numpy.float64: "double", numpy.float32: "float", str: "string", numpy.str_: "string", object: "string"},
        **{bytes: "binary", numpy.bytes_: "binary", bytearray: "binary", numpy.datetime64: "datetime"},
        **{datetime.date: "datetime", datetime.datetime: "datetime"},
    }
    word = words.get(type(value))
    if word is None:
        raise InvalidInput(f"MLflow's signatures have no type for a {type(value).__name__}.")
    return {"type": word}


def _merged(first: Kind, second: Kind) -> Kind:
    """Return the type of values of which some have the one and some the other."""
    if first["type"] == "any" and second["type"] in ("array", "object"):
        return _merged(second, first)
    if first["type"] == "any":
        return second
    if second["type"] == "any":
        return _object({name: {**one, "required": False} for name, one in first["properties"].items()}) if "properties" in first else first
    if first["type"] != second["type"]:
        raise InvalidInput(f"The values are of different types: {first['type']} and {second['type']}.")
    if "items" in first:
        return {"type": "array", "items": _merged(first["items"], second["items"])}
    if "properties" in first:
        ours, theirs = first["properties"], second["properties"]
        merged = {name: {**(ours.get(name) or theirs[name]), "required": False} for name in ours.keys() ^ theirs.keys()}
        for name in ours.keys() & theirs.keys():
            kind = _merged(_bare(ours[name]), _bare(theirs[name]))
            merged[name] = {**kind, "required": ours[name]["required"] and theirs[name]["required"]}
        return _object(merged)
    return first


def _bare(prop: Kind) -> Kind:
    return {name: value for name, value in prop.items() if name != "required"}


def _object(properties: dict[str, Kind]) -> Kind:
    return {"type": "object", "properties": dict(sorted(properties.items()))}
