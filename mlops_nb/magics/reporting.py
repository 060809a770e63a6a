"""`%report`: thin; it parses its words and makes one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from mlops_nb import fluent
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.magics.arguments import split_words, unquoted
from mlops_nb.magics.parsers import REPORT, parser_of
from mlops_nb.magics.twins import report_twin
from mlops_nb.tracking.run import ActiveRun


@magics_class
class ReportMagics(Magics):
    """The magic that previews."""

    def __init__(self, shell: Any, say: Callable[[str], None]) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self.say = say

    @no_var_expand
    @line_magic
    def report(self, line: str) -> Any:
        """Preview the report that a pull request with this run would get, as its reviewer sees it. Nothing is posted.

        %report                       the last run against @main, if there is one
        %report RUN --vs @main
            [--forge github|gitlab|bitbucket] [--gates .mlops/gates.yml]
            [--dvc-metrics FILE] [--dvc-plots FILE|FOLDER] [--export FILE.md|.html|.json]

        RUN: @last, @last~1, @best:auc, @main, tag:baseline, a name, the beginning of an id, or a variable with a run.

        The result has .data, .to_markdown(), .to_html() and .write(). The Python that does the same: %report --code
        """
        parser = parser_of(REPORT)
        try:
            words = split_words(line, ())
        except InvalidInput as error:
            raise InvalidInput(f"%report: {error.message}", hint=error.hint) from None
        if "--help" in words:
            return self.say(parser.help_text())
        arguments = parser.parse_args(words)
        if arguments.code:
            return self.say(report_twin(arguments, self.shell.user_ns))
        found = fluent.report(
            self._selected(arguments.run),
            vs=self._selected(arguments.vs) if arguments.vs else None,
            forge=arguments.forge,
            **{name: unquoted(text) for name in ("gates", "dvc_metrics", "dvc_plots") if (text := getattr(arguments, name))},
        )
        if arguments.export:
            self.say(f"Written: {found.export(unquoted(arguments.export))}")
        return found

    def _selected(self, word: str) -> str | Run | ActiveRun:
        """Return what a RUN word stands for: a variable that holds a run, or a selector."""
        value = self.shell.user_ns.get(word) if word.isidentifier() else None
        return value if isinstance(value, (Run, ActiveRun)) else unquoted(word)
