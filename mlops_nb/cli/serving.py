"""`mlops-nb serve ...`: the endpoints of the project's Jupyter server; and `mlops-nb models serve`, a server by itself."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_nb.cli.models import fetched
from mlops_nb.cli.output import json_option, say
from mlops_nb.errors import InvalidInput

if TYPE_CHECKING:
    from mlops_nb.serving.app import Door
    from mlops_nb.serving.records import EndpointInfo

ROUTES = ("json", "v2", "openai")
_TOKEN = "MLOPS_NB_SERVE_TOKEN"
_ENV_HELP = "clean: of the model's own where the server's Python lacks what it requires; kernel: the server's in any case."

ACCELERATE = click.option(
    "--accelerate",
    type=click.Choice(["auto", "off", "require"]),
    default="off",
    show_default=True,
    help="auto: answer by ONNX where that is proven to answer the same, faster; require: or fail. Needs mlops-nb[accelerate].",
)


@click.group()
def serve() -> None:
    """Endpoints of the Jupyter server that runs for this project."""


@serve.command("start")
@click.argument("model")
@click.option("--name", help="The endpoint's; the registered model's by default.")
@click.option("--ttl", default="2h", show_default=True, help="End after this time, such as 30m.")
@click.option("--workers", "-w", type=click.IntRange(1, 16), help="Processes.")
@click.option("--canary", metavar="SHARE", help="Only this share of the requests of the endpoint that is there, such as 10%.")
@click.option("--shadow", metavar="SHARE", help="A copy of this share of the requests; its answers are only compared.")
@click.option("--port", type=click.IntRange(0, 65535), help="Also a port of its own on this machine; 0 is any.")
@click.option("--env", type=click.Choice(["kernel", "clean"]), default="clean", show_default=True, help=_ENV_HELP)
@click.option("--env-manager", type=click.Choice(["local", "virtualenv", "uv", "conda"]), help="What makes a clean environment.")
@click.option("--gpu", is_flag=True, help="Compute on a GPU of this machine.")
@ACCELERATE
@click.option("--route", default="json", show_default=True, type=click.Choice(ROUTES), help="The protocol that the code shows.")
@click.option("--allow-unsafe", is_flag=True, help="Load it although it could run code on loading.")
@json_option
def start(
    model: str,
    name: str | None,
    ttl: str,
    workers: int | None,
    canary: str | None,
    shadow: str | None,
    port: int | None,
    env: str,
    env_manager: str | None,
    gpu: bool,
    accelerate: str,
    route: str,
    allow_unsafe: bool,
    json_flag: bool,
) -> None:
    """Serve MODEL: models:/NAME/3, NAME@prod, a run such as @best:auc, or runs:/RUN/PATH."""
    from mlops_nb.core.durations import seconds_of
    from mlops_nb.fluent import serving
    from mlops_nb.magics.serve_cards import card_bundle
    from mlops_nb.magics.serve_parsers import ENVIRONMENTS, share

    endpoint = serving.serve(
        model,
        name,
        ttl=seconds_of(ttl),
        workers=workers,
        canary=share(canary) if canary else None,
        shadow=share(shadow) if shadow else None,
        port=port,
        env_manager=env_manager or ENVIRONMENTS[env],
        gpu=gpu,
        accelerate=accelerate,
        route=route,
        allow_unsafe=allow_unsafe,
        told=_say_step(),
    )
    info = endpoint.info()
    say(info, card_bundle(endpoint, info)["text/plain"], as_json=json_flag)


@serve.command("ls")
@json_option
def list_endpoints(json_flag: bool) -> None:
    """List the endpoints."""
    from mlops_nb.fluent.serving import find_server
    from mlops_nb.magics.serve_cards import infos_bundle

    infos = find_server().all()
    say(infos, infos_bundle(infos)["text/plain"], as_json=json_flag)


@serve.command("logs")
@click.argument("name")
@click.option("-n", "--number", default=50, show_default=True, type=click.IntRange(1, 1000), help="So many lines.")
def logs(name: str, number: int) -> None:
    """Show what the processes of an endpoint printed."""
    from mlops_nb.fluent.serving import find_server

    for line in find_server().logs(name, number):
        click.echo(line)


@serve.command("stop")
@click.argument("name")
def stop(name: str) -> None:
    """End an endpoint; requests that run are finished."""
    from mlops_nb.fluent.serving import find_server

    find_server().stop(name)
    click.echo(f"■ {name} is stopped.")


@serve.command("test")
@click.argument("name")
@click.argument("body", type=click.File("rb"), required=False)
@click.option("--content-type", default="application/json", show_default=True)
def test(name: str, body: Any, content_type: str) -> None:
    """Send a file (- is the input) to an endpoint and print the answer; the endpoint's own example by default."""
    import json

    from mlops_nb.fluent.serving import find_server

    server = find_server()
    if body is not None:
        content = body.read()
    else:
        example = server.get(name).example
        if example is None:
            raise InvalidInput(f"The endpoint '{name}' has no example.", hint=f"Give a file: mlops-nb serve test {name} rows.json")
        content = json.dumps(example).encode()
    click.echo(server.score(name, content, content_type))


