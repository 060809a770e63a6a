"""`%track`, `%%track` and `%mlops`: thin; each verb parses its words and makes one call. This file has the verbs that record."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display as _display

import mlops_nb
from mlops_nb import fluent
from mlops_nb.core.names import check_param
from mlops_nb.core.records import TAG_ATTEMPT, TAG_SERIES, Run
from mlops_nb.core.redaction import Redactor, is_secret_name
from mlops_nb.core.registry import check_new_alias
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, StoreError, did_you_mean
from mlops_nb.execution.ledger import CellLedger
from mlops_nb.magics import scoring
from mlops_nb.magics.arguments import joined, split_assignment, split_words, unquoted
from mlops_nb.magics.live import LiveCard, live_card
from mlops_nb.magics.parsers import CELL_VERB, VERBS, parser_of
from mlops_nb.magics.reading import ReadingVerbs
from mlops_nb.magics.runner import RunnerMagics
from mlops_nb.magics.seeding import seed_everything
from mlops_nb.magics.serve import ServeMagics
from mlops_nb.magics.twins import twin_of
from mlops_nb.tracking import figures, watching
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.session import Session
from mlops_nb.tracking.target import resolve

_EXPRESSIONS = ("--step", "--seed", "--example")
_CELL_LINE = re.compile(r"%%track(?:[ \t]+(?P<rest>.*))?")
_HELP_LINE = re.compile(r"\s*(?P<magic>%{1,2}track)(?:\s+(?P<verb>\w+))?\s*\?{1,2}\s*")
_UNDER_MLOPS = ("track", "compare", "report", "serve", "runner", "doctor")
_LITERAL = re.compile(r"""[rbuf]*["']""")


def show(run: ActiveRun) -> None:
    """Show the card of a run under the running cell."""
    _display(run)  # type: ignore[no-untyped-call]  # IPython's display has no types


def begin_of_track_cell(lines: list[str]) -> list[str]:
    """Turn the first line of a `%%track` cell into a call that opens the run, and `%track start?` into its help.

    The rest of the cell stays plain code of this cell: its errors, `await`, inner magics, line numbers and last value
    are native. The cell hooks end the run.
    """
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    asked = _HELP_LINE.fullmatch(lines[first]) if lines else None
    if asked is not None and (asked["verb"] in VERBS or asked["magic"] == "%%track"):
        verb = asked["verb"] if asked["magic"] == "%track" else CELL_VERB
        return [*lines[:first], f"get_ipython().run_line_magic('track', '{verb} --help')\n", *lines[first + 1 :]]
    match = _CELL_LINE.fullmatch(lines[first].rstrip()) if lines else None
    if match is None:
        return lines
    words = f"{CELL_VERB} {(match['rest'] or '').strip()}".strip()
    return [*lines[:first], f"get_ipython().run_line_magic('track', {words!r})\n", *lines[first + 1 :]]


