"""Variables that are logged by themselves: after each cell that changed them."""

from __future__ import annotations

import logging
import math
import os
import weakref
from typing import Any

from mlops_nb.core.names import MAX_PARAM_VALUE, check_key
from mlops_nb.core.redaction import Redactor, is_secret_name
from mlops_nb.errors import InvalidInput
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.run import ActiveRun

logger = logging.getLogger("mlops_nb")

_MAX_TEXT = 250
_ABSENT = object()


class Watcher:
    """Looks at variables after each cell and tells the innermost open run what is new.

    A number is a metric, logged again whenever it has changed. Anything else is a param the first time, as a short text,
    and a tag of the same name when it has changed since: a param is written once. A new run is told all of them.

    Attributes:
        names: The variables, in the order given.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._told: weakref.WeakKeyDictionary[ActiveRun, dict[str, Any]] = weakref.WeakKeyDictionary()

    def look(self, *_result: Any) -> None:
        """Log what has changed. Never raises: it runs after the user's cells."""
        session = sessions.current
        run, variables = session.active, session.user_ns
        if not self.names or run is None or variables is None:
            return
        for name in self.names:
            try:
                self._look_at(run, name, variables.get(name, _ABSENT))
            except Exception:  # a value of the user's may do anything when it is turned into text
                logger.debug("the watched variable '%s' cannot be logged", name, exc_info=True)

    def _look_at(self, run: ActiveRun, name: str, value: Any) -> None:
        if value is _ABSENT or is_secret_name(name):
            return
        told = self._told.setdefault(run, {})
        number = _number(value)
        seen: float | str = Redactor(os.environ)(_text(value)) if number is None else number
        known = told.get(name, _ABSENT)
        if known is seen or known == seen or (_is_nan(known) and _is_nan(seen)):
            return
        told[name] = seen
        if isinstance(seen, float):
            run.log_metric(name, seen)
        elif known is _ABSENT and name not in run.params:
            run.log_param(name, seen)
        else:
            run.set_tag(name, seen)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: Any) -> float | None:
    """Return a number, also of numpy's and of tensors with one element; None for anything else."""
    if isinstance(value, (bool, str, bytes)) or getattr(value, "size", 1) == 0:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    shape = getattr(value, "shape", None)
    if shape is None or tuple(shape) != () or str(getattr(value, "dtype", "")).startswith("bool"):
        return None
    return float(value)


def _text(value: Any) -> str:
    """Return a value as a short text: itself where it is simple, else what kind of thing it is, and how large."""
    if isinstance(value, (bool, int, str, type(None))):
        return str(value)[:MAX_PARAM_VALUE]
    if isinstance(value, (list, tuple, set, dict)) and len(value) <= 20:
        text = repr(value)
        if len(text) <= _MAX_TEXT:
            return text
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    if shape is not None:
        return f"{kind} {' × '.join(str(side) for side in tuple(shape))}"
    return f"{kind} of {len(value)}" if isinstance(value, (list, tuple, set, dict)) else repr(value)[:_MAX_TEXT]


current = Watcher()


def watch(*names: str) -> None:
    """Watch variables of the notebook, besides those that are watched already; none at all stops watching.

    Raises:
        InvalidInput: If one is no name of a variable, or names a secret.
    """
    for name in names:
        if not name.isidentifier():
            raise InvalidInput(f"'{name}' is no name of a variable.", hint="Watch names: %track watch loss lr")
        if is_secret_name(name):
            raise InvalidInput(f"'{name}' looks like a secret; it is not watched.")
        check_key(name, "metric")
    current.names = [*current.names, *(name for name in names if name not in current.names)] if names else []
