"""Tab completion of `%track`, from what this process knows already: it never waits for the store."""

from __future__ import annotations

from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

from mlops_nb.magics.track import VERBS
from mlops_nb.tracking.session import Session

_OPTIONS = {
    "start": ("--experiment", "--param", "--tag", "--note", "--parent", "--resume"),
    "stop": ("--status", "--note"),
    "log": ("--step",),
    "file": ("--as",),
    "ls": ("--sort", "--number", "--experiment"),
}
_SELECTORS = ("@last", "@last~1", "@best:", "@worst:")


class TrackCompleter:
    """Completes sub-commands, options, selectors and the names of the metrics of this session."""

    def __init__(self, session: Session) -> None:
        self._session = session

        @context_matcher(identifier="mlops_nb.track")  # type: ignore[untyped-decorator]
        def matcher(context: Any) -> dict[str, Any]:
            words = self.complete(context.line_with_cursor[: context.cursor_position], context.token)
            return {"completions": [SimpleCompletion(word) for word in words], "suppress": bool(words)}

        self.matcher = matcher

    def complete(self, before: str, token: str) -> list[str]:
        """Return what may stand where the cursor is; `before` is the line up to there, `token` its last piece."""
        text = before.lstrip()
        if not text.startswith(("%track ", "%%track ")):
            return []
        words = text.split()[1:]
        if text[-1].isspace():
            words.append("")
        if len(words) == 1 and text.startswith("%track "):
            candidates: tuple[str, ...] = VERBS
        else:
            verb = words[0] if text.startswith("%track ") else "start"
            metrics = tuple(f"{key}=" for run in self._session.runs for key in run.latest) if verb == "log" else ()
            selectors = _SELECTORS if verb in ("show", "note", "tag", "delete") else ()
            candidates = (*_OPTIONS.get(verb, ()), *metrics, *selectors)
        # IPython's token may begin after a character such as '-' or '@' of the word; it replaces the token only.
        word = words[-1]
        skipped = len(word) - len(token) if word.endswith(token) else 0
        return [candidate[skipped:] for candidate in candidates if candidate.startswith(word)]
