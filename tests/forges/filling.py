"""Makes answers that a contract allows: what the schema requires is filled in, what the test means is laid over it."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

from tests.forges.contract import CONTRACTS


@cache
def _schemas(name: str) -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads((CONTRACTS / f"{name}.json").read_text(encoding="utf-8"))["components"]["schemas"]
    return schemas


@cache
def _filled(contract: str, schema: str) -> Any:
    return _fill(contract, _schemas(contract)[schema])


def filled(contract: str, schema: str, **values: Any) -> dict[str, Any]:
    """Return an object of a schema with all that it requires; nested objects of `values` are laid over the filled ones."""
    return _over(copy.deepcopy(_filled(contract, schema)), values)


def _over(base: Any, values: dict[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        both_objects = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = _over(base[key], value) if both_objects else value
    return dict(base)


def _fill(contract: str, schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _fill(contract, _schemas(contract)[schema["$ref"].rsplit("/", 1)[1]])
    if schema.get("nullable"):
        return None
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("oneOf", "anyOf"):
        if choice in schema and "properties" not in schema:
            return _fill(contract, schema[choice][0])
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for one in schema["allOf"]:
            merged.update(_fill(contract, one) or {})
        return merged
    if "properties" in schema or schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: _fill(contract, properties.get(name, {})) for name in schema.get("required", ())}
    formats = {"date-time": "2026-01-01T00:00:00Z", "uri": "https://example.org/", "email": "a@example.org"}
    return {"array": [], "integer": 0, "number": 0, "boolean": False}.get(schema.get("type", ""), formats.get(schema.get("format", ""), ""))
