"""`%compare`: thin; it parses its words and makes one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

import mlops_nb
from mlops_nb import fluent
from mlops_nb.core.records import Run
from mlops_nb.errors import InvalidInput
from mlops_nb.magics.arguments import joined, split_words, unquoted
from mlops_nb.magics.parsers import COMPARE, parser_of
from mlops_nb.magics.twins import compare_twin
from mlops_nb.tracking.run import ActiveRun

_SIGNED = ("--metric", "-m")


@magics_class
class CompareMagics(Magics):
    """The magic that compares."""

    def __init__(self, shell: Any, say: Callable[[str], None]) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self.say = say

    @no_var_expand
    @line_magic
    def compare(self, line: str) -> Any:
        """Compare runs: what got better or worse, whether that is more than noise, and what explains it.

        %compare                                 the last two runs of this notebook
        %compare A B [C ...]                     the first is the base: %compare @last~1 @last
        %compare last 5 | QUERY                  the oldest is the base: %compare val_auc > .9 and tags.stage = 'dev'
            [--base RUN]                         another base
            [--what all|metrics|params|code|cells|outputs|data|env|system]
            [--metric val_auc,-loss]             only these, the first decides; '-' means lower is better
            [--by seed|KEY]                      groups of runs: those that differ in the seed only, or have the same KEY
            [--sig auto|bootstrap|mcnemar|seeds|off] [--alpha .05]
            [--plot curves|parallel|scatter|importance|confusion|roc]
            [--only-changed] [--export FILE.md|.html|.csv]

        RUN: @last, @last~1, @best:auc, @worst:loss, @main, tag:baseline, a name, the beginning of an id, or a variable with a run.

        %compare
        %compare @best:val_auc @last --metric val_auc
        %compare hgb rf --what cells
        %compare last 10 --by seed --plot curves
        %compare tag:baseline @last --export report.md
        result = %compare @last~1 @last

        The result has .df, .metrics, .params, .cells, .causes, .verdict, .to_markdown(), .to_html() and .export().
        A difference is noise unless a test says otherwise: runs keep the predictions that scikit-learn's metrics are
        computed of; yours by mlops_nb.log_predictions(y, p). The Python that does the same: %compare A B --code
        """
        parser = parser_of(COMPARE)
        try:
            words = split_words(line, ())
        except InvalidInput as error:
            raise InvalidInput(f"%compare: {error.message}", hint=error.hint) from None
        if "--help" in words:
            return self.say(parser.help_text())
        arguments = parser.parse_args(joined(words, _SIGNED))
        if arguments.code:
            return self.say(compare_twin(arguments, self.shell.user_ns))
        found = fluent.compare(
            *(self._selected(word) for word in arguments.runs),
            base=self._selected(arguments.base) if arguments.base else None,
            what=arguments.what,
            metrics=unquoted(arguments.metric),
            by=unquoted(arguments.by) if arguments.by else None,
            sig=arguments.sig,
            alpha=arguments.alpha,
            only_changed=arguments.only_changed,
        )
        if arguments.export:
            self.say(f"Written: {found.export(unquoted(arguments.export))}")
        if arguments.plot:
            keys = [key.lstrip("-") for key in unquoted(arguments.metric).split(",") if key]
            display(mlops_nb.plot(arguments.plot, found.members, keys or None, group=found.by))  # type: ignore[no-untyped-call]
        return found

    def _selected(self, word: str) -> str | Run | ActiveRun:
        """Return what a RUN word stands for: a variable that holds a run, or a selector."""
        value = self.shell.user_ns.get(word) if word.isidentifier() else None
        return value if isinstance(value, (Run, ActiveRun)) else unquoted(word)
