"""Values of objects, arrays and maps against a signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from mlops_nb.errors import InvalidInput
from mlops_nb.models.signature import Field


def enforce_value(value: Any, field: Mapping[str, Any], where: str, *, required: bool = True) -> Any:
    """Return one value of a column in the form that its field says.

    Args:
        value: Such as a dict of a column of objects.
        field: Its part of the signature.
        where: What to call the place in an error.
        required: Whether it may not be missing.

    Raises:
        InvalidInput: If it has another form.
    """
    kind = field.get("type")
    if kind == "any":
        return value
    if kind == "object":
        return _object(value, field, where, required)
    if kind == "array":
        return _array(value, field.get("items") or {"type": "any"}, where, required)
    if kind == "map":
        return _map(value, field.get("values") or {"type": "any"}, where, required)
    return _plain(value, str(kind), where, required)


def _plain(value: Any, kind: str, where: str, required: bool) -> Any:
    import pandas

    from mlops_nb.models.enforcement.columns import NUMPY_TYPES, convert

    if kind not in NUMPY_TYPES:
        raise InvalidInput(f"The signature has the type '{kind}' at {where}, which is none.")
    if not required and (value is None or (isinstance(value, float) and value != value)):
        return None
    if not numpy.isscalar(value):
        raise _wrong(where, value, kind)
    return convert(pandas.Series(value), kind, where)[0]


def _array(value: Any, items: Mapping[str, Any], where: str, required: bool) -> Any:
    from mlops_nb.models.enforcement.columns import NUMPY_TYPES, convert

    is_empty = value is None or (isinstance(value, (list, numpy.ndarray)) and len(value) == 0)
    if (not required or items.get("type") == "any") and is_empty:
        return value
    if not isinstance(value, (list, numpy.ndarray)):
        raise _wrong(where, value, "a list")
    if items.get("type") in NUMPY_TYPES:
        if len(value) == 0:
            return value
        import pandas

        kind = str(items["type"])
        try:
            column = pandas.Series(value)
        except ValueError as error:
            raise InvalidInput(f"{where} is no list of {kind}: {error}.") from None
        held = convert(column, kind, where).to_numpy(dtype=NUMPY_TYPES[kind])
        return held.tolist() if isinstance(value, list) else held
    held = [enforce_value(one, items, f"{where}[{i}]", required=required) for i, one in enumerate(value)]
    return numpy.array(held) if isinstance(value, numpy.ndarray) else held


def _object(value: Any, field: Mapping[str, Any], where: str, required: bool) -> Any:
    if not required and _is_nothing(value):
        return value
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    known: dict[str, Field] = dict(field.get("properties") or {})
    missing = [name for name, about in known.items() if about.get("required", True) and name not in value]
    if missing:
        raise InvalidInput(f"{where} lacks {', '.join(repr(name) for name in missing)}.", hint=f"It has: {', '.join(map(repr, known))}.")
    other = [name for name in value if name not in known]
    if other:
        raise InvalidInput(f"{where} has {', '.join(repr(name) for name in other)}, which the signature does not know.")
    return {
        name: enforce_value(inner, known[name], f"{where}.{name}", required=bool(known[name].get("required", True)))
        for name, inner in value.items()
    }


def _map(value: Any, values: Mapping[str, Any], where: str, required: bool) -> Any:
    if (not required or values.get("type") == "any") and _is_nothing(value):
        return value
    if not isinstance(value, dict):
        raise _wrong(where, value, "a mapping")
    if not all(isinstance(key, str) for key in value):
        raise InvalidInput(f"{where} is a mapping whose keys are not all text.", hint="Convert the keys with str().")
    return {key: enforce_value(inner, values, f"{where}[{key!r}]", required=required) for key, inner in value.items()}


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and not value)


def _wrong(where: str, value: Any, expected: str) -> InvalidInput:
    shown = repr(value)
    return InvalidInput(f"{where} holds a {type(value).__name__}, such as {shown[:60]}, and the model takes {expected} there.")
