"""What each sub-command of `%serve` takes: one parser a verb, which help and completion read too."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mlops_nb.errors import InvalidInput
from mlops_nb.magics.arguments import MagicParser
from mlops_nb.models.exports import PACKAGES
from mlops_nb.serving.records import ACCELERATIONS, ROUTES

ENVIRONMENTS = {"clean": "virtualenv", "kernel": "local"}
"""`--env` in the words of `--env-manager`."""
START_VERB = "_start"


def share(text: str) -> float:
    """Return a share such as `10%` or `0.1`.

    Raises:
        InvalidInput: If it is none.
    """
    number, percent = text.strip().rstrip("%"), text.strip().endswith("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise InvalidInput(f"'{text}' is no share of the requests.", hint="Write 10% or 0.1.")
    return value


def _start() -> MagicParser:
    parser = MagicParser(
        "%serve",
        "Serve a variable, the model of a run, or a registered model, from a process of its own.",
        [
            "%serve model --name churn --example X_val[:3]",
            "%serve churn@prod --ttl 8h --workers 2",
            "%serve better --name churn --canary 10%",
            "ep = %serve @best:val_auc --name churn",
        ],
    )
    parser.add_argument("model", metavar="VAR|RUN|MODEL", help="a variable, a run, NAME@ALIAS, models:/… or runs:/…")
    parser.add_argument("--name", metavar="NAME", help="the endpoint's; the variable's or model's by default")
    parser.add_argument("--example", metavar="EXPR", help="rows that the model takes; they give the schema and prove parity")
    parser.add_argument("--ttl", metavar="TIME", help="end after this time, such as 30m; 2h by default")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; 1 by default")
    parser.add_argument("--canary", metavar="SHARE", help="only this share of the requests, such as 10%%")
    parser.add_argument("--shadow", nargs="?", const="100%", metavar="SHARE", help="a copy of the requests; its answers are only compared")
    parser.add_argument("--port", nargs="?", const="0", metavar="PORT", help="also a port of its own on this machine, for heavy load")
    parser.add_argument("--env", choices=list(ENVIRONMENTS), help="clean, the default: the model's own where the server's lacks something")
    parser.add_argument("--env-manager", choices=["local", "virtualenv", "uv", "conda"], help="what makes a clean environment")
    parser.add_argument("--timeout", metavar="TIME", help="the longest that a request may take; 60s by default")
    parser.add_argument("--memory", metavar="MIB", type=int, help="the most memory of a process")
    parser.add_argument("--gpu", action="store_true", help="compute on a GPU of this machine")
    parser.add_argument(
        "--accelerate",
        choices=list(ACCELERATIONS),
        default="off",
        metavar="MODE",
        help="auto: by ONNX where that is proven to answer the same, faster; require: or not at all; off, the default",
    )
    parser.add_argument(
        "--route",
        choices=list(ROUTES),
        default="json",
        metavar="ROUTE",
        help="the protocol that code and form show: json (MLflow's), v2 (KServe's), openai (chat models)",
    )
    parser.add_argument("--on", metavar="RUNNER", help="not there yet: models are served on this machine alone")
    parser.add_argument("--no-register", action="store_true", help="do not make the variable a version of a registered model")
    parser.add_argument("--no-parity", action="store_true", help="do not compare with the variable")
    parser.add_argument("--allow-unsafe", action="store_true", help="load it although it could run code on loading")
    return parser


def _ls() -> MagicParser:
    return MagicParser("%serve ls", "List the endpoints.", ["%serve ls"])


def _named(verb: str, text: str, *examples: str) -> MagicParser:
    parser = MagicParser(f"%serve {verb}", text, list(examples))
    parser.add_argument("name", metavar="ENDPOINT", help="the endpoint")
    return parser


def _logs() -> MagicParser:
    parser = _named("logs", "Show what the processes of an endpoint printed.", "%serve logs churn", "%serve logs churn -n 20")
    parser.add_argument("-n", "--number", type=int, default=50, metavar="N", help="so many lines; 50 by default")
    return parser


def _stop() -> MagicParser:
    return _named("stop", "End an endpoint; requests that run are finished.", "%serve stop churn")


def _test() -> MagicParser:
    parser = _named("test", "Ask an endpoint: rows of a variable, or with %%serve test NAME a JSON body.", "%serve test churn X_val[:3]")
    parser.add_argument("data", nargs="?", metavar="VAR", help="rows; the endpoint's own example by default")
    return parser


def _parity() -> MagicParser:
    parser = _named(
        "parity",
        "Compare an endpoint with the notebook's own model, row by row.",
        "%serve parity churn X_val",
        "%serve parity churn X_val --with model",
    )
    parser.add_argument("data", metavar="VAR", help="rows")
    parser.add_argument("--with", dest="model", metavar="VAR", help="the model; the one that was served from here by default")
    return parser


def _load() -> MagicParser:
    parser = _named("load", "Send requests at a rate, and tell how long they took.", "%serve load churn --rps 50 --for 10s")
    parser.add_argument("data", nargs="?", metavar="VAR", help="rows of each request; the endpoint's own example by default")
    parser.add_argument("--rps", type=float, default=50.0, metavar="N", help="requests a second; 50 by default")
    parser.add_argument("--for", dest="duration", default="10s", metavar="TIME", help="how long; 10s by default")
    return parser


def _monitor() -> MagicParser:
    parser = _named(
        "monitor",
        "Show traffic, latency, versions, and how requests compare with the data that the model was trained on.",
        "%serve monitor churn",
        "%serve monitor churn --ref X_train",
        "%serve monitor churn --ref @best:val_auc",
    )
    parser.add_argument("--ref", metavar="VAR|RUN", help="hold requests against these rows, or the data of this run, from now on")
    return parser


def _package() -> MagicParser:
    parser = _named(
        "package",
        "Write what is needed to serve what is live elsewhere: an image, another engine, MLflow's folder.",
        "%serve package churn --docker churn-image",
        "%serve package churn --kserve churn-kserve --storage-uri s3://models/churn",
        "%serve package churn --mlflow churn-model",
    )
    kinds = parser.add_mutually_exclusive_group(required=True)
    for kind in PACKAGES:
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=_PACKAGE_HELP[kind])
    parser.add_argument("directory", metavar="DIR", help="a folder, new or empty")
    parser.add_argument("--storage-uri", metavar="URI", help="where a cluster finds the model folder: kserve needs it")
    parser.add_argument("--allow-unsafe", action="store_true", help="what is written may load a model that could run code")
    return parser


_PACKAGE_HELP = {
    "docker": "a folder to build an image from",
    "bento": "a service of BentoML",
    "kserve": "an InferenceService for Kubernetes",
    "mlflow": "the model folder, as MLflow serves it",
    "ray": "an application of Ray Serve",
    "sagemaker": "model.tar.gz and what SageMaker runs",
}


def _code() -> MagicParser:
    parser = _named("code", "Show how to ask an endpoint from elsewhere.", "%serve code churn curl")
    parser.add_argument("language", nargs="?", choices=["curl", "python", "js"], help="only this")
    parser.add_argument("--route", choices=list(ROUTES), metavar="ROUTE", help="json: MLflow's protocol; v2: KServe's; openai: chat models")
    return parser


def _promote() -> MagicParser:
    parser = _named(
        "promote",
        "Make the canary or the shadow live, without a failed request; name the version in the registry.",
        "%serve promote churn",
        "%serve promote churn --to prod",
        "%serve promote churn --canary 50%",
    )
    parser.add_argument("--to", metavar="ALIAS", help="give what is live then this alias in the registry, such as prod")
    parser.add_argument("--canary", metavar="SHARE", help="only give the canary this share")
    return parser


def _rollback() -> MagicParser:
    return _named("rollback", "Drop the canary and the shadow, or else make live what was live before.", "%serve rollback churn")


def _extend() -> MagicParser:
    parser = _named("extend", "Let an endpoint live for longer; one that is parked is tried again.", "%serve extend churn 8h")
    parser.add_argument("ttl", metavar="TIME", help="from now, such as 8h")
    return parser


_MAKERS: dict[str, Callable[[], MagicParser]] = {
    "ls": _ls,
    "logs": _logs,
    "stop": _stop,
    "test": _test,
    "parity": _parity,
    "load": _load,
    "monitor": _monitor,
    "package": _package,
    "code": _code,
    "promote": _promote,
    "rollback": _rollback,
    "extend": _extend,
    START_VERB: _start,
}
VERBS = tuple(verb for verb in _MAKERS if verb != START_VERB)
EXPRESSIONS = ("--example", "--with", "--ref")


@functools.cache
def parser_of(verb: str) -> MagicParser:
    """Return the parser of a verb of `VERBS`, or of `START_VERB`: `%serve MODEL`."""
    return _MAKERS[verb]()
