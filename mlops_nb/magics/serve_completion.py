"""Tab completion of `%serve`: sub-commands, options, endpoints, variables, runs. It never waits for the server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from mlops_nb.magics.knowledge import Knowledge
from mlops_nb.magics.serve_parsers import START_VERB, VERBS, parser_of
from mlops_nb.tracking.session import Session

logger = logging.getLogger("mlops_nb")

_MOST = 100
_FRESH_SECONDS = 3.0
_FIRST_SECONDS = 0.02


class ServeCompleter:
    """Completes a line of `%serve` from what is known already."""

    def __init__(self, session: Session, known: Knowledge) -> None:
        self._session = session
        self._known = known
        self._endpoints: tuple[str, ...] = ()
        self._read_at = float("-inf")
        self._reading = threading.Lock()
        self._first = threading.Event()

        @context_matcher(identifier="mlops_nb.serve")  # type: ignore[untyped-decorator]
        def matcher(context: Any) -> dict[str, Any]:
            words = self.complete(context.line_with_cursor[: context.cursor_position], context.token)
            return {"completions": [SimpleCompletion(word) for word in words], "suppress": bool(words), "ordered": True}

        self.matcher = matcher

    def complete(self, before: str, token: str) -> list[str]:
        """Return what may stand where the cursor is; `before` is the line up to there, `token` its last piece."""
        text = before.lstrip()
        if "= %serve " in text:
            text = text[text.index("%serve ") :]
        text = text.replace("%mlops serve", "%serve", 1)
        if not text.startswith(("%serve ", "%%serve ")):
            return []
        self._known.refresh()
        self._refresh()
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
            return [*VERBS, *self._values("VAR|RUN|MODEL")]
        verb = words[0] if words[0] in VERBS else START_VERB
        rest = words[1:] if verb != START_VERB else words
        parser = parser_of(verb)
        options = {string: action for action in parser.arguments for string in action.option_strings}
        word, previous = rest[-1], rest[-2] if len(rest) > 1 else ""
        if previous in options and options[previous].nargs in (None, "?") and not word.startswith("-"):
            action = options[previous]
            found = action.choices or list(self._values(str(action.metavar or "")))
            if found or action.nargs is None:
                return found
        if word.startswith("-"):
            return [option for option in options if option.startswith("--")]
        places = [action for action in parser.arguments if not action.option_strings]
        pairs = zip(["", *rest], rest[:-1], strict=False)
        taken = sum(not each.startswith("-") and not (before in options and options[before].nargs is None) for before, each in pairs)
        if taken >= len(places):
            return [option for option in options if option.startswith("--")]
        return places[taken].choices or self._values(str(places[taken].metavar or ""))

    def _values(self, kind: str) -> Iterator[str]:
        if kind in ("VAR|RUN|MODEL", "VAR|RUN", "VAR", "EXPR"):
            yield from sorted(name for name in list(self._session.user_ns or {}) if not name.startswith("_"))
        if kind in ("VAR|RUN|MODEL", "VAR|RUN"):
            yield from ("@last", "@best:", *(("models:/", "runs:/") if kind == "VAR|RUN|MODEL" else ()))
            yield from self._known.runs.values()
        if kind in ("ENDPOINT", "NAME"):
            yield from self._endpoints
        if kind == "ALIAS":
            yield from ("prod", "staging", "challenger")
        if kind == "TIME":
            yield from ("30m", "2h", "8h", "1d")
        if kind == "SHARE":
            yield from ("5%", "10%", "50%")

    def _refresh(self) -> None:
        if time.monotonic() - self._read_at > _FRESH_SECONDS and self._reading.acquire(blocking=False):
            self._read_at = time.monotonic()
            threading.Thread(target=self._read, name="mlops_nb-endpoints", daemon=True).start()
        if not self._first.is_set():
            self._first.wait(_FIRST_SECONDS)

    def _read(self) -> None:
        from mlops_nb.fluent.serving import find_server

        try:
            self._endpoints = tuple(info.name for info in find_server().all())
        except Exception:  # a thread that nobody waits for must not print into the notebook
            logger.debug("completion cannot read the endpoints", exc_info=True)
        finally:
            self._first.set()
            self._reading.release()
