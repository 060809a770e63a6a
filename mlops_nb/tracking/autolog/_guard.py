"""The wall between autolog and the user's code: our faults end here, with one warning."""

from __future__ import annotations

import copy
import functools
import logging
import re
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mlops_nb.tracking.autolog._options import enabled

logger = logging.getLogger("mlops_nb")

_warned: set[tuple[str, ...]] = set()


def warn_once(framework: str, what: str, message: str) -> None:
    """Give a warning, once for each kind of it."""
    options = enabled.get(framework)
    if (framework, what) not in _warned and not (options is not None and options.silent):
        _warned.add((framework, what))
        logger.warning("autolog %s: %s", framework, message)


@contextmanager
def guard(framework: str, what: str) -> Iterator[None]:
    """Keep a fault of ours from the user's code; say once what is not logged."""
    try:
        yield
    except Exception as error:  # whatever it is, the user's training must not hear of it
        logger.debug("autolog failed", exc_info=True)
        warn_once(
            framework, f"{what}:{type(error).__name__}", f"{what} not logged ({type(error).__name__}: {error}). Your code is unaffected."
        )


def check_version(framework: str, version: str, tested: tuple[str, str]) -> None:
    """Warn once if a version lies outside the range that autolog is tested with (the upper bound is the first untested)."""
    low, high = tested
    if not _numbers(low) <= _numbers(version) < _numbers(high):
        warn_once(framework, "version", f"tested with versions from {low} to below {high}; {version} may log less.")


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


class Wrapped:
    """A method in the namespace of a class, with something around it.

    It binds like what it wraps: a function, or a conditional method that is not there for every object. It is pickled
    as what it wraps, so that a class that cloudpickle keeps by value can be loaded without this package.
    """

    def __init__(self, original: Any, around: Around) -> None:
        self.original = original

        @functools.wraps(original if callable(original) else original.__get__(None, object))
        def function(instance: Any, *args: Any, **kwargs: Any) -> Any:
            return around(original.__get__(instance, type(instance)), instance, args, kwargs)

        self._function = function

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self._function
        if not isinstance(self.original, types.FunctionType):
            self.original.__get__(instance, owner)  # raises AttributeError where the method is not there
        return types.MethodType(self._function, instance)

    def __reduce__(self) -> Any:
        return copy.copy, (self.original,)  # a copy of a function is the function


_restoring: list[Callable[[], None]] = []


def when_off(restore: Callable[[], None]) -> None:
    """Have something of a framework put back when autolog is switched off altogether."""
    _restoring.append(restore)


def restore_all() -> None:
    """Put everything back that was wrapped, unless somebody else has replaced it meanwhile."""
    while _restoring:
        with guard("", "the framework is"):
            _restoring.pop()()


Around = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""What is called instead of a method: with the bound original, the object, and what the caller gave."""


def wrap_method(owner: type, name: str, around: Around) -> None:
    """Put `around` about a method that the class itself defines; a second time does nothing."""
    original = vars(owner)[name]
    if not isinstance(original, Wrapped):
        wrapped = Wrapped(original, around)
        setattr(owner, name, wrapped)
        when_off(lambda: setattr(owner, name, original) if vars(owner).get(name) is wrapped else None)


def wrap_function(
    module: types.ModuleType, name: str, around: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
) -> None:
    """Put `around` about a function of a module; a second time does nothing."""
    original = getattr(module, name)
    if getattr(original, "__mlops_nb__", False):
        return

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        return around(original, args, kwargs)

    # A pickle names it by where it now is; the original, which others may hold, keeps the name of where it was defined.
    function.__module__ = module.__name__
    function.__mlops_nb__ = True  # type: ignore[attr-defined]
    setattr(module, name, function)
    when_off(lambda: setattr(module, name, original) if getattr(module, name, None) is function else None)
