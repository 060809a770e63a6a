"""`%track`, `%%track` and `%mlops`: thin; each verb parses its words and makes one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display as _display

import mlops_nb
from mlops_nb import fluent
from mlops_nb.core.filters import order_clause
from mlops_nb.core.names import check_param
from mlops_nb.core.records import TAG_ATTEMPT, TAG_SERIES, Run, Series
from mlops_nb.core.redaction import is_secret_name
from mlops_nb.core.run_state import RunStatus
from mlops_nb.errors import InvalidInput, MlopsError, StoreError, did_you_mean
from mlops_nb.execution.ledger import CellLedger
from mlops_nb.magics.arguments import MagicParser, split_assignment, split_words, unquoted
from mlops_nb.tracking import figures
from mlops_nb.tracking.lookup import Runs
from mlops_nb.tracking.run import ActiveRun
from mlops_nb.tracking.session import Session
from mlops_nb.tracking.target import resolve

VERBS = ("start", "stop", "log", "file", "ls", "show", "note", "tag", "delete")
_CELL_VERB = "_cell"
_CELL_LINE = re.compile(r"%%track(?:[ \t]+(?P<rest>.*))?")


def show(run: ActiveRun) -> None:
    """Show the card of a run under the running cell."""
    _display(run)  # type: ignore[no-untyped-call]  # IPython's display has no types


def begin_of_track_cell(lines: list[str]) -> list[str]:
    """Turn the first line of a `%%track` cell into a call that opens the run.

    The rest of the cell stays plain code of this cell: its errors, `await`, inner magics, line numbers and last value
    are native. The cell hooks end the run.
    """
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    match = _CELL_LINE.fullmatch(lines[first].rstrip()) if lines else None
    if match is None:
        return lines
    words = f"{_CELL_VERB} {(match['rest'] or '').strip()}".strip()
    return [*lines[:first], f"get_ipython().run_line_magic('track', {words!r})\n", *lines[first + 1 :]]


def _start_parser(verb: str) -> MagicParser:
    parser = MagicParser(f"%track {verb}" if verb == "start" else "%%track")
    parser.add_argument("name", nargs="?", help="what people call the run")
    parser.add_argument("-e", "--experiment", help="the experiment it belongs to")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="KEY=EXPR", help="a param; EXPR is Python")
    parser.add_argument("-t", "--tag", action="append", default=[], metavar="TAG[=VALUE]", help="a tag")
    parser.add_argument("-n", "--note", help="a note (Markdown)")
    parser.add_argument("--parent", metavar="RUN", help="make it a child of this run")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run")
    return parser


@magics_class
class TrackMagics(Magics):
    """The magics of tracking, on one session."""

    def __init__(self, shell: Any, session: Session, ledger: CellLedger) -> None:
        super().__init__(shell)
        self.shell: Any = shell
        self.session = session
        self.ledger = ledger
        self._attempts: dict[str, int] = {}
        ledger.on_cell_run_ended = show

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
        %track start [NAME] [-e EXPERIMENT] [-p KEY=EXPR] [-t TAG[=VALUE]] [-n NOTE] [--parent RUN | --resume RUN]
        %track log KEY=EXPR ... [--step EXPR]      metrics; EXPR is Python: %track log auc=roc_auc_score(y, p)
        %track stop [--status finished|failed|killed] [-n NOTE]
        %track file PATH|FIGURE ... [--as NAME]    keep a copy of a file, or a figure
        %track ls [QUERY] [--sort -METRIC] [-n 20] runs: %track ls metrics.auc > .9 and params.lr = '0.1'
        %track show [RUN]                          one run: @last, @best:auc, a name, the beginning of an id
        %track note RUN TEXT | tag RUN TAG[=VALUE] ... | delete RUN

        %%track [NAME] [options of start]          the cell is a run: it begins and ends with the cell

        In Python the same: mlops_nb.start_run(), run.log(), run.stop(), mlops_nb.search_runs(), mlops_nb.get_run().
        On the command line: mlops-nb track ls, mlops-nb track show.
        """
        try:
            words = split_words(line)
        except InvalidInput as error:
            raise InvalidInput(f"%track: {error.message}", hint=error.hint) from None
        if not words:
            return self._status()
        verb, rest = words[0], words[1:]
        if verb == _CELL_VERB:
            return self._cell(rest)
        if verb not in VERBS:
            guess = did_you_mean(verb, VERBS)
            raise InvalidInput(f"%track: no sub-command '{verb}'.", hint=guess or "Write %track? for help.")
        handler: Callable[[Sequence[str]], Any] = getattr(self, f"_{verb}")
        return handler(rest)

    @no_var_expand
    @line_magic
    def mlops(self, line: str) -> Any:
        """Everything under one name: `%mlops track ...` is `%track ...`; `%mlops doctor` checks the installation."""
        verb, _, rest = line.strip().partition(" ")
        if verb == "track":
            return self.shell.run_line_magic("track", rest)
        if verb in ("", "doctor"):
            from mlops_nb.magics.doctor import report

            return self.say(report())
        raise InvalidInput(f"%mlops: no sub-command '{verb}'.", hint=did_you_mean(verb, ("track", "doctor")) or "Write %mlops? for help.")

    # -- the verbs

    def _status(self) -> Any:
        for run in self.session.runs:
            show(run)
        try:
            return fluent.search_runs(max_results=5)
        except StoreError as error:
            return self.say(f"⚠ {error}")

    def _start(self, words: Sequence[str]) -> ActiveRun:
        open_run = self.session.active
        arguments = _start_parser("start").parse_args(words)
        params = self._params(arguments.param)
        run = self._open(arguments, params, name=arguments.name, tags=_tags(arguments.tag), instead=open_run)
        if open_run is not None:
            self.say(f"{open_run.name} was still open; it is stopped.")
        return run

    def _cell(self, words: Sequence[str]) -> None:
        parser = _start_parser("cell")
        parser.add_argument("--series", help="the series that this attempt belongs to; the name by default")
        arguments = parser.parse_args(words)
        series = arguments.series or (unquoted(arguments.name) if arguments.name else None)
        name, tags = arguments.name, _tags(arguments.tag)
        if series is not None:
            attempt = self._attempts[series] = self._attempts.get(series, 0) + 1
            tags |= {TAG_SERIES: series, TAG_ATTEMPT: str(attempt)}
            name = f"{series} #{attempt}"
        self.ledger.cell_run = self._open(arguments, self._params(arguments.param), name=name, tags=tags, nested=True)

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
        parent, resume = (None if word is None else fluent.get_run(self._selected(word)) for word in (arguments.parent, arguments.resume))
        if instead is not None:
            instead.stop()
        return fluent.start_run(
            unquoted(name) if name else None,
            experiment=unquoted(arguments.experiment) if arguments.experiment else None,
            params=params,
            tags=tags,
            note=unquoted(arguments.note) if arguments.note else None,
            parent=parent,
            resume=resume,
            nested=nested,
        )

    def _stop(self, words: Sequence[str]) -> ActiveRun | None:
        parser = MagicParser("%track stop")
        parser.add_argument("--status", default="finished", choices=["finished", "failed", "killed"])
        parser.add_argument("-n", "--note")
        arguments = parser.parse_args(words)
        run = self.session.active
        if run is None:
            raise InvalidInput("%track stop: no run is open.", hint="Start one: %track start")
        if arguments.note:
            run.note(unquoted(arguments.note))
        run.stop(RunStatus(arguments.status.upper()))
        return run

    def _log(self, words: Sequence[str]) -> None:
        parser = MagicParser("%track log")
        parser.add_argument("metrics", nargs="+", metavar="KEY=EXPR")
        parser.add_argument("--step", metavar="EXPR")
        arguments = parser.parse_args(words)
        values = self._expressions(arguments.metrics, "log")
        step = None if arguments.step is None else self._evaluate(arguments.step, "log")
        (self.session.active or fluent.start_run()).log(values, step=step)

    def _file(self, words: Sequence[str]) -> None:
        parser = MagicParser("%track file")
        parser.add_argument("things", nargs="+", metavar="PATH|FIGURE")
        parser.add_argument("--as", dest="name", metavar="NAME", help="what it is called among the artifacts")
        arguments = parser.parse_args(words)
        run = self.session.active or fluent.start_run()
        for word in arguments.things:
            thing = self.shell.user_ns.get(word, unquoted(word))
            if figures.is_figure(thing):
                run.log_figure(thing, unquoted(arguments.name or figures.default_name(thing, word)))
            elif arguments.name:
                name = Path(unquoted(arguments.name))
                run.add_file(Path(str(thing)), name.as_posix())
            else:
                run.log_artifact(str(thing))

    def _ls(self, words: Sequence[str]) -> Runs:
        parser = MagicParser("%track ls")
        parser.add_argument("query", nargs="*")
        parser.add_argument("-s", "--sort", metavar="[-]METRIC", help="order by a metric; '-' means the highest first")
        parser.add_argument("-n", "--number", type=int, default=20)
        parser.add_argument("-e", "--experiment")
        # argparse would take the value of `--sort -val_auc` for an option.
        given = re.sub(r"(?<!\S)(--sort|-s) (?=-)", "--sort=", " ".join(words))
        arguments = parser.parse_args(given.split(" "))
        order = [order_clause(arguments.sort)] if arguments.sort else []
        return fluent.search_runs(" ".join(arguments.query), order_by=order, max_results=arguments.number, experiment=arguments.experiment)

    def _show(self, words: Sequence[str]) -> Run:
        parser = MagicParser("%track show")
        parser.add_argument("run", nargs="?", metavar="RUN")
        arguments = parser.parse_args(words)
        return fluent.get_run(self._selected(arguments.run or self.session.active or "@last"))

    def _note(self, words: Sequence[str]) -> None:
        if len(words) < 2:
            raise InvalidInput("%track note: needs a run and a text.", hint="For example: %track note @last 'too slow'")
        self._change(words[0], {"mlflow.note.content": unquoted(" ".join(words[1:]))})

    def _tag(self, words: Sequence[str]) -> None:
        if len(words) < 2:
            raise InvalidInput("%track tag: needs a run and a tag.", hint="For example: %track tag @last baseline")
        self._change(words[0], _tags(words[1:]))

    def _delete(self, words: Sequence[str]) -> None:
        parser = MagicParser("%track delete")
        parser.add_argument("run", metavar="RUN")
        run = fluent.get_run(self._selected(parser.parse_args(words).run))
        fluent.delete_run(run)
        self.say(f"{run.name} ({run.run_id[:8]}) is deleted. It can be restored: mlops-nb track restore {run.run_id[:8]}")

    # -- parts

    def series_of(self, run: Run) -> list[Series]:
        """Return the curves of a run for its card; none when the store has gone."""
        try:
            return self.session.store().series(run.run_id, max_points=120)
        except MlopsError:
            return []

    def _change(self, selector: str, tags: dict[str, str]) -> None:
        fluent.tag_run(self._selected(selector), tags)

    def _selected(self, word: str | ActiveRun) -> str | Run | ActiveRun:
        """Return what a RUN word stands for: a variable that holds a run, or a selector."""
        if isinstance(word, ActiveRun):
            return word
        value = self.shell.user_ns.get(word) if word.isidentifier() else None
        return value if isinstance(value, (Run, ActiveRun)) else unquoted(word)

    def _params(self, words: Sequence[str]) -> dict[str, Any]:
        return self._expressions(words, "start")

    def _expressions(self, words: Sequence[str], verb: str) -> dict[str, Any]:
        values = {}
        for word in words:
            assignment = split_assignment(word)
            if assignment is None:
                raise InvalidInput(f"%track {verb}: '{word}' is not KEY=EXPR.", hint=f"For example: %track {verb} acc={word}")
            key, expression = assignment
            if is_secret_name(key) and re.match(r"""[rbuf]*["']""", expression):
                raise InvalidInput(
                    f"%track {verb}: '{key}' looks like a secret, written out in the notebook.",
                    hint="Keep it in an environment variable and clear this cell; the notebook and its history hold it.",
                )
            values[key] = self._evaluate(expression, verb, key)
        return values

    def _evaluate(self, expression: str, verb: str, key: str = "--step") -> Any:
        try:
            return self.shell.ev(expression)
        except Exception as error:  # the expression is the user's; whatever it raises is the answer
            raise InvalidInput(f"%track {verb}: {key}={expression} cannot be evaluated: {type(error).__name__}: {error}") from error


def _tags(words: Sequence[str]) -> dict[str, str]:
    tags = {}
    for word in words:
        key, _, value = word.partition("=")
        tags[unquoted(key)] = unquoted(value) if value else "true"
    return tags
