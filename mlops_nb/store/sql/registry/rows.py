"""Reading the registry: rows by name, and the records that rows stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from mlops_nb.core.registry import ModelVersion, RegisteredModel, Stage, check_alias, check_model_name, is_latest
from mlops_nb.errors import InvalidInput, NotFound
from mlops_nb.store.sql import search
from mlops_nb.store.sql.schema import model_aliases, model_version_tags, model_versions, registered_model_tags, registered_models

_LARGEST = 2**31 - 1


def of_model(c: sa.Connection, name: str) -> int:
    """Return the number of a model's row."""
    check_model_name(name)
    found = c.execute(sa.select(registered_models.c.id).where(registered_models.c.name == name)).scalar()
    if found is None:
        raise NotFound(f"Registered Model with name={name} not found")
    return int(found)


def of_version(c: sa.Connection, name: str, version: int) -> tuple[int, int]:
    """Return the numbers of the rows of a version and of its model."""
    check_model_name(name)
    found = None
    if 0 < version <= _LARGEST:
        found = c.execute(
            sa.select(model_versions.c.id, model_versions.c.model)
            .join(registered_models, registered_models.c.id == model_versions.c.model)
            .where(registered_models.c.name == name, model_versions.c.version == version)
        ).first()
    if found is None:
        raise NotFound(f"Model Version (name={name}, version={version}) not found")
    return int(found[0]), int(found[1])


def model(c: sa.Connection, name: str) -> RegisteredModel:
    """Return a model by name."""
    row = of_model(c, name)
    return load_models(c, [row])[row]


def version(c: sa.Connection, name: str, number: int) -> ModelVersion:
    """Return a version."""
    row, _ = of_version(c, name, number)
    return load_versions(c, [row])[row]


def version_of_alias(c: sa.Connection, name: str, alias: str) -> ModelVersion:
    """Return the version that an alias names; `latest` the newest of any stage."""
    check_alias(alias)
    owner = of_model(c, name)
    if is_latest(alias):
        return newest(c, name)
    number = c.execute(sa.select(model_aliases.c.version).where(model_aliases.c.model == owner, model_aliases.c.alias == alias)).scalar()
    if number is None:
        raise InvalidInput(f"Registered model alias {alias} not found.")
    return version(c, name, number)


def newest(c: sa.Connection, name: str, stage: Stage | None = None) -> ModelVersion:
    """Return the newest version of a model, of any stage or of one.

    Raises:
        NotFound: If there is none.
    """
    owner = of_model(c, name)
    found = latest(c, [owner], () if stage is None else (stage,))[owner]
    if not found:
        raise NotFound(
            f"Latest version not found for model {name}."
            if stage is None
            else f"No versions of model with name '{name}' and stage '{stage.value}' found"
        )
    return max(found, key=lambda each: each.version)


def load_models(c: sa.Connection, rows: Sequence[int]) -> dict[int, RegisteredModel]:
    """Return models by row, with tags, aliases and newest versions."""
    tags, versions = tags_of(c, rows), latest(c, rows)
    aliases: dict[int, dict[str, int]] = {row: {} for row in rows}
    models: dict[int, RegisteredModel] = {}
    for chunk in search.chunks(rows):
        named = sa.select(model_aliases).where(model_aliases.c.model.in_(chunk)).order_by(model_aliases.c.model, model_aliases.c.alias)
        for owner, alias, named_version in c.execute(named):
            aliases[owner][alias] = named_version
        for row in c.execute(sa.select(registered_models).where(registered_models.c.id.in_(chunk))).mappings():
            number = row["id"]
            models[number] = RegisteredModel(
                name=row["name"],
                creation_time=row["creation_time"],
                last_update_time=row["last_update_time"],
                description=row["description"],
                tags=tags[number],
                aliases=aliases[number],
                latest=versions[number],
            )
    return models


def tags_of(c: sa.Connection, rows: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the tags of models by row."""
    tags: dict[int, dict[str, str]] = {row: {} for row in rows}
    table = registered_model_tags
    for chunk in search.chunks(rows):
        for owner, key, value in c.execute(sa.select(table).where(table.c.model.in_(chunk)).order_by(table.c.model, table.c.key)):
            tags[owner][key] = value
    return tags


def latest(c: sa.Connection, rows: Sequence[int], stages: Sequence[Stage] = ()) -> dict[int, list[ModelVersion]]:
    """Return the newest version of each stage, or of these stages, of models by row; stages by name."""
    wanted = sorted(set(stages or Stage))
    owners: dict[int, int] = {}
    for chunk in search.chunks(rows):
        # One look into the index for each model and stage, however many versions there are.
        newest = [_newest(stage).label(f"newest_{number}") for number, stage in enumerate(wanted)]
        for owner, *found in c.execute(sa.select(registered_models.c.id, *newest).where(registered_models.c.id.in_(chunk))):
            owners.update((row, owner) for row in found if row is not None)
    result: dict[int, list[ModelVersion]] = {row: [] for row in rows}
    loaded = load_versions(c, list(owners))
    for row, owner in owners.items():
        result[owner].append(loaded[row])
    return result


def _newest(stage: Stage) -> Any:
    table = model_versions.alias()
    return (
        sa.select(table.c.id)
        .where(table.c.model == registered_models.c.id, table.c.stage == stage.value)
        .order_by(table.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )


def load_versions(c: sa.Connection, rows: Sequence[int]) -> dict[int, ModelVersion]:
    """Return versions by row, with tags and aliases."""
    versions: dict[int, ModelVersion] = {}
    for chunk in search.chunks(rows):
        tags: dict[int, dict[str, str]] = {row: {} for row in chunk}
        aliases: dict[int, list[str]] = {row: [] for row in chunk}
        table = model_version_tags
        for owner, key, value in c.execute(sa.select(table).where(table.c.version.in_(chunk)).order_by(table.c.version, table.c.key)):
            tags[owner][key] = value
        naming = sa.and_(model_aliases.c.model == model_versions.c.model, model_aliases.c.version == model_versions.c.version)
        named = sa.select(model_versions.c.id, model_aliases.c.alias).join(model_aliases, naming)
        for owner, alias in c.execute(named.where(model_versions.c.id.in_(chunk)).order_by(model_aliases.c.alias)):
            aliases[owner].append(alias)
        query = sa.select(model_versions, registered_models.c.name).join(
            registered_models, registered_models.c.id == model_versions.c.model
        )
        for row in c.execute(query.where(model_versions.c.id.in_(chunk))).mappings():
            versions[row["id"]] = ModelVersion(
                name=row["name"],
                version=row["version"],
                creation_time=row["creation_time"],
                last_update_time=row["last_update_time"],
                stage=Stage(row["stage"]),
                description=row["description"],
                user=row["user"],
                source=row["source"],
                storage_location=row["storage_location"],
                run_id=row["run_id"],
                run_link=row["run_link"],
                model_id=row["model_id"],
                status=row["status"],
                status_message=row["status_message"],
                tags=tags[row["id"]],
                aliases=aliases[row["id"]],
            )
    return versions
