"""Registering a model in the store that a notebook records to, whether that is its own file or behind a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlops_nb.core.registry import ModelVersion, Stage
from mlops_nb.errors import AlreadyExists, NotSupported
from mlops_nb.store.base import ServedStore, TrackingStore
from mlops_nb.store.rest import RestStore

if TYPE_CHECKING:
    from mlops_nb.store.registry import ModelRegistry


def register(
    store: TrackingStore, name: str, source: str, *, model_id: str | None = None, aliases: Iterable[str] = (), tags: Mapping[str, str]
) -> ModelVersion:
    """Make the next version of a registered model, and the model where it is missing; return the version.

    Args:
        store: Where the files of the model are.
        name: Of the registered model.
        source: See `core.model_sources`.
        model_id: The logged model it is made from.
        aliases: Which name this version from now on.
        tags: Of the version.

    Raises:
        InvalidInput, NotFound: If the name is not allowed, or there is no such source.
        NotSupported: If the store keeps no models.
    """
    if isinstance(store, RestStore):
        return _behind_server(store, name, source, model_id, aliases, tags)
    if not isinstance(store, ServedStore):
        raise NotSupported("This store keeps no registered models.", hint="Record to the project's store or to a server of mlops_nb.")
    return _in_registry(store.registry, name, source, model_id, aliases, tags)


def _in_registry(
    registry: ModelRegistry, name: str, source: str, model_id: str | None, aliases: Iterable[str], tags: Mapping[str, str]
) -> ModelVersion:
    with contextlib.suppress(AlreadyExists):  # of a model there may be many versions
        registry.create_model(name)
    version = registry.create_version(name, source, model_id=model_id, tags=tags)
    for alias in aliases:
        registry.set_alias(name, alias, version.version)
    return registry.get_version(name, version.version)


def _behind_server(
    store: RestStore, name: str, source: str, model_id: str | None, aliases: Iterable[str], tags: Mapping[str, str]
) -> ModelVersion:
    with contextlib.suppress(AlreadyExists):  # of a model there may be many versions
        store.call_mlflow("POST", "/registered-models/create", {"name": name})
    pairs = [{"key": key, "value": value} for key, value in tags.items()]
    body = {"name": name, "source": source, "model_id": model_id, "tags": pairs}
    made = store.call_mlflow("POST", "/model-versions/create", body)["model_version"]
    named = list(aliases)
    for alias in named:
        store.call_mlflow("POST", "/registered-models/alias", {"name": name, "alias": alias, "version": made["version"]})
    return _version_of(made, named)


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
        tags={tag["key"]: tag["value"] for tag in form.get("tags", [])},
        aliases=sorted(aliases),
    )
