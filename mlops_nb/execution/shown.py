"""What cells show, caught on its way to the screen: figures, also those that they leave open, tables and text."""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("mlops_nb")

MAX_FIGURES = 20
MAX_TEXT = 20_000
"""Characters of tables and text that are kept of one cell; what comes later is left out."""

_MAX_OUTPUTS = 40
_OF_SHELL = 3  # as many methods of the shell are listened to
# The beginning of our own cards, which say nothing about the user's work.
_OURS = '<div class="mlops-nb-'
_TEXTS = ("text/plain", "text/html", "text/markdown")
MAX_BYTES = 5_000_000
_PROMPT = re.compile(r"\n?Out\[\d+\]: \Z")  # which a terminal prints before the value of a cell
_SUFFIXES = {"image/png": ".png", "image/svg+xml": ".svg", "image/jpeg": ".jpg"}
_PLOTLY = "application/vnd.plotly.v1+json"


class ShownFigures:
    """Listens to a shell's displays, and to what is printed, while a cell runs.

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
        self._texts: dict[str, dict[str, Any]] = {}
        self._left = MAX_TEXT
        self._count = 0
        self._displaying = 0
        self._open: set[int] = set()
        self._clears_next = False
        self._wrapped: list[tuple[Any, str, Any, Any]] = []

    def install(self) -> None:
        """Begin to listen."""
        publisher, hook = self._shell.display_pub, self._shell.displayhook
        self._wrap(publisher, "publish", self._published)
        self._wrap(publisher, "clear_output", self._cleared)
        self._wrap(hook, "write_format_data", self._written)

    def uninstall(self) -> None:
        """Listen no more."""
        self._unwrap(0)

    def _unwrap(self, first: int) -> None:
        """Take off the wrappers from the first one on, unless somebody has put another one in their place."""
        for target, name, wrapper, before in reversed(self._wrapped[first:]):
            if target.__dict__.get(name) is wrapper:
                if before is None:
                    del target.__dict__[name]
                else:
                    target.__dict__[name] = before
        del self._wrapped[first:]

    def _wrap(self, target: Any, name: str, listen: Callable[..., None]) -> None:
        original = getattr(target, name)

        def listening(*args: Any, **kwargs: Any) -> Any:
            try:
                if self._is_wanted():
                    listen(*args, **kwargs)
            except Exception:  # whatever it is, it is ours, and the display must go on
                logger.debug("a figure was not caught", exc_info=True)
            # A terminal prints what it displays: that is no output of its own.
            self._displaying += 1
            try:
                return original(*args, **kwargs)
            finally:
                self._displaying -= 1

        before = target.__dict__.get(name)
        target.__dict__[name] = listening
        self._wrapped.append((target, name, listening, before))

    def begin(self) -> None:
        """A cell begins."""
        self._forget()
        self._clears_next = False
        self._open = set(_open_figures())
        # Only for the cell: IPython puts a wrapper of its own about it in each, and takes it off again.
        self._unwrap(_OF_SHELL)
        if len(self._wrapped) == _OF_SHELL and hasattr(sys.stdout, "__dict__"):
            self._wrap(sys.stdout, "write", self._printed)

    def end(self) -> None:
        """The cell has ended, and what it showed has been asked for."""
        self._unwrap(_OF_SHELL)

    def figures(self) -> list[tuple[str, bytes]]:
        """Return what the cell has shown so far and the figures it has left open, as suffixes and contents."""
        found = list(self._caught.values())
        for number, figure in _open_figures().items():
            if number not in self._open and len(found) < MAX_FIGURES:
                content = io.BytesIO()
                figure.savefig(content, format="png", bbox_inches="tight")
                found.append((".png", content.getvalue()))
        return [figure for figure in found[:MAX_FIGURES] if len(figure[1]) <= MAX_BYTES]

    def outputs(self, redact: Callable[[str], str]) -> list[dict[str, Any]]:
        """Return what the cell has shown so far as outputs of nbformat, in order; a figure is `{"figure": 1}`, by its number.

        Args:
            redact: Takes the secrets out of a text.
        """
        places = {key: number for number, key in enumerate(self._caught, start=1)}
        found: list[dict[str, Any]] = []
        for key, output in self._texts.items():
            if key in places:
                found.append({"figure": places[key]})
            elif "text" not in output:
                found.append({**output, "data": {what: redact(value) for what, value in output["data"].items()}})
            elif (text := _PROMPT.sub("", "".join(output["text"]))).strip():
                found.append({**output, "text": redact(text)})
        return found

    # -- what the shell does

    def _published(self, data: Any, *_: Any, transient: Any = None, update: bool = False, **__: Any) -> None:
        display_id = (transient or {}).get("display_id")
        self._catch(data, f"id {display_id}" if display_id else None, update=update)

    def _written(self, format_dict: Any, *_: Any, **__: Any) -> None:
        self._catch(format_dict, None, update=False, kind="execute_result")

    def _printed(self, text: Any, *_: Any, **__: Any) -> None:
        if self._displaying:
            return
        if self._clears_next:
            self._forget()
            self._clears_next = False
        if self._left <= 0 or not isinstance(text, str):
            return
        kept = text[: self._left]
        self._left -= len(kept)
        last = next(reversed(self._texts), None)
        if last is not None and self._texts[last].get("output_type") == "stream":
            self._texts[last]["text"].append(kept)
        elif len(self._texts) < _MAX_OUTPUTS:
            self._texts[self._next_key()] = {"output_type": "stream", "name": "stdout", "text": [kept]}

    def _next_key(self) -> str:
        self._count += 1
        return str(self._count)

    def _forget(self) -> None:
        self._caught, self._texts, self._left = {}, {}, MAX_TEXT

    def _cleared(self, wait: bool = False, *_: Any, **__: Any) -> None:
        if wait:
            self._clears_next = True
        else:
            self._forget()

    def _catch(self, data: Any, key: str | None, *, update: bool, kind: str = "display_data") -> None:
        if self._clears_next:
            self._forget()
            self._clears_next = False
        if not isinstance(data, dict) or (update and key not in self._texts):
            return
        name = key or self._next_key()
        found = _content(data)
        if found is None:
            self._caught.pop(name, None)
            self._keep_text(name, data, kind)
        elif name in self._caught or len(self._caught) < MAX_FIGURES:
            self._caught[name] = found
            self._texts[name] = {}

    def _keep_text(self, name: str, data: dict[str, Any], kind: str) -> None:
        texts = {what: data[what] for what in _TEXTS if isinstance(data.get(what), str)}
        size = sum(map(len, texts.values()))
        if texts.get("text/html", "").startswith(_OURS):
            return
        if texts and size <= self._left and (name in self._texts or len(self._texts) < _MAX_OUTPUTS):
            self._left -= size
            self._texts[name] = {"output_type": kind, "data": texts, "metadata": {}}


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
