"""What a cell does to the variables of the notebook: told from its source, and seen in the namespace."""

from __future__ import annotations

import dis
import functools
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import compress
from operator import ne
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from mlops_nb.core.dataflow import NOTHING, Names
from mlops_nb.execution.versions import states_of_generators, version_of

_SEEDING = re.compile(r"seed\w*\s*\(")
_TABLES = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_PLAIN = (bool, int, float, complex, str, bytes, tuple, frozenset, type(None))
_MAX_CODES = 5000
_HELD = 20


class Watcher:
    """Looks at a namespace before and after a cell.

    Args:
        namespace: The variables of the notebook.
        hidden: Names in it that are IPython's own.
    """

    def __init__(self, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self._hidden = hidden
        self._codes: dict[int, tuple[CodeType, frozenset[str]]] = {}
        self._spoils: dict[str, frozenset[int]] = {}
        self._seeded: set[str] = set()
        self._names = NOTHING
        self._seeds = False
        self._reads: frozenset[str] = frozenset()
        self._order: list[str] = []
        self._own: list[str] = []
        self._before: tuple[list[str], list[int]] = ([], [])
        self._kinds: dict[str, bool] = {}
        self._versions: dict[str, Hashable] = {}
        self._generators: dict[str, Hashable] = {}

    def begin(self, names: Names, source: str) -> list[str]:
        """Look before a cell runs, and return the names that it reads."""
        self._names = names
        reads = {name for name in names.reads | names.words if self._has(name)}
        for name in sorted(reads):
            reads |= self._behind(name) - names.before.get(name, frozenset())
        self._reads = frozenset(reads)
        self._before = self._now()
        self._kinds = {name: _is_fixed(self.namespace[name]) for name in (*reads, *names.modules) if name in self.namespace}
        self._versions = {name: version_of(self.namespace[name]) for name in reads if not isinstance(self.namespace[name], _PLAIN)}
        self._seeds = _SEEDING.search(source) is not None
        self._generators = states_of_generators() if self._seeds or self._seeded else {}
        return sorted(reads)

    def end(self, *, came_to: Names | None = None, is_own: Callable[[str], bool] = lambda _name: True) -> tuple[list[str], list[str]]:
        """Look after it, or in the middle of it, and return the names that it read and wrote.

        Args:
            came_to: The names of the part that was run, if it ended with an error; what that binds has to be seen.
            is_own: Tells names that the cell wrote before. What is imported once more is written by its own cells only.
        """
        names, now = came_to or self._names, self.namespace
        moved = self._moved()
        writes = {name for name in moved if name not in self._hidden}
        if came_to is None:
            same = {name for name in names.modules if name not in moved and name in self._kinds and not is_own(name)}
            writes |= {name for name in names.binds if name not in same}
        writes |= {name for name in names.changes if self._counts(name)}
        writes |= {name for name in names.touches if self._counts(name) and self._may_be_touched(name)}
        writes |= self._spoiled(names)
        writes |= {name for name, version in self._versions.items() if version is not None and version_of(now.get(name)) != version}
        reads = set(self._reads)
        self._random(reads, writes)
        for name, numbers in names.spoils.items():
            self._spoils[name] = numbers
        return sorted(reads), sorted(writes | names.state)

    def _moved(self) -> set[str]:
        """Return the names that stand for something else than before, or for nothing."""
        (before, old), (after, new) = self._before, self._now()
        if after[: len(before)] == before:  # nothing was removed: what is new stands behind
            return set(compress(before, map(ne, old, new))).union(after[len(before) :])
        known = dict(zip(before, old, strict=True))
        return {name for name, value in zip(after, new, strict=True) if known.get(name) != value} | known.keys() - set(after)

    def _now(self) -> tuple[list[str], list[int]]:
        """Return the names and the ids of what they stand for: an id keeps nothing alive.

        What begins with an underscore is left out: IPython keeps each input and output in such a name.
        """
        names = list(self.namespace)
        if names[: len(self._order)] != self._order:
            self._order, self._own = [], []
        added = [name for name in names[len(self._order) :] if isinstance(name, str) and name[:1] != "_"]
        if added:
            self._own = self._own + added
        self._order = names
        return self._own, list(map(id, map(self.namespace.get, self._own)))

    def _has(self, name: str) -> bool:
        return name in self.namespace and (name not in self._hidden or self.namespace[name] is not self._hidden[name])

    # -- what is changed in place

    def _counts(self, name: str) -> bool:
        """Return whether a change of what a name stands for is one of the notebook's own state."""
        if name not in self._kinds:
            return False
        return name in self._names.settings or not self._kinds.get(name, False)

    def _may_be_touched(self, name: str) -> bool:
        """Return whether a method called on it may have changed it: not if it would be seen, and not on a table."""
        value = self.namespace.get(name)
        return (
            self._versions.get(name) is None and type(value).__module__.partition(".")[0] not in _TABLES and not isinstance(value, _PLAIN)
        )

    def _spoiled(self, names: Names) -> set[str]:
        """Return what was given to functions of the notebook that change what they are given."""
        found = set()
        for function, given in names.calls:
            for number in self._spoils.get(function, ()):
                if number in given and self._counts(given[number]):
                    found.add(given[number])
        return found

    def _random(self, reads: set[str], writes: set[str]) -> None:
        """Note the use of shared generators, once somebody has seeded them: before, nothing can be repeated anyway."""
        if not (self._seeds or self._seeded):
            return
        drawn = {name for name, state in states_of_generators().items() if self._generators.get(name, state) != state}
        if self._seeds:
            self._seeded |= drawn
            writes |= drawn or self._seeded
        else:
            reads |= drawn & self._seeded
            writes |= drawn & self._seeded

    # -- what the code behind a name uses

    def _behind(self, name: str) -> set[str]:
        """Return the globals that functions and classes of the notebook use, and what those use in turn."""
        found: set[str] = set()
        todo = [name]
        while todo:
            for used in self._globals_of(self.namespace[todo.pop()]):
                if used not in found and self._has(used):
                    found.add(used)
                    todo.append(used)
        return found

    def _globals_of(self, value: Any) -> set[str]:
        return {name for code in self._codes_of(value, 0) for name in self._globals_in(code)}

    def _codes_of(self, value: Any, depth: int) -> Iterator[CodeType]:
        if depth > 3:
            return
        if isinstance(value, FunctionType):
            if value.__globals__ is self.namespace:
                yield value.__code__
            held = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            for inner in (getattr(value, "__wrapped__", None), *held):
                if isinstance(inner, (FunctionType, type)):
                    yield from self._codes_of(inner, depth + 1)
        elif isinstance(value, type):
            if value.__module__ == "__main__":
                for member in vars(value).values():
                    inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
                    if isinstance(inner, FunctionType):
                        yield from self._codes_of(inner, depth + 1)
                for base in value.__bases__:
                    yield from self._codes_of(base, depth + 1)
        elif isinstance(value, functools.partial):
            yield from self._codes_of(value.func, depth + 1)
        elif isinstance(value, MethodType):
            yield from self._codes_of(value.__func__, depth + 1)
        elif isinstance(value, (list, tuple, dict)):
            for element in list(value.values() if isinstance(value, dict) else value)[:_HELD]:
                if isinstance(element, (FunctionType, type)) or type(element).__module__ == "__main__":
                    yield from self._codes_of(element, depth + 1)
        elif type(value).__module__ == "__main__":
            yield from self._codes_of(type(value), depth + 1)

    def _globals_in(self, code: CodeType) -> frozenset[str]:
        known = self._codes.get(id(code))
        if known is None or known[0] is not code:
            if len(self._codes) > _MAX_CODES:
                self._codes.clear()
            known = self._codes[id(code)] = (code, frozenset(_globals_in(code)))
        return known[1]


def _globals_in(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_in(constant)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # its variable has no value yet
        return False


def _is_fixed(value: Any) -> bool:
    """Return whether it is a module, or a function or class from one: those are not part of a notebook's state."""
    if isinstance(value, ModuleType):
        return True
    return isinstance(value, (type, FunctionType)) and value.__module__ != "__main__"
