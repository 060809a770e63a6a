"""Tab completion of magics with sub-commands, from their parsers. It never waits for a server."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from mlops_nb.magics.arguments import MagicParser

logger = logging.getLogger("mlops_nb")

_MOST = 100
_FRESH_SECONDS = 3.0
_FIRST_SECONDS = 0.02


class VerbCompleter(ABC):
    """Completes a line of a magic from what is known already.

    Args:
        magic: Its name, without the percent sign.
        verbs: Its sub-commands.
        parser_of: Returns the parser of a verb, and of `start`.
        start: What parses a line that begins with no verb; None: such lines are not completed past their first word.
    """

    def __init__(self, magic: str, verbs: Sequence[str], parser_of: Callable[[str], MagicParser], *, start: str | None = None) -> None:
        self._magic = magic
        self._verbs = verbs
        self._parser_of = parser_of
        self._start = start
        self.names: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._reading = threading.Lock()
        self._first = threading.Event()

        @context_matcher(identifier=f"mlops_nb.{magic}")  # type: ignore[untyped-decorator]
        def matcher(context: Any) -> dict[str, Any]:
            words = self.complete(context.line_with_cursor[: context.cursor_position], context.token)
            return {"completions": [SimpleCompletion(word) for word in words], "suppress": bool(words), "ordered": True}

        self.matcher = matcher

    @abstractmethod
    def values(self, kind: str) -> Iterable[str]:
        """Return what stands for a metavar of the parsers; `names` holds what `read_names` returned last."""

    @abstractmethod
    def read_names(self) -> Sequence[str]:
        """Return the names of what the magic is about; called in a thread, and may raise."""

    def refresh(self) -> None:
        """Begin to read the names anew where they are not fresh; the first time it waits for them for an instant."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS and self._reading.acquire(blocking=False):
            self._read_at = time.monotonic()
            threading.Thread(target=self._read, name=f"mlops_nb-{self._magic}-names", daemon=True).start()
        if not self._first.is_set():
            self._first.wait(_FIRST_SECONDS)

    def complete(self, before: str, token: str) -> list[str]:
        """Return what may stand where the cursor is; `before` is the line up to there, `token` its last piece."""
        text = before.lstrip()
        line = f"%{self._magic} "
        if f"= {line}" in text:
            text = text[text.index(line) :]
        text = text.replace(f"%mlops {self._magic}", line[:-1], 1)
        if not text.startswith((line, f"%{line}")):
            return []
        self.refresh()
        words = text.split()[1:]
        if text[-1].isspace():
            words.append("")
        candidates = self._candidates(words)
        word = words[-1]
        skipped = len(word) - len(token) if word.endswith(token) else 0
        found: dict[str, None] = {}
        for candidate in candidates:
            if candidate.startswith(word) and candidate != word:
                found[candidate[skipped:]] = None
                if len(found) == _MOST:
                    break
        return list(found)

    def _candidates(self, words: Sequence[str]) -> Iterable[str]:
        if len(words) == 1:
            return [*self._verbs, *(self.values(self._first_place()) if self._start else ())]
        verb = words[0] if words[0] in self._verbs else self._start
        if verb is None:
            return []
        rest = words[1:] if verb != self._start else words
        parser = self._parser_of(verb)
        options = {string: action for action in parser.arguments for string in action.option_strings}
        word, previous = rest[-1], rest[-2] if len(rest) > 1 else ""
        if previous in options and options[previous].nargs in (None, "?") and not word.startswith("-"):
            action = options[previous]
            found = action.choices or list(self.values(str(action.metavar or "")))
            if found or action.nargs is None:
                return found
        if word.startswith("-"):
            return [option for option in options if option.startswith("--")]
        places = [action for action in parser.arguments if not action.option_strings]
        pairs = zip(["", *rest], rest[:-1], strict=False)
        taken = sum(not each.startswith("-") and not (before in options and options[before].nargs is None) for before, each in pairs)
        if taken >= len(places):
            return [option for option in options if option.startswith("--")]
        return places[taken].choices or self.values(str(places[taken].metavar or ""))

    def _first_place(self) -> str:
        parser = self._parser_of(self._start or "")
        return next((str(action.metavar or "") for action in parser.arguments if not action.option_strings), "")

    def _read(self) -> None:
        try:
            self.names = tuple(self.read_names())
        except Exception:  # a thread that nobody waits for must not print into the notebook
            logger.debug("completion cannot read the names of %%%s", self._magic, exc_info=True)
        finally:
            self._first.set()
            self._reading.release()
