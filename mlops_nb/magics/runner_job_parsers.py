"""What `%runner run|jobs|attach|cancel` and `%%runner` take: one parser a verb, which help and completion read too."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mlops_nb.magics.arguments import MagicParser
from mlops_nb.magics.runner_parsers import machine_options

EXPRESSIONS = ("-p",)


def _machine(parser: MagicParser) -> None:
    parser.add_argument("--on", metavar="PLACE", help="a runner's name, aws, gcp, azure, k8s, ssh:HOST or local; `here` by default")
    machine_options(parser)
    parser.add_argument("--env", choices=["auto", "own", "lock"], default="auto", help="auto: the machine's where it has the same packages")
    parser.add_argument("--include", action="append", default=[], metavar="PATH", help="more files or folders that travel, such as data")


def _run() -> MagicParser:
    parser = MagicParser(
        "%runner run",
        "Execute a notebook elsewhere with all that it needs; its runs and cells show here live, and it comes back executed.",
        [
            "%runner run",
            "%runner run train.ipynb -p lr=0.1 -p depth=max(depths) --on gpu-1",
            "%runner run -p epochs=50 --on aws --gpu T4 --spot --max-cost 2 --detach",
            "%runner run --dry",
        ],
    )
    parser.add_argument("notebook", nargs="?", metavar="NOTEBOOK", help="its path; this one, as it is saved, by default")
    parser.add_argument("-p", dest="params", action="append", default=[], metavar="KEY=EXPR", help="a parameter; EXPR is evaluated here")
    parser.add_argument("--cells", metavar="A..B", help="only these code cells, from 1")
    parser.add_argument("--name", metavar="NAME", help="of the job and its run")
    parser.add_argument("-e", "--experiment", metavar="NAME", help="of its run")
    parser.add_argument("--detach", action="store_true", help="do not wait; `attach` follows it later")
    parser.add_argument("--dry", action="store_true", help="only say what travels and what does not")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _machine(parser)
    return parser


def _cell() -> MagicParser:
    parser = MagicParser(
        "%%runner",
        "Execute this cell elsewhere. Modules, functions and classes travel of themselves, values that --in names.",
        ["%%runner --in X,y --out model", "%%runner gpu-1 --in X,y --out model,history"],
    )
    parser.add_argument("place", nargs="?", metavar="NAME", help="the runner; as --on")
    parser.add_argument("--in", dest="sends", default="", metavar="A,B", help="names whose values travel")
    parser.add_argument("--out", dest="returns", default="", metavar="A,B", help="names that come back")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _machine(parser)
    return parser


def _jobs() -> MagicParser:
    parser = MagicParser("%runner jobs", "List the jobs that are not over.", ["%runner jobs", "%runner jobs --all"])
    parser.add_argument("--all", "-a", dest="everything", action="store_true", help="those that are over, too")
    return parser


def _named(verb: str, text: str) -> MagicParser:
    parser = MagicParser(f"%runner {verb}", text, [f"%runner {verb} train", f"%runner {verb} 0dd8cc66"])
    parser.add_argument("name", metavar="JOB", help="its id, the beginning of it, or its name")
    return parser


_MAKERS: dict[str, Callable[[], MagicParser]] = {
    "run": _run,
    "jobs": _jobs,
    "attach": lambda: _named("attach", "Follow a job until it is over, and bring back what it gives."),
    "cancel": lambda: _named("cancel", "End a job."),
}
JOB_VERBS = tuple(_MAKERS)


@functools.cache
def parser_of(verb: str) -> MagicParser:
    """Return the parser of a verb of `JOB_VERBS`, or of the cell magic: "cell"."""
    return _cell() if verb == "cell" else _MAKERS[verb]()
