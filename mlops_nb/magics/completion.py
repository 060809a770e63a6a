"""Tab completion of `%track` and `%compare`, from what is known already: it never waits for the store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from mlops_nb.core.records import Run
from mlops_nb.magics.knowledge import Knowledge
from mlops_nb.magics.parsers import CELL_VERB, COMPARE, REPORT, VERBS, parser_of
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.session import Session

_SELECTORS = ("@last", "@last~1", "@best:", "@worst:", "@main", "tag:")
_MOST = 100
_ID_SHOWN = 8


class TrackCompleter:
    """Completes sub-commands, options and what they take: runs, selectors, metrics, experiments, variables, files."""

    def __init__(self, session: Session, known: Knowledge | None = None) -> None:
        self._session = session
        self.known = known or Knowledge(session)

        @context_matcher(identifier="mlops_nb.track")  # type: ignore[untyped-decorator]
        def matcher(context: Any) -> dict[str, Any]:
            words = self.complete(context.line_with_cursor[: context.cursor_position], context.token)
            return {"completions": [SimpleCompletion(word) for word in words], "suppress": bool(words), "ordered": True}

        self.matcher = matcher

    def complete(self, before: str, token: str) -> list[str]:
        """Return what may stand where the cursor is; `before` is the line up to there, `token` its last piece."""
        text = before.lstrip()
        if "= %track " in text:
            text = text[text.index("%track ") :]
        text = text.replace("%mlops track", "%track", 1)
        if "= %compare " in text:
            text = text[text.index("%compare ") :]
        text = text.replace("%mlops compare", "%compare", 1)
        if "= %report " in text:
            text = text[text.index("%report ") :]
        text = text.replace("%mlops report", "%report", 1)
        if not text.startswith(("%track ", "%%track ", "%compare ", "%report ")):
            return []
        self.known.refresh()
        self.known.wait_for_first()
        words = text.split()[1:]
        if text[-1].isspace():
            words.append("")
        if text.startswith("%%"):
            candidates = self._arguments(CELL_VERB, words)
        elif text.startswith("%compare"):
            candidates = self._arguments(COMPARE, words)
        elif text.startswith("%report"):
            candidates = self._arguments(REPORT, words)
        elif len(words) == 1:
            candidates = VERBS
        else:
            candidates = self._arguments(words[0], words[1:]) if words[0] in VERBS else ()
        # IPython's token may begin after a character such as '-' or '@' of the word; it replaces the token only.
        word = words[-1]
        skipped = len(word) - len(token) if word.endswith(token) else 0
        found: dict[str, None] = {}
        for candidate in candidates:
            if candidate.startswith(word) and candidate != word:
                found[candidate[skipped:]] = None
                if len(found) == _MOST:
                    break
        return list(found)

    def _arguments(self, verb: str, words: Sequence[str]) -> Iterable[str]:
        parser = parser_of(verb)
        word, previous = words[-1], words[-2] if len(words) > 1 else ""
        options = {string: action for action in parser.arguments for string in action.option_strings}
        if previous in options and options[previous].nargs != 0:
            action = options[previous]
            return action.choices or self._values(str(action.metavar or ""), word)
        if word.startswith("-"):
            return [option for option in options if option.startswith("--")]
        places = [action for action in parser.arguments if not action.option_strings]
        if not places:
            return [option for option in options if option.startswith("--")]
        taken = sum(not each.startswith("-") for each in words[:-1])
        place = places[min(taken, len(places) - 1)]
        return self._values(str(place.metavar or ""), word)

    def _values(self, kind: str, word: str) -> Iterator[str]:
        if kind.startswith("RUN"):
            yield from self._runs(word)
        if kind == "[-]METRIC":
            yield from (("-" if word.startswith("-") else "") + key for key in self._metrics())
        if kind == "KEY=EXPR" and "=" not in word:
            yield from (f"{key}=" for key in self._metrics())
        if kind == "METRIC=NUMBER":
            yield from (f"{key}=" for key in self.known.metrics)
        if kind == "METRIC":
            yield from self._metrics()
        if kind == "QUERY":
            yield from (key for key in self._metrics() if word)
        if kind == "KEY":
            yield "seed"
        if kind == "EXPERIMENT":
            yield from self.known.experiments
        if kind in ("VAR", "NAME", "EXPR", "PATH|VAR", "PATH|FIGURE"):
            yield from self._variables()
        if kind.startswith("PATH") or kind in ("FILE", "FILE|FOLDER", "RUN|NOTEBOOK"):
            yield from _files(word, suffix=".ipynb" if kind == "RUN|NOTEBOOK" else "")

    def _runs(self, word: str) -> Iterator[str]:
        for head in ("@best:", "@worst:"):
            if word.startswith(head):
                yield from (head + key for key in self._metrics())
                return
        yield from _SELECTORS
        variables = self._session.user_ns or {}
        yield from [name for name, value in list(variables.items()) if isinstance(value, (Run, ActiveRun)) and not name.startswith("_")]
        runs = self.known.runs
        yield from (name if " " not in name else f"'{name}'" for name in runs.values())
        if len(word) >= 2:
            yield from (run_id[:_ID_SHOWN] for run_id in runs)

    def _metrics(self) -> list[str]:
        return list(dict.fromkeys([*(key for run in list(self._session.runs) for key in list(run.latest)), *self.known.metrics]))

    def _variables(self) -> list[str]:
        return sorted(name for name in list(self._session.user_ns or {}) if not name.startswith("_"))


def _files(word: str, suffix: str) -> list[str]:
    folder, _, start = word.rpartition("/")
    found = []
    try:
        with os.scandir(folder or ("/" if word.startswith("/") else ".")) as entries:
            for entry in entries:
                if entry.name.startswith(start) and not (entry.name.startswith(".") and not start):
                    is_folder = entry.is_dir()
                    if is_folder or entry.name.endswith(suffix):
                        found.append(f"{folder}/{entry.name}" if "/" in word else entry.name)
                        found[-1] += "/" if is_folder else ""
                if len(found) == _MOST:
                    break
    except OSError:  # no folder, or none of ours
        return []
    return sorted(found)
