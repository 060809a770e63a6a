"""The registry as commands and magics use it: the same verbs on the embedded store and behind a server."""

from __future__ import annotations

from typing import Any

from mlops_nb import config
from mlops_nb.core.registry import ModelVersion, RegistryQuery
from mlops_nb.errors import InvalidInput
from mlops_nb.models.remote import rest
from mlops_nb.models.sources import is_uri
from mlops_nb.store.base import ServedStore, TrackingStore
from mlops_nb.store.registering import register

_PAGE = 100


class Registry:
    """The registered models of a store."""

    def __init__(self, store: TrackingStore) -> None:
        self.store = store

    @property
    def _served(self) -> ServedStore | None:
        return self.store if isinstance(self.store, ServedStore) else None

    def register(self, uri: str, name: str, *, description: str = "") -> int:
        """Make a model the next version of a registered model, which is made where there is none; return its number.

        Raises:
            InvalidInput: If the URI names no model of the store.
        """
        if not is_uri(uri):
            raise InvalidInput(
                f"'{uri}' is no model of a run.", hint="Log it first: mlops_nb.log_model(...), then models:/m-… or runs:/ID/PATH."
            )
        run_id = uri.removeprefix("runs:/").partition("/")[0] if uri.startswith("runs:/") else None
        model_id = uri.removeprefix("models:/") if uri.startswith("models:/m-") else None
        made = register(self.store, name, uri, run_id=run_id, model_id=model_id, description=description, user=config.user_name())
        return made.version

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias name a version."""
        if self._served is not None:
            self._served.registry.set_alias(name, alias, version)
            return
        rest(self.store).ask_mlflow("POST", "/registered-models/alias", body={"name": name, "alias": alias, "version": str(version)})

    def delete_alias(self, name: str, alias: str) -> None:
        """Take an alias away."""
        if self._served is not None:
            self._served.registry.delete_alias(name, alias)
            return
        rest(self.store).ask_mlflow("DELETE", "/registered-models/alias", body={"name": name, "alias": alias})

    def models(self) -> list[dict[str, Any]]:
        """Return the registered models: name, newest version, aliases, description."""
        found: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            if self._served is not None:
                page = self._served.registry.search_models(RegistryQuery(max_results=_PAGE, page_token=token))
                token = page.token
                for model in page.items:
                    newest = max((one.version for one in model.latest), default=None)
                    found.append({"name": model.name, "latest": newest, "aliases": model.aliases, "description": model.description})
            else:
                query = {"max_results": _PAGE, **({"page_token": token} if token else {})}
                answer = rest(self.store).ask_mlflow("GET", "/registered-models/search", query=query)
                token = answer.get("next_page_token")
                found += [_model(one) for one in answer.get("registered_models", [])]
            if not token:
                return found

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of a model, the newest first.

        Raises:
            NotFound: If there is no such model.
        """
        if "'" in name:
            raise InvalidInput(f"'{name}' cannot be searched for.")
        found: list[dict[str, Any]] = []
        token: str | None = None
        if self._served is not None:
            self._served.registry.get_model(name)
            while True:
                query = RegistryQuery(filter=f"name = '{name}'", max_results=_PAGE, page_token=token)
                page = self._served.registry.search_versions(query)
                found += [_of_record(one) for one in page.items]
                token = page.token
                if not token:
                    break
        else:
            server = rest(self.store)
            server.ask_mlflow("GET", "/registered-models/get", query={"name": name})
            while True:
                wanted = {"filter": f"name = '{name}'", "max_results": _PAGE, **({"page_token": token} if token else {})}
                answer = server.ask_mlflow("GET", "/model-versions/search", query=wanted)
                found += [_version(one) for one in answer.get("model_versions", [])]
                token = answer.get("next_page_token")
                if not token:
                    break
        return sorted(found, key=lambda one: -int(one["version"]))


def _of_record(one: ModelVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "aliases": one.aliases,
        "stage": one.stage.value,
        "created": one.creation_time,
        "source": one.source,
        "run_id": one.run_id,
        "description": one.description,
    }


def _model(one: dict[str, Any]) -> dict[str, Any]:
    newest = max((int(version["version"]) for version in one.get("latest_versions", [])), default=None)
    aliases = {str(alias["alias"]): int(alias["version"]) for alias in one.get("aliases", [])}
    return {"name": one["name"], "latest": newest, "aliases": aliases, "description": one.get("description", "")}


def _version(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": int(one["version"]),
        "aliases": list(one.get("aliases", [])),
        "stage": one.get("current_stage", "None"),
        "created": int(one.get("creation_timestamp", 0)),
        "source": one.get("source", ""),
        "run_id": one.get("run_id", ""),
        "description": one.get("description", ""),
    }
