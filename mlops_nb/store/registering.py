"""Registering models, and finding versions: in the store itself, or behind a server."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_nb.core.model_sources import VersionSource
from mlops_nb.core.registry import ModelVersion, Stage
from mlops_nb.errors import AlreadyExists, NotFound, NotSupported
from mlops_nb.store.base import ServedStore, TrackingStore
from mlops_nb.store.rest import RestStore

if TYPE_CHECKING:
    from mlops_nb.store.registry import ModelRegistry


def register(
    store: TrackingStore,
    name: str,
    source: str,
    *,
    run_id: str | None = None,
    model_id: str | None = None,
    aliases: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    description: str = "",
    user: str = "",
) -> ModelVersion:
    """Make the next version of a registered model, and the model where it is missing; return the version.

    Args:
        store: Where the files of the model are.
        name: Of the registered model.
        source: See `core.model_sources`.
        run_id: The run it is of; a logged model knows its own.
        model_id: The logged model it is made from.
        aliases: Which name this version from now on.
        tags: Of the version.
        description: Of the version.
        user: Who registers it; a server knows that itself.

    Raises:
        InvalidInput, NotFound: If the name is not allowed, or there is no such source.
        NotSupported: If the store keeps no models.
    """
    if isinstance(store, RestStore):
        return _behind_server(store, name, source, run_id, model_id, aliases, tags or {}, description)
    if not isinstance(store, ServedStore):
        raise NotSupported("This store keeps no registered models.", hint="Record to the project's store or to a server of mlops_nb.")
    registry = store.registry
    with contextlib.suppress(AlreadyExists):  # of a model there may be many versions
        registry.create_model(name)
    made = registry.create_version(name, source, run_id=run_id, model_id=model_id, tags=tags, description=description, user=user)
    for alias in aliases:
        registry.set_alias(name, alias, made.version)
    return registry.get_version(name, made.version)


def find_version(registry: ModelRegistry, source: VersionSource) -> ModelVersion:
    """Return the version that a number, an alias, a stage or `latest` stands for.

    Raises:
        NotFound: If there is none.
    """
    if source.alias is not None:
        return registry.version_of_alias(source.name, source.alias)
    if source.number is not None:
        return registry.get_version(source.name, source.number)
    found = registry.latest_versions(source.name, [source.stage] if source.stage else [])
    if not found:
        where = f" in {source.stage.value}" if source.stage else ""
        raise NotFound(f"The model '{source.name}' has no version{where}.", hint="mlops-nb models list")
    return max(found, key=lambda one: one.version)


def _behind_server(
    store: RestStore,
    name: str,
    source: str,
    run_id: str | None,
    model_id: str | None,
    aliases: Sequence[str],
    tags: Mapping[str, str],
    description: str,
) -> ModelVersion:
    with contextlib.suppress(AlreadyExists):  # of a model there may be many versions
        store.ask_mlflow("POST", "/registered-models/create", body={"name": name})
    pairs = [{"key": key, "value": value} for key, value in tags.items()]
    body = {"name": name, "source": source, "run_id": run_id, "model_id": model_id, "tags": pairs, "description": description}
    given = {key: value for key, value in body.items() if value}
    made = store.ask_mlflow("POST", "/model-versions/create", body=given)["model_version"]
    for alias in aliases:
        store.ask_mlflow("POST", "/registered-models/alias", body={"name": name, "alias": alias, "version": made["version"]})
    return _version_of(made, list(aliases))


def _version_of(form: Mapping[str, Any], aliases: list[str]) -> ModelVersion:
    return ModelVersion(
        name=form["name"],
        version=int(form["version"]),
        creation_time=form["creation_timestamp"],
        last_update_time=form["last_updated_timestamp"],
        stage=Stage(form["current_stage"]),
        source=form["source"],
        storage_location=form["source"],
        run_id=form.get("run_id", ""),
        model_id=form.get("model_id", ""),
        description=form.get("description", ""),
        tags={tag["key"]: tag["value"] for tag in form.get("tags", [])},
        aliases=sorted(aliases),
    )
