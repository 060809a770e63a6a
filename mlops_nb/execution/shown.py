"""The figures that cells show, caught on their way to the screen, and those that they leave open."""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("mlops_nb")

MAX_FIGURES = 20
MAX_BYTES = 5_000_000
_SUFFIXES = {"image/png": ".png", "image/svg+xml": ".svg", "image/jpeg": ".jpg"}
_PLOTLY = "application/vnd.plotly.v1+json"


class ShownFigures:
    """Listens to a shell's displays while a cell runs.

    What a cell shows and clears again does not count, and of a display that is updated the last state does. At most
    `MAX_FIGURES` of at most `MAX_BYTES` are kept for one cell.

    Args:
        shell: The `InteractiveShell`.
        is_wanted: Tells whether anybody wants figures now; asked for each display.
    """

    def __init__(self, shell: Any, is_wanted: Callable[[], bool]) -> None:
        self._shell = shell
        self._is_wanted = is_wanted
        self._caught: dict[str, tuple[str, bytes]] = {}
        self._open: set[int] = set()
        self._clears_next = False
        self._wrapped: list[tuple[Any, str, Any]] = []

    def install(self) -> None:
        """Begin to listen."""
        publisher, hook = self._shell.display_pub, self._shell.displayhook
        self._wrap(publisher, "publish", self._published)
        self._wrap(publisher, "clear_output", self._cleared)
        self._wrap(hook, "write_format_data", self._written)

    def uninstall(self) -> None:
        """Listen no more."""
        for target, name, wrapper in reversed(self._wrapped):
            if target.__dict__.get(name) is wrapper:
                del target.__dict__[name]
        self._wrapped = []

    def _wrap(self, target: Any, name: str, listen: Callable[..., None]) -> None:
        original = getattr(target, name)

        def listening(*args: Any, **kwargs: Any) -> Any:
            try:
                if self._is_wanted():
                    listen(*args, **kwargs)
            except Exception:  # whatever it is, it is ours, and the display must go on
                logger.debug("a figure was not caught", exc_info=True)
            return original(*args, **kwargs)

        target.__dict__[name] = listening
        self._wrapped.append((target, name, listening))

    def begin(self) -> None:
        """A cell begins."""
        self._caught = {}
        self._clears_next = False
        self._open = set(_open_figures())

    def figures(self) -> list[tuple[str, bytes]]:
        """Return what the cell has shown so far and the figures it has left open, as suffixes and contents."""
        found = list(self._caught.values())
        for number, figure in _open_figures().items():
            if number not in self._open and len(found) < MAX_FIGURES:
                content = io.BytesIO()
                figure.savefig(content, format="png", bbox_inches="tight")
                found.append((".png", content.getvalue()))
        return [figure for figure in found[:MAX_FIGURES] if len(figure[1]) <= MAX_BYTES]

    # -- what the shell does

    def _published(self, data: Any, *_: Any, transient: Any = None, update: bool = False, **__: Any) -> None:
        display_id = (transient or {}).get("display_id")
        self._catch(data, f"id {display_id}" if display_id else None, update=update)

    def _written(self, format_dict: Any, *_: Any, **__: Any) -> None:
        self._catch(format_dict, None, update=False)

    def _cleared(self, wait: bool = False, *_: Any, **__: Any) -> None:
        if wait:
            self._clears_next = True
        else:
            self._caught = {}

    def _catch(self, data: Any, key: str | None, *, update: bool) -> None:
        if self._clears_next:
            self._caught, self._clears_next = {}, False
        found = _content(data)
        if found is None or (update and key not in self._caught):
            return
        if (key in self._caught) or len(self._caught) < MAX_FIGURES:
            self._caught[key or str(len(self._caught))] = found


def _content(data: Any) -> tuple[str, bytes] | None:
    if not isinstance(data, dict):
        return None
    if _PLOTLY in data:
        return ".json", json.dumps(data[_PLOTLY]).encode()
    for kind, suffix in _SUFFIXES.items():
        value = data.get(kind)
        if isinstance(value, str) and value:
            return suffix, value.encode() if kind == "image/svg+xml" else _decoded(value)
        if isinstance(value, bytes) and value:
            return suffix, value
    return None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        return b""


def _open_figures() -> dict[int, Any]:
    """Return matplotlib's open figures by their numbers; none while nobody has loaded it."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return {}
    return {id(manager): manager.canvas.figure for manager in helpers.Gcf.get_all_fig_managers()}
