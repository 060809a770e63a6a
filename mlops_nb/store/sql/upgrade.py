"""Bringing a database's schema up to date, by Alembic's migrations."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa

from mlops_nb.errors import StoreVersionError
from mlops_nb.store.sql import blocks
from mlops_nb.store.sql.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from alembic.config import Config

# Names that Alembic makes up, as in MLflow's databases; ours are counted.
_FOREIGN = re.compile(r"[0-9a-f]{12}")


def current_schema(connection: sa.Connection) -> str | None:
    """Return the schema version of a database, or None where it has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return None if row is None else str(row[0])


def check_known(name: str, current: str | None) -> None:
    """Refuse a schema that is another program's, or that only a newer version of mlops_nb knows.

    Raises:
        StoreVersionError: Of a newer one it names both versions.
    """
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and _FOREIGN.fullmatch(current):
        raise StoreVersionError(f"{name} is another program's database.", hint="Is it MLflow's? mlops-nb import mlflow brings it over.")
    if current is not None and current not in known:
        raise StoreVersionError(
            f"{name} has schema {current}; this mlops_nb knows schemas up to {SCHEMA_VERSION}.",
            hint="A newer mlops_nb wrote it: pip install --upgrade mlops-nb",
        )


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing, all within the transaction that the caller has begun.

    Without one Alembic would commit each step for itself, and a killed upgrade could leave a schema between two versions.
    """
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    with _silence("alembic"):
        command.upgrade(config, "head")
    blocks.seal_all(connection)


@contextlib.contextmanager
def _silence(name: str) -> Iterator[None]:
    """Keep a library from telling its steps to whoever has logging switched on."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "mlops_nb:store/migrations")
    config.set_main_option("path_separator", "os")
    return config
