"""From what a client names to the owner of files that it means. The owner is known to exist; no URI is followed."""

from __future__ import annotations

from urllib.parse import urlsplit

from mlops_nb.api.operation import Context
from mlops_nb.api.paths import ProxyPlace, proxy_places
from mlops_nb.core.artifacts import PROXY_SCHEME, ArtifactOwner, OwnerKind, artifact_uri, owner_of_run
from mlops_nb.core.logged_models import owner_of_model
from mlops_nb.core.model_sources import LoggedModelSource, ProxySource, RunSource, parse_source
from mlops_nb.errors import NotFound, NotSupported


def run_owner(context: Context, run_id: str) -> ArtifactOwner:
    """Return a run as the owner of its files.

    Raises:
        NotFound: If there is no such run.
    """
    return owner_of_run(context.store.get_run(run_id))


def model_owner(context: Context, model_id: str) -> ArtifactOwner:
    """Return a logged model as the owner of its files.

    Raises:
        NotFound: If there is no such model.
    """
    return owner_of_model(context.store.logged_models.get(model_id))


def trace_owner(context: Context, trace_id: str) -> ArtifactOwner:
    """Return a trace as the owner of its files. Its tag that names the place can be changed by clients: it is not asked.

    Raises:
        NotFound: If there is no such trace.
    """
    trace = context.store.traces.get(trace_id)
    location = context.store.get_experiment(trace.experiment_id).artifact_location
    uri = artifact_uri(location, OwnerKind.TRACE, trace.trace_id)
    return ArtifactOwner(kind=OwnerKind.TRACE, experiment_id=trace.experiment_id, owner_id=trace.trace_id, uri=uri)


_OWNERS = {OwnerKind.RUN: run_owner, OwnerKind.MODEL: model_owner, OwnerKind.TRACE: trace_owner}


def find_owner(context: Context, proxy_path: str) -> tuple[ArtifactOwner, str] | None:
    """Return the owner that a path of MLflow's artifact proxy leads to, and the path within; None: there is no such owner.

    Raises:
        InvalidInput: If the path leads out, or to nothing that could have files.
    """
    for place in proxy_places(proxy_path):
        owner = _owner_at(context, place)
        if owner is not None:
            return owner, place.path
    return None


def _owner_at(context: Context, place: ProxyPlace) -> ArtifactOwner | None:
    try:
        owner = _OWNERS[place.kind](context, place.owner_id)
    except NotFound:
        return None
    return owner if _without_host(owner.uri) == place.uri else None


def _without_host(uri: str) -> str:
    """Return a URI of the proxy without the server that it may name: clients have resolved that already."""
    parts = urlsplit(uri)
    if parts.scheme != PROXY_SCHEME:
        return uri
    rest = uri[len(PROXY_SCHEME) + 1 :]
    path = rest[2:].partition("/")[2] if rest.startswith("//") else rest
    return f"{PROXY_SCHEME}:/{path.strip('/')}"


def owner_at(context: Context, proxy_path: str) -> tuple[ArtifactOwner, str]:
    """Return the owner that a path of MLflow's artifact proxy leads to, and the path within.

    Raises:
        NotFound: If there is no such owner.
        InvalidInput: As `find_owner`.
    """
    found = find_owner(context, proxy_path)
    if found is None:
        raise NotFound(f"There is no run, logged model or trace that '{proxy_path[:200]}' could belong to.")
    return found


def version_files(context: Context, name: str, version: int) -> tuple[ArtifactOwner, str]:
    """Return the owner of the files of a model version, and the folder of them within.

    Raises:
        NotFound: If there is no such version, or what it was made from is gone.
        NotSupported: If its files are in a place that this server does not serve.
    """
    location = context.store.registry.get_version(name, version).storage_location
    source = parse_source(location)
    if isinstance(source, RunSource):
        return run_owner(context, source.run_id), source.uri.removeprefix(f"runs:/{source.run_id}").strip("/")
    if isinstance(source, LoggedModelSource):
        return model_owner(context, source.model_id), ""
    if isinstance(source, ProxySource):
        return owner_at(context, source.uri.removeprefix(f"{PROXY_SCHEME}:/"))
    raise NotSupported(f"The files of version {version} of '{name}' are at {location[:200]}.", hint="Read them there.")