@magics_class
class TrackMagics(ReadingVerbs, Magics):
    """The magics of tracking, on one session."""

    def __init__(self, shell: Any, session: Session, ledger: CellLedger) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self.session = session
        self.ledger = ledger
        self.serve = ServeMagics(shell)
        self.runner = RunnerMagics(shell)
        self._attempts: dict[str, int] = {}
        self._card: LiveCard | None = None
        self._quiet: list[tuple[ActiveRun, Any]] = []
        ledger.on_cell_run_ended = self._cell_run_ended

    def say(self, text: str) -> None:
        """Show one line."""
        print(text)  # noqa: T201  # the line that `%load_ext` prints

    def greeting(self) -> str:
        """Return the line that says where runs are recorded."""
        target = resolve()
        where = target.store_uri if "://" in target.store_uri and not target.store_uri.startswith("sqlite:") else str(target.state_dir)
        if target.state_dir == target.project.root / ".mlops":
            where = "./.mlops"
        return f"mlops_nb {mlops_nb.__version__} · project {target.project.name} · store {where} · %track? for help"

    @no_var_expand
    @line_magic
    def track(self, line: str) -> Any:
        """Track runs: what you try, with which params, and what came out.

        %track                                     the open run and the last ones
        %track on|off                              each fit and log opens a run or joins the open one; cells are noted
        %track start [NAME] [-e EXPERIMENT] [-p KEY=EXPR] [-t TAG[=VALUE]] [-n NOTE] [--parent RUN | --resume RUN]
                     [--seed N] [--data PATH|VAR] [--no-autolog]
        %track stop [--status finished|failed|killed] [-n NOTE]
        %track log KEY=EXPR ... [--step EXPR]      metrics; EXPR is Python: %track log auc=roc_auc_score(y, p)
        %track watch NAME ...                      log these variables after each cell that changed them
        %track model VAR [--name NAME] [--register] [--alias ALIAS]
        %track data PATH|VAR | file PATH|FIGURE ... [--as NAME]
        %track ls [QUERY] [--sort -METRIC] [-n 20] runs: %track ls metrics.auc > .9 and params.lr = '0.1'
        %track table [QUERY] | explore [RUN ...|QUERY] [-m METRIC]  live views: runs to filter and compare; their curves
        %track show [RUN] [--tab metrics|params|cells|data|files|env|system|model|logs|traces]
        %track check [RUN]                         would this notebook give the same from top to bottom?
        %track reproduce RUN [--open] | restore RUN  run its cells again in a fresh kernel | get them as a new notebook
        %track share RUN --static FILE.html        one page to pass on: charts, params, cells, environment
        %track note RUN TEXT | tag RUN TAG[=VALUE] ... | archive RUN ... | delete RUN ... [--undo]
        %track privacy [--level source|hash|off]   what is captured, where it goes, how to take less

        %%track [NAME] [options of start] [--series NAME] [--append RUN]
                                                   the cell is a run, with a live card: it begins and ends with the cell

        RUN: @last, @last~1, @best:auc, @worst:loss, @main, tag:baseline, a name, the beginning of an id, or a variable with a run.

        %track start lr-sweep -e churn -p lr=lr -t baseline
        %track log auc=roc_auc_score(y, p) --step epoch
        %track ls val_auc > .9 --sort -val_auc
        %track show @best:val_auc --tab cells
        %track share @last --static run.html
        %%track hgb --series lr-sweep

        More of one: %track start? or %track start --help. The Python that does the same: %track start x --code
        In Python: mlops_nb.start_run(), run.log(), mlops_nb.search_runs(). On the command line: mlops-nb track --help.
        """
        try:
            words = split_words(line, _EXPRESSIONS)
        except InvalidInput as error:
            raise InvalidInput(f"%track: {error.message}", hint=error.hint) from None
        self.known.refresh()
        if not words:
            return self._status()
        verb, rest = words[0], words[1:]
        if verb != CELL_VERB and verb not in VERBS:
            raise InvalidInput(f"%track: no sub-command '{verb}'.", hint=_meant(verb))
        _refuse_secrets(verb, line, rest)
        parser = parser_of(verb)
        if "--help" in rest:
            return self.say(parser.help_text())
        arguments = parser.parse_args(joined(rest, ("--sort", "-s")))
        if arguments.code:
            named = "start" if verb == CELL_VERB else verb
            return self.say(twin_of(named, arguments, variables=self.shell.user_ns, is_cell=verb == CELL_VERB))
        handler: Callable[[Any], Any] = getattr(self, f"_{verb.lstrip('_')}")
        return handler(arguments)

    @no_var_expand
    @line_magic
    def mlops(self, line: str) -> Any:
        """Everything under one name: `%mlops track|compare|report|serve|runner ...`; `%mlops doctor` checks."""
        verb, _, rest = line.strip().partition(" ")
        if verb in ("track", "compare", "report"):
            return self.shell.run_line_magic(verb, rest)
        if verb == "serve":
            return self.serve.run(rest)
        if verb == "runner":
            return self.runner.run(rest)
        if verb in ("", "doctor"):
            from mlops_nb.magics.doctor import report

            return self.say(report())
        raise InvalidInput(f"%mlops: no sub-command '{verb}'.", hint=did_you_mean(verb, _UNDER_MLOPS) or "Write %mlops? for help.")

    # -- runs

    def _status(self) -> Any:
        for run in self.session.runs:
            show(run)
        try:
            return fluent.search_runs(max_results=5)
        except StoreError as error:
            return self.say(f"⚠ {error}")

    def _on(self, _: Any) -> None:
        fluent.privacy("source" if os.environ.get("MLOPS_NB_CAPTURE") == "off" else None)
        if not self.ledger.is_installed:
            self.ledger.faults = 0
            self.ledger.install()
        mlops_nb.autolog()
        self.say("Tracking is on: cells are noted, and each fit or log opens a run or joins the open one. %track off ends it.")

    def _off(self, _: Any) -> None:
        mlops_nb.autolog(disable=True)
        self.ledger.uninstall()
        self.say("Tracking is off: what you log yourself is still recorded.")

    def _start(self, arguments: Any) -> ActiveRun:
        open_run = self.session.active
        params = self._params(arguments)
        run = self._open(arguments, params, name=arguments.name, tags=_tags(arguments.tag), instead=open_run)
        if open_run is not None:
            self.say(f"{open_run.name} was still open; it is stopped.")
        return run

    def _cell(self, arguments: Any) -> None:
        if arguments.append is not None and arguments.resume is None:
            arguments.resume = arguments.append
        series = arguments.series or (unquoted(arguments.name) if arguments.name else None)
        name, tags = arguments.name, _tags(arguments.tag)
        params = self._params(arguments)
        if series is not None:
            attempt = self._attempts.get(series, 0) + 1
            tags |= {TAG_SERIES: series, TAG_ATTEMPT: str(attempt)}
            name = f"{series} #{attempt}"
        before = list(self.session.runs)
        try:
            run = self._open(arguments, params, name=name, tags=tags, nested=True)
        finally:  # also an interrupt that comes while it opens leaves a run that the end of the cell must end
            self.ledger.cell_run = next((one for one in self.session.runs if one not in before), None)
        if series is not None:
            self._attempts[series] = attempt
        self._card = live_card(run, self.shell)

    def _cell_run_ended(self, run: ActiveRun) -> None:
        card, self._card = self._card, None
        if card is not None:
            card.finish()
        else:
            show(run)

    def _open(
        self,
        arguments: Any,
        params: dict[str, Any],
        *,
        name: str | None,
        tags: dict[str, str],
        nested: bool = False,
        instead: ActiveRun | None = None,
    ) -> ActiveRun:
        """Start a run. The one that it takes the place of ends only when nothing is wrong with what was asked for."""
        for key, value in params.items():
            check_param(key, value)
        parent, resume = (None if word is None else fluent.get_run(self.selected(word)) for word in (arguments.parent, arguments.resume))
        if instead is not None:
            instead.stop()
            self.after_cell()
        run = fluent.start_run(
            unquoted(name) if name else None,
            experiment=unquoted(arguments.experiment) if arguments.experiment else None,
            params=params,
            tags=tags,
            note=unquoted(arguments.note) if arguments.note else None,
            parent=parent,
            resume=resume,
            nested=nested,
        )
        if arguments.no_autolog:
            from mlops_nb.tracking.autolog import suppressed

            switch = suppressed()
            switch.__enter__()
            self._quiet.append((run, switch))
        for word in arguments.data:
            fluent.log_data(self._thing(word), None if not word.isidentifier() else word)
        return run

    def after_cell(self, *_result: Any) -> None:
        """Let autolog work again when the runs that did without it have ended. Called after each cell."""
        for run, switch in [pair for pair in self._quiet if not pair[0].is_open]:
            self._quiet.remove((run, switch))
            switch.__exit__()

    def _stop(self, arguments: Any) -> ActiveRun | None:
        run = self.session.active
        if run is None:
            raise InvalidInput("%track stop: no run is open.", hint="Start one: %track start")
        if arguments.note:
            run.note(unquoted(arguments.note))
        run.stop(RunStatus(arguments.status.upper()))
        self.after_cell()
        return run

    # -- what goes into them

    def _log(self, arguments: Any) -> None:
        values = self._expressions(arguments.metrics, "log")
        step = None if arguments.step is None else self._evaluate(arguments.step, "log")
        prefix = "".join(f"{unquoted(word.partition('=')[2])}/" for word in arguments.ctx)
        (self.session.active or fluent.start_run()).log({prefix + key: value for key, value in values.items()}, step=step)

    def _watch(self, arguments: Any) -> None:
        if arguments.names or arguments.off:
            fluent.watch(*(() if arguments.off else arguments.names))
        watched = ", ".join(watching.current.names)
        self.say(f"Watched: {watched}." if watched else "Nothing is watched.")

    def _model(self, arguments: Any) -> Any:
        model = self._evaluate(arguments.variable, "model", arguments.variable)
        example = None if arguments.example is None else self._evaluate(arguments.example, "model", "--example")
        name = unquoted(arguments.name) if arguments.name else arguments.variable if arguments.variable.isidentifier() else "model"
        if arguments.alias is not None:
            check_new_alias(unquoted(arguments.alias))
        info = mlops_nb.log_model(model, name=name, input_example=example)
        if arguments.register or arguments.alias is not None:
            version = fluent.register_model(info.model_uri, name, alias=None if arguments.alias is None else unquoted(arguments.alias))
            named = f" @{version.aliases[0]}" if version.aliases else ""
            self.say(f"{version.name} v{version.version}{named}")

    def _data(self, arguments: Any) -> Any:
        word = arguments.thing
        name = unquoted(arguments.name) if arguments.name else word if word.isidentifier() and word in self.shell.user_ns else None
        data = fluent.log_data(self._thing(word), name, context=unquoted(arguments.context) if arguments.context else None)
        self.say(f"{data.name} · {data.digest}")

    def _file(self, arguments: Any) -> None:
        run = self.session.active or fluent.start_run()
        for word in arguments.things:
            thing = self.shell.user_ns.get(word, unquoted(word))
            if figures.is_figure(thing):
                run.log_figure(thing, unquoted(arguments.name or figures.default_name(thing, word)))
            elif arguments.name:
                run.add_file(Path(str(thing)), Path(unquoted(arguments.name)).as_posix())
            else:
                run.log_artifact(str(thing))

    # -- parts

    def selected(self, word: str | Run | ActiveRun) -> str | Run | ActiveRun:
        """Return what a RUN word stands for: a variable that holds a run, or a selector."""
        if not isinstance(word, str):
            return word
        value = self.shell.user_ns.get(word) if word.isidentifier() else None
        return value if isinstance(value, (Run, ActiveRun)) else unquoted(word)

    def _thing(self, word: str) -> Any:
        """Return the value of a Python expression that begins with a variable, or else the word: a path."""
        name = re.split(r"[\[.(]", word, maxsplit=1)[0]
        return self._evaluate(word, "data", word) if name.isidentifier() and name in self.shell.user_ns else unquoted(word)

    def _params(self, arguments: Any) -> dict[str, Any]:
        params = self._expressions(arguments.param, "start")
        if arguments.seed is not None:
            params["seed"] = seed_everything(self._evaluate(arguments.seed, "start", "--seed"))
        return params

    def _expressions(self, words: Sequence[str], verb: str) -> dict[str, Any]:
        values = {}
        for word in words:
            assignment = split_assignment(word)
            if assignment is None:
                raise InvalidInput(f"%track {verb}: '{word}' is not KEY=EXPR.", hint=f"For example: %track {verb} acc={word}")
            values[assignment[0]] = self._evaluate(assignment[1], verb, assignment[0])
        return values

    def _evaluate(self, expression: str, verb: str, key: str = "--step") -> Any:
        try:
            return scoring.evaluate(self.shell, expression) if verb == "log" else self.shell.ev(expression)
        except Exception as error:  # the expression is the user's; whatever it raises is the answer
            raise InvalidInput(f"%track {verb}: {key}={expression} cannot be evaluated: {type(error).__name__}: {error}") from error


