"""`SqlRegistry`: the contract on a database. Transactions are made here; the statements are in the modules beside."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from mlops_nb.core.registry import ModelVersion, RegisteredModel, RegistryQuery, Stage
from mlops_nb.core.webhooks import Change
from mlops_nb.store.page import Page
from mlops_nb.store.registry import ModelRegistry
from mlops_nb.store.sql.database import Database
from mlops_nb.store.sql.registry import aliases, models, rows, searching, versions
from mlops_nb.store.sql.webhooks import outbox


class SqlRegistry(ModelRegistry):
    """See `ModelRegistry`."""

    def __init__(self, database: Database) -> None:
        self._read, self._write = database.read, database.write

    # -- registered models

    def create_model(self, name: str, *, description: str = "", tags: Mapping[str, str] | None = None) -> RegisteredModel:
        with self._write() as c:
            made = models.create(c, name, description, tags or {}, _now())
            outbox.note_model(c, rows.of_model(c, name), made)
            return made

    def get_model(self, name: str) -> RegisteredModel:
        with self._read() as c:
            return rows.model(c, name)

    def rename_model(self, name: str, new_name: str) -> RegisteredModel:
        with self._write() as c:
            return models.rename(c, name, new_name, _now())

    def update_model(self, name: str, *, description: str) -> RegisteredModel:
        with self._write() as c:
            return models.update(c, name, description, _now())

    def delete_model(self, name: str) -> None:
        with self._write() as c:
            models.delete(c, name)

    def search_models(self, query: RegistryQuery) -> Page[RegisteredModel]:
        with self._read() as c:
            return searching.models(c, query)

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        with self._write() as c:
            row = rows.of_model(c, name)
            models.set_tags(c, row, {key: value})
            outbox.note(c, Change.MODEL_TAG_SET, row, {"name": name, "key": key, "value": value})

    def delete_model_tag(self, name: str, key: str) -> None:
        with self._write() as c:
            row = rows.of_model(c, name)
            models.delete_tag(c, row, key)
            outbox.note(c, Change.MODEL_TAG_DELETED, row, {"name": name, "key": key})

    def latest_versions(self, name: str, stages: Sequence[Stage] = ()) -> list[ModelVersion]:
        with self._read() as c:
            model = rows.of_model(c, name)
            return rows.latest(c, [model], stages)[model]

    # -- versions

    def create_version(
        self,
        name: str,
        source: str,
        *,
        run_id: str | None = None,
        model_id: str | None = None,
        run_link: str = "",
        description: str = "",
        user: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        new = versions.NewVersion(
            source=source, run_id=run_id, model_id=model_id, run_link=run_link, description=description, user=user, tags=tags or {}
        )
        with self._write() as c:
            made = versions.create(c, name, new, _now())
            outbox.note_version(c, rows.of_model(c, name), made)
            return made

    def get_version(self, name: str, version: int) -> ModelVersion:
        with self._read() as c:
            return rows.version(c, name, version)

    def update_version(self, name: str, version: int, *, description: str) -> ModelVersion:
        with self._write() as c:
            return versions.update(c, name, version, description, _now())

    def move_version(self, name: str, version: int, stage: Stage, *, archive_existing: bool = False) -> ModelVersion:
        with self._write() as c:
            return versions.move(c, name, version, stage, archive_existing, _now())

    def delete_version(self, name: str, version: int) -> None:
        with self._write() as c:
            versions.delete(c, name, version, _now())

    def search_versions(self, query: RegistryQuery) -> Page[ModelVersion]:
        with self._read() as c:
            return searching.versions(c, query)

    def set_version_tag(self, name: str, version: int, key: str, value: str) -> None:
        with self._write() as c:
            row, model = rows.of_version(c, name, version)
            versions.set_tags(c, row, {key: value})
            outbox.note(c, Change.VERSION_TAG_SET, model, {"name": name, "version": str(version), "key": key, "value": value})

    def delete_version_tag(self, name: str, version: int, key: str) -> None:
        with self._write() as c:
            row, model = rows.of_version(c, name, version)
            versions.delete_tag(c, row, key)
            outbox.note(c, Change.VERSION_TAG_DELETED, model, {"name": name, "version": str(version), "key": key})

    # -- aliases

    def set_alias(self, name: str, alias: str, version: int) -> None:
        with self._write() as c:
            aliases.put(c, name, alias, version)
            outbox.note(c, Change.ALIAS_SET, rows.of_model(c, name), {"name": name, "alias": alias, "version": str(version)})

    def delete_alias(self, name: str, alias: str) -> None:
        with self._write() as c:
            aliases.delete(c, name, alias)
            outbox.note(c, Change.ALIAS_DELETED, rows.of_model(c, name), {"name": name, "alias": alias})

    def version_of_alias(self, name: str, alias: str) -> ModelVersion:
        with self._read() as c:
            return rows.version_of_alias(c, name, alias)


def _now() -> int:
    return time.time_ns() // 1_000_000
