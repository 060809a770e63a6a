"""`mlops-nb models ...`: MLflow's commands and options, and the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlops_nb.cli.lazy import LazyGroup
from mlops_nb.cli.output import moment, output_option, say, table
from mlops_nb.cli.stores import tracking_store

if TYPE_CHECKING:
    from mlops_nb.models.registering import Registry

F = TypeVar("F", bound=Callable[..., Any])
_HINT = "mlops-nb models list shows the registered models."

model_uri = click.option(
    "-m", "--model-uri", required=True, help="models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-ID, runs:/ID/PATH or a folder."
)
allow_unsafe = click.option("--allow-unsafe", is_flag=True, help="Load it even if what the scan finds could run code; written down.")
env_manager = click.option(
    "--env-manager",
    type=click.Choice(["local", "virtualenv", "uv", "conda"]),
    default="local",
    show_default=True,
    help="local: this Python. Else one of the model's own, made once and kept, where this one lacks what the model requires.",
)


@click.group(cls=LazyGroup, lazy={"serve": ("serving:models_serve", "Answer requests with a model.")})
def models() -> None:
    """Score, package and register models."""


@contextlib.contextmanager
def fetched(uri: str) -> Iterator[Any]:
    """Give the folder of a model, from the store where the URI names one."""
    from mlops_nb.models.sources import fetch_model, is_uri

    if not is_uri(uri):
        yield fetch_model(uri)
        return
    with tracking_store(hint=_HINT) as store:
        found = fetch_model(uri, store)
    yield found


@models.command()
@model_uri
@click.option("-i", "--input-path", help="CSV, JSON, JSON lines or Parquet: a file, or a folder of such; - or nothing: standard input.")
@click.option("-o", "--output-path", help="By the end of its name CSV, JSON, JSON lines or Parquet; nothing: JSON on standard output.")
@click.option("-t", "--content-type", help="csv, json, jsonl or parquet, where the input's name does not say.")
@click.option("--params", help='Params of the model, as JSON: {"temperature": 0.5}.')
@click.option("--rows", default=10_000, show_default=True, type=click.IntRange(1), help="How many rows are in memory at a time.")
@click.option("--no-progress", is_flag=True, help="Say nothing on the way.")
@env_manager
@allow_unsafe
def predict(
    model_uri: str,
    input_path: str | None,
    output_path: str | None,
    content_type: str | None,
    params: str | None,
    rows: int,
    no_progress: bool,
    env_manager: str,
    allow_unsafe: bool,
) -> None:
    """Score a file or a folder of files; memory stays the same, however large they are."""
    from mlops_nb.models.prediction import Request, run

    with fetched(model_uri) as found:
        request = Request(
            folder=str(found.folder),
            input_path=input_path,
            output_path=output_path,
            content_type=content_type,
            params=params,
            rows=rows,
            is_quiet=no_progress,
            allow_unsafe=allow_unsafe,
        )
        run(request, env_manager)


@models.command("prepare-env")
@model_uri
@env_manager
@allow_unsafe
def prepare_env(model_uri: str, env_manager: str, allow_unsafe: bool) -> None:
    """Make the environment of a model, so that predicting and serving start at once."""
    from mlops_nb.models.environments import choose

    with fetched(model_uri) as found:
        prepared = choose(Path(found.folder), env_manager, allow_unsafe=allow_unsafe, saying=lambda line: click.echo(f"  {line}", err=True))
    if prepared.warning:
        click.echo(f"! {prepared.warning}", err=True)
    elif not prepared.is_own:
        say(None, f"This Python has what {model_uri} requires: {prepared.python}", as_json=False)
        return
    say(None, f"The environment of {model_uri} is ready: {prepared.python}", as_json=False)


@models.command("update-pip-requirements")
@model_uri
@click.argument("operation", type=click.Choice(["add", "remove"]))
@click.argument("requirement_strings", nargs=-1, required=True, metavar="REQUIREMENT...")
def update_pip_requirements(model_uri: str, operation: str, requirement_strings: tuple[str, ...]) -> None:
    """Add requirements to a model folder, or remove them: requirements.txt and conda.yaml."""
    from mlops_nb.errors import NotSupported
    from mlops_nb.models.environment import update_requirements
    from mlops_nb.models.sources import fetch_model, is_uri

    if is_uri(model_uri):
        raise NotSupported("Logged models do not change: others may use them.", hint="Log it again, or give a folder.")
    needed = update_requirements(fetch_model(model_uri).folder, operation, requirement_strings)
    say(None, "\n".join(needed), as_json=False)


@models.command("generate-dockerfile")
@model_uri
@click.option("-d", "--output-directory", default="mlflow-dockerfile", show_default=True, help="The folder to write; it must be empty.")
@click.option("--base-image", help="An image with Python; by default python:X.Y-slim of the model's version.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="The port in the container.")
@allow_unsafe
def generate_dockerfile(model_uri: str, output_directory: str, base_image: str | None, port: int, allow_unsafe: bool) -> None:
    """Write a folder from which an image can be built that serves the model."""
    from mlops_nb.models.images import write_context

    with fetched(model_uri) as found:
        written = write_context(found.folder, Path(output_directory), base_image=base_image, port=port, allow_unsafe=allow_unsafe)
    say(None, f"wrote {written}\nBuild it: docker build -t NAME {written}", as_json=False)


@models.command("build-docker")
@model_uri
@click.option("-n", "--name", default="mlops-nb-model", show_default=True, help="The name of the image.")
@click.option("--base-image", help="As of generate-dockerfile.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="The port in the container.")
@allow_unsafe
def build_docker(model_uri: str, name: str, base_image: str | None, port: int, allow_unsafe: bool) -> None:
    """Build an image that serves the model, with docker, podman or buildah."""
    from mlops_nb.models.images import build

    with fetched(model_uri) as found:
        build(found.folder, name, base_image=base_image, port=port, allow_unsafe=allow_unsafe)
    say(None, f"built {name}", as_json=False)


@models.command()
@model_uri
@click.option("--kserve", "kind", flag_value="kserve", help="An InferenceService for Kubernetes.")
@click.option("--ray", "kind", flag_value="ray", help="An application for Ray Serve.")
@click.option("--bento", "kind", flag_value="bento", help="A service for BentoML.")
@click.option("--sagemaker", "kind", flag_value="sagemaker", help="model.tar.gz and what SageMaker runs.")
@click.option("--name", default="model", show_default=True, help="What the endpoint is called.")
@click.option("--storage-uri", help="KServe: where the cluster finds the model folder, such as s3://bucket/model.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def export(model_uri: str, kind: str | None, name: str, storage_uri: str | None, directory: Path) -> None:
    """Write what another engine needs to serve the model."""
    from mlops_nb.models.exports import write_export

    if kind is None:
        raise click.UsageError("Give one of --kserve, --ray, --bento, --sagemaker.")
    with fetched(model_uri) as found:
        for path in write_export(kind, found.folder, directory, name=name, storage_uri=storage_uri):
            click.echo(f"wrote {path}")


@models.command()
@model_uri
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file; by default it is shown.")
def card(model_uri: str, output: Path | None) -> None:
    """Draft a model card from what the run knows: data, metrics, cells, environment, and what still has to be said."""
    from mlops_nb.models.card import draft
    from mlops_nb.models.sources import fetch_model

    with tracking_store(hint=_HINT) as store:
        text = draft(fetch_model(model_uri, store).folder, store)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text, encoding="utf-8")
        click.echo(f"wrote {output}")


@models.command()
@model_uri
@click.option("-n", "--name", required=True, help="The registered model; made where there is none.")
@click.option("--alias", "aliases", multiple=True, help="A name for this version, such as prod; may be given again.")
@click.option("--description", default="", help="What this version is.")
@output_option
def register(model_uri: str, name: str, aliases: tuple[str, ...], description: str, as_json: bool) -> None:
    """Make a model of a run the next version of a registered model."""
    with _registry() as registry:
        version = registry.register(model_uri, name, description=description)
        for alias in aliases:
            registry.set_alias(name, alias, version)
    names = "".join(f" @{alias}" for alias in aliases)
    answer = {"name": name, "version": version, "aliases": list(aliases)}
    say(answer, f"Registered {model_uri} as models:/{name}/{version}{names}.", as_json=as_json)


@models.command("list")
@click.argument("name", required=False)
@output_option
def list_models(name: str | None, as_json: bool) -> None:
    """List the registered models, or the versions of one: from which run each is, and which endpoints serve it."""
    if name:
        _list_versions(name, as_json=as_json)
        return
    with _registry() as registry:
        found = registry.models()
    rows = [
        [one["name"], one["latest"] or "", ", ".join(f"@{a}={v}" for a, v in one["aliases"].items()), one["description"]] for one in found
    ]
    text = table(["name", "latest", "aliases", "description"], rows, flexible=3)
    say(found, text if found else "There are none. mlops-nb models register makes one.", as_json=as_json)


def _list_versions(name: str, *, as_json: bool) -> None:
    from mlops_nb.core.model_sources import VersionSource
    from mlops_nb.fluent.serving import with_endpoints
    from mlops_nb.models.lineage import lineage, served

    with _registry() as registry:
        numbers = [int(one["version"]) for one in registry.versions(name)]
        found = with_endpoints([lineage(registry.store, VersionSource(name=name, number=number)) for number in numbers])
    rows = [
        [one.version, ", ".join(one.aliases), one.stage, moment(one.created), one.run or one.run_id, one.source]
        + ([] if one.endpoints is None else [served(one.endpoints)])
        for one in found
    ]
    headers = ["version", "aliases", "stage", "created", "run", "source", "endpoints"]
    text = table(headers[: len(rows[0])], rows, flexible=5) if rows else f"There are no versions of {name}."
    say(found, text, as_json=as_json)


@models.command()
@click.argument("model", metavar="NAME[@ALIAS|/VERSION]")
@output_option
def show(model: str, as_json: bool) -> None:
    """Show where a version came from (run, cell, data) and which endpoints serve it; the newest, if only the name is given."""
    from mlops_nb.fluent.serving import with_endpoints
    from mlops_nb.models.lineage import lineage, wanted

    with _registry() as registry:
        [found] = with_endpoints([lineage(registry.store, wanted(model))])
    say(found, str(found), as_json=as_json)


@models.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version", required=False, type=int)
@click.option("--delete", is_flag=True, help="Take the alias away.")
def alias(name: str, alias: str, version: int | None, delete: bool) -> None:
    """Let an alias name a version: models:/NAME@ALIAS is that one from then on."""
    if delete == (version is not None):
        raise click.UsageError("Give a version, or --delete.")
    with _registry() as registry:
        if version is None:
            registry.delete_alias(name, alias)
        else:
            registry.set_alias(name, alias, version)
    click.echo(f"models:/{name}@{alias} is gone." if version is None else f"models:/{name}@{alias} is version {version}.")


@contextlib.contextmanager
def _registry() -> Iterator[Registry]:
    from mlops_nb.models.registering import Registry

    with tracking_store(create=False, hint=_HINT) as store:
        yield Registry(store)
