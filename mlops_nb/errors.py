"""The error tree. Every error says what failed, with which value, and what to do next.

    MlopsError
    ├── InvalidInput            a value that cannot be right
    │   ├── FilterError         a search filter that does not parse; knows the position
    │   └── SelectorError       a run selector that fits nothing, or too much
    ├── NotFound                a run, experiment or artifact that is not there
    ├── AlreadyExists           a name that is taken
    ├── IllegalTransition       a run state that cannot follow the present one
    ├── PermissionDenied        the caller may not do this
    │   └── UnsafeModel         a model that could run code when it is loaded
    ├── NotSupported            the server or its store has no such ability
    ├── StoreError              the tracking store cannot serve us
    │   ├── StoreUnreachable    no answer: server down, network gone
    │   │   └── StoreFull       no room: the disk or the quota of the store is used up
    │   ├── StoreDamaged        the file is not a store, or no longer one
    │   └── StoreVersionError   written by another version of mlops_nb
    └── MissingDependencyError  an optional package is needed; names the extra

Each class carries the error code of MLflow's REST API, which `api.http` maps to an HTTP status.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MlopsError(Exception):
    """Base of all errors of this package.

    Args:
        message: What failed, with the value.
        hint: What to do next; shown after the message.
    """

    code = "INTERNAL_ERROR"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        # What others have said, as a cloud, may end without a full stop.
        stop = "" if self.message.endswith((".", "!", "?", "…", ":", ",", ";")) else "."
        return f"{self.message}{stop} {self.hint}"

    def _render_traceback_(self) -> list[str]:
        """Make IPython print one line instead of our traceback."""
        return [f"\x1b[31m✗\x1b[0m {self}"]


class InvalidInput(MlopsError):
    code = "INVALID_PARAMETER_VALUE"


class FilterError(InvalidInput):
    """A filter that does not parse. `position` is the 0-based offset of the first wrong character."""

    def __init__(self, message: str, *, position: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.position = position


class SelectorError(InvalidInput):
    pass


class NotFound(MlopsError):
    code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(MlopsError):
    code = "RESOURCE_ALREADY_EXISTS"


class IllegalTransition(MlopsError):
    code = "INVALID_STATE"


class Conflict(MlopsError):
    """What was to be changed has been changed by another since it was read: read it again."""

    code = "RESOURCE_CONFLICT"


class PermissionDenied(MlopsError):
    code = "PERMISSION_DENIED"


class UnsafeModel(PermissionDenied):
    """A model folder that could run code when it is loaded, and nobody has allowed that."""


class NotSupported(MlopsError):
    code = "NOT_IMPLEMENTED"


class StoreError(MlopsError):
    pass


class StoreUnreachable(StoreError):
    """No answer, or none that helps. `retry_after` is how long the server asks to be left alone (s), where it says so."""

    code = "TEMPORARILY_UNAVAILABLE"
    retry_after: float | None = None


class StoreFull(StoreUnreachable):
    code = "RESOURCE_EXHAUSTED"


class StoreDamaged(StoreError):
    code = "DATA_LOSS"


class StoreVersionError(StoreError):
    code = "INVALID_STATE"


class MissingDependencyError(MlopsError):
    """An optional package is not installed.

    Args:
        package: The name to import.
        extra: The extra of mlops-nb that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed.",
            hint=f"pip install 'mlops-nb[{extra}]'",
        )


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint naming the nearest known word, or None."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else None
