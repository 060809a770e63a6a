"""What a folder may name and a loader look up: a class of the framework's own, and the params that a function takes."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from mlops_nb.errors import InvalidInput

_log = logging.getLogger(__name__)


def class_named(name: str, package: str, bases: tuple[type, ...]) -> type[Any]:
    """Return a class that MLmodel names, if it is one of the package's own models: what it names is run.

    Raises:
        InvalidInput: If not.
    """
    module, _, last = name.rpartition(".")
    found: Any = None
    if module == package or module.startswith(package + "."):
        try:
            found = getattr(importlib.import_module(module), last, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and issubclass(found, bases)):
        raise InvalidInput(f"MLmodel names the class '{name[:200]}', which is no model of {package}.", hint="Load the folder with MLflow.")
    return found


def accepted(function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return those params that a function takes; the others are named in the log."""
    known = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return dict(params)
    ignored = sorted(name for name in params if name not in known)
    if ignored:
        _log.warning("The model does not take the params %s; they are ignored.", ", ".join(ignored))
    return {name: value for name, value in params.items() if name in known}
