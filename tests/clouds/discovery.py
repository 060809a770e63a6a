"""Holds calls and answers to Google's published description of an API (a discovery document)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Discovery:
    """A discovery document: which calls there are, and what they and their answers may hold."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas = document["schemas"]
        self._common = set(document["parameters"])
        self.base = "/" + document["servicePath"]
        self._routes = [
            (method["httpMethod"], re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", method["flatPath"])), method)
            for method in _methods(document)
        ]

    def route(self, verb: str, path: str) -> tuple[Mapping[str, Any], dict[str, str]] | None:
        """Return the method of a call and what its path says; None: there is no such method."""
        for wanted, pattern, method in self._routes:
            if wanted == verb and (found := pattern.fullmatch(path)):
                return method, found.groupdict()
        return None

    def faults_of_call(self, method: Mapping[str, Any], path: Mapping[str, str], query: Mapping[str, str], body: Any) -> list[str]:
        """Return what is wrong with a call; empty: nothing."""
        known = method.get("parameters", {})
        wrong = [f"unknown query parameter {name}" for name in query if name not in known and name not in self._common]
        for name, value in [*path.items(), *query.items()]:
            if name in known:
                wrong += _text_faults(known[name], value, name)
        wrong += [f"{name} is missing" for name, one in known.items() if one.get("required") and name not in path and name not in query]
        if "request" in method:
            wrong += self.faults(method["request"]["$ref"], body)
        elif body is not None:
            wrong.append("takes no body")
        return wrong

    def faults(self, schema: str, value: Any) -> list[str]:
        """Return what in a value does not fit a schema."""
        return list(self._look({"$ref": schema}, value, schema))

    def _look(self, schema: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"]]
        kind = schema.get("type", "any")
        if kind == "object":
            if not isinstance(value, dict):
                yield f"{where} is no object: {value!r}"
                return
            known, more = schema.get("properties", {}), schema.get("additionalProperties")
            for name, one in value.items():
                if name in known:
                    yield from self._look(known[name], one, f"{where}.{name}")
                elif more is not None:
                    yield from self._look(more, one, f"{where}.{name}")
                else:
                    yield f"{where} has no {name}"
        elif kind == "array":
            if not isinstance(value, list):
                yield f"{where} is no list: {value!r}"
                return
            for number, one in enumerate(value):
                yield from self._look(schema["items"], one, f"{where}[{number}]")
        elif kind == "string":
            if not isinstance(value, str):
                yield f"{where} is no string: {value!r}"
                return
            yield from _text_faults(schema, value, where)
        elif kind == "boolean" and not isinstance(value, bool):
            yield f"{where} is no boolean: {value!r}"
        elif kind == "integer" and (not isinstance(value, int) or isinstance(value, bool)):
            yield f"{where} is no integer: {value!r}"
        elif kind == "number" and (not isinstance(value, int | float) or isinstance(value, bool)):
            yield f"{where} is no number: {value!r}"


def _text_faults(schema: Mapping[str, Any], value: str, where: str) -> list[str]:
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is none of {schema['enum']}: {value!r}"]
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        return [f"{where} does not match {schema['pattern']}: {value!r}"]
    if schema.get("format") in ("int64", "uint64", "int32") and not re.fullmatch(r"-?\d+", value):
        return [f"{where} is no number: {value!r}"]
    return []


def _methods(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from part.get("methods", {}).values()
    for inner in part.get("resources", {}).values():
        yield from _methods(inner)


@functools.cache
def compute() -> Discovery:
    """Return Compute Engine's, as google-api-python-client carries it."""
    import googleapiclient.discovery_cache

    place = Path(googleapiclient.discovery_cache.__file__).parent / "documents" / "compute.v1.json"
    return Discovery(json.loads(place.read_text()))
