"""What of a value shows cheaply that somebody changed it in place, wherever that was done.

A version is taken of what a cell reads, before and after; another one means that the cell changed the value, in a
function that it called for instance. The same one means nothing: not every change shows.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Hashable
from typing import Any

logger = logging.getLogger("mlops_nb")

_ELEMENTS = 64
_PARAMETERS = 500


def version_of(value: Any) -> Hashable:
    """Return what is another after a change, as far as that is seen at a glance; None for what shows nothing."""
    try:
        return _version_of(value)
    except Exception:  # it is somebody else's object, and any of its properties may fail
        logger.debug("no version of a %s", type(value).__name__, exc_info=True)
        return None


def _version_of(value: Any) -> Hashable:
    kind = type(value)
    if kind in (list, dict, set):
        return _of_container(value)
    if isinstance(value, random.Random):
        return hash(value.getstate())
    family = kind.__module__.partition(".")[0]
    if family == "pandas":
        return _of_table(value)
    if family == "numpy":
        return _of_numpy_generator(value)
    torch = sys.modules.get("torch")
    if torch is not None:
        if isinstance(value, torch.nn.Module):
            parameters = [*value.parameters(), *value.buffers()][:_PARAMETERS]
            return (value.training, tuple((id(parameter), parameter._version) for parameter in parameters))
        if isinstance(value, torch.Generator):
            return hash(value.get_state().numpy().tobytes())
    if kind.__module__ == "__main__" or (hasattr(kind, "fit") and hasattr(kind, "get_params")):
        return _of_attributes(value)
    return None


def _of_container(value: Any) -> Hashable:
    if len(value) > _ELEMENTS:
        return len(value)
    if isinstance(value, dict):
        return tuple((id(key), id(element)) for key, element in value.items())
    return tuple(map(id, value))


def _of_table(value: Any) -> Hashable:
    # Not the data itself: pandas moves that about while one only looks.
    if hasattr(value, "columns"):
        return (value.shape, id(value.columns), id(value.index))
    return (value.shape, _ends_of(value.index)) if hasattr(value, "index") else None


def _ends_of(index: Any) -> Hashable:
    return (len(index), str(index[0]), str(index[-1])) if len(index) else 0


def _of_numpy_generator(value: Any) -> Hashable:
    if hasattr(value, "bit_generator"):
        return str(value.bit_generator.state)
    if hasattr(value, "get_state"):
        return _of_numpy_state(value.get_state(legacy=False))
    return None


def _of_numpy_state(state: dict[str, Any]) -> Hashable:
    inner = state["state"]
    return (inner["pos"], inner["key"][:4].tobytes(), state.get("has_gauss")) if "key" in inner else str(inner)


def _of_attributes(value: Any) -> Hashable:
    attributes = getattr(value, "__dict__", None)
    if attributes is None or len(attributes) > _ELEMENTS:
        return None
    return tuple((name, id(element)) for name, element in attributes.items())


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
