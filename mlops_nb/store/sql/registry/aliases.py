"""Aliases: names of a model's versions that can be moved from one to another."""

from __future__ import annotations

import sqlalchemy as sa

from mlops_nb.core.registry import check_alias, check_new_alias
from mlops_nb.store.sql.registry import rows
from mlops_nb.store.sql.schema import model_aliases
from mlops_nb.store.sql.upsert import insert


def put(c: sa.Connection, name: str, alias: str, version: int) -> None:
    """Let an alias name a version."""
    check_new_alias(alias)
    _, model = rows.of_version(c, name, version)
    statement = insert(c, model_aliases).values(model=model, alias=alias, version=version)
    c.execute(statement.on_conflict_do_update(index_elements=["model", "alias"], set_={"version": statement.excluded.version}))


def delete(c: sa.Connection, name: str, alias: str) -> None:
    """Remove an alias."""
    check_alias(alias)
    c.execute(model_aliases.delete().where(model_aliases.c.model == rows.of_model(c, name), model_aliases.c.alias == alias))
