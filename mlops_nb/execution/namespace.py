"""What a cell does to the variables of the notebook: told from its source, and seen in the namespace."""

from __future__ import annotations

import dis
import functools
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import compress, islice
from operator import ne
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from mlops_nb.core.dataflow import NOTHING, Names
from mlops_nb.execution.versions import LEAVES, PLAIN, Version, has, holds, is_filled, states_of_generators, version_of

_SEEDING = re.compile(r"seed\w*\s*\(")
_PLOTS = frozenset({"matplotlib", "seaborn"})
_TABLES = frozenset({"numpy", "pandas", "polars", "pyarrow"})
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
        self._versions: dict[str, Version | None] = {}
        self._linked: set[str] = set()
        self._generators: dict[str, Hashable] = {}

    def begin(self, names: Names, source: str) -> list[str]:
        """Look before a cell runs, and return the names that it reads."""
        self._names = names
        self._before = self._now()
        words = self._own if names.reads_anything else names.words
        reads = {name for name in (*names.reads, *words) if self._has(name)}
        for name in sorted(name for name in reads if id(type(self.namespace[name])) not in LEAVES):
            reads |= self._behind(name) - names.before.get(name, frozenset())
        self._reads = frozenset(reads)
        self._kinds = {name: _is_fixed(self.namespace[name]) for name in (*reads, *names.modules) if name in self.namespace}
        self._versions = {name: version_of(self.namespace[name]) for name in reads if self._may_change(name)}
        self._linked = self._held_by(self._versions.values()) - reads
        self._versions |= {name: version_of(self.namespace[name]) for name in self._linked}
        self._seeds = _SEEDING.search(source) is not None
        self._generators = states_of_generators() if self._seeds or self._seeded else {}
        return sorted(reads)

    def end(
        self,
        *,
        came_to: Names | None = None,
        is_own: Callable[[str], bool] = lambda _name: True,
        is_latest: Callable[[str], bool] = lambda _name: True,
    ) -> tuple[list[str], list[str]]:
        """Look after it, or in the middle of it, and return the names that it read and wrote.

        Args:
            came_to: The names of the part that was run, if it ended with an error; what that binds has to be seen.
            is_own: Tells names that the cell wrote before. What is imported once more is written by its own cells only.
            is_latest: Tells names that nobody wrote since the cell did. What a cell binds in a branch only counts where it
                is another thing now, or was the cell's before.
        """
        names, before = came_to or self._names, set(self._before[0])
        moved = self._moved()
        writes = {name for name in moved if name not in self._hidden}
        if came_to is None:
            known = {name for name in names.binds if name not in moved and name in self.namespace}
            same = {name for name in known & names.modules if name in self._kinds and not is_own(name)}
            skipped = {name for name in known & names.unsure if name in before and not is_latest(name)}
            writes |= names.binds - same - skipped
        writes |= self._changed(names, moved)
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

    def _changed(self, names: Names, moved: set[str]) -> set[str]:
        """Return what was changed in place: by its name, by another name for it, or within what holds it."""
        found = {name for name in names.changes if self._counts(name)}
        touched = {name for name in names.touches if self._counts(name) and self._may_be_touched(name)}
        found |= touched | self._spoiled(names)
        found |= {name for name in names.looks if _is_drawing(self.namespace.get(name))}
        found |= {name for name in self._reads if name in self.namespace and _gives_once(self.namespace[name])}
        for name, version in self._versions.items():
            if name not in moved and version is not None and self._state_of(name) != version.state:
                found.add(name)
        if touched or names.deep & found:
            within = self._held_by(self._versions.get(name) for name in touched | (names.deep & found))
            found |= {name for name in within & self._linked if not self._shows_all(name)}
        return found | self._others_for(found - moved)

    def _state_of(self, name: str) -> Hashable:
        version = version_of(self.namespace.get(name))
        return None if version is None else version.state

    def _shows_all(self, name: str) -> bool:
        version = self._versions.get(name)
        return version is not None and version.is_whole

    def _may_change(self, name: str) -> bool:
        kind = type(self.namespace[name])
        return id(kind) not in LEAVES and not issubclass(kind, PLAIN)

    def _held_by(self, versions: Iterable[Version | None]) -> set[str]:
        """Return the names of what is held by what was looked at."""
        inner = frozenset[int]().union(*(version.holds for version in versions if version is not None))
        if not inner:
            return set()
        names, ids = self._before
        return {name for name, value in zip(names, ids, strict=True) if value in inner and self._may_be_held(name)}

    def _may_be_held(self, name: str) -> bool:
        value = self.namespace.get(name)
        return not issubclass(type(value), PLAIN) and not _is_fixed(value) and name not in self._hidden

    def _others_for(self, changed: set[str]) -> set[str]:
        """Return the other names for what was changed, and the names of what holds it."""
        values = [self.namespace[name] for name in changed if name in self.namespace and self._may_be_held(name)]
        values += [figure for value in values if (figure := _figure_of(value)) is not None]
        ids = set(map(id, values))
        if not ids:
            return set()
        kinds = {id(value) for value in values if issubclass(type(value), type)}
        found = set()
        for name, value in zip(self._own, map(self.namespace.get, self._own), strict=True):
            kind = type(value)
            if id(kind) in LEAVES or name in changed:
                continue
            is_builtin = kind is list or kind is dict or kind is tuple or kind is set
            if id(value) in ids or ((is_builtin or self._may_be_held(name)) and holds(value, ids)) or (kinds and _is_of(value, kinds)):
                found.add(name)
        return found

    def _counts(self, name: str) -> bool:
        """Return whether a change of what a name stands for is one of the notebook's own state."""
        if name not in self._kinds:
            return False
        return name in self._names.settings or not self._kinds[name]

    def _may_be_touched(self, name: str) -> bool:
        """Return whether a method called on it may have changed it: not if it would be seen, and not on a table."""
        value = self.namespace.get(name)
        return not self._shows_all(name) and _family(value) not in _TABLES and not issubclass(type(value), PLAIN)

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
        kind = type(value)
        if depth > 3 or value is None:
            return
        if kind is FunctionType:
            if value.__globals__ is self.namespace:
                yield value.__code__
            held = [cell.cell_contents for cell in value.__closure__ or () if is_filled(cell)]
            for inner in (value.__dict__.get("__wrapped__"), *held):
                yield from self._codes_of(inner, depth + 1)
        elif issubclass(kind, type):
            if value.__module__ == "__main__":
                for member in list(type.__getattribute__(value, "__dict__").values()):
                    yield from self._codes_of(_function_of(member), depth + 1)
                for base in type.__getattribute__(value, "__bases__"):
                    yield from self._codes_of(base, depth + 1)
        elif kind is functools.partial or kind is functools.partialmethod or kind is functools.cached_property:
            yield from self._codes_of(value.func, depth + 1)
        elif kind is functools._lru_cache_wrapper:
            yield from self._codes_of(value.__wrapped__, depth + 1)
        elif kind is MethodType:
            yield from self._codes_of(value.__func__, depth + 1)
        elif kind is list or kind is tuple or kind is dict:
            for element in list(islice(value.values() if kind is dict else value, _HELD)):
                if type(element) is FunctionType or type(element).__module__ == "__main__" or issubclass(type(element), type):
                    yield from self._codes_of(element, depth + 1)
        elif kind.__module__ == "__main__":
            yield from self._codes_of(kind, depth + 1)

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


