"""Versions of registered models: one row each, numbered by their model."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from mlops_nb.core.registry import (
    TAG_MODEL_VERSIONS,
    ModelVersion,
    Stage,
    check_id,
    check_tag_key,
    check_tags,
    is_prompt,
)
from mlops_nb.errors import InvalidInput
from mlops_nb.store.sql.registry import models, rows, sources
from mlops_nb.store.sql.schema import (
    logged_model_tags,
    logged_models,
    model_aliases,
    model_version_tags,
    model_versions,
    registered_models,
)
from mlops_nb.store.sql.upsert import insert
from mlops_nb.store.sql.webhooks import outbox


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What a version is to be; see `ModelRegistry.create_version`."""

    source: str
    run_id: str | None
    model_id: str | None
    run_link: str
    description: str
    user: str
    tags: Mapping[str, str]


def create(c: sa.Connection, name: str, new: NewVersion, now: int) -> ModelVersion:
    """Insert the next version of a model."""
    model = rows.of_model(c, name)
    check_tags(new.tags)
    check_id(new.run_id or "", "run_id")
    check_id(new.model_id or "", "model_id")
    prompt = is_prompt(new.tags)
    origin = sources.of_prompt(new.source) if prompt else sources.resolve(c, new.source, new.run_id, new.model_id)
    # Writers take turns, so that no other one can be given the same number.
    number = c.execute(sa.select(registered_models.c.versions).where(registered_models.c.id == model)).scalar_one() + 1
    models.touch(c, model, now, versions=number)
    result = c.execute(
        model_versions.insert().values(
            model=model,
            version=number,
            description=new.description,
            user=new.user,
            source=origin.source,
            storage_location=origin.storage_location,
            run_id=origin.run_id or (new.run_id or ""),
            run_link=new.run_link,
            model_id=origin.model_id,
            status="READY",
            status_message="",
            stage=Stage.NONE.value,
            creation_time=now,
            last_update_time=now,
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    set_tags(c, key[0], new.tags)
    if new.model_id and not prompt:
        _tell_logged_model(c, new.model_id, name, number)
    return rows.load_versions(c, [key[0]])[key[0]]


def _tell_logged_model(c: sa.Connection, model_id: str, name: str, number: int) -> None:
    """Add a version to the tag of the logged model that lists the versions made from it."""
    row = c.execute(sa.select(logged_models.c.id).where(logged_models.c.model_id == model_id)).scalar_one()
    table = logged_model_tags
    text = c.execute(sa.select(table.c.value).where(table.c.model == row, table.c.key == TAG_MODEL_VERSIONS)).scalar()
    try:
        listed = json.loads(text or "[]")
    except ValueError:
        listed = []  # a client wrote something else there
    known = listed if isinstance(listed, list) else []
    statement = insert(c, table).values(
        model=row, key=TAG_MODEL_VERSIONS, value=json.dumps([*known, {"name": name, "version": number}], ensure_ascii=False)
    )
    c.execute(statement.on_conflict_do_update(index_elements=["model", "key"], set_={"value": statement.excluded.value}))


def update(c: sa.Connection, name: str, version: int, description: str, now: int) -> ModelVersion:
    """Change the description of a version."""
    row, _ = rows.of_version(c, name, version)
    c.execute(model_versions.update().where(model_versions.c.id == row).values(description=description, last_update_time=now))
    return rows.load_versions(c, [row])[row]


def move(c: sa.Connection, name: str, version: int, stage: Stage, archive_existing: bool, now: int) -> ModelVersion:
    """Move a version to a stage."""
    if archive_existing and not stage.is_active:
        raise InvalidInput(
            f"Model version transition cannot archive existing model versions because '{stage.value}' is not an Active stage. "
            f"Valid stages are {[s.value for s in Stage if s.is_active]}"
        )
    row, model = rows.of_version(c, name, version)
    table = model_versions
    before = c.execute(sa.select(table.c.stage).where(table.c.id == row)).scalar_one()
    if archive_existing:
        others = sa.and_(table.c.model == model, table.c.stage == stage.value, table.c.id != row)
        archived = list(c.execute(sa.select(table.c.version).where(others).order_by(table.c.version)).scalars())
        c.execute(table.update().where(others).values(stage=Stage.ARCHIVED.value, last_update_time=now))
        for other in archived:
            outbox.note_stage(c, model, name, other, stage.value, Stage.ARCHIVED)
    c.execute(table.update().where(table.c.id == row).values(stage=stage.value, last_update_time=now))
    outbox.note_stage(c, model, name, version, before, stage)
    models.touch(c, model, now)
    return rows.load_versions(c, [row])[row]


def delete(c: sa.Connection, name: str, version: int, now: int) -> None:
    """Delete a version with its tags and aliases."""
    row, model = rows.of_version(c, name, version)
    c.execute(model_aliases.delete().where(model_aliases.c.model == model, model_aliases.c.version == version))
    c.execute(model_version_tags.delete().where(model_version_tags.c.version == row))
    c.execute(model_versions.delete().where(model_versions.c.id == row))
    models.touch(c, model, now)


def set_tags(c: sa.Connection, row: int, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    check_tags(tags)
    if tags:
        statement = insert(c, model_version_tags)
        c.execute(
            statement.on_conflict_do_update(index_elements=["version", "key"], set_={"value": statement.excluded.value}),
            [{"version": row, "key": key, "value": value} for key, value in tags.items()],
        )


def delete_tag(c: sa.Connection, row: int, key: str) -> None:
    """Remove a tag of a version."""
    check_tag_key(key)
    c.execute(model_version_tags.delete().where(model_version_tags.c.version == row, model_version_tags.c.key == key))
