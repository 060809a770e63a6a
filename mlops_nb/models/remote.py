"""Models of a store behind a server, by MLflow's API of that server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlops_nb.core.model_sources import VersionSource
from mlops_nb.core.records import Artifact
from mlops_nb.errors import NotFound, NotSupported
from mlops_nb.store.base import TrackingStore

if TYPE_CHECKING:
    from mlops_nb.models.sources import Place
    from mlops_nb.store.rest import RestStore

_MAX_FILES = 20_000


def rest(store: TrackingStore) -> RestStore:
    """Return a store as one behind a server.

    Raises:
        NotSupported: If it is another.
    """
    from mlops_nb.store.rest import RestStore

    if not isinstance(store, RestStore):
        raise NotSupported(f"A {type(store).__name__} has no models.", hint="Use the embedded store, a database or a server.")
    return store


def version_form(store: TrackingStore, source: VersionSource) -> dict[str, Any]:
    """Return a registered version as MLflow's API gives it.

    Raises:
        NotFound: If there is none.
    """
    server = rest(store)
    found: dict[str, Any]
    if source.alias is not None:
        query = {"name": source.name, "alias": source.alias}
        found = server.ask_mlflow("GET", "/registered-models/alias", query=query)["model_version"]
        return found
    number = source.number
    if number is None:
        wanted: dict[str, Any] = {"name": source.name, **({"stages": [source.stage.value]} if source.stage else {})}
        latest = server.ask_mlflow("POST", "/registered-models/get-latest-versions", body=wanted).get("model_versions", [])
        if not latest:
            raise NotFound(f"The model '{source.name}' has no such version.", hint="mlops-nb models list")
        number = max(int(one["version"]) for one in latest)
    query = {"name": source.name, "version": str(number)}
    found = server.ask_mlflow("GET", "/model-versions/get", query=query)["model_version"]
    return found


def version_source(store: TrackingStore, source: VersionSource) -> str:
    """Return where the files of a registered version are."""
    number = source.number if source.number is not None else version_form(store, source)["version"]
    query = {"name": source.name, "version": str(number)}
    return str(rest(store).ask_mlflow("GET", "/model-versions/get-download-uri", query=query)["artifact_uri"])


def model_name(store: TrackingStore, model_id: str) -> str:
    """Return what a logged model is called."""
    return str(rest(store).ask_mlflow("GET", f"/logged-models/{model_id}")["model"]["info"]["name"])


def model_place(store: TrackingStore, model_id: str) -> Place:
    """Return the files of a logged model."""
    from mlops_nb.models.sources import Place

    server = rest(store)
    server.ask_mlflow("GET", f"/logged-models/{model_id}")
    files = lambda: list(_files(server, model_id))  # noqa: E731 - one line says it
    return Place(f"models:/{model_id}", files, lambda path: server.read_model_file(model_id, path), "")


def _files(server: RestStore, model_id: str) -> Iterator[Artifact]:
    todo, count = [""], 0
    while todo and count < _MAX_FILES:
        query = {"artifact_directory_path": todo.pop()}
        for one in server.ask_mlflow("GET", f"/logged-models/{model_id}/artifacts/directories", query=query).get("files", []):
            count += 1
            if one.get("is_dir"):
                todo.append(str(one["path"]))
            else:
                size = one.get("file_size")
                yield Artifact(path=str(one["path"]), is_dir=False, file_size=None if size is None else int(size))
