"""Tab completion of `%serve`: sub-commands, options, endpoints, variables, runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlops_nb.magics.knowledge import Knowledge
from mlops_nb.magics.serve_parsers import START_VERB, VERBS, parser_of
from mlops_nb.magics.verb_completion import VerbCompleter
from mlops_nb.tracking.session import Session


class ServeCompleter(VerbCompleter):
    """Completes a line of `%serve`."""

    def __init__(self, session: Session, known: Knowledge) -> None:
        super().__init__("serve", VERBS, parser_of, start=START_VERB)
        self._session = session
        self._known = known

    def refresh(self) -> None:
        """Read runs and endpoints anew where they are not fresh."""
        self._known.refresh()
        super().refresh()

    def values(self, kind: str) -> Iterator[str]:
        """Return what stands for a metavar."""
        if kind in ("VAR|RUN|MODEL", "VAR|RUN", "VAR", "EXPR"):
            yield from sorted(name for name in list(self._session.user_ns or {}) if not name.startswith("_"))
        if kind in ("VAR|RUN|MODEL", "VAR|RUN"):
            yield from ("@last", "@best:", *(("models:/", "runs:/") if kind == "VAR|RUN|MODEL" else ()))
            yield from self._known.runs.values()
        if kind in ("ENDPOINT", "NAME"):
            yield from self.names
        if kind == "ALIAS":
            yield from ("prod", "staging", "challenger")
        if kind == "TIME":
            yield from ("30m", "2h", "8h", "1d")
        if kind == "SHARE":
            yield from ("5%", "10%", "50%")

    def read_names(self) -> Sequence[str]:
        """Return the names of the endpoints."""
        from mlops_nb.fluent.serving import find_server

        return [info.name for info in find_server().all()]
