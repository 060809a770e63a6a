"""What each sub-command of `%track` takes: one parser a verb, which help, completion and the Python twin read too."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mlops_nb.magics.arguments import MagicParser

CELL_VERB = "_cell"
COMPARE = "_compare"
"""The parser of the magic `%compare`."""
REPORT = "_report"
"""The parser of the magic `%report`."""


def _start_options(parser: MagicParser) -> MagicParser:
    parser.add_argument("name", nargs="?", help="what people call the run")
    parser.add_argument("-e", "--experiment", metavar="EXPERIMENT", help="the experiment it belongs to; made where it is missing")
    parser.add_argument("-p", "--param", action="append", default=[], metavar="KEY=EXPR", help="a param; EXPR is Python; repeatable")
    parser.add_argument("-t", "--tag", action="append", default=[], metavar="TAG[=VALUE]", help="a tag; repeatable")
    parser.add_argument("-n", "--note", metavar="TEXT", help="a note (Markdown)")
    parser.add_argument("--parent", metavar="RUN", help="make it a child of this run")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run")
    parser.add_argument("--seed", metavar="EXPR", help="seed random, numpy and torch with it, and log it as a param")
    parser.add_argument("--data", action="append", default=[], metavar="PATH|VAR", help="note this data; repeatable")
    parser.add_argument("--no-autolog", action="store_true", help="log nothing by itself in this run")
    return parser


def _start() -> MagicParser:
    return _start_options(
        MagicParser(
            "%track start",
            "Start a run; what follows in any cell belongs to it until %track stop.",
            ["%track start", "%track start lr-sweep -e churn -p lr=lr -p depth=6 -t baseline", "run = %track start --resume @last"],
        )
    )


def _cell() -> MagicParser:
    parser = _start_options(
        MagicParser(
            "%%track",
            "The cell is a run: it begins and ends with it. Running the cell again is a new attempt in the same series.",
            ["%%track hgb -t baseline", "%%track hgb -p lr=lr --series lr-sweep", "%%track --append @last"],
        )
    )
    parser.add_argument("--series", metavar="NAME", help="the series that this attempt belongs to; the name by default")
    parser.add_argument("--append", metavar="RUN", help="add to this run instead of starting one")
    return parser


def _stop() -> MagicParser:
    parser = MagicParser("%track stop", "End the open run.", ["%track stop", "%track stop --status failed -n 'diverged'"])
    parser.add_argument("--status", default="finished", choices=["finished", "failed", "killed"], help="how it ended")
    parser.add_argument("-n", "--note", metavar="TEXT", help="a note (Markdown)")
    return parser


def _log() -> MagicParser:
    parser = MagicParser(
        "%track log",
        "Log metrics to the open run; starts one if none is open.",
        ["%track log auc=roc_auc_score(y, p)", "%track log loss=loss val_loss=val --step epoch", "%track log acc=.9 --ctx subset=val"],
    )
    parser.add_argument("metrics", nargs="+", metavar="KEY=EXPR", help="a metric; EXPR is Python")
    parser.add_argument("--step", metavar="EXPR", help="where on the x-axis; counts on by default")
    parser.add_argument("--ctx", metavar="KEY=VALUE", action="append", default=[], help="subset=val logs val/acc")
    return parser


def _watch() -> MagicParser:
    parser = MagicParser(
        "%track watch",
        "Log variables after each cell that changed them: numbers as metrics, others as params, then tags.",
        ["%track watch loss lr", "%track watch --off"],
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a variable; none shows what is watched")
    parser.add_argument("--off", action="store_true", help="watch nothing any more")
    return parser


def _model() -> MagicParser:
    parser = MagicParser(
        "%track model",
        "Keep a trained model with the open run, in MLflow's format.",
        [
            "%track model clf",
            "%track model clf --name churn --example X_val[:3]",
            "%track model clf --name churn --register --alias challenger",
        ],
    )
    parser.add_argument("variable", metavar="VAR", help="the model; Python")
    parser.add_argument("--name", metavar="NAME", help="what people call it; the variable's name by default")
    parser.add_argument("--example", metavar="EXPR", help="some rows of input, which give the signature")
    parser.add_argument("--register", action="store_true", help="make it the next version of the registered model of its name")
    parser.add_argument("--alias", metavar="ALIAS", help="let this alias name the version; registers it")
    return parser


def _data() -> MagicParser:
    parser = MagicParser(
        "%track data",
        "Note what data the open run uses: told apart by its whole content.",
        ["%track data data/churn.parquet", "%track data X_train --as train", "%track data df --for training"],
    )
    parser.add_argument("thing", metavar="PATH|VAR", help="a file, or a variable with a table or array")
    parser.add_argument("--as", dest="name", metavar="NAME", help="what people call it")
    parser.add_argument("--for", dest="context", metavar="CONTEXT", help="what it is for, such as training")
    return parser


def _file() -> MagicParser:
    parser = MagicParser(
        "%track file",
        "Keep a copy of files, folders or figures with the open run.",
        ["%track file report.html", "%track file fig --as plots/roc.svg"],
    )
    parser.add_argument("things", nargs="+", metavar="PATH|FIGURE", help="a path, or a variable with a figure or image")
    parser.add_argument("--as", dest="name", metavar="NAME", help="what it is called among the artifacts")
    return parser


TABS = ("metrics", "params", "cells", "data", "files", "env", "system", "model", "logs", "traces")


def _show() -> MagicParser:
    parser = MagicParser(
        "%track show", "Show one run.", ["%track show", "%track show @best:val_auc", "%track show calm-ibis-12 --tab cells"]
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="the open run, else the newest, by default")
    parser.add_argument("--tab", choices=TABS, help="only this of it")
    return parser


def _ls() -> MagicParser:
    parser = MagicParser(
        "%track ls",
        "List runs, the newest first. QUERY is a filter, or text that a name or tag contains.",
        ["%track ls", "%track ls val_auc > .9 and params.lr = '0.1' --sort -val_auc", "runs = %track ls baseline -n 100"],
    )
    parser.add_argument("query", nargs="*", metavar="QUERY", help="a filter or text")
    parser.add_argument("-s", "--sort", metavar="[-]METRIC", help="order by a metric; '-' means the highest first")
    parser.add_argument("-n", "--number", type=int, default=20, metavar="N", help="at most this many; 20 by default")
    parser.add_argument("-e", "--experiment", metavar="EXPERIMENT", help="only runs of this experiment")
    parser.add_argument("--archived", action="store_true", help="archived runs too")
    return parser


def _table() -> MagicParser:
    parser = MagicParser(
        "%track table",
        "Runs as a table to filter, sort, group and choose from, live. QUERY is a filter, or text that a name or tag contains.",
        [
            "%track table",
            "table = %track table val_auc > .9 --sort -val_auc --group params.model",
            "%track table sweep -c metrics.val_auc -c params.lr",
        ],
    )
    parser.add_argument("query", nargs="*", metavar="QUERY", help="a filter or text")
    parser.add_argument("-s", "--sort", default="", metavar="[-]METRIC", help="a metric or column; '-' means the highest first")
    parser.add_argument("-g", "--group", default="", metavar="COLUMN", help="runs with the same value stand together")
    parser.add_argument("-c", "--column", action="append", default=[], metavar="COLUMN", help="show this one; repeatable")
    return parser


def _explore() -> MagicParser:
    parser = MagicParser(
        "%track explore",
        "Curves of runs to look into, live: choose runs and metrics, smooth, zoom.",
        ["%track explore", "%track explore @last @best:val_auc -m val_auc -m loss", "%track explore tag:sweep --group seed"],
    )
    parser.add_argument("runs", nargs="*", metavar="RUN|QUERY", help="runs, or one filter or text; the newest by default")
    parser.add_argument("-m", "--metric", action="append", default=[], metavar="METRIC", help="draw this one; repeatable")
    parser.add_argument("-g", "--group", default="", metavar="seed|PARAM", help="the mean over seeds, or over runs with the same param")
    parser.add_argument("--axis", choices=["step", "time", "relative"], default="step", help="what x is")
    parser.add_argument("--smoothing", type=float, default=0.0, metavar="S", help="0 (none) to 1")
    parser.add_argument("--log", action="store_true", help="a logarithmic y-axis")
    return parser


def _check() -> MagicParser:
    parser = MagicParser(
        "%track check",
        "Would this notebook, or what a run needs of it, give the same from top to bottom?",
        ["%track check", "%track check @last", "%track check other.ipynb"],
    )
    parser.add_argument("run", nargs="?", metavar="RUN|NOTEBOOK", help="this notebook by default")
    return parser


def _reproduce() -> MagicParser:
    parser = MagicParser(
        "%track reproduce",
        "Run again, in a fresh kernel, the cells that explain a run, and compare the metrics.",
        ["%track reproduce @last", "%track reproduce hgb --tol val_auc=1e-3"],
    )
    parser.add_argument("run", metavar="RUN", help="the run")
    parser.add_argument("--open", action="store_true", help="put the executed notebook beside this one and link to it")
    parser.add_argument("--on", metavar="RUNNER", help="not there yet: the cells run on this machine; elsewhere: %%runner run")
    parser.add_argument("--tol", action="append", default=[], metavar="METRIC=NUMBER", help="how far it may be off, relative; repeatable")
    return parser


def _restore() -> MagicParser:
    parser = MagicParser(
        "%track restore",
        "Write the cells of a run as a new notebook. No file that is there is changed.",
        ["%track restore @best:val_auc", "%track restore hgb --as old.ipynb"],
    )
    parser.add_argument("run", metavar="RUN", help="the run")
    parser.add_argument("--as", dest="path", metavar="FILE", help="the new notebook; named after the run by default")
    return parser


def _share() -> MagicParser:
    parser = MagicParser(
        "%track share",
        "Write a run as one HTML file to be passed on: charts, params, cells, environment; no server, no script.",
        ["%track share @last --static run.html"],
    )
    parser.add_argument("run", nargs="?", default="@last", metavar="RUN", help="the newest run by default")
    parser.add_argument("--static", metavar="FILE", help="the file to write; named after the run by default")
    parser.add_argument("--live", action="store_true", help="a link that follows the run: not there yet")
    parser.add_argument("--ttl", metavar="TIME", help="how long such a link works: not there yet")
    return parser


def _note() -> MagicParser:
    parser = MagicParser("%track note", "Set the note (Markdown) of a run.", ["%track note @last 'too slow'"])
    parser.add_argument("run", metavar="RUN", help="the run")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="the note")
    return parser


def _tag() -> MagicParser:
    parser = MagicParser("%track tag", "Set tags of a run.", ["%track tag @last baseline", "%track tag hgb stage=prod owner='a b'"])
    parser.add_argument("run", metavar="RUN", help="the run")
    parser.add_argument("tags", nargs="+", metavar="TAG[=VALUE]", help="a tag")
    return parser


def _archive() -> MagicParser:
    parser = MagicParser(
        "%track archive",
        "Take runs out of the lists; they stay whole, and %track ls --archived shows them.",
        ["%track archive @last", "%track archive @last --undo"],
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run")
    parser.add_argument("--undo", action="store_true", help="put them back")
    return parser


def _delete() -> MagicParser:
    parser = MagicParser("%track delete", "Delete runs; --undo brings them back.", ["%track delete @last", "%track delete 7f2c41 --undo"])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run")
    parser.add_argument("--undo", action="store_true", help="bring deleted runs back; name them by their ids")
    return parser


def _privacy() -> MagicParser:
    parser = MagicParser(
        "%track privacy",
        "What is captured, where it goes, which secrets were taken out, how to take less.",
        ["%track privacy", "%track privacy --level hash"],
    )
    parser.add_argument("--level", choices=["source", "hash", "off"], help="capture so much from the next cell of this kernel on")
    return parser


def _on() -> MagicParser:
    return MagicParser("%track on", "Note the cells; each fit or log opens a run or joins the open one.", ["%track on"])


def _off() -> MagicParser:
    return MagicParser("%track off", "Stop noting cells and logging fits. What you log yourself is still recorded.", ["%track off"])


PLOTS = ("curves", "parallel", "scatter", "importance", "confusion", "roc")
WHAT = ("all", "metrics", "params", "code", "cells", "outputs", "data", "env", "system")


def _compare() -> MagicParser:
    parser = MagicParser(
        "%compare",
        "Compare runs with the first: what got better or worse, whether that is more than noise, and what explains it.",
        ["%compare", "%compare @best:val_auc @last --metric val_auc", "%compare last 10 --by seed", "%compare hgb rf --export report.md"],
    )
    parser.add_argument("runs", nargs="*", metavar="RUN|QUERY", help="runs; 'last 5'; a filter; the last two of this notebook by default")
    parser.add_argument("--base", metavar="RUN", help="compare with this run instead of the first")
    parser.add_argument("--what", choices=WHAT, default="all", help="what to show")
    parser.add_argument("-m", "--metric", default="", metavar="[-]METRIC", help="only these, with commas; '-' means lower is better")
    parser.add_argument("--by", metavar="KEY", help="groups: runs that differ in the seed only, or have the same KEY")
    parser.add_argument("--sig", choices=["auto", "bootstrap", "mcnemar", "seeds", "off"], default="auto", help="how noise is tested")
    parser.add_argument("--alpha", type=float, default=0.05, metavar="NUMBER", help="the error that is allowed over all tests; .05")
    parser.add_argument("--only-changed", action="store_true", help="leave out what did not change")
    parser.add_argument("--plot", choices=PLOTS, help="draw the runs too")
    parser.add_argument("--export", metavar="FILE", help="write it as .md, .html or .csv")
    return parser


def _report() -> MagicParser:
    parser = MagicParser(
        "%report",
        "Preview the report that a pull request with this run would get. Nothing is posted.",
        ["%report", "%report --vs @main", "%report @best:val_auc --vs tag:baseline --forge gitlab", "%report --export report.md"],
    )
    parser.add_argument("run", nargs="?", default="@last", metavar="RUN", help="the run; the last one by default")
    parser.add_argument("--vs", metavar="RUN", help="compare with this run; by default with @main, if there is one")
    parser.add_argument("--forge", choices=["github", "gitlab", "bitbucket"], default="github", help="whose Markdown and limits")
    parser.add_argument("--gates", metavar="FILE", help="gates file; by default .mlops/gates.yml, if it is there")
    parser.add_argument("--dvc-metrics", metavar="FILE", help="of: dvc metrics diff --json or --md")
    parser.add_argument("--dvc-plots", metavar="FILE|FOLDER", help="of: dvc plots diff --json; or a folder of plots")
    parser.add_argument("--export", metavar="FILE", help="write it as .md, .html or .json")
    return parser


_MAKERS: dict[str, Callable[[], MagicParser]] = {
    "start": _start,
    "stop": _stop,
    "log": _log,
    "watch": _watch,
    "model": _model,
    "data": _data,
    "file": _file,
    "show": _show,
    "ls": _ls,
    "table": _table,
    "explore": _explore,
    "check": _check,
    "reproduce": _reproduce,
    "restore": _restore,
    "share": _share,
    "note": _note,
    "tag": _tag,
    "archive": _archive,
    "delete": _delete,
    "privacy": _privacy,
    "on": _on,
    "off": _off,
    CELL_VERB: _cell,
    COMPARE: _compare,
    REPORT: _report,
}
VERBS = tuple(verb for verb in _MAKERS if not verb.startswith("_"))


@functools.cache
def parser_of(verb: str) -> MagicParser:
    """Return the parser of a verb of `VERBS`, of `CELL_VERB` (the line `%%track`) or of `COMPARE` (the line `%compare`)."""
    parser = _MAKERS[verb]()
    parser.add_argument("--code", action="store_true", help="print the Python that does the same, and do nothing")
    return parser