def _meant(verb: str) -> str:
    near = difflib.get_close_matches(verb, VERBS, n=1)
    return f"Did you mean `%track {near[0]}`?   (%track? for help)" if near else "Write %track? for help."


def _refuse_secrets(verb: str, line: str, words: Sequence[str]) -> None:
    """Refuse a line that holds a secret: the notebook and its history have it already, and the store is not to have it too.

    Raises:
        InvalidInput: With the safe ways.
    """
    for before, word in zip(["", *words], words, strict=False):
        key, equals, value = word.partition("=")
        is_literal = bool(value) and (before in ("-t", "--tag") or verb == "tag" or _LITERAL.match(value) is not None)
        if equals and is_secret_name(key) and is_literal and not unquoted(value).startswith("env:"):
            _refuse(verb, f"'{key}' looks like a secret, written out in the notebook.")
    if Redactor(os.environ)(line) != line:
        _refuse(verb, "the line holds what looks like a secret.")


def _refuse(verb: str, what: str) -> None:
    raise InvalidInput(
        f"%{'%track' if verb == CELL_VERB else f'track {verb}'}: {what}",
        hint="Read it with getpass.getpass() or from an environment variable, and clear this cell: the notebook and its history hold it.",
    )


def _tags(words: Sequence[str]) -> dict[str, str]:
    tags = {}
    for word in words:
        key, _, value = word.partition("=")
        tags[unquoted(key)] = unquoted(value) if value else "true"
    return tags
