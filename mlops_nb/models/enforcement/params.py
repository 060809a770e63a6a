"""Params of a request against a signature: their defaults, and values of the right types."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from mlops_nb.errors import InvalidInput
from mlops_nb.models.signature import Field

_log = logging.getLogger(__name__)

# What numpy calls the values of each word, besides Python's own.
_KINDS: dict[str, tuple[type, ...]] = {
    "boolean": (bool, numpy.bool_),
    "integer": (int, numpy.int32),
    "long": (int, numpy.int64),
    "float": (float, numpy.float32),
    "double": (float, numpy.float64),
    "string": (str, numpy.str_),
    "binary": (bytes, numpy.bytes_),
    "datetime": (datetime.date, numpy.datetime64),
}
_ALSO = {"long": ("integer",), "float": ("integer", "long"), "double": ("integer", "long", "float")}
_PYTHON: dict[str, Any] = {"boolean": bool, "integer": int, "long": int, "float": float, "double": float, "string": str, "binary": bytes}


def fill_params(params: Mapping[str, Any] | None, fields: Sequence[Field] | None) -> dict[str, Any]:
    """Return the params that the signature names: those given, converted, and the defaults of the others.

    What it does not name is ignored, with a word in the log.

    Raises:
        InvalidInput: If a value cannot be converted without loss.
    """
    if params is not None and not isinstance(params, Mapping):
        if not fields:
            return {}
        raise InvalidInput(f"Params are a mapping of names to values, and a {type(params).__name__} came.", hint='Give {"name": value}.')
    given = {str(name): value for name, value in (params or {}).items()}
    known = {str(field["name"]): field for field in fields or ()}
    ignored = [name for name in given if name not in known]
    if ignored:
        _log.warning("The signature of the model does not know the params %s; they are ignored.", ", ".join(ignored))
    ready = {name: _checked(name, value, known[name]) for name, value in given.items() if name in known}
    for name, field in known.items():
        if name not in ready:
            ready[name] = _checked(name, field.get("default"), field)
    return ready


def _checked(name: str, value: Any, field: Field) -> Any:
    kind, shape = str(field.get("type") or field.get("dtype")), field.get("shape")
    if kind == "object":
        if not isinstance(value, Mapping):
            raise _wrong(name, value, "an object")
        inner = field.get("properties") or {}
        return {
            key: _scalar(f"{name}.{key}", one, str(inner[key].get("type", "string"))) if key in inner else one for key, one in value.items()
        }
    if shape is None:
        return _scalar(name, value, kind)
    if not isinstance(value, (list, set, numpy.ndarray)):
        raise _wrong(name, value, f"a list of {kind}")
    if numpy.ndim(list(value)) != 1:
        raise _wrong(name, value, f"a flat list of {kind}")
    return [_scalar(f"{name}[{i}]", one, kind) for i, one in enumerate(value)]


def _scalar(name: str, value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "datetime":
        try:
            held = numpy.datetime64(value).item()
        except (ValueError, TypeError):
            held = None
        if not isinstance(held, datetime.date):
            raise _wrong(name, value, "a date or time, such as '2026-01-31T12:00:00'")
        return held
    for word in (kind, *_ALSO.get(kind, ())):
        if _is(value, word):
            return _PYTHON[kind](value)
    raise _wrong(name, value, kind)


def _is(value: Any, kind: str) -> bool:
    """Return whether a value is of a word's kind; a bool is no number."""
    if isinstance(value, (bool, numpy.bool_)):
        return kind == "boolean"
    if isinstance(value, numpy.generic):  # some are Python's own types too, of another width
        return type(value) in _KINDS.get(kind, ())
    return isinstance(value, _KINDS.get(kind, ()))


def _wrong(name: str, value: Any, expected: str) -> InvalidInput:
    shown = repr(value)[:60]
    return InvalidInput(f"The param '{name}' is {shown} ({type(value).__name__}), and the model takes {expected}.")