def _function_of(member: Any) -> Any:
    """Return the function of what stands in a class."""
    kind = type(member)
    if kind is staticmethod or kind is classmethod:
        return member.__func__
    return member.fget if kind is property else member


def _is_of(value: Any, kinds: set[int]) -> bool:
    """Return whether a value is an instance of one of some classes, told by their ids."""
    return any(id(kind) in kinds for kind in type.__getattribute__(type(value), "__mro__"))


def _is_drawing(value: Any) -> bool:
    """Return whether a value is a plot of Matplotlib, or an array of them."""
    if type(value).__module__ == "numpy" and str(getattr(value, "dtype", "")) == "object" and value.size:
        value = value.flat[0]
    return _family(value) in _PLOTS and not issubclass(type(value), ModuleType)


def _figure_of(value: Any) -> Any:
    """Return the figure that a part of a plot of Matplotlib is in."""
    return getattr(value, "figure", None) if _family(value) == "matplotlib" else None


def _family(value: Any) -> str:
    module = type(value).__module__
    return module.partition(".")[0] if isinstance(module, str) else ""


def _gives_once(value: Any) -> bool:
    """Return whether whoever reads a value uses it up: generators, `zip`, open files."""
    return has(type(value), "__next__")


def _is_fixed(value: Any) -> bool:
    """Return whether it is a module, or a function or class from one: those are not part of a notebook's state."""
    kind = type(value)
    if issubclass(kind, ModuleType):
        return True
    return (kind is FunctionType or issubclass(kind, type)) and value.__module__ != "__main__"
