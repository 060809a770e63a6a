"""From the text of a request to an operation's request type, by the rules of protobuf's JSON that MLflow's clients rely on.

Names in snake_case or lowerCamel, unknown fields ignored, whole numbers and floats as text too, "NaN" and "Infinity",
`null` for "not set", arrays in a query as repeated keys.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from mlops_nb.errors import InvalidInput

_MAX_QUERY_FIELDS = 10_000
_SEE = "See the API docs for more information about request parameters."
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_UPPER = re.compile(r"_([a-z0-9])")


class _Form:
    """What decoding needs to know of one request type; made once."""

    def __init__(self, request: type[msgspec.Struct]) -> None:
        self.decoder: msgspec.json.Decoder[msgspec.Struct] = msgspec.json.Decoder(request, strict=False)
        self.lists: set[str] = set()
        self.aliases: dict[str, str] = {}
        self._visit(msgspec.inspect.type_info(request), top=True)
        self.alias_bytes = tuple(f'"{alias}"'.encode() for alias in self.aliases)

    def _visit(self, info: msgspec.inspect.Type, *, top: bool = False) -> None:
        """Collect the names in lowerCamel of a type and of the objects within, and the top-level arrays."""
        if isinstance(info, msgspec.inspect.UnionType):
            for part in info.types:
                self._visit(part)
        elif isinstance(info, msgspec.inspect.ListType):
            self._visit(info.item_type)
        elif isinstance(info, msgspec.inspect.StructType) and info.tag_field is None:
            for field in info.fields:
                alias = _UPPER.sub(lambda match: match[1].upper(), field.encode_name)
                if alias != field.encode_name:
                    self.aliases[alias] = field.encode_name
                if top and _is_list(field.type):
                    self.lists.add(field.encode_name)
                self._visit(field.type)


def _is_list(info: msgspec.inspect.Type) -> bool:
    parts = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return any(isinstance(part, msgspec.inspect.ListType) for part in parts)


@functools.cache
def _form(request: type[msgspec.Struct]) -> _Form:
    return _Form(request)


def from_query(request: type[msgspec.Struct], query: str, path: Mapping[str, str]) -> Any:
    """Return the request that a query string and the path's parts make.

    Raises:
        InvalidInput: If something is missing or of a wrong type.
    """
    form = _form(request)
    try:
        fields = parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as error:
        raise InvalidInput(f"The query does not parse: {error}.") from None
    values: dict[str, Any] = {}
    for key, texts in fields.items():
        name = form.aliases.get(key, key)
        values[name] = texts if name in form.lists else texts[-1]
    values |= path
    return _convert(request, values)


def from_body(request: type[msgspec.Struct], body: bytes, path: Mapping[str, str]) -> Any:
    """Return the request that a JSON body and the path's parts make.

    Raises:
        InvalidInput: If it is not JSON, or something is missing or of a wrong type.
    """
    try:
        decoded = _decoded(request, body or b"{}")
    except RecursionError:
        raise InvalidInput("The body is not JSON that can be read: it is nested too deeply.") from None
    for name, value in path.items():
        setattr(decoded, name, value)
    return decoded


def _decoded(request: type[msgspec.Struct], body: bytes) -> Any:
    form = _form(request)
    # The plain spelling decodes straight into the type; the rare ones take the way through a dictionary.
    if body[:1] == b'"' or any(alias in body for alias in form.alias_bytes):
        return _convert(request, _rename(_loads(body), form.aliases))
    try:
        return form.decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _mistake(error, _loads(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _convert(request, _loads(body))


def _loads(body: bytes) -> Any:
    """Return the value of a JSON text as Python's own clients write it: with bare NaN, or JSON within a JSON string."""
    try:
        value = json.loads(body)
        if isinstance(value, str):
            value = json.loads(value)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise InvalidInput(f"The body is not JSON: {error}.") from None
    return value


def _rename(value: Any, aliases: Mapping[str, str]) -> Any:
    """Give fields their snake_case names. Keys of free maps have no aliases, except by chance: they are left alone one level down."""
    if isinstance(value, list):
        return [_rename(item, aliases) for item in value]
    if not isinstance(value, dict):
        return value
    renamed: dict[str, Any] = {}
    for key, item in value.items():
        name = aliases.get(key, key)
        if name in renamed or (name != key and name in value):
            raise InvalidInput(f"The field '{name}' is given twice, also as '{key}'.")
        renamed[name] = _rename(item, aliases) if isinstance(item, list) else item
    return renamed


def _convert(request: type[msgspec.Struct], values: Any) -> Any:
    try:
        return msgspec.convert(values, request, strict=False)
    except msgspec.ValidationError as error:
        raise _mistake(error, values) from None


def _mistake(error: msgspec.ValidationError, value: Any) -> InvalidInput:
    """Say what is wrong in MLflow's words, which its clients and tests look for."""
    match = _AT.fullmatch(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    missing = _MISSING.match(what)
    if missing:
        name = f"{path}.{missing[1]}" if path else missing[1]
        return InvalidInput(f"Missing value for required parameter '{name}'. {_SEE}")
    found = _find(value, path)
    if found is None and path:
        return InvalidInput(f"Missing value for required parameter '{path}'. {_SEE}")
    shown = json.dumps(found, ensure_ascii=False)
    shown = shown if len(shown) <= 60 else shown[:60] + "…"
    where = f"for parameter '{path}' supplied" if path else "in the request"
    return InvalidInput(f"Invalid value {shown} {where}: {what}. {_SEE}")


def _find(value: Any, path: str) -> Any:
    for index, name in _STEP.findall(path):
        try:
            value = value[int(index)] if index else value[name]
        except (LookupError, TypeError, ValueError):
            return "?"
    return value
