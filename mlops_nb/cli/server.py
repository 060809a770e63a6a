"""`mlops-nb server`. Options that MLflow's server has too are called as there."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from mlops_nb.cli.unsupported import unsupported
from mlops_nb.core.artifacts import PROXY_SCHEME
from mlops_nb.errors import InvalidInput

if TYPE_CHECKING:
    from mlops_nb.api.gate import Access
    from mlops_nb.api.project import Served

_DATABASES = ("sqlite:///", "postgresql://", "postgres://", "postgresql+psycopg://")
_ORIGIN = re.compile(r"https?://(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?/?", re.ASCII)
_PREFIX = re.compile(r"[\w.~-]+(?:/[\w.~-]+)*", re.ASCII)
_NOT_HERE = {
    "--registry-store-uri URI": "Models are in the same database as runs: leave it out.",
    "--read-replica-backend-store-uri URI": "All is read from --backend-store-uri: leave it out.",
    "--no-serve-artifacts": "All files go through the server; an experiment with a place of its own: mlops-nb experiments create -l URI.",
    "--artifacts-only": "Every server serves runs and files: leave it out.",
    "--disable-security-middleware": "Say what to allow: --allowed-hosts '*', --cors-allowed-origins ORIGIN, --no-token.",
    "--x-frame-options VALUE": "The server has no pages that could be framed: leave it out.",
    "--gunicorn-opts TEXT": "It runs on uvicorn: --workers, --log-level; encryption and limits belong to a proxy before it.",
    "--waitress-opts TEXT": "It runs on uvicorn: --workers, --log-level; encryption and limits belong to a proxy before it.",
    "--uvicorn-opts TEXT": "Give --workers and --log-level; encryption and limits belong to a proxy before it.",
    "--dev": "Give --log-level debug.",
    "--app-name NAME": "Users come in by tokens: --token-file, and --read-token-file for those who only read.",
    "--trace-archival-config PATH": "Traces stay in the store until they are deleted: leave it out.",
    "--secrets-cache-ttl SECONDS": "The secrets of webhooks are read when they are needed: leave it out.",
    "--secrets-cache-max-size NUMBER": "The secrets of webhooks are read when they are needed: leave it out.",
    "--workspace-store-uri URI": "It has no workspaces: run a server for each team, with a database of its own.",
    "--enable-workspaces": "It has no workspaces: run a server for each team, with a database of its own.",
}
_ENV_TOKEN = "MLOPS_NB_SERVER_TOKEN"
_ENV_READ_TOKEN = "MLOPS_NB_SERVER_READ_TOKEN"
_TEMPORARY = "-"


def _names(name: str, mlflow: str = "") -> list[str]:
    """Return the environment variables of an option: ours first."""
    return [f"MLOPS_NB_SERVER_{name}", f"MLFLOW_{mlflow or name}"]


@click.command(context_settings={"show_default": True, "help_option_names": ["--help"]})
@click.option("-h", "--host", default="127.0.0.1", envvar=_names("HOST"), help="Listen on this address; 0.0.0.0 is all of them.")
@click.option("-p", "--port", default=5000, type=click.IntRange(0, 65535), envvar=_names("PORT"), help="0 takes any free one.")
@click.option(
    "--backend-store-uri", metavar="URI", envvar=_names("BACKEND_STORE_URI"), help="sqlite:/// or postgresql://; else the project's."
)
@click.option("--artifacts-destination", metavar="URI", envvar=_names("ARTIFACTS_DESTINATION"), help="Where the files of runs are kept.")
@click.option(
    "--default-artifact-root",
    metavar="URI",
    envvar=_names("DEFAULT_ARTIFACT_ROOT"),
    help="The same: all files go through the server, and clients need no access to the place.",
)
@click.option("--serve-artifacts", is_flag=True, hidden=True, expose_value=False)
@click.option("--disable-workspaces", is_flag=True, hidden=True, expose_value=False)
@click.option("-w", "--workers", default=1, type=click.IntRange(1, 64), envvar=_names("WORKERS"), help="Processes that answer.")
@click.option("--base-path", "--static-prefix", metavar="PATH", default="", envvar=_names("BASE_PATH", "STATIC_PREFIX"), help="As /mlops.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=f"A token a line; or {_ENV_TOKEN}.")
@click.option("--read-token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help=f"For reading; or {_ENV_READ_TOKEN}.")
@click.option("--no-token", is_flag=True, help="Let in whoever reaches the server: for closed networks only.")
@click.option(
    "--allowed-hosts", metavar="NAMES", envvar=_names("ALLOWED_HOSTS", "SERVER_ALLOWED_HOSTS"), help="With commas; * is any text."
)
@click.option(
    "--cors-allowed-origins",
    metavar="ORIGINS",
    envvar=_names("CORS_ALLOWED_ORIGINS", "SERVER_CORS_ALLOWED_ORIGINS"),
    help="Whose pages may ask.",
)
@click.option(
    "--expose-prometheus",
    metavar="[FOLDER]",
    is_flag=False,
    flag_value=_TEMPORARY,
    envvar=_names("EXPOSE_PROMETHEUS"),
    help="Tell figures at /metrics.",
)
@click.option(
    "--log-level", default="info", type=click.Choice(["critical", "error", "warning", "info", "debug"]), envvar="MLOPS_NB_SERVER_LOG_LEVEL"
)
@unsupported(_NOT_HERE)
def server(
    host: str,
    port: int,
    backend_store_uri: str | None,
    artifacts_destination: str | None,
    default_artifact_root: str | None,
    workers: int,
    base_path: str,
    token_file: Path | None,
    read_token_file: Path | None,
    no_token: bool,
    allowed_hosts: str | None,
    cors_allowed_origins: str | None,
    expose_prometheus: str | None,
    log_level: str,
) -> None:
    """Serve a tracking store to a team, and to MLflow's clients.

    Whoever asks needs a token. Without one given, a server that only this machine reaches makes one and says it.

    The options of `mlflow server` that are not here say what to do instead.
    """
    from mlops_nb.api.asgi import Mount
    from mlops_nb.api.processes import Settings, serve

    tokens = _tokens(token_file, _ENV_TOKEN)
    made = _made_token(host) if not tokens and not no_token else None
    if tokens and no_token:
        raise InvalidInput("--no-token contradicts the token that is given.", hint=f"Leave out one; the token may come from {_ENV_TOKEN}.")
    access = _access(
        host, (*tokens, *([made] if made else [])), _tokens(read_token_file, _ENV_READ_TOKEN), allowed_hosts, cors_allowed_origins
    )
    served = _served(backend_store_uri, _files(artifacts_destination, default_artifact_root))
    prefix = _prefix(base_path)
    folder = Path(expose_prometheus) if expose_prometheus not in (None, _TEMPORARY) else None
    settings = Settings(
        mount=Mount(served=served, access=access, base_path=f"/{prefix}" if prefix else "", count=expose_prometheus is not None),
        host=host,
        port=port,
        workers=workers,
        metrics_folder=folder,
        log_level=log_level,
    )
    serve(settings, lambda url: _say(url, served, made))


def _tokens(file: Path | None, variable: str) -> tuple[str, ...]:
    if file is None:
        return tuple(os.environ.get(variable, "").split())
    try:
        tokens = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The token file {file} cannot be read: {error}.") from None
    if not tokens:
        raise InvalidInput(f"The token file {file} is empty.", hint="Write one token a line.")
    return tokens


def _made_token(host: str) -> str:
    from mlops_nb.api.gate import is_loopback

    if not is_loopback(host):
        raise InvalidInput(f"A server on {host} needs a token.", hint=f"Give --token-file or {_ENV_TOKEN}; --no-token lets everybody in.")
    return secrets.token_urlsafe(32)


def _access(host: str, tokens: tuple[str, ...], read_tokens: tuple[str, ...], hosts: str | None, origins: str | None) -> Access:
    from mlops_nb.api.gate import Access, default_hosts

    names, any_address = default_hosts(host)
    if hosts is not None:
        names, any_address = _listed(hosts), False
        if not names:
            raise InvalidInput("--allowed-hosts names no host.", hint="Give names with commas between them, or leave it out.")
    sites = _listed(origins or "")
    for site in sites:
        if site != "*" and not _ORIGIN.fullmatch(site):
            raise InvalidInput(f"--cors-allowed-origins: '{site}' is no origin.", hint="Write https://host or https://host:port.")
    return Access(tokens=tokens, read_tokens=read_tokens, hosts=names, any_address=any_address, origins=sites)


def _prefix(base_path: str) -> str:
    prefix = base_path.strip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise InvalidInput(f"'{base_path}' can be no part of an address.", hint="Use letters, digits and -._~ between '/'.")
    return prefix


def _files(destination: str | None, root: str | None) -> str | None:
    """Return where the files of runs are kept."""
    if root is None or root == destination or urlsplit(root).scheme == PROXY_SCHEME:
        return destination
    if destination is not None:
        hint = "Leave out --default-artifact-root: all files go through the server to --artifacts-destination."
        raise InvalidInput(f"The files of runs cannot be both at {destination} and at {root}.", hint=hint)
    return root


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _served(store_uri: str | None, artifact_root: str | None) -> Served:
    import msgspec

    from mlops_nb.api.project import Served
    from mlops_nb.config import find_project

    if store_uri:
        if not store_uri.startswith(_DATABASES):
            from mlops_nb.api.project import without_password

            if store_uri.startswith(("http://", "https://")):
                raise InvalidInput(f"{without_password(store_uri)} is a server, not a database.", hint="Name the database behind it.")
            if "://" not in store_uri and Path(store_uri).exists():
                hint = f"Is it MLflow's? mlops-nb import mlflow {store_uri}"
            else:
                hint = "Use sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host/database."
            raise InvalidInput(f"--backend-store-uri {without_password(store_uri)} is no database that mlops_nb knows.", hint=hint)
        return Served(store_uri=store_uri, artifact_root=artifact_root)
    return msgspec.structs.replace(Served.of(find_project()), artifact_root=artifact_root)


def _say(url: str, served: Served, token: str | None) -> None:
    from mlops_nb.api.project import without_password

    click.echo(f"Serving {without_password(served.store_uri)} at {url}")
    click.echo(f"  export MLFLOW_TRACKING_URI={url}")
    if token:
        click.echo(f"  export MLFLOW_TRACKING_TOKEN={token}")