@serve.command("monitor")
@click.argument("name")
@click.option("--ref", metavar="RUN", help="Hold requests against the data of this run from now on, such as @best:auc.")
@json_option
def monitor(name: str, ref: str | None, json_flag: bool) -> None:
    """Show traffic, latency, versions, and how requests compare with the data that the model was trained on."""
    from mlops_nb.fluent.serving import endpoint, reference_run
    from mlops_nb.magics.serve_monitor import monitor_bundle

    found = endpoint(name)
    monitored = found.monitor(None if ref is None else reference_run(ref))
    say(monitored, None if json_flag else monitor_bundle(monitored, found.info())["text/plain"], as_json=json_flag)


@serve.command("package")
@click.argument("name")
@click.option("--docker", "kind", flag_value="docker", help="A folder to build an image from.")
@click.option("--bento", "kind", flag_value="bento", help="A service for BentoML.")
@click.option("--kserve", "kind", flag_value="kserve", help="An InferenceService for Kubernetes.")
@click.option("--mlflow", "kind", flag_value="mlflow", help="The model folder, as MLflow serves it.")
@click.option("--ray", "kind", flag_value="ray", help="An application for Ray Serve.")
@click.option("--sagemaker", "kind", flag_value="sagemaker", help="model.tar.gz and what SageMaker runs.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--storage-uri", help="KServe: where the cluster finds the model folder, such as s3://bucket/model.")
@click.option("--allow-unsafe", is_flag=True, help="What is written may load a model that could run code.")
def package(name: str, kind: str | None, directory: Path, storage_uri: str | None, allow_unsafe: bool) -> None:
    """Write into DIRECTORY what is needed to serve elsewhere what is live at an endpoint."""
    from mlops_nb.fluent.serving import endpoint
    from mlops_nb.models.exports import NEXT_STEPS

    if kind is None:
        raise click.UsageError("Give one of --docker, --bento, --kserve, --mlflow, --ray, --sagemaker.")
    for path in endpoint(name).package(kind, directory, storage_uri=storage_uri, allow_unsafe=allow_unsafe):
        click.echo(f"wrote {path}")
    click.echo(f"Next: {NEXT_STEPS[kind].format(directory=directory)}")


@serve.command("promote")
@click.argument("name")
@click.option("--to", "alias", metavar="ALIAS", help="Give what is live then this alias in the registry, such as prod.")
@click.option("--canary", metavar="SHARE", help="Only give the canary this share.")
def promote(name: str, alias: str | None, canary: str | None) -> None:
    """Make the canary or the shadow live, without a failed request."""
    from mlops_nb.fluent.serving import find_server
    from mlops_nb.magics.serve_parsers import share

    _say_live(find_server().promote(name, share=share(canary) if canary else None, alias=alias))


@serve.command("rollback")
@click.argument("name")
def rollback(name: str) -> None:
    """Drop the canary and the shadow, or else make live what was live before."""
    from mlops_nb.fluent.serving import find_server

    _say_live(find_server().rollback(name))


@serve.command("extend")
@click.argument("name")
@click.argument("ttl")
def extend(name: str, ttl: str) -> None:
    """Let an endpoint live for TTL from now, such as 8h; one that is parked is tried again."""
    from mlops_nb.core.durations import seconds_of
    from mlops_nb.fluent.serving import find_server

    find_server().extend(name, seconds_of(ttl))
    click.echo(f"◉ {name} lives for {ttl} from now.")


def _say_step() -> Callable[[EndpointInfo], None]:
    """Return what tells each step of a start once."""
    last = ""

    def told(info: EndpointInfo) -> None:
        nonlocal last
        step = info.attempt.step if info.attempt else ""
        if step and step != last:
            click.echo(f"  {step}", err=True)
        last = step

    return told


