"""What of a value shows cheaply that somebody changed it in place, wherever that was done, and what the value holds.

A version is taken of what a cell reads, before and after; another one means that the cell changed the value, in a
function that it called for instance. No code of the user's runs for it: no `__eq__`, no property, no `__class__`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import sys
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from types import BuiltinMethodType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import msgspec

logger = logging.getLogger("mlops_nb")

PLAIN = (bool, int, float, complex, str, bytes, range, type(None))
"""Types whose values nobody can change."""

LEAVES = frozenset(map(id, (bool, int, float, complex, str, bytes, type(None))))
"""The ids of the commonest of them: looking there is quick, and asks no metaclass."""

_DEPTH = 4
_NODES = 400
_ELEMENTS = 64
_MANY = 2000
_SAMPLES = 256
_SMALL_BYTES = 16_384
_PARAMETERS = 500
_FIXED_MODULES = frozenset({"_decimal", "datetime", "decimal", "fractions", "pathlib", "re", "uuid", "zoneinfo"})


class Version(msgspec.Struct, frozen=True):
    """What a value looks like.

    Attributes:
        state: Another one after a change.
        is_whole: Whether every change shows in it. Otherwise the same state means nothing.
        holds: The ids of what the value holds.
    """

    state: Hashable
    is_whole: bool
    holds: frozenset[int] = frozenset()


def version_of(value: Any) -> Version | None:
    """Return what is another after a change, as far as that is seen at a glance; None for what shows nothing."""
    look = _Look()
    try:
        state = look.at(value, _DEPTH)
    except Exception:  # it is somebody else's object, and any of its properties may fail
        logger.debug("no version of a %s", type(value).__name__, exc_info=True)
        return None
    return None if state is None else Version(state, look.is_whole, frozenset(look.seen))


def holds(value: Any, wanted: frozenset[int] | set[int], depth: int = _DEPTH) -> bool:
    """Return whether a value holds one of some objects, told by their ids."""
    kind = type(value)
    if kind is list or kind is tuple or kind is set:
        elements = value if len(value) <= _MANY else ()
    elif kind is dict:
        elements = value.values() if len(value) <= _MANY else ()
    else:
        version = version_of(value)
        return version is not None and not wanted.isdisjoint(version.holds)
    if not wanted.isdisjoint(map(id, elements)):
        return True
    if not depth or LEAVES.issuperset(map(id, map(type, elements))):
        return False
    inner = [element for element in elements if id(type(element)) not in LEAVES][:_ELEMENTS]
    return any(holds(element, wanted, depth - 1) for element in inner)


def has(kind: type, name: str) -> bool:
    """Return whether a class has an attribute, without asking its metaclass."""
    return any(name in type.__getattribute__(each, "__dict__") for each in type.__getattribute__(kind, "__mro__"))


class _Look:
    """One look at a value and what it holds."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.is_whole = True

    def at(self, value: Any, depth: int) -> Hashable:
        """Return the state of a value; None if it shows nothing."""
        kind = type(value)
        if issubclass(kind, dict):
            return self._items(value, depth)
        if issubclass(kind, (list, tuple, deque)):
            return self._sequence(kind, value, depth)
        if issubclass(kind, (set, frozenset)):
            return self._elements(set.__iter__(value) if issubclass(kind, set) else value, len(value), depth)
        if kind is FunctionType:
            return self._function(value, depth)
        if kind is MethodType or kind is BuiltinMethodType:
            owner = value.__self__
            return None if owner is None or type(owner) is ModuleType else (id(owner), self._inner(owner, depth))
        if issubclass(kind, type):
            return self._attributes(_own_attributes(value), depth) if value.__module__ == "__main__" else None
        return self._object(kind, value, depth)

    def _object(self, kind: type, value: Any, depth: int) -> Hashable:
        module = kind.__module__
        family = module.partition(".")[0] if isinstance(module, str) else ""
        if family == "pandas":
            return self._table(value)
        if family == "numpy":
            return self._of_numpy(kind, value)
        if issubclass(kind, PLAIN) or family in _FIXED_MODULES:
            return id(value)
        if issubclass(kind, random.Random):
            return hash(random.Random.getstate(value))
        if kind is bytearray:
            return hash(bytes(value))
        if kind is functools._lru_cache_wrapper:
            return (id(value), value.cache_info().misses)
        nn = getattr(sys.modules.get("torch"), "nn", None)
        if nn is not None and (family == "torch" or issubclass(kind, nn.Module)):
            return self._of_torch(kind, value, depth)
        if family == "__main__" or (has(kind, "fit") and has(kind, "get_params")):
            return self._attributes(_attributes_of(value), depth)
        return None

    # -- what it holds

    def _inner(self, value: Any, depth: int) -> Hashable:
        """Return the state of what something holds: of plain values themselves, since their ids are used again."""
        kind = type(value)
        if id(kind) in LEAVES:
            if value != value:
                return "nan"
            return hash(value) if kind is str or kind is bytes else value
        identity = id(value)
        if identity in self.seen:
            return identity
        if depth <= 0 or len(self.seen) >= _NODES:
            self.is_whole = False
            return identity
        self.seen.add(identity)
        state = self.at(value, depth - 1)
        if state is None and not issubclass(kind, (ModuleType, FunctionType, BuiltinMethodType, type)):
            self.is_whole = False
        return (identity, state)

    def _elements(self, elements: Iterable[Any], count: int, depth: int) -> Hashable:
        if count <= _ELEMENTS:
            return tuple([self._inner(element, depth) for element in elements])
        self.is_whole = False
        return (count, hash(tuple(map(id, elements)))) if count <= _MANY else count

    def _sequence(self, kind: type, value: Any, depth: int) -> Hashable:
        base: Any = list if issubclass(kind, list) else tuple if issubclass(kind, tuple) else deque
        count = base.__len__(value)
        if count > _MANY and base is not deque:
            self.is_whole = False
            return (count, hash(tuple(map(id, base.__getitem__(value, slice(None, None, count // _SAMPLES))))))
        return self._elements(base.__iter__(value), count, depth)

    def _items(self, value: Any, depth: int) -> Hashable:
        count = dict.__len__(value)
        values = self._elements(dict.values(value), count, depth)
        return (values, tuple(map(id, dict.keys(value)))) if count <= _ELEMENTS else values

    def _attributes(self, attributes: Iterator[tuple[str, Any]], depth: int) -> Hashable:
        found: list[Hashable] = []
        for name, value in attributes:
            if len(found) >= _ELEMENTS:
                self.is_whole = False
                break
            found.append((name, self._inner(value, depth)))
        return tuple(found)

    def _function(self, value: Any, depth: int) -> Hashable:
        if value.__module__ != "__main__":
            return None
        held = [cell.cell_contents for cell in value.__closure__ or () if is_filled(cell)]
        held += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *value.__dict__.values()]
        return (id(value.__code__), *(self._inner(one, depth) for one in held))

    # -- libraries

    def _table(self, value: Any) -> Hashable:
        # Not the data itself: pandas moves that about while one only looks.
        self.is_whole = False
        if hasattr(value, "columns"):
            return (value.shape, id(value.columns), id(value.index))
        return (value.shape, _ends_of(value.index)) if hasattr(value, "index") else None

    def _of_numpy(self, kind: type, value: Any) -> Hashable:
        numpy = sys.modules["numpy"]
        if issubclass(kind, numpy.generic):
            return hash(value.tobytes())
        if kind is numpy.ndarray:
            return self._array(value)
        if hasattr(value, "bit_generator"):
            return str(value.bit_generator.state)
        if hasattr(value, "get_state"):
            return _of_numpy_state(value.get_state(legacy=False))
        return None

    def _array(self, value: Any) -> Hashable:
        if value.base is not None:
            self.seen.add(id(value.base))
        if value.nbytes <= _SMALL_BYTES:
            return hash(value.tobytes())
        self.is_whole = False
        each = max(2, int(_SAMPLES ** (1 / value.ndim)))
        grid = tuple(slice(None, None, max(1, length // each)) for length in value.shape)
        return (value.shape, hash(value[grid].tobytes()))

    def _of_torch(self, kind: type, value: Any, depth: int) -> Hashable:
        torch = sys.modules["torch"]
        if issubclass(kind, torch.nn.Module):
            self.is_whole = False
            parameters = [*torch.nn.Module.parameters(value), *torch.nn.Module.buffers(value)][:_PARAMETERS]
            self.seen.update(map(id, parameters))
            return (value.training, tuple((id(parameter), parameter._version) for parameter in parameters))
        if issubclass(kind, torch.Tensor):
            return (id(value), value._version)
        if issubclass(kind, torch.Generator):
            return hash(value.get_state().numpy().tobytes())
        if issubclass(kind, torch.optim.Optimizer):
            return self._inner(value.param_groups, depth)
        return None


def _own_attributes(value: type) -> Iterator[tuple[str, Any]]:
    attributes = type.__getattribute__(value, "__dict__")
    return ((name, each) for name, each in attributes.items() if isinstance(name, str) and not name.startswith(("__", "_abc_")))


def _attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object has, in its dictionary and its slots."""
    with contextlib.suppress(AttributeError):  # it has slots only
        yield from dict.items(object.__getattribute__(value, "__dict__"))
    for kind in type.__getattribute__(type(value), "__mro__"):
        for name, member in type.__getattribute__(kind, "__dict__").items():
            if type(member) is MemberDescriptorType:
                try:
                    yield name, member.__get__(value)
                except AttributeError:  # nothing is in it yet
                    continue


def is_filled(cell: Any) -> bool:
    """Return whether the variable of a closure has a value."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _ends_of(index: Any) -> Hashable:
    """Return the ends of the labels of a table; labels of classes that users write are not turned into text."""
    if not len(index):
        return 0
    ends = (index[0], index[-1])
    return (len(index), *(str(end) if type(end).__module__ in _KNOWN else id(end) for end in ends))


_KNOWN = frozenset({"builtins", "datetime", "numpy", "pandas", "pandas._libs.tslibs.timestamps"})


def _of_numpy_state(state: dict[str, Any]) -> Hashable:
    inner = state["state"]
    return (inner["pos"], inner["key"][:4].tobytes(), state.get("has_gauss")) if "key" in inner else str(inner)


def states_of_generators() -> dict[str, Hashable]:
    """Return the versions of the random number generators that libraries share among all their users, by name."""
    found: dict[str, Hashable] = {"random": hash(random.getstate())}
    try:
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            found["numpy.random"] = _of_numpy_state(numpy.get_state(legacy=False))
        torch = sys.modules.get("torch.random")
        if torch is not None:
            found["torch.random"] = hash(torch.get_rng_state().numpy().tobytes())
    except Exception:  # another version of the library, or one that is only half imported
        logger.debug("the state of a generator cannot be read", exc_info=True)
    return {f"{name}.state" if name == "random" else name: state for name, state in found.items()}
