"""Which logged models, files and versions are an agent's own: those that its runs have made."""

from __future__ import annotations

from typing import Any

from mlops_nb.api.agent_runs import is_its_run
from mlops_nb.api.operation import Context
from mlops_nb.api.owners import find_owner
from mlops_nb.core.artifacts import PROXY_SCHEME, OwnerKind
from mlops_nb.core.model_sources import LoggedModelSource, ProxySource, RunSource, parse_source
from mlops_nb.core.registry import is_prompt
from mlops_nb.core.runners import Runner
from mlops_nb.errors import NotFound
from mlops_nb.store.base import ServedStore

_MADE = frozenset({"runs.logOutputs", "mlflow.runs.logOutputs"})


def is_its_model(store: ServedStore, runner: Runner, model_id: str) -> bool:
    """Return whether one of its runs has made a logged model."""
    try:
        return bool(model_id) and is_its_run(store, runner, store.logged_models.get(model_id).source_run_id)
    except NotFound:
        return False


def begins_model(store: ServedStore, runner: Runner, request: Any) -> bool:
    """Return whether a new logged model is one of its runs', in the experiment of that run."""
    run_id = request.source_run_id or ""
    return is_its_run(store, runner, run_id) and store.get_run(run_id).experiment_id == request.experiment_id


def names_its_models(store: ServedStore, runner: Runner, operation: str, request: Any) -> bool:
    """Return whether what is logged to a run says of no other's model that the run has made or measured it."""
    points = getattr(request, "metrics", None) or [request]
    named = {point.model_id for point in points if getattr(point, "model_id", None)}
    if operation in _MADE:
        named |= {model.model_id for model in request.models or []}
    return all(is_its_model(store, runner, model_id) for model_id in named)


def is_its_file(context: Context, runner: Runner, request: Any) -> bool:
    """Return whether a request is for a file of one of its runs, or of a model that one has made."""
    if hasattr(request, "run_id"):
        run_id, model_id = request.run_id or "", request.model_id or ""
        runs_own = is_its_run(context.store, runner, run_id)
        return (runs_own if run_id else True) and (is_its_model(context.store, runner, model_id) if model_id else runs_own)
    path = request.artifact_path if hasattr(request, "artifact_path") else request.path
    return is_its_place(context, runner, path or "")


def is_its_place(context: Context, runner: Runner, path: str) -> bool:
    """Return whether a path of the artifact proxy leads into one of its runs, or a model that one has made."""
    found = find_owner(context, path)
    if found is None:
        return False
    owner, _ = found
    if owner.kind is OwnerKind.RUN:
        return is_its_run(context.store, runner, owner.owner_id)
    return owner.kind is OwnerKind.MODEL and is_its_model(context.store, runner, owner.owner_id)


# -- the registry


def is_new_name(request: Any) -> bool:
    """Return whether a model, and no prompt, is to be registered; where its name is there already, nothing of it changes."""
    return not is_prompt({tag.key: tag.value for tag in request.tags or []})


def is_its_version(store: ServedStore, runner: Runner, name: str, number: int) -> bool:
    """Return whether a version was made of one of its runs or models."""
    try:
        version = store.registry.get_version(name, number)
    except NotFound:
        return False
    if version.model_id:
        return is_its_model(store, runner, version.model_id)
    return is_its_run(store, runner, version.run_id)


def is_its_source(context: Context, runner: Runner, request: Any) -> bool:
    """Return whether a new version is made of one of its runs or models, and says so of nothing else."""
    store = context.store
    if request.run_id and not is_its_run(store, runner, request.run_id):
        return False
    if request.model_id and not is_its_model(store, runner, request.model_id):
        return False
    if not is_new_name(request):
        return False
    source = parse_source(request.source or "")
    if isinstance(source, RunSource):
        return is_its_run(store, runner, source.run_id)
    if isinstance(source, LoggedModelSource):
        return is_its_model(store, runner, source.model_id)
    return isinstance(source, ProxySource) and is_its_place(context, runner, source.uri.removeprefix(f"{PROXY_SCHEME}:/"))