def _say_live(info: EndpointInfo) -> None:
    click.echo(f"◉ {info.name}: {info.live.label if info.live else 'nothing'} is live.")


@click.command("serve", context_settings={"show_default": True, "help_option_names": ["--help"]})
@click.option(
    "-m", "--model-uri", required=True, metavar="URI", help="A model folder, models:/NAME/VERSION, models:/m-… or runs:/RUN/PATH."
)
@click.option("-p", "--port", default=5000, type=click.IntRange(0, 65535), envvar="MLFLOW_PORT", help="0 takes any free one.")
@click.option("-h", "--host", default="127.0.0.1", envvar="MLFLOW_HOST", help="Listen on this address; 0.0.0.0 is all of them.")
@click.option("-t", "--timeout", default=60.0, type=float, envvar="MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", help="Seconds of a request.")
@click.option("-w", "--workers", default=1, type=click.IntRange(1, 64), envvar="MLFLOW_WORKERS", help="Processes.")
@click.option(
    "--env-manager",
    default="virtualenv",
    type=click.Choice(["local", "virtualenv", "uv", "conda"]),
    help="What makes the model's own environment, where this Python lacks what it requires; local: this Python in any case.",
)
@ACCELERATE
@click.option("--no-conda", is_flag=True, hidden=True, expose_value=False)
@click.option("--install-mlflow", is_flag=True, hidden=True, expose_value=False)
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=f"The token to come in with; or {_TOKEN}.")
@click.option("--no-token", is_flag=True, help="Let in whoever reaches the server: for closed networks only.")
@click.option("--name", default="model", help="The model's name in the open inference protocol.")
@click.option("--max-body", default=32, type=click.IntRange(1, 4096), metavar="MIB", help="The largest request.")
@click.option("--max-rows", default=100_000, type=click.IntRange(1), help="The most rows of a request.")
@click.option(
    "--memory", default=0, type=click.IntRange(0), metavar="MIB", help="The most memory of a process; 0 is a share of the machine's."
)
@click.option("--allow-unsafe", is_flag=True, help="Load it although it could run code on loading.")
def models_serve(
    model_uri: str,
    port: int,
    host: str,
    timeout: float,
    workers: int,
    env_manager: str,
    accelerate: str,
    token_file: Path | None,
    no_token: bool,
    name: str,
    max_body: int,
    max_rows: int,
    memory: int,
    allow_unsafe: bool,
) -> None:
    """Serve one model until it is told to stop, with MLflow's scoring protocol and the open inference protocol.

    As with `mlflow models serve`, a server that only this machine reaches needs no token. Any other one does.
    """
    from mlops_nb.serving.limits import Limits
    from mlops_nb.serving.records import check_name
    from mlops_nb.serving.standalone import Settings, run

    limits = Limits(timeout=timeout, max_body=max_body << 20, max_rows=max_rows, memory=memory << 20)
    door = _door(host, token_file, no_token)
    with fetched(model_uri) as found:
        settings = Settings(
            folder=Path(found.folder),
            model=str(found.uri),
            name=check_name(name),
            host=host,
            port=port,
            workers=workers,
            limits=limits,
            door=door,
            allow_unsafe=allow_unsafe,
            env_manager=env_manager,
            accelerate=accelerate,
        )
    run(settings, lambda url: _say_served(url, model_uri, door), lambda line: click.echo(line, err=True))


def _door(host: str, token_file: Path | None, no_token: bool) -> Door:
    from mlops_nb.api.gate import default_hosts, is_loopback
    from mlops_nb.serving.app import Door

    given = token_file.read_text(encoding="utf-8").strip() if token_file else os.environ.get(_TOKEN, "").strip()
    if given and no_token:
        raise InvalidInput("--no-token contradicts the token that is given.", hint=f"Leave out one; the token may come from {_TOKEN}.")
    if token_file and not given:
        raise InvalidInput(f"The token file {token_file} is empty.", hint="Write one token into it.")
    if given and not (given.isascii() and given.isprintable() and " " not in given):
        raise InvalidInput("The token has characters that no HTTP header carries.", hint="Use letters, digits and -._~+/=.")
    if not given and not no_token and not is_loopback(host):
        given = secrets.token_hex(24)
    names, any_address = default_hosts(host)
    return Door(token=given, hosts=() if any_address or no_token else names)


def _say_served(url: str, uri: str, door: Door) -> None:
    click.echo(f"Serving {uri} at {url}")
    if door.token:
        click.echo(f"  Authorization: Bearer {door.token}")
