"""The names of cells as they stand in notebooks, with IPython's own syntax."""

from __future__ import annotations

import ast
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from mlops_nb.core.dataflow import NOTHING, Names, code_of, names_of

MAX_KEPT = 2000
_UNKNOWN = msgspec.structs.replace(NOTHING, is_opaque=True)


class Sources:
    """Tells the names of a source and keeps the answers. An instance is a `NamesOf`.

    Args:
        transform: Turns a cell into plain Python: a shell's `transform_cell`. By default that of an IPython without extensions.
    """

    def __init__(self, transform: Callable[[str], str] | None = None) -> None:
        self._transform = transform
        self._kept: OrderedDict[str, Names] = OrderedDict()

    def __call__(self, source: str) -> Names:
        """Return the names; a source that is no Python has none and may do anything."""
        known = self._kept.get(source)
        if known is None:
            known = self._kept[source] = self._names(source)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return known

    def until(self, source: str, line: int) -> Names:
        """Return the names of a cell that went no further than the statement at a line of its plain Python, from 1."""
        try:
            plain = self._plain(source)
            end = next((part.end_lineno for part in ast.parse(plain).body if line <= (part.end_lineno or 0)), None)
            return names_of("\n".join(plain.splitlines()[:end]), self._plain)
        except (SyntaxError, ValueError, RecursionError):
            return NOTHING

    def _names(self, source: str) -> Names:
        try:
            return names_of(source, self._plain)
        except (SyntaxError, ValueError, RecursionError):  # no Python: IPython's own syntax perhaps; a null byte; nested too deep
            pass
        try:
            return names_of(self._plain(source), self._plain)
        except (SyntaxError, ValueError, RecursionError):
            return _UNKNOWN

    def code_of(self, source: str) -> str:
        """Return what is the same for sources that differ only in comments and layout; empty for what is no Python."""
        try:
            return code_of(self._plain(source))
        except (SyntaxError, ValueError, RecursionError):
            return ""

    def _plain(self, source: str) -> str:
        if self._transform is None:
            from IPython.core.inputtransformer2 import TransformerManager

            self._transform = TransformerManager().transform_cell  # type: ignore[no-untyped-call]  # IPython's has no types
        return self._transform(source)
