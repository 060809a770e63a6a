"""Hooks that run when a module has been imported: a framework that nobody imports costs nothing."""

from __future__ import annotations

import importlib.abc
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

logger = logging.getLogger("mlops_nb")

Hook = Callable[[ModuleType], None]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing itself: it lets the others find a module that is waited for, and has the hooks run after its code."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Hook]] = {}
        self._searching = threading.local()

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in self.waiting or getattr(self._searching, "name", None) == fullname:
            return None
        self._searching.name = fullname
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching.name = None
        loader = None if spec is None else spec.loader
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return None

        def exec_module(module: ModuleType) -> None:
            loader.__dict__.pop("exec_module", None)
            execute(module)
            self.run(fullname, module)

        # On the loader itself, and only for this once: its class stays what other tools expect.
        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def run(self, name: str, module: ModuleType) -> None:
        for hook in self.waiting.pop(name, ()):
            try:
                hook(module)
            except Exception as error:  # noqa: BLE001  # whoever imports a framework must get it, whatever becomes of our hook
                logger.warning("autolog: %s cannot be tracked (%s: %s). Your code is unaffected.", name, type(error).__name__, error)


_finder = _Finder()


def when_imported(name: str, hook: Hook) -> None:
    """Call `hook(module)` when the module has been imported: now, if it has been, or after it will be."""
    module = sys.modules.get(name)
    _finder.waiting.setdefault(name, []).append(hook)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        _finder.run(name, module)
    elif _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
