"""What each sub-command of `%runner` takes: one parser a verb, which help and completion read too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from mlops_nb.magics.arguments import MagicParser


def _machine(parser: MagicParser) -> None:
    """Give a parser what says where which machine is wanted."""
    parser.add_argument("--on", metavar="PLACE", help="aws, gcp, azure, k8s, ssh:HOST or local")
    machine_options(parser)


def machine_options(parser: MagicParser) -> None:
    """Give a parser what says which machine is wanted."""
    parser.add_argument("--gpu", default="", metavar="GPU", help="T4, L4, A100:2 …")
    parser.add_argument("--type", dest="types", action="append", default=[], metavar="TYPE", help="s, m, l, xl or the cloud's own")
    parser.add_argument("--cpu", type=float, metavar="N", help="at least so many CPUs")
    parser.add_argument("--mem", type=float, metavar="GB", help="at least so much memory")
    parser.add_argument("--disk", type=int, metavar="GB", help="of the disk")
    parser.add_argument("--region", default="", metavar="REGION", help="us-west, us-east, eu-west, eu-north, or the cloud's own")
    parser.add_argument("--zones", action="append", default=[], metavar="A,B", help="in this order, where one has nothing left")
    parser.add_argument("--spot", action="store_true", help="cheaper, and may be taken back")
    parser.add_argument("--idle", metavar="TIME", help="end after this time without work; 5m by default")
    parser.add_argument("--max-hours", type=float, metavar="H", help="end then, whatever it does; 4 by default")
    parser.add_argument("--max-cost", type=float, metavar="USD", help="end when it has cost this by the list price")
    parser.add_argument("--image", default="", metavar="IMAGE", help="instead of a current Ubuntu, or our container")


def machine_wish(arguments: Any) -> dict[str, Any]:
    """Return what `machine_options` has read, but for the place, in the words of `runners.requests.request_of`."""
    names = ("idle", "max_hours", "max_cost", "region", "zones", "types", "gpu", "spot", "image")
    wish = {name: getattr(arguments, name) for name in names}
    return {**wish, "cpus": arguments.cpu, "memory_gb": arguments.mem, "disk_gb": arguments.disk}


def _launch() -> MagicParser:
    parser = MagicParser(
        "%runner launch",
        "Rent a machine, or use one, for notebooks of this project, or for its CI.",
        [
            "%runner launch --on aws --gpu T4 --spot --max-cost 2",
            "%runner launch gpu-1 --on ssh:me@box --idle 30m",
            "%runner launch --on k8s --cpu 8 --mem 32 --yes",
        ],
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="lower case, digits and hyphens; a new one by default")
    _machine(parser)
    parser.add_argument("--ci", action="store_true", help="for jobs of this repository's CI instead of notebooks")
    parser.add_argument("--labels", default="cml", metavar="A,B", help="by which CI jobs choose it; cml by default")
    parser.add_argument("--single", action="store_true", help="with --ci: end after one job")
    parser.add_argument("--permission-set", default="", metavar="ROLE", help="instance profile, service account, identities")
    parser.add_argument("--dry", action="store_true", help="say what would be rented, and rent nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _ci() -> MagicParser:
    parser = _launch()
    parser.prog, parser.description = "%runner ci", "Launch a runner for jobs of this repository's CI."
    parser.examples = ["%runner ci --labels gpu --on aws --gpu T4 --single"]
    return parser


def _ls() -> MagicParser:
    parser = MagicParser("%runner ls", "Show what is alive, what it costs, and when it stops.", ["%runner", "%runner ls --all"])
    parser.add_argument("--all", "-a", dest="everything", action="store_true", help="those that are gone, too")
    return parser


def _named(verb: str, text: str, *examples: str) -> MagicParser:
    parser = MagicParser(f"%runner {verb}", text, list(examples))
    parser.add_argument("name", metavar="NAME", help="the runner")
    return parser


def _show() -> MagicParser:
    return _named("show", "Show a runner and what happened to it.", "%runner show gpu-1")


def _logs() -> MagicParser:
    parser = _named("logs", "Show what a machine has said.", "%runner logs gpu-1", "%runner logs gpu-1 -f")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends, or the cell is interrupted")
    return parser


def _stop() -> MagicParser:
    return _named("stop", "Take no more work, finish the present job, and end.", "%runner stop gpu-1")


def _down() -> MagicParser:
    return _named("down", "End a runner at once, or `all`, and wait until nothing is left.", "%runner down gpu-1", "%runner down all")


def _extend() -> MagicParser:
    parser = _named("extend", "Let a runner live longer.", "%runner extend gpu-1 30m")
    parser.add_argument("time", metavar="TIME", help="more, such as 30m")
    return parser


def _doctor() -> MagicParser:
    parser = MagicParser(
        "%runner doctor", "Check credentials, permissions, limits and leftovers.", ["%runner doctor", "%runner doctor --reap"]
    )
    parser.add_argument("--on", action="append", default=[], metavar="CLOUD", help="only this one")
    parser.add_argument("--reap", action="store_true", help="end leftovers, too")
    return parser


def _reap() -> MagicParser:
    parser = MagicParser("%runner reap", "End what is ours and past its time; nothing else is touched.", ["%runner reap"])
    parser.add_argument("--on", action="append", default=[], metavar="CLOUD", help="only there")
    return parser


def _estimate() -> MagicParser:
    parser = MagicParser("%runner estimate", "Compare list prices of machines.", ["%runner estimate --gpu L4 --hours 2"])
    parser.add_argument("--on", action="append", default=[], metavar="CLOUD", help="only there; else aws, gcp and azure")
    parser.add_argument("--gpu", default="", metavar="GPU", help="T4, L4, A100:2 …")
    parser.add_argument("--type", dest="types", action="append", default=[], metavar="TYPE", help="s, m, l, xl or the cloud's own")
    parser.add_argument("--region", default="", metavar="REGION", help="us-west, us-east, eu-west, eu-north, or the cloud's own")
    parser.add_argument("--hours", type=float, default=1.0, metavar="H", help="so long; 1 by default")
    return parser


_MAKERS: dict[str, Callable[[], MagicParser]] = {
    "launch": _launch,
    "ci": _ci,
    "ls": _ls,
    "show": _show,
    "logs": _logs,
    "stop": _stop,
    "down": _down,
    "extend": _extend,
    "doctor": _doctor,
    "reap": _reap,
    "estimate": _estimate,
}
VERBS = tuple(_MAKERS)


@functools.cache
def parser_of(verb: str) -> MagicParser:
    """Return the parser of a verb of `VERBS`."""
    return _MAKERS[verb]()
