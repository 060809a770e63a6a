"""From a method and a path to an operation and the parts of its path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from mlops_nb.api.operation import Operation, Permission
from mlops_nb.errors import InvalidInput

_PART = re.compile(r"\{(\w+)(\.\.\.)?\}")


class Route(NamedTuple):
    """Where a request leads. `arguments` are the decoded parts of the path."""

    operation: Operation
    arguments: dict[str, str]


class MethodNotAllowed(Exception):
    """The path is there, but not with this method."""

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__("Method not allowed")
        self.allowed = sorted(allowed)


class _Template(NamedTuple):
    pattern: re.Pattern[str]
    methods: dict[str, Operation]


class Router:
    """The routes of a table of operations.

    Raises:
        ValueError: If two operations claim one method and path.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = tuple(operations)
        self._literal: dict[str, dict[str, Operation]] = {}
        templates: dict[str, _Template] = {}
        for operation in self.operations:
            for method, path in operation.routes:
                if "{" not in path:
                    methods = self._literal.setdefault(path, {})
                else:
                    methods = templates.setdefault(path, _Template(re.compile(pattern_of(path)), {})).methods
                if method in methods:
                    raise ValueError(f"{method} {path} is claimed by '{methods[method].name}' and '{operation.name}'.")
                methods[method] = operation
        self._templates = list(templates.values())

    def is_open(self, method: str, path: str) -> bool:
        """Return whether a request needs no token because what it holds lets it in."""
        operation = self._literal.get(path, {}).get(method)
        return operation is not None and operation.permission is Permission.TICKET

    def resolve(self, method: str, path: str) -> Route | None:
        """Return the route of a request, or None where the path leads nowhere.

        Args:
            method: In capitals.
            path: Below the mount, percent-encoded as it came; each part is decoded once.

        Raises:
            MethodNotAllowed: If the path needs another method.
            InvalidInput: If a part of the path is not UTF-8.
        """
        literal = self._literal.get(path)
        if literal is not None:
            return Route(_choose(literal, method), {})
        allowed: set[str] = set()
        for template in self._templates:
            match = template.pattern.fullmatch(path)
            if match is None:
                continue
            if method in template.methods:
                return Route(template.methods[method], {name: _decoded(text) for name, text in match.groupdict().items()})
            allowed |= template.methods.keys()
        if allowed:
            raise MethodNotAllowed(allowed)
        return None


def _choose(methods: Mapping[str, Operation], method: str) -> Operation:
    if method not in methods:
        raise MethodNotAllowed(methods)
    return methods[method]


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(f"Invalid path: '{text[:80]}' is not UTF-8.") from None


def pattern_of(template: str) -> str:
    """Return the regular expression of a path template."""
    pattern, end = "", 0
    for match in _PART.finditer(template):
        pattern += re.escape(template[end : match.start()])
        pattern += f"(?P<{match[1]}>.+)" if match[2] else f"(?P<{match[1]}>[^/]+)"
        end = match.end()
    return pattern + re.escape(template[end:])
