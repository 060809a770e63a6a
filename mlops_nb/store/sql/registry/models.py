"""Registered models: one row each."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from mlops_nb.core.registry import (
    RegisteredModel,
    check_model_name,
    check_tag_key,
    check_tags,
    is_prompt,
)
from mlops_nb.errors import AlreadyExists
from mlops_nb.store.sql.registry import rows
from mlops_nb.store.sql.schema import model_aliases, model_version_tags, model_versions, registered_model_tags, registered_models
from mlops_nb.store.sql.upsert import insert


def create(c: sa.Connection, name: str, description: str, tags: Mapping[str, str], now: int) -> RegisteredModel:
    """Insert a model."""
    check_model_name(name)
    check_tags(tags)
    taken = c.execute(sa.select(registered_models.c.id).where(registered_models.c.name == name)).scalar()
    if taken is not None:
        raise _taken(name, asked=is_prompt(tags), present=rows.tags_of(c, [taken])[taken])
    result = c.execute(
        registered_models.insert().values(name=name, description=description, creation_time=now, last_update_time=now, versions=0)
    )
    key = result.inserted_primary_key
    assert key is not None
    set_tags(c, key[0], tags)
    return rows.model(c, name)


def _taken(name: str, *, asked: bool, present: Mapping[str, str]) -> AlreadyExists:
    if asked == is_prompt(present):
        return AlreadyExists(f"{'Prompt' if asked else 'Registered Model'} (name={name}) already exists.")
    new, old = ("prompt", "registered model") if asked else ("registered model", "prompt")
    return AlreadyExists(
        f"Tried to create a {new} with name '{name}', but the name is already taken by a {old}. "
        "MLflow does not allow creating a model and a prompt with the same name."
    )


def rename(c: sa.Connection, name: str, new_name: str, now: int) -> RegisteredModel:
    """Rename a model; its versions count as changed."""
    check_model_name(new_name)
    row = rows.of_model(c, name)
    other = c.execute(sa.select(registered_models.c.id).where(registered_models.c.name == new_name)).scalar()
    if other is not None and other != row:
        raise AlreadyExists(f"Registered Model (name={new_name}) already exists.")
    touch(c, row, now, name=new_name)
    c.execute(model_versions.update().where(model_versions.c.model == row).values(last_update_time=now))
    return rows.model(c, new_name)


def update(c: sa.Connection, name: str, description: str, now: int) -> RegisteredModel:
    """Change the description of a model."""
    touch(c, rows.of_model(c, name), now, description=description)
    return rows.model(c, name)


def touch(c: sa.Connection, row: int, now: int, **values: object) -> None:
    """Note that a model has changed, and change it."""
    c.execute(registered_models.update().where(registered_models.c.id == row).values(last_update_time=now, **values))


def delete(c: sa.Connection, name: str) -> None:
    """Delete a model with all that belongs to it."""
    row = rows.of_model(c, name)
    mine = sa.select(model_versions.c.id).where(model_versions.c.model == row)
    c.execute(model_version_tags.delete().where(model_version_tags.c.version.in_(mine)))
    for table in (model_aliases, model_versions, registered_model_tags):
        c.execute(table.delete().where(table.c.model == row))
    c.execute(registered_models.delete().where(registered_models.c.id == row))


def set_tags(c: sa.Connection, row: int, tags: Mapping[str, str]) -> None:
    """Set tags of a model."""
    check_tags(tags)
    if tags:
        statement = insert(c, registered_model_tags)
        c.execute(
            statement.on_conflict_do_update(index_elements=["model", "key"], set_={"value": statement.excluded.value}),
            [{"model": row, "key": key, "value": value} for key, value in tags.items()],
        )


def delete_tag(c: sa.Connection, row: int, key: str) -> None:
    """Remove a tag of a model."""
    check_tag_key(key)
    c.execute(registered_model_tags.delete().where(registered_model_tags.c.model == row, registered_model_tags.c.key == key))
